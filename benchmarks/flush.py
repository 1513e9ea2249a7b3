"""How long a flush of the recorder holds up the load generator.

Our own generator writes a real recording at 1000 requests/s and as fast as it can, with a stopwatch around each piece
of a flush (``workloads/flushes.py``): nothing else runs in its loop meanwhile, and between pieces the load goes on.
`flush_pause_ms` is the longest piece of a repeat, and of the repeats the median; what a piece lasted without a core
does not count (`longest_wall_ms` has it).
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
    under `flush`, by load: the longest piece of a typical flush and of all, how long a typical flush took altogether,
    and in how many pieces the kernel took the core away."""
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
    written = flushes[flushes.rows > 0]
    return {
        "flushes": len(written),
        "typical_ms": float(written.held_ms.median()),
        "typical_altogether_ms": float(written.altogether_ms.median()),
        "longest_ms": float(worst.held_ms),
        "longest_rows": int(worst.rows),
        "longest_wall_ms": float(flushes.wall_ms.max()),
        "taken_away": int(flushes.taken_away.sum()),
    }


def _flushes(load: dict[str, Any], url: str, folder: Path) -> pd.DataFrame:
    folder.mkdir()
    os.environ["BENCH_FLUSHES"] = str(folder / "flushes")
    plans.run(plans.plan(generators.WORKLOADS / "flushes.py", load), url, folder)
    rows, *spans_ns, taken_away = np.loadtxt(folder / "flushes", dtype=np.int64, unpack=True, ndmin=2)
    held_ms, altogether_ms, wall_ms = (span_ns / NS_PER_MS for span_ns in spans_ns)
    columns = {"held_ms": held_ms, "altogether_ms": altogether_ms, "wall_ms": wall_ms}
    return pd.DataFrame({"rows": rows, **columns, "taken_away": taken_away})
