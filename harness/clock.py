"""The only module that reads a clock.

All times in a recording are `CLOCK_MONOTONIC` nanoseconds of the host that recorded them: the same clock in
every process of one host, immune to wall-clock steps. Wall time is written once, in the manifest, as the
`Anchor` that ties the two together. A load generator on another host keeps the time of the recording's host: its
`now_ns` is a `Reference` to that clock.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

now_ns: Callable[[], int] = time.monotonic_ns
"""Nanoseconds of CLOCK_MONOTONIC: this host's, or after `refer_to` another's."""

own_ns = time.monotonic_ns
"""Nanoseconds of this host's CLOCK_MONOTONIC, always."""

wall_s = time.time
"""Wall time in seconds since 1970, for what others want in it; no duration is measured with it."""

sleep = time.sleep
"""Block this thread for a number of seconds."""


def identity() -> str:
    """Return a word for this host's CLOCK_MONOTONIC: who reads the same one has the same word. "" where unknown.

    The boot says which clock it is, the time namespace with which offset it is shown (time_namespaces(7)).
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    space = ""
    with suppress(OSError):  # a kernel without time namespaces shows everybody the same
        space = str(Path("/proc/self/ns/time").readlink())
    return f"{boot} {space}"


class Reference:
    """Another host's CLOCK_MONOTONIC, read here: this host's plus an offset that may be corrected meanwhile.

    A correction is slewed, at most `MOST_SLEW` of the time that passes, so that what is read never goes back and a
    duration is as long as it was.
    """

    MOST_SLEW = 500e-6
    """As fast as Linux and ntpd slew."""
    _SPAN_NS = NS_PER_S

    def __init__(self, offset_ns: int) -> None:
        self._offset_ns, self._since_ns, self._slope = offset_ns, own_ns(), 0.0

    def _offset_at(self, own: int) -> int:
        return self._offset_ns + int(min(own - self._since_ns, self._SPAN_NS) * self._slope)

    @property
    def offset_ns(self) -> int:
        """What is added to this host's time now."""
        return self._offset_at(own_ns())

    def now_ns(self) -> int:
        """Return the other host's time."""
        own = own_ns()
        return own + self._offset_at(own)

    def steer(self, offset_ns: int) -> None:
        """Go towards `offset_ns` during the next second."""
        own = own_ns()
        self._offset_ns, self._since_ns = self._offset_at(own), own
        wanted = (offset_ns - self._offset_ns) / self._SPAN_NS
        self._slope = max(-self.MOST_SLEW, min(self.MOST_SLEW, wanted))


def refer_to(reference: Reference) -> None:
    """Have `now_ns` read `reference` in every module that is imported from now on."""
    global now_ns  # noqa: PLW0603 - one clock per process
    now_ns = reference.now_ns


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
