"""Whether a level of load has come to rest, or is growing beyond all bounds. Pure: series in, a word out.

Two windows of equal length, one after the other and both up to now, are compared by their means: of the response time
of requests that ended in them, and of the number in flight. As long as a queue is still filling, the later one is
higher (Geweke, 1992, compares the means of two parts of a series in this way). What neighbours share makes the spread
of single values useless as a measure of noise; the means of batches are nearly independent (Law, Simulation Modeling
and Analysis, ch. 9), so the noise is their spread, and two windows agree within it.

A queue that grows with its response time is one that the server does not keep up with. How many may be in flight is
read off Little's law: at a rate of lambda, more than lambda times the SLO's response time in flight, in the mean, are
more than can be answered in that time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.clock import NS_PER_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

BATCHES = 5
"""Of one window."""
NOISE = 2.3
"""Standard errors of the difference: Student's t, 8 degrees of freedom, 97.5 %."""
TOLERANCE = 0.05
"""But a mean that moves by less than this share has stopped moving for our purpose."""
FEWEST = 20
"""Answers that a window needs."""
SHORTEST_WINDOW_S = 2.0
"""Rows and the generator's word come once a second."""
_RISE_OF_ONE = 1.0
"""In flight: one more or less is no rise."""
_HOPELESS = 2.0
"""So many times what the SLO allows in flight: no trend needs to be seen."""


def window_s(rate: float, shortest_s: float) -> float:
    """Return how long each of the two windows is at `rate` (1/s), seconds: half of what settling takes at the least,
    or longer where there would be too few answers in it."""
    return max(shortest_s / 2, SHORTEST_WINDOW_S, FEWEST / rate)


@dataclass(frozen=True)
class Change:
    """How a mean differs between two windows, and by how much it may without having moved."""

    before: float
    after: float
    noise: float

    @property
    def none(self) -> bool:
        """Whether the two agree within noise."""
        return abs(self.after - self.before) <= self.noise

    @property
    def up(self) -> bool:
        """Whether the later one is higher, beyond noise."""
        return self.after - self.before > self.noise


@dataclass(frozen=True)
class Level:
    """What is known of a level under way, complete up to `until_ns`. Times in monotonic ns."""

    rate: float
    width_s: float
    """Of each of the two windows (`window_s`)."""
    begin_ns: int
    until_ns: int
    ended_ns: Array
    """When each of its requests ended that has."""
    response_s: Array
    """How long it took from when it was due."""
    seen_ns: Array
    """When the number in flight was seen."""
    in_flight: Array
    dropped: int = 0
    """Requests that were due and not sent, because too many were in flight."""

    def change(self, times: Array, values: Array, least: float = 0.0) -> Change | None:
        """Return how `values` moved between the last two windows; None while there is too little of them. By `least`
        they may differ in any case."""
        width = round(self.width_s * NS_PER_S)
        first = self.until_ns - 2 * width
        if first < self.begin_ns:
            return None
        batch = (times - first) * BATCHES // width
        within = (batch >= 0) & (batch < 2 * BATCHES)
        counts = np.bincount(batch[within], minlength=2 * BATCHES)
        sums = np.bincount(batch[within], values[within], minlength=2 * BATCHES)
        halves = [sums[half][counts[half] > 0] / counts[half][counts[half] > 0] for half in _HALVES]
        if min(map(len, halves)) < 2:
            return None
        error = math.sqrt(sum(float(half.var(ddof=1)) / len(half) for half in halves))
        before, after = (float(half.mean()) for half in halves)
        return Change(before, after, max(NOISE * error, TOLERANCE * before, least))

    @cached_property
    def _changes(self) -> tuple[Change | None, Change | None]:
        return (
            self.change(self.ended_ns, self.response_s),
            self.change(self.seen_ns, self.in_flight, _RISE_OF_ONE),
        )

    @cached_property
    def at_rest(self) -> bool:
        """Whether response time and number in flight have stopped drifting."""
        response, in_flight = self._changes
        recent = self.ended_ns >= self.until_ns - round(self.width_s * NS_PER_S)
        if response is None or in_flight is None or np.count_nonzero(recent) < FEWEST / 2:
            return False
        return response.none and in_flight.none

    def saturated(self, limit_s: float) -> str:
        """Return how it shows that the system does not keep up, its SLO being `limit_s`; "" when it does not show."""
        if self.dropped:
            return f"{self.dropped} requests were due and not sent, as a rule because max_in_flight was reached"
        now, most = (int(self.in_flight[-1]) if len(self.in_flight) else 0), self.rate * limit_s
        if now > _HOPELESS * most + FEWEST:
            return f"{now} in flight, more than twice what can be answered within {limit_s:g} s at {self.rate:.4g}/s"
        response, in_flight = self._changes
        if response is None or in_flight is None or now <= most:
            return ""
        if not (response.up and in_flight.up):
            return ""
        return (
            f"{now} in flight and rising ({in_flight.before:.0f} to {in_flight.after:.0f}), and so was the response "
            f"time ({response.before:.2f} to {response.after:.2f} s)"
        )


_HALVES = (slice(0, BATCHES), slice(BATCHES, 2 * BATCHES))
