"""Several workers, here and on other hosts: one schedule, one clock, no load without somebody who writes it down.

Another host is a process that reads another clock: a time namespace, where the kernel lets us make one.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.clock import NS_PER_S, now_ns
from harness.errors import PlanError, TrafficFailed
from harness.model.request import first_request_id
from tests.calibrate.serving import serving
from tests.contract.test_engine import Driver, once, server_log
from tests.contract.test_loads import replay

pytestmark = pytest.mark.real

AGENTSTORM = Path(sys.executable).with_name("agentstorm")
LONG = {"kind": "rate", "rate": "100/s", "hold": "10m"}
GET = once("self.client.get('/ms/5')")
AHEAD_S = 1000
ANOTHER_CLOCK = ("unshare", "--time", "--monotonic", str(AHEAD_S))


def can_have_another_clock() -> bool:
    return bool(shutil.which("unshare")) and subprocess.run([*ANOTHER_CLOCK, "true"], check=False).returncode == 0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def bind() -> str:
    with socket.socket() as door:
        door.bind(("127.0.0.2", 0))
        return f"127.0.0.2:{door.getsockname()[1]}"


class Far:
    """`agentstorm worker`, started elsewhere."""

    def __init__(self, folder: Path, bind: str, *before: str, **env: str) -> None:
        folder.mkdir()
        self.process = subprocess.Popen(
            [*before, str(AGENTSTORM), "worker", "--master", bind],
            cwd=folder,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self, within_s: float = 20) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=within_s)
        return self.process.returncode, said


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Any]:
    """Give drivers and far workers that end with the test."""
    with ExitStack() as stack:

        class Stage:
            def __init__(self) -> None:
                self.said: list[str] = []

            def driver(self, workers: int, name: str = "here", **options: Any) -> Driver:
                folder = tmp_path / name
                folder.mkdir()
                driver = Driver(folder, "locust", workers, **options)
                stack.callback(driver.end)
                return driver

            def far(self, bind: str, *before: str, name: str = "far", **env: str) -> Far:
                far = Far(tmp_path / name, bind, *before, **env)
                stack.callback(far.kill)
                return far

            def gathered(self, driver: Driver, workload: str, load: dict[str, Any]) -> Any:
                engine = driver.make(workload, load)
                engine.prepare()
                engine.gather(self.said.append, lambda: None)
                return engine

            def start(self, driver: Driver, workload: str, load: dict[str, Any], url: str) -> Any:
                engine = self.gathered(driver, workload, load)
                driver.start_ns = now_ns() + NS_PER_S // 4
                engine.begin(driver.start_ns, url)
                return engine

        yield Stage()


def processes(driver: Driver) -> dict[str, psutil.Process]:
    described: Any = driver.engine.describe()  # type: ignore[union-attr]
    return {p["name"]: psutil.Process(p["pid"]) for p in [*described["workers"], described["master"]]}


def gone(process: psutil.Process, within_s: float) -> bool:
    try:
        process.wait(within_s)
    except psutil.TimeoutExpired:
        return False
    return True


# --- one schedule

ASKING = textwrap.dedent("""
    import random
    class Asking(FastHttpUser):
        wait_time = constant(60)
        @task
        def t(self): self.client.post("/ms/1", data=random.randbytes(random.randrange(1, 500)),
                                      name=f"{type(self).__name__} {random.random()}")
    class Often(Asking): weight = 3
    class Rare(Asking): weight = 1
    Asking.abstract = True
""")


@pytest.mark.parametrize(
    ("load", "crews"),
    [
        ({"kind": "rate", "rate": "150/s", "arrivals": "poisson", "hold": "1.5s"}, (1, 2, 3)),
        ({"kind": "rate", "rate": "100/s", "hold": "1s", "warmup": "0.5s"}, (1, 2, 3)),
        ({"kind": "users", "users": 31, "spawn": "40/s", "hold": "1.5s"}, (1, 2, 3)),
        ({"kind": "steps", "steps": [
            {"users": 6, "hold": "0.3s"}, {"users": 31, "ramp": "0.4s", "hold": "0.3s"}, {"users": 4, "hold": "0.2s"},
            {"users": 9, "hold": "0.3s"},
        ]}, (1, 2)),
        ({"kind": "replay"}, (1, 2)),
    ],
    ids=["poisson", "constant", "users", "steps", "replay"],
)  # fmt: skip
def test_the_union_of_all_workers_is_the_schedule_of_one(
    stage: Any, url: str, load: dict[str, Any], crews: tuple[int, ...]
) -> None:
    seen = {}
    for workers in crews:
        driver = stage.driver(workers, f"with-{workers}")
        if load["kind"] == "replay":  # three at a time, ever less often
            load = replay(driver, "".join(f"{(n // 3) ** 1.5 * 0.007:.9f}\n" for n in range(100)))
        frame = driver.run(ASKING, load, url)
        assert set(frame.worker) == {f"locust-{n}" for n in range(workers)}
        assert set(frame.outcome) == {"ok"}
        assert frame.request_id.is_unique
        assert all(first_request_id(1 + n) in set(frame.request_id) for n in range(workers))
        assert set(server_log(url)) >= set(frame.request_id)
        due = frame.due_ns - driver.start_ns
        what = zip(frame.name, frame.bytes_out, strict=True)
        # A user's first request is due when it starts, which is whenever it was its turn to run.
        seen[workers] = sorted(what if load["kind"] in ("users", "steps") else zip(due, what, strict=True))
    assert all(seen[workers] == seen[1] for workers in crews)


def test_workloads_find_what_locust_gives_them(stage: Any, url: str) -> None:
    """Runners of Locust's own kinds, their indexes, events on both sides, and messages of the workload's own."""
    workload = """
        from locust.runners import MasterRunner, WorkerRunner
        told = []
        @events.init.add_listener
        def init(environment, runner, **_):
            assert runner is environment.runner
            if isinstance(runner, WorkerRunner):
                runner.register_message("names", lambda environment, msg, **_: told.append(msg.data["name"]))
            else:
                assert isinstance(runner, MasterRunner)
        @events.test_start.add_listener
        def begin(environment, **_):
            if isinstance(environment.runner, MasterRunner):
                environment.runner.send_message("names", {"name": "from-the-master"})
            else:
                told.append(f"worker-{environment.runner.worker_index}")
        @events.test_stop.add_listener
        def end(environment, **_):
            print(f"stopped {type(environment.runner).__name__}")  # in one piece: all of them share a log
    """
    driver = stage.driver(2)
    frame = driver.run(
        textwrap.dedent(workload) + once("self.client.get('/ms/1', name=' '.join(sorted(told)))"),
        {"kind": "rate", "rate": "4/s", "hold": "1s", "warmup": "0.5s"},
        url,
    )
    assert set(frame.name[2:]) == {"from-the-master worker-0", "from-the-master worker-1"}
    assert driver.log.count("stopped WorkerRunner") == 2
    assert driver.log.count("stopped MasterRunner") == 1


# --- death


def test_a_killed_worker_ends_the_load_and_is_named(stage: Any, url: str) -> None:
    driver = stage.driver(3)
    engine = driver.start(GET, LONG, url)
    driver.watch(engine, until_rows=200)
    process = processes(driver)
    died_ns = now_ns()
    process["locust-1"].kill()
    with pytest.raises(TrafficFailed, match=r"locust-1 died \(signal 9\)") as caught:
        driver.watch(engine, within_s=10)
    assert (now_ns() - died_ns) / NS_PER_S < 5
    assert "in flight" in str(caught.value)
    frame = driver.table()
    assert len(frame) == driver.rows
    assert set(frame.worker) == {"locust-0", "locust-1", "locust-2"}
    last = frame.groupby("worker").start_ns.max()
    assert last["locust-1"] < died_ns <= last[["locust-0", "locust-2"]].min(), "the others went on until they were told"


def test_without_a_master_there_is_no_load(stage: Any, url: str) -> None:
    driver = stage.driver(2)
    engine = driver.start(GET, LONG, url)
    driver.watch(engine, until_rows=100)
    process = processes(driver)
    process["locust-master"].kill()
    with pytest.raises(TrafficFailed, match=r"locust-master died \(signal 9\)"):
        driver.watch(engine, within_s=10)
    assert gone(process["locust-0"], 3)
    assert gone(process["locust-1"], 3)
    assert len(driver.table()) == driver.rows >= 100


def test_a_worker_that_hears_no_master_ends_by_itself(stage: Any, url: str) -> None:
    driver = stage.driver(2)
    engine = driver.start(GET, LONG, url)
    driver.watch(engine, until_rows=50)
    process = processes(driver)
    process["locust-master"].suspend()  # not even its connection closes
    assert gone(process["locust-0"], 20)
    assert gone(process["locust-1"], 20)


# --- other hosts


@pytest.mark.skipif(not can_have_another_clock(), reason="no time namespaces here")
def test_a_worker_with_another_clock_keeps_ours(stage: Any, url: str, bind: str) -> None:
    driver = stage.driver(1, remote_workers=1, bind=bind)
    driver.folder.joinpath("words.txt").write_text("hello")
    driver.folder.joinpath("helper.py").write_text(
        "from pathlib import Path\ndef word(): return Path(__file__).with_name('words.txt').read_text()\n"
    )
    far = stage.far(bind, *ANOTHER_CLOCK)
    load = {"kind": "rate", "rate": "50/s", "hold": "3s"}
    engine = stage.start(driver, "import helper\n" + once("self.client.get('/ms/5', name=helper.word())"), load, url)
    driver.watch(engine)
    code, said = far.end()
    assert code == 0, said
    assert "joined as locust-1" in said

    near, there = engine.describe()["workers"]
    assert near["clock"] == {"same": True, "offset_ns": 0, "uncertainty_ns": 0}
    assert not there["clock"]["same"]
    uncertain_ns = there["clock"]["uncertainty_ns"]
    assert abs(there["clock"]["offset_ns"] + AHEAD_S * NS_PER_S) <= uncertain_ns < 5_000_000

    frame, log = driver.table(), server_log(url)
    assert set(frame.name) == {"hello"}
    assert sorted(frame.due_ns - driver.start_ns) == [i * 20_000_000 for i in range(150)]
    mine = frame[frame.worker == "locust-1"]
    assert len(mine) == 75
    for row in mine.to_dict("records"):
        _, received_ns, answered_ns, *_ = log[row["request_id"]]
        assert row["start_ns"] - uncertain_ns <= received_ns < answered_ns <= row["end_ns"] + uncertain_ns
    assert max(p.clock_uncertainty_ms for p in driver.pulses if p.worker == "locust-1") > 0
    assert {p.clock_uncertainty_ms for p in driver.pulses if p.worker == "locust-0"} == {0.0}


def test_a_worker_with_other_versions_is_refused_on_both_sides(stage: Any, bind: str, tmp_path: Path) -> None:
    for name, version in (("agentstorm", "99.0"), ("locust", "9.9.9")):
        folder = tmp_path / "versions" / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    driver = stage.driver(1, remote_workers=1, bind=bind)
    odd = stage.far(bind, name="odd", PYTHONPATH=str(tmp_path / "versions"))
    engine = driver.make(GET, LONG)
    engine.prepare()

    def wait_for_the_other() -> None:
        if any("turned away" in said for said in stage.said):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.gather(stage.said.append, wait_for_the_other)
    code, said = odd.end()
    assert code == 1
    for text in (said, stage.said[-1]):
        assert "agentstorm 99.0 (here " in text
        assert "locust 9.9.9 (here " in text
        assert "Traceback" not in text
    assert f"agentstorm worker --master {bind}" in " ".join(stage.said)

    stage.far(bind)  # the place is still free
    engine.gather(stage.said.append, lambda: None)
    late = stage.far(bind, name="late")
    code, said = late.end()
    assert code == 1
    assert "all 1 workers" in said


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_a_worker_that_leaves_from_elsewhere_ends_the_load(stage: Any, url: str, bind: str, how: str) -> None:
    driver = stage.driver(1, remote_workers=1, bind=bind)
    far = stage.far(bind)
    engine = stage.start(driver, GET, LONG, url)
    driver.watch(engine, until_rows=150)
    if how == "killed":
        (load,) = psutil.Process(far.process.pid).children(recursive=True)
        load.kill()
        with pytest.raises(TrafficFailed, match=r"locust-1 died .*not heard of for 5 s"):
            driver.watch(engine, within_s=15)
        assert far.end()[0] == 1
    else:
        far.process.send_signal(signal.SIGINT)
        driver.watch(engine, within_s=15)
        assert far.end()[0] == 0
        assert "was asked to stop" in driver.log
        assert engine.asked.startswith("locust-1 on ")
        due = sorted(driver.table().due_ns - driver.start_ns)
        assert due == [i * 10_000_000 for i in range(len(due))], "they stopped at the same moment"
    assert set(driver.table().worker) == {"locust-0", "locust-1"}


def test_a_worker_elsewhere_ends_with_its_master(stage: Any, url: str, bind: str) -> None:
    driver = stage.driver(0, remote_workers=1, bind=bind)
    far = stage.far(bind)
    engine = stage.start(driver, GET, LONG, url)
    driver.watch(engine, until_rows=50)
    os.kill(engine.describe()["master"]["pid"], signal.SIGKILL)
    code, said = far.end(20)
    assert code == 1
    assert "the master fell silent" in said


def test_a_workload_that_does_not_run_elsewhere_is_refused(stage: Any, bind: str) -> None:
    workload = "import os\nassert not os.environ.get('ELSEWHERE'), 'not here'\n" + GET
    driver = stage.driver(1, remote_workers=1, bind=bind)
    far = stage.far(bind, ELSEWHERE="1")
    with pytest.raises(PlanError, match=r"not here.* on ") as caught:
        stage.gathered(driver, workload, LONG)
    assert caught.value.where.endswith("workload.py:3")
    assert far.end()[0] == 1


def test_an_address_that_is_taken_is_a_plan_error(stage: Any, bind: str) -> None:
    host, _, port = bind.rpartition(":")
    with socket.socket() as door:
        door.bind((host, int(port)))
        door.listen()
        with pytest.raises(PlanError, match=f"cannot listen at {bind}"):
            stage.driver(1, remote_workers=1, bind=bind).make(GET, LONG).prepare()


def test_nobody_there(tmp_path: Path, stage: Any) -> None:
    code, said = stage.far("no-such-host.invalid:5557").end()
    assert code == 1
    assert said.startswith("agentstorm: --master no-such-host.invalid:5557")


def test_loopback_is_no_target_for_somebody_who_has_another_one(stage: Any, bind: str) -> None:
    """The worker's own words are planted: a network namespace that could reach the master would need an interface."""
    driver = stage.driver(1, remote_workers=1, bind=bind)
    engine = driver.make(GET, LONG)
    engine._plan = engine._plan.model_copy(
        update={"target": engine._plan.target.model_copy(update={"url": "http://127.0.0.1:8000"})}
    )
    with pytest.raises(PlanError, match="is this host's own loopback, and far-away cannot reach it"):
        engine._joined(worker="locust-1", host="far-away", pid=1, remote=True, same_loopback=False)
