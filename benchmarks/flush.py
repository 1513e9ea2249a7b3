"""How long a flush of the recorder holds up the load generator.

Our own generator writes a real recording at 1000 requests/s and as fast as it can, with a stopwatch around each flush
(``workloads/flushes.py``): nothing else runs in its loop meanwhile. `flush_pause_ms` is the longest flush of a repeat,
and of the repeats the median: the kernel takes the core away now and then, whatever is flushed.
"""

from __future__ import annotations

import os
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import generators, plans
from benchmarks.serving import serving

if TYPE_CHECKING:
    from pathlib import Path


def measure(folder: Path, *, repeats: int, seconds: float) -> dict[str, Any]:
    """`flush_pause_ms`, and under `flush` the longest flush of all and the rows of the largest, by load."""
    loads: dict[str, dict[str, Any]] = {
        "1000/s": {"kind": "rate", "rate": "1000/s", "hold": f"{seconds}s"},
        "saturated": {"kind": "users", "users": generators.USERS, "spawn": "200/s", "hold": f"{seconds}s"},
    }
    with serving() as server:
        seen = {
            name: [_flushes(load, server.url, folder / f"{name.replace('/', '-')}-{i}") for i in range(repeats)]
            for name, load in loads.items()
        }
    longest = {name: [float(flushes[:, 1].max()) / 1e6 for flushes in runs] for name, runs in seen.items()}
    return {
        "flush_pause_ms": median(max(pair) for pair in zip(*longest.values(), strict=True)),
        "flush": {
            name: {
                "longest_ms": max(longest[name]),
                "typical_ms": float(np.median(np.concatenate(runs)[:, 1])) / 1e6,
                "most_rows": int(np.concatenate(runs)[:, 0].max()),
                "flushes": sum(map(len, runs)),
            }
            for name, runs in seen.items()
        },
    }


def _flushes(load: dict[str, Any], url: str, folder: Path) -> Any:
    folder.mkdir()
    os.environ["BENCH_FLUSHES"] = str(folder / "flushes")
    plans.run(plans.plan(generators.WORKLOADS / "flushes.py", load), url, folder)
    return np.loadtxt(folder / "flushes", dtype=np.int64, ndmin=2)
