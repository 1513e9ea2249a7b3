"""The generators of the throughput benchmark: ours, and what a user would use instead. Each asks as fast as it can."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import machine, plans
from harness.clock import now_ns

if TYPE_CHECKING:
    from harness.traffic import Engine


WORKLOADS = Path(__file__).with_name("workloads")
USERS = 50
TWO_WORKERS = "agentstorm, 2 workers"
_LONG_S = 600
"""More than any window: a generator is ended from outside, when enough was seen."""

Start = Callable[[str, Path], AbstractContextManager[list[int]]]
"""Starts a generator against a URL, with a folder of its own, and gives the processes that make the requests."""


def _poll(engine: Engine, over: threading.Event) -> None:
    while not over.wait(0.25):  # as a run does: what is recorded is also read
        engine.batches()


def ours(workers: int = 1) -> Start:
    """Agentstorm's generator, with everything recorded."""

    @contextmanager
    def start(url: str, folder: Path) -> Iterator[list[int]]:
        load = {"kind": "users", "users": USERS, "spawn": "200/s", "hold": f"{_LONG_S}s"}
        plan = plans.plan(WORKLOADS / "ask.py", load, workers=workers)
        with plans.engine_of(plan, folder) as engine:
            engine.begin(now_ns() + plans.HEAD_START_NS, url)
            over = threading.Event()
            reader = threading.Thread(target=_poll, args=(engine, over), daemon=True)
            reader.start()
            try:
                yield plans.pids(engine)
            finally:
                over.set()
                reader.join()

    return start


def _started(command: Callable[[str, Path], list[str]], env: Callable[[str, Path], dict[str, str]]) -> Start:
    @contextmanager
    def start(url: str, folder: Path) -> Iterator[list[int]]:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command(url, folder), stdout=log, stderr=log, env={**os.environ, **env(url, folder)}
            )
            try:
                yield [process.pid]
            finally:
                process.kill()
                process.wait()

    return start


def locust(client: str, *, csv: bool = False) -> Start:
    """Bare Locust in one process, statistics and all; with `csv`, its own `CsvRequestLogger` as it comes."""
    options = ["--headless", "--only-summary", "--users", str(USERS), "--spawn-rate", "200", "--host"]
    return _started(
        lambda url, _: [sys.executable, "-m", "locust", "-f", str(WORKLOADS / "ask.py"), *options, url],
        lambda _, folder: {"BENCH_CLIENT": client} | ({"BENCH_CSV": str(folder / "requests.csv")} if csv else {}),
    )


def k6(program: str) -> Start:
    """k6 with the same users and the same request; summary only."""
    return _started(
        lambda _, __: [program, "run", "--quiet", str(WORKLOADS / "ask.js")],
        lambda url, _: {"BENCH_URL": url, "BENCH_USERS": str(USERS), "BENCH_SECONDS": str(_LONG_S), "GOMAXPROCS": "1"},
    )


def wrk(program: str) -> Start:
    """wrk with one thread: about what sending and receiving cost at least."""
    options = ["-t1", f"-c{USERS}", f"-d{_LONG_S}s", "-s", str(WORKLOADS / "ask.lua")]
    return _started(lambda url, _: [program, *options, f"{url}/ask"], lambda _, __: {})


def found() -> dict[str, Start]:
    """Every generator this machine has, by name; the first two are the ones with a goal."""
    external = {name: (make, path) for name, make in (("k6", k6), ("wrk", wrk)) if (path := machine.program(name))}
    return {
        "agentstorm": ours(),
        "FastHttpUser": locust("fast"),
        "HttpUser": locust("requests"),
        "CsvRequestLogger": locust("fast", csv=True),
        **({TWO_WORKERS: ours(2)} if 2 in plans.workers() else {}),
        **{name: make(path) for name, (make, path) in external.items()},
    }
