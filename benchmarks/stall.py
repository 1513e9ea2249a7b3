"""What the users of a service felt that stood still once.

30 s at 1000/min against a service that takes 50 ms and holds every answer for 5 s, from 10.02 s on. The truth can be
calculated: arrivals are 60 ms apart, and one that is due u seconds into the stall takes 5 - u seconds longer. The
stall begins as arrival 167 is due, so the 84 of 500 that meet it take 50 + 5000 - 60 k ms, k = 0..83, and the others
50 ms. Counted from the longest, the p-th percentile lies at k = (1 - p/100) * 499 (Hyndman & Fan type 7):

    p95: k = 24.95, 5050 - 60 * 24.95 = 3553 ms        p99: k = 4.99, 5050 - 60 * 4.99 = 4750.6 ms

A generator that waits for its answers before it sends more (coordinated omission) says 52 and 54 ms.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import generators, plans
from benchmarks.serving import serving
from harness.clock import NS_PER_MS, NS_PER_S
from harness.model.request import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.serving import Server

TRUTH_MS = (5050 - 60 * 24.95, 5050 - 60 * 4.99)
_BEGIN_NS, _LENGTH_NS = 10_020_000_000, 5 * NS_PER_S
_LOAD = {"kind": "rate", "rate": "1000/min", "hold": "30s"}


def measure(folder: Path, *, repeats: int) -> dict[str, Any]:
    """`stall_ms`, and under `stall` the truth, what was dropped, and the same with two workers (None if there are
    none)."""
    with ThreadPoolExecutor() as pool:  # at 17 requests/s they do not get in each other's way
        taken = {workers: pool.submit(_runs, folder / str(workers), workers, repeats) for workers in plans.workers()}
    runs = {workers: future.result() for workers, future in taken.items()}
    figures = {workers: np.median([run["ms"] for run in runs], axis=0).tolist() for workers, runs in runs.items()}
    return {
        "stall_ms": figures[1],
        "stall": {
            "truth_ms": TRUTH_MS,
            "two_workers_ms": figures.get(2),
            "dropped": sum(run["dropped"] for same in runs.values() for run in same),
            "requests": [run["requests"] for same in runs.values() for run in same],
        },
    }


def _runs(folder: Path, workers: int, repeats: int) -> list[dict[str, Any]]:
    with serving(realtime=True) as server:
        return [_felt(server, folder / str(number), workers) for number in range(repeats)]


def _felt(server: Server, folder: Path, workers: int) -> dict[str, Any]:
    def stall(start_ns: int) -> None:
        server.ask(f"/stall/{start_ns + _BEGIN_NS}/{start_ns + _BEGIN_NS + _LENGTH_NS}")

    plans.run(plans.plan(generators.WORKLOADS / "fixed.py", _LOAD, workers=workers), server.url, folder, stall)
    rows = plans.rows(folder)
    sent = rows[rows.outcome != Outcome.DROPPED.value]
    return {
        "ms": np.percentile((sent.end_ns - sent.due_ns) / NS_PER_MS, [95, 99]).tolist(),
        "dropped": len(rows) - len(sent),
        "requests": len(rows),
    }
