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
import pandas as pd

from benchmarks import generators, machine, plans
from benchmarks.serving import serving
from harness.clock import NS_PER_MS

if TYPE_CHECKING:
    from pathlib import Path


def measure(folder: Path, *, repeats: int, seconds: float) -> dict[str, Any]:
    """`flush_pause_ms`; `page_us`, what the machine takes of it for every page that a flush touches (`machine`); and
    under `flush`, by load: the typical and the longest flush, and how long that had a core."""
    loads: dict[str, dict[str, Any]] = {
        "1000/s": {"kind": "rate", "rate": "1000/s", "hold": f"{seconds}s"},
        "saturated": {"kind": "users", "users": generators.USERS, "spawn": "200/s", "hold": f"{seconds}s"},
    }
    with serving() as server:
        seen = {
            name: [_flushes(load, server.url, folder / f"{name.replace('/', '-')}-{i}") for i in range(repeats)]
            for name, load in loads.items()
        }
    longest = [max(runs[repeat].held_ms.max() for runs in seen.values()) for repeat in range(repeats)]
    return {
        "flush_pause_ms": median(longest),
        "page_us": machine.page_us(),
        "flush": {name: _summary(pd.concat(runs)) for name, runs in seen.items()},
    }


def _summary(flushes: pd.DataFrame) -> dict[str, Any]:
    worst = flushes.iloc[flushes.held_ms.argmax()]
    return {
        "flushes": len(flushes),
        "typical_ms": float(flushes.held_ms.median()),
        "longest_ms": float(worst.held_ms),
        "longest_cpu_ms": float(worst.cpu_ms),
        "longest_rows": int(worst.rows),
    }


def _flushes(load: dict[str, Any], url: str, folder: Path) -> pd.DataFrame:
    folder.mkdir()
    os.environ["BENCH_FLUSHES"] = str(folder / "flushes")
    plans.run(plans.plan(generators.WORKLOADS / "flushes.py", load), url, folder)
    rows, held_ns, cpu_ns = np.loadtxt(folder / "flushes", dtype=np.int64, unpack=True, ndmin=2)
    return pd.DataFrame({"rows": rows, "held_ms": held_ns / NS_PER_MS, "cpu_ms": cpu_ns / NS_PER_MS})
