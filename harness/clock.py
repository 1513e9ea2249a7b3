"""The only module that reads a clock.

All times in a recording are `CLOCK_MONOTONIC` nanoseconds of the host that recorded them: the same clock in
every process of one host, immune to wall-clock steps. Wall time is written once, in the manifest, as the
`Anchor` that ties the two together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Event

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

now_ns = time.monotonic_ns
"""Nanoseconds of CLOCK_MONOTONIC."""

wall_s = time.time
"""Wall time in seconds since 1970, for what others want in it; no duration is measured with it."""

sleep = time.sleep
"""Block this thread for a number of seconds."""


@dataclass(frozen=True)
class Anchor:
    """One reading of both clocks: `utc` is the wall time at monotonic time `monotonic_ns`."""

    monotonic_ns: int
    utc: str

    def wall(self, t_ns: int) -> datetime:
        """Return the wall time of monotonic time `t_ns`."""
        base = datetime.fromisoformat(self.utc)
        return datetime.fromtimestamp(base.timestamp() + (t_ns - self.monotonic_ns) / NS_PER_S, UTC)


def anchor() -> Anchor:
    """Read both clocks, back to back."""
    before = now_ns()
    wall = time.time()
    after = now_ns()
    return Anchor((before + after) // 2, datetime.fromtimestamp(wall, UTC).isoformat())


def wall_offset() -> tuple[int, int]:
    """Return (monotonic minus wall clock, how far that may be off), ns: the closest pair of several readings."""
    readings = []
    for _ in range(16):
        before = now_ns()
        wall = time.time_ns()
        after = now_ns()
        readings.append((after - before, (before + after) // 2 - wall))
    apart, offset = min(readings)
    return offset, (apart + 1) // 2


def utc_stamp() -> str:
    """Return the present wall time as ``20261123T105500Z``, for folder names."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def wait_until(t_ns: int, stop: Event | None = None) -> bool:
    """Block until monotonic time `t_ns`; return False at once when `stop` is set before then."""
    while (left := t_ns - now_ns()) > 0:
        if stop is None:
            sleep(left / NS_PER_S)
        elif stop.wait(left / NS_PER_S):
            return False
    return not (stop is not None and stop.is_set())
