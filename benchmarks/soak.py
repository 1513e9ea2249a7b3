"""Whether the harness's memory grows over a soak, compressed: days of requests in minutes.

The real command line runs (`agentstorm run`, external target): the process of the run and the generator's, with
everything they keep, write and show. ``workloads/soak.py`` makes the requests at half the pace that it can, with 50
names and 10^4 different error texts, and moves the generator's wall clock on by 60 ms a request, so that what is kept
per second grows as it would. Two such soaks: ten million requests reported by Locust's own event, whose client is never
there, and fewer over real HTTP, as the cross-check of what the first cannot see (connections, answers, observers).

`soak_slope_mib_per_day` is the Theil-Sen slope of the anonymous memory of all our processes (the lowest of each block:
`memory.slope`) over the requests made, without a warm-up, converted **by requests**: one day is 1,440,000 of them
(1000/min). The detection limit is half the width of its 95 % interval, in which is a page of memory for each process: a
leak smaller than that could not have been told from none. Leaks planted into a run's process are found
(``tests/calibrate/test_own_memory.py``): what its heap has free does not hide them.

What the run's own process keeps per second is not in it, since its clock is the real one. So a third soak goes beside
these two for as long as they last, and for 20 minutes at least (`Sizes.soak_real_time_s`), over HTTP at 1000
requests/min: the slope of that process over time. Minutes of it say less than days of the others, and hardly anything
of the generator, which takes 20,000 requests to warm up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks import generators
from benchmarks.memory import PAGE_MIB, anonymous_mib, slope
from benchmarks.serving import serving
from harness.clock import NS_PER_S, now_ns, sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

_PER_DAY = 1000 * 60 * 24
_AGENTSTORM = (str(Path(sys.executable).with_name("agentstorm")),)
_RATE = "1000/min"
_REAL_WARM_UP = 0.3
_EVERY_S = 0.25
_STALLED_S = 60.0
_END_S = 10.0


@dataclass(frozen=True)
class _Sample:
    """What was there at one moment; memory in MiB."""

    t_ns: int
    requests: int
    run: float
    generator: float
    """All that the run's process has started."""
    processes: int
    """How many those are."""


def measure(
    folder: Path, *, events: int, http: int, warm_up: float, http_warm_up: float, real_time_s: float
) -> dict[str, Any]:
    """`soak_slope_mib_per_day`, and under `soak` all soaks: lengths, slopes by process, memory, detection limits.

    The first shares `warm_up` and `http_warm_up` of the requests are not looked at; the soak in real time lasts for at
    least `real_time_s` seconds.
    """
    over, begin_ns = threading.Event(), now_ns()
    with ThreadPoolExecutor(1) as pool:
        try:
            beside = pool.submit(real_time, folder / "real_time", over, events)
            soaks = {
                "event": _compressed(folder / "event", "event", events, warm_up, beside),
                "http": _compressed(folder / "http", "http", http, http_warm_up, beside),
            }
            wait([beside], max(0.0, real_time_s - (now_ns() - begin_ns) / NS_PER_S))
        finally:
            over.set()
        soaks["real_time"] = beside.result()
    return {"soak_slope_mib_per_day": soaks["event"]["slopes"]["all"], "soak": soaks}


def _compressed(folder: Path, client: str, requests: int, warm_up: float, beside: Future[Any]) -> dict[str, Any]:
    def reached(made: int) -> bool:
        if beside.done():  # nothing but an error ends it
            beside.result()
        return made >= requests

    load = {"kind": "users", "users": generators.USERS, "spawn": "200/s", "hold": "24h"}
    samples = list(_samples(folder, client, load, requests, reached))
    made = np.array([s.requests for s in samples], float)
    run, generator = np.array([(s.run, s.generator) for s in samples]).T
    most = max(s.processes for s in samples)
    slopes = {
        name: slope(made, memory, warm_up=warm_up, step=PAGE_MIB * pids).as_dict(_PER_DAY)
        for name, memory, pids in (
            ("all", run + generator, 1 + most),
            ("run", run, 1),
            ("generator", generator, most),
        )
    }
    return {"days": samples[-1].requests / _PER_DAY, **_described(samples[-1], slopes, "all")}


def real_time(
    folder: Path, over: threading.Event, requests: int, program: Sequence[str] = _AGENTSTORM
) -> dict[str, Any]:
    """Return the slope of the run's process by time until it is `over`, MiB/day, with what `measure` tells of a soak.

    `program` is what is run instead of `agentstorm`; `requests`, those to which all different errors are shared out.
    """
    load = {"kind": "rate", "rate": _RATE, "hold": "24h"}
    samples = list(_samples(folder, "http", load, requests, lambda made: made > 0 and over.is_set(), program))
    days = np.array([s.t_ns for s in samples]) / (NS_PER_S * 86_400)
    run = slope(days, np.array([s.run for s in samples]), warm_up=_REAL_WARM_UP, step=PAGE_MIB)
    return {"days": float(days[-1] - days[0]), **_described(samples[-1], {"run": run.as_dict(1)}, "run")}


def _described(last: _Sample, slopes: dict[str, dict[str, float]], of: str) -> dict[str, Any]:
    return {
        "requests": last.requests,
        "slopes": slopes,
        "detection_limit_mib_per_day": (slopes[of]["high"] - slopes[of]["low"]) / 2,
        "last_mib": {"run": last.run, "generator": last.generator},
    }


def _samples(
    folder: Path,
    client: str,
    load: dict[str, Any],
    requests: int,
    over: Callable[[int], bool],
    program: Sequence[str] = _AGENTSTORM,
) -> Iterator[_Sample]:
    """Yield what is there under `load`, from the first requests until it is `over`, which is told how many there were.
    The workload shares its different errors out to so many `requests`.

    RuntimeError: the run ended, or no request was made for a minute.
    """
    folder.mkdir(parents=True)
    progress = folder / "progress"
    with serving() as server, (folder / "log").open("wb") as log:
        run = subprocess.Popen(
            [*program, "run", *_plan(folder, server.url, load)],
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
            while not over(made):
                sleep(_EVERY_S)
                before, made = made, int(progress.read_text() or 0) if progress.exists() else 0
                moved_ns = now_ns() if made > before else moved_ns
                if run.poll() is not None or now_ns() - moved_ns > _STALLED_S * NS_PER_S:
                    raise RuntimeError(f"the soak stopped after {made} requests:\n{(folder / 'log').read_text()}")
                if made:
                    ours = [process.pid for process in psutil.Process(run.pid).children(recursive=True)]
                    yield _Sample(now_ns(), made, anonymous_mib([run.pid]), anonymous_mib(ours), len(ours))
        finally:
            _end(run)


def _plan(folder: Path, url: str, load: dict[str, Any]) -> list[str]:
    """Write the plan's files; return the arguments of `agentstorm run`."""
    workload = generators.WORKLOADS / "soak.py"
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
    _, stay = psutil.wait_procs([process for process in left if isinstance(process, psutil.Process)], timeout=_END_S)
    for process in stay:
        process.kill()
