"""Whether requests leave when the schedule wants them to, whatever the service does.

Two open loops, as the rows say that they were sent (start, not due):

* `per_minute`: 1000/min through a service that stands still for 5 s of the first minute. The fewest and the most
  requests sent in a minute; 1000 +- 1 is the goal.
* `dispersion`: Poisson arrivals at 100/s. Variance over mean of the requests sent in windows of 10 ms, 1 for a Poisson
  process. Over the 6,000 windows of a minute its standard error is 0.02.
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

_MINUTE_NS = 60 * NS_PER_S
_STALL_NS = (30 * NS_PER_S, 35 * NS_PER_S)
_WINDOW_NS = 10 * NS_PER_MS


def measure(folder: Path, *, minutes: int) -> dict[str, Any]:
    """`arrivals`: `per_minute` (fewest, most), `dispersion`, and how many were dropped in both."""
    with ThreadPoolExecutor() as pool:
        even = pool.submit(_sent, folder / "even", {"rate": "1000/min"}, minutes, _STALL_NS)
        poisson = pool.submit(_sent, folder / "poisson", {"rate": "100/s", "arrivals": "poisson"}, minutes, (0, 0))
    (in_minutes, lost), (in_all, more) = even.result(), poisson.result()
    by_minute = np.bincount(in_minutes // _MINUTE_NS, minlength=minutes)[:minutes]
    windows = np.bincount(in_all // _WINDOW_NS, minlength=minutes * _MINUTE_NS // _WINDOW_NS)
    return {
        "arrivals": {
            "per_minute": [int(by_minute.min()), int(by_minute.max())],
            "dispersion": float(windows.var() / windows.mean()),
            "dropped": lost + more,
        }
    }


def _sent(folder: Path, load: dict[str, Any], minutes: int, stall: tuple[int, int]) -> tuple[Any, int]:
    """Return when each request was sent, ns after the load began, and how many never were."""
    with serving(realtime=True) as server:

        def stand_still(start_ns: int) -> None:
            begin_ns, end_ns = (start_ns + moment for moment in stall)
            server.ask(f"/stall/{begin_ns}/{end_ns}")

        plan = plans.plan(generators.WORKLOADS / "fixed.py", {"kind": "rate", "hold": f"{minutes}m", **load})
        start_ns = plans.run(plan, server.url, folder, stand_still)
    rows = plans.rows(folder)
    sent = rows[rows.outcome != Outcome.DROPPED.value]
    return (sent.start_ns - start_ns).to_numpy(np.int64), len(rows) - len(sent)
