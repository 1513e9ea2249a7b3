"""The container probe against what the kernel says: cgroup files and interface counters, read on the engine's host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from docker.errors import NotFound
from docker.models.containers import Container

from harness.clock import NS_PER_S, now_ns, sleep
from harness.probes import Containers
from harness.recording.reader import Recording
from harness.recording.tables import EventLog, SampleWriter
from tests.docker_engine import LABEL, engine, python_image

pytestmark = [pytest.mark.docker, pytest.mark.real, pytest.mark.slow]

MIB = 1 << 20
AGREE = 0.05
HELD_MIB, FILE_MIB = 64, 96
HOLD_AND_BURN = f"""
ballast = bytearray(b"x") * ({HELD_MIB} << 20)
with open("/tmp/pages", "wb") as file:
    for _ in range({FILE_MIB}):
        file.write(b"x" * (1 << 20))
print("ready", flush=True)
while True:
    pass
"""
BURN_A_THIRD = """
import time
print("ready", flush=True)
while True:
    cpu, wall = time.process_time(), time.monotonic()
    while time.process_time() - cpu < 0.03:
        pass
    time.sleep(max(0, 0.1 - (time.monotonic() - wall)))
"""
IDLE = "import time; print('ready', flush=True); time.sleep(120)"
SINK = """
import socket
server = socket.create_server(("", 5000))
print("ready", flush=True)
connection, _ = server.accept()
while connection.recv(1 << 20):
    pass
"""
SEND_2000_KB_A_SECOND = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 5000))
print("ready", flush=True)
due = time.monotonic()
while True:
    connection.sendall(b"x" * 200_000)
    due += 0.1
    time.sleep(max(0, due - time.monotonic()))
"""

Start = Callable[..., Container]


@pytest.fixture
def network() -> Iterator[str]:
    made = engine().networks.create(f"agentstorm-test-{uuid4().hex[:8]}", labels=LABEL, internal=True)
    yield str(made.name)
    made.remove()


@pytest.fixture
def start(network: str) -> Iterator[Start]:
    """Starts containers that run a Python program, waits until it says so, and removes them."""
    started: list[Container] = []

    def begin(program: str, *arguments: str, cores: float = 0, memory: str = "256m") -> Container:
        container = engine().containers.create(
            python_image(), ["python3", "-c", program, *arguments], labels=LABEL, network=network,
            name=f"agentstorm-test-{uuid4().hex[:8]}", nano_cpus=round(cores * 1e9), mem_limit=memory, user="0",
        )  # fmt: skip
        started.append(container)
        container.start()
        await_ready(container)
        return container

    yield begin
    for container in started:
        with suppress(NotFound):  # the test removed it
            container.remove(force=True, v=True)


def await_ready(container: Container, times: int = 1) -> None:
    deadline = now_ns() + 30 * NS_PER_S
    while container.logs().count(b"ready") < times:
        assert now_ns() < deadline, container.logs().decode()
        sleep(0.05)
    container.reload()


class Kernel:
    """What the kernel of the engine's host says about a container; cgroup v1 and v2."""

    def __init__(self, container: Container) -> None:
        self.proc = Path(f"/proc/{container.attrs['State']['Pid']}")
        if not self.proc.exists() or str(container.id) not in (self.proc / "cgroup").read_text():
            pytest.skip("the Docker engine runs on another machine than the tests")
        lines = [line.split(":", 2) for line in (self.proc / "cgroup").read_text().splitlines()]
        self.folders = {name: Path("/sys/fs/cgroup", names) / path.lstrip("/")
                        for _, names, path in lines for name in names.split(",")}  # fmt: skip
        self.is_v1 = "memory" in self.folders

    def read(self) -> dict[str, float]:
        """Return CPU seconds, CFS periods, kB on all interfaces but loopback since its start; MiB of working set."""
        cpu = self._table(self.folders["cpu" if self.is_v1 else ""] / "cpu.stat")
        folder = self.folders["memory" if self.is_v1 else ""]
        usage = int((folder / ("memory.usage_in_bytes" if self.is_v1 else "memory.current")).read_text())
        idle = self._table(folder / "memory.stat")["total_inactive_file" if self.is_v1 else "inactive_file"]
        rows = [line.split() for line in (self.proc / "net" / "dev").read_text().splitlines()[2:]]
        return {
            "t_ns": now_ns(),
            "cpu": int((self.folders["cpuacct"] / "cpuacct.usage").read_text()) / 1e9
            if self.is_v1 else cpu["usage_usec"] / 1e6,
            "periods": cpu["nr_periods"],
            "throttled": cpu["nr_throttled"],
            "memory_mib": (usage - idle) / MIB,
            "net_in": sum(int(row[1]) for row in rows if row[0] != "lo:") / 1e3,
            "net_out": sum(int(row[9]) for row in rows if row[0] != "lo:") / 1e3,
        }  # fmt: skip

    @staticmethod
    def _table(path: Path) -> dict[str, int]:
        return {key: int(value) for key, value in (line.split() for line in path.read_text().splitlines())}


class Watch:
    """The probe at work on `containers`, by name, while the test does things; afterwards what it saw."""

    def __init__(self, folder: Path, **containers: Container) -> None:
        self.folder = folder
        self.events, self.samples = EventLog(folder / "events.jsonl"), SampleWriter(folder)
        self.probe = Containers(lambda: {n: str(c.id) for n, c in containers.items()}, self.samples, self.events)

    def __enter__(self) -> Self:
        self.probe.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.probe.stop()
        self.samples.close()
        self.events.close()

    def rows(self, name: str, metric: str) -> pd.DataFrame:
        recording = Recording(self.folder)
        assert recording.events == []
        table: pd.DataFrame = recording.samples.to_pandas()
        return table[(table.source == f"container:{name}") & (table.metric == metric)]

    def saw(self, name: str, metric: str) -> pd.Series[float]:
        return self.rows(name, metric).value


class Compared:
    """What the probe saw of a container and what the kernel said of it meanwhile, over the same stretch of time."""

    def __init__(self, watch: Watch, name: str, said: list[dict[str, float]]) -> None:
        self.watch, self.name, self.said = watch, name, pd.DataFrame(said)

    def moments(self) -> Any:
        """When the probe looked, up to the last look the kernel was read after, ns."""
        looks = self.watch.rows(self.name, "memory_mib").t_ns.to_numpy()
        return looks[looks <= self.said.t_ns.iloc[-1]]

    def rate(self, metric: str) -> tuple[float, float]:
        """Return what was used a second: by the probe, by the kernel."""
        looks = self.moments()
        gaps = np.diff(looks) / NS_PER_S
        seen = self.watch.saw(self.name, metric).to_numpy()[: len(gaps)]
        assert len(seen) == len(gaps) >= 5
        return float((seen * gaps).sum() / gaps.sum()), self.grown(metric) / gaps.sum()

    def grown(self, metric: str) -> float:
        """Return by how much a counter of the kernel grew between the first look and the last."""
        looks = self.moments()
        first, last = np.interp(looks[[0, -1]], self.said.t_ns, self.said[metric])
        return float(last - first)


def compare(folder: Path, seconds: float, **containers: Container) -> dict[str, Compared]:
    """Watch `containers` with the probe and the kernel at once."""
    kernels = {name: Kernel(container) for name, container in containers.items()}
    said: dict[str, list[dict[str, float]]] = {name: [] for name in kernels}
    began = now_ns()
    for name, kernel in kernels.items():
        said[name].append(kernel.read())
    with Watch(folder, **containers) as watch:
        while now_ns() < began + seconds * NS_PER_S:
            sleep(0.05)
            for name, kernel in kernels.items():
                said[name].append(kernel.read())
    return {name: Compared(watch, name, rows) for name, rows in said.items()}


def test_cpu_throttling_and_memory_agree_with_the_cgroup(start: Start, tmp_path: Path) -> None:
    found = compare(tmp_path, 9, limited=start(HOLD_AND_BURN, cores=0.5), free=start(BURN_A_THIRD))
    for one in found.values():
        seen, truth = one.rate("cpu")
        assert seen == pytest.approx(truth, rel=AGREE)
        memory = one.watch.saw(one.name, "memory_mib").median()
        assert memory == pytest.approx(one.said.memory_mib.median(), rel=AGREE)
    limited, watch = found["limited"], found["limited"].watch
    truth = limited.grown("throttled") / limited.grown("periods")
    assert watch.saw("limited", "throttled").mean() == pytest.approx(truth, abs=AGREE)
    # What was planted, as far as others on this machine let it be.
    assert 0.25 < limited.rate("cpu")[0] < 0.5 * (1 + AGREE)
    assert 0.1 < found["free"].rate("cpu")[0] < 0.4
    assert watch.saw("limited", "cpu_of_limit").mean() == pytest.approx(watch.saw("limited", "cpu").mean() / 0.5)
    assert watch.saw("limited", "throttled").mean() > 0.1
    assert watch.saw("free", "throttled").empty
    assert HELD_MIB < watch.saw("limited", "memory_mib").median() < HELD_MIB + 16, "pages of the file do not count"
    assert watch.saw("limited", "memory_of_limit").median() == pytest.approx(
        watch.saw("limited", "memory_mib").median() / 256
    )


def test_network_agrees_with_the_interface_counters(start: Start, network: str, tmp_path: Path) -> None:
    sink = start(SINK)
    sender = start(SEND_2000_KB_A_SECOND, sink.attrs["NetworkSettings"]["Networks"][network]["IPAddress"])
    found = compare(tmp_path, 9, sink=sink, sender=sender)
    for name, metric in (("sender", "net_out"), ("sink", "net_in")):
        seen, truth = found[name].rate(metric)
        assert seen == pytest.approx(truth, rel=AGREE)
        assert 1800 < seen < 2200, "2000 kB/s were sent, and headers"
    for name, metric in (("sender", "net_in"), ("sink", "net_out")):  # acknowledgements, about 1 kB/s
        seen, truth = found[name].rate(metric)
        assert seen == pytest.approx(truth, abs=1)


def test_restarts_and_limits_are_followed_and_what_does_not_run_is_left_out(start: Start, tmp_path: Path) -> None:
    steady, troubled, removed = start(IDLE), start(IDLE), start(IDLE)
    with Watch(tmp_path, steady=steady, troubled=troubled, removed=removed) as watch:
        sleep(2.5)
        troubled.kill()
        removed.remove(force=True)
        sleep(3)
        troubled.start()
        await_ready(troubled, times=2)
        troubled.update(mem_limit="192m", memswap_limit="192m")
        sleep(2.5)
    assert watch.saw("troubled", "restarts").iloc[0] == 0
    assert watch.saw("troubled", "restarts").iloc[-1] == 1
    assert len(watch.saw("troubled", "pids")) <= len(watch.saw("steady", "pids")) - 2
    assert list(watch.saw("troubled", "memory_limit_mib")) == [256, 192]
    assert (watch.saw("troubled", "cpu") >= 0).all()
    assert (watch.saw("steady", "restarts") == 0).all()
    assert 1 <= len(watch.saw("removed", "pids")) <= 4
