"""Whether the harness's memory grows over a soak, compressed: days of requests in minutes.

The real command line runs (`agentstorm run`, external target): the process of the run and the generator's, with
everything they keep, write and show. ``workloads/soak.py`` makes the requests at a pace near to what it can, with 50
names and 10^4 different error texts, and moves the generator's wall clock on by 60 ms a request, so that what is kept
per second grows as it would. Two soaks: ten million requests reported by Locust's own event, whose client is never
there, and fewer over real HTTP, as the cross-check of what the first cannot see (connections, answers, observers).

`soak_slope_mib_per_day` is the Theil-Sen slope of the anonymous memory of all our processes (the lowest of each block:
`memory.slope`) over the requests made, without a warm-up, converted **by requests**: one day is 1,440,000 of them
(1000/min). The detection limit is half the width of its 95 % interval, in which is a page of memory for each process: a
leak smaller than that could not have been told from none. Not in it: what the run's own process keeps per second, since
its clock is the real one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks import generators
from benchmarks.memory import PAGE_MIB, anonymous_mib, slope
from benchmarks.serving import serving
from harness.clock import NS_PER_S, now_ns, sleep

if TYPE_CHECKING:
    from collections.abc import Iterator

_PER_DAY = 1000 * 60 * 24
_EVERY_S = 0.25
_STALLED_S = 60.0
_END_S = 10.0


def measure(folder: Path, *, events: int, http: int, warm_up: float, http_warm_up: float) -> dict[str, Any]:
    """`soak_slope_mib_per_day`, and under `soak` both soaks: requests, slopes by process, memory, detection limit.

    The first shares `warm_up` and `http_warm_up` of the requests are not looked at.
    """
    soaks = {
        "event": _soak(folder / "event", "event", events, warm_up),
        "http": _soak(folder / "http", "http", http, http_warm_up),
    }
    return {"soak_slope_mib_per_day": soaks["event"]["slopes"]["all"], "soak": soaks}


def _soak(folder: Path, client: str, requests: int, warm_up: float) -> dict[str, Any]:
    samples = np.array(list(_samples(folder, client, requests)))
    made, run, generator, processes = samples.T
    most = int(processes.max())
    slopes = {
        name: slope(made, memory, warm_up=warm_up, step=PAGE_MIB * pids).as_dict(_PER_DAY)
        for name, memory, pids in (
            ("all", run + generator, 1 + most),
            ("run", run, 1),
            ("generator", generator, most),
        )
    }
    return {
        "requests": int(made[-1]),
        "days": made[-1] / _PER_DAY,
        "slopes": slopes,
        "detection_limit_mib_per_day": (slopes["all"]["high"] - slopes["all"]["low"]) / 2,
        "last_mib": {"run": run[-1], "generator": generator[-1]},
    }


def _samples(folder: Path, client: str, requests: int) -> Iterator[tuple[float, float, float, int]]:
    """Yield requests made, MiB of the run's process, MiB of its descendants and how many those are, until there were
    so many requests."""
    folder.mkdir(parents=True)
    progress = folder / "progress"
    with serving() as server, (folder / "log").open("wb") as log:
        run = subprocess.Popen(
            [Path(sys.executable).with_name("agentstorm"), "run", *_plan(folder, server.url)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                "AGENTSTORM_STATE": str(folder / "state"),
                "BENCH_CLIENT": client,
                "BENCH_REQUESTS": str(requests),
                "BENCH_PROGRESS": str(progress),
            },
        )
        try:
            made, moved_ns = 0, now_ns()
            while made < requests:
                sleep(_EVERY_S)
                before, made = made, int(progress.read_text() or 0) if progress.exists() else 0
                moved_ns = now_ns() if made > before else moved_ns
                if run.poll() is not None or now_ns() - moved_ns > _STALLED_S * NS_PER_S:
                    raise RuntimeError(f"the soak stopped after {made} requests:\n{(folder / 'log').read_text()}")
                if made:
                    ours = [process.pid for process in psutil.Process(run.pid).children(recursive=True)]
                    yield made, anonymous_mib([run.pid]), anonymous_mib(ours), len(ours)
        finally:
            _end(run)


def _plan(folder: Path, url: str) -> list[str]:
    """Write the plan's files; return the arguments of `agentstorm run`."""
    workload = generators.WORKLOADS / "soak.py"
    load = {"kind": "users", "users": generators.USERS, "spawn": "200/s", "hold": "24h"}
    observe = {"provider": "header:x-llm-provider", "error": "json:$.error", "answer": "json:$.answer"}
    # JSON is YAML.
    scenario, target = folder / "soak.yaml", folder / "target.yaml"
    scenario.write_text(json.dumps({"scenario": "soak", "workload": str(workload), "load": load}))
    target.write_text(json.dumps({"target": "bench", "system": {"kind": "external"}, "url": url, "observe": observe}))
    return [str(scenario), "--target", str(target), "--out", str(folder / "recording")]


def _end(run: subprocess.Popen[bytes]) -> None:
    """End the run without the report that it would write: nothing of it is of use, and it has changed nothing."""
    left = [run, *psutil.Process(run.pid).children(recursive=True)] if run.poll() is None else []
    run.kill()
    run.wait()
    psutil.wait_procs([process for process in left if isinstance(process, psutil.Process)], timeout=_END_S)
