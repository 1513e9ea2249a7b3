"""Which rate to try next, in a search for the highest that meets an SLO. Pure: outcomes in, the next rate out.

First the rate grows (or shrinks) by a factor until one meets the SLO and one does not; then the gap between the two is
halved, in the logarithm, until it is small enough. Each new rate lies beyond or between all those before, so a search
ends after at most log2(max / min) + log2(log 2 / log(1 + resolution)) + 2 rates. A rate that never came to rest is
tried once more, because something else may have disturbed it; what became of it the last time counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Outcome = Literal["meets", "misses", "saturated", "unsettled"]
"""What became of a level: the SLO was met; or it was not; queues grew without end; or it never came to rest."""
Reason = Literal["bracketed", "max_reached", "min_misses", "budget"]
"""Why a search ended: capacity lies between two rates; above all that could be tried; below all; or time was up."""

GROWTH = 2.0
"""The rate grows by this factor at a time: for an unbounded search no other strategy is better by more than a constant
(Bentley and Yao, 1976)."""
_DIGITS = 4


@dataclass(frozen=True)
class Tried:
    """One level that was run: 1/s, and what became of it."""

    rate: float
    outcome: Outcome
    by_generator: bool = False
    """It failed for the load generator's sake, and says nothing about the system."""


@dataclass(frozen=True)
class Found:
    """What a search has come to. Rates are 1/s."""

    meets: float | None
    """The highest that met the SLO."""
    misses: float | None
    """The lowest that did not, of those that say something about the system."""
    reason: Reason


@dataclass
class Search:
    """A search between `least` and `most` (1/s), down to a gap of `resolution` (a share).

    It begins at `least`; or at `start`, where capacity is thought to lie, and moves away from there in small steps
    that grow.
    """

    least: float
    most: float
    resolution: float
    start: float | None = None
    tried: list[Tried] = field(default_factory=list)

    @property
    def meets(self) -> float | None:
        """The highest rate that met the SLO so far."""
        return max((t.rate for t in self._latest if t.outcome == "meets"), default=None)

    @property
    def _lowest(self) -> Tried | None:
        return min((t for t in self._latest if t.outcome != "meets"), key=lambda t: t.rate, default=None)

    @property
    def _latest(self) -> Iterable[Tried]:
        return {t.rate: t for t in self.tried}.values()

    @property
    def _disturbed(self) -> float | None:
        """The rate to try once more."""
        if not self.tried or self.tried[-1].outcome != "unsettled" or self.tried[-1].by_generator:
            return None
        rate = self.tried[-1].rate
        return rate if sum(t.rate == rate for t in self.tried) == 1 else None

    @property
    def _step(self) -> float:
        if self.start is None:
            return GROWTH
        doublings = min(10, max(0, len(list(self._latest)) - 1))
        return min(GROWTH, math.pow(1 + self.resolution, 2 * 2**doublings))

    def next(self) -> float | None:
        """Return the rate to try next; None when the search is over."""
        if (again := self._disturbed) is not None:
            return again
        low, lowest = self.meets, self._lowest
        if low is None and lowest is None:
            return self.least if self.start is None else min(self.most, max(self.least, _round(self.start)))
        if lowest is None:
            assert low is not None  # noqa: S101 - one of them is there
            return None if low >= self.most else min(self.most, _round(low * self._step))
        if low is None:
            return None if lowest.rate <= self.least else max(self.least, _round(lowest.rate / self._step))
        middle = _round(math.sqrt(low * lowest.rate))
        return middle if lowest.rate > low * (1 + self.resolution) and low < middle < lowest.rate else None

    def add(self, tried: Tried) -> None:
        """Take note of what became of a level."""
        self.tried.append(tried)

    def found(self) -> Found:
        """Return what is known; `reason` is ``budget`` while there is a rate left to try."""
        low = self.meets
        high = min((t.rate for t in self._latest if t.outcome != "meets" and not t.by_generator), default=None)
        if self.next() is not None or not self.tried:
            return Found(low, high, "budget")
        if low is None:
            return Found(None, high, "min_misses")
        # Where the generator could do no more, nothing above may have been tried on the system.
        return Found(low, high, "max_reached" if high is None else "bracketed")


def _round(rate: float) -> float:
    return float(f"{rate:.{_DIGITS}g}")
