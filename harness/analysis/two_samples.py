"""Two small samples of runs: the difference of their means, its interval and level, and what so few runs can see.

Nothing here knows what is measured. Values are on a scale where differences add up (for ratios: logarithms), and a
positive difference means that the second sample is worse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import special

from harness.analysis.dependence import CONFIDENCE, Array

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = (1 - CONFIDENCE) / 2
"""Of a one-sided test that agrees with a two-sided 95 % interval."""
POWER = 0.9
FEWEST_RUNS = 5
"""Of each side, for a verdict at the 5 % level (`methods.md`, Comparing with a baseline)."""
MOST_RUNS = 100
"""More runs than anybody waits for: a question that needs more is out of reach."""
_PILOT = 0.8
"""How sure it shall be that the spread is not larger than planned with (Browne, Statistics in Medicine 14, 1995)."""


@dataclass(frozen=True)
class Contrast:
    """The difference of two means, its standard error and the degrees of freedom that rests on."""

    shift: float
    error: float
    freedom: float

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return Student's interval."""
        if self.error == 0:
            return self.shift, self.shift
        half = float(special.stdtrit(self.freedom, (1 + confidence) / 2)) * self.error
        return self.shift - half, self.shift + half

    def above(self, limit: float) -> float:
        """Return the p-value of "the true difference is not above `limit`" (one-sided)."""
        if self.error == 0:
            return 0.0 if self.shift > limit else 1.0
        return float(special.stdtr(self.freedom, -(self.shift - limit) / self.error))

    @property
    def other_than_none(self) -> float:
        """The p-value of "there is no difference" (two-sided)."""
        if self.error == 0:
            return 0.0 if self.shift else 1.0
        return float(2 * special.stdtr(self.freedom, -abs(self.shift) / self.error))

    @property
    def detectable(self) -> float:
        """The smallest true difference that is told from none with `POWER`."""
        tails = special.stdtrit(self.freedom, 1 - LEVEL) + special.stdtrit(self.freedom, POWER)
        return float(tails) * self.error


@dataclass(frozen=True)
class Pair:
    """Two samples; together at least three values, so that a spread can be seen."""

    base: Array
    candidate: Array

    matched: ClassVar[bool] = False

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the pooled spread."""
        return len(self.base) + len(self.candidate) - 2

    @cached_property
    def spread(self) -> float:
        """The pooled standard deviation from run to run."""
        squares = sum(float(((s - s.mean()) ** 2).sum()) for s in (self.base, self.candidate))
        return math.sqrt(squares / self.freedom)

    def contrast(self, floor: float = 0.0) -> Contrast:
        """Return the difference of the means with its standard error.

        `floor` is a variance of the difference that is known from elsewhere (of counts: binomial); where the runs by
        chance show less, it counts.
        """
        variance, freedom = self._variance()
        if floor > variance:
            variance, freedom = floor, math.inf
        return Contrast(float(self.candidate.mean() - self.base.mean()), math.sqrt(variance), freedom)

    def _variance(self) -> tuple[float, float]:
        """Return the variance of the difference and its degrees of freedom, by Welch (1947); a side with one run is
        taken to spread as the other."""
        sizes = len(self.base), len(self.candidate)
        if min(sizes) < 2:
            return self.spread**2 * (1 / sizes[0] + 1 / sizes[1]), float(self.freedom)
        parts = [float(s.var(ddof=1)) / len(s) for s in (self.base, self.candidate)]
        variance = sum(parts)
        weights = sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
        return variance, variance**2 / weights if weights > 0 else float(self.freedom)

    def shift(self) -> tuple[float, float | None, float | None]:
        """Return the Hodges-Lehmann shift with its exact 95 % interval (None: so few values have none)."""
        return hodges_lehmann(self.base, self.candidate)


@dataclass(frozen=True)
class Matched(Pair):
    """Two samples whose values belong together, the first of one to the first of the other.

    What both values of a match share (the questions asked, the state of the host in that quarter of an hour) cancels in
    their difference: with common random numbers the paired t (Law, *Simulation Modeling and Analysis*, 5th ed., 10.2,
    11.2). A value may be the mean of several runs.
    """

    runs: tuple[int, int] = (1, 1)
    """Of each side in a match."""
    matched: ClassVar[bool] = True

    @classmethod
    def of(cls, base: Array, candidate: Array, matches: int) -> Matched:
        """Return the samples of runs in the order of their matches, each of which has as many of a side."""
        sides = [side.reshape(matches, -1) for side in (base, candidate)]
        return cls(sides[0].mean(axis=1), sides[1].mean(axis=1), (sides[0].shape[1], sides[1].shape[1]))

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the differences' spread."""
        return len(self.base) - 1

    @property
    def _shares(self) -> float:
        return sum(1 / runs for runs in self.runs)

    @cached_property
    def spread(self) -> float:
        """What one run adds to the spread of a match's difference: that of single runs, were nothing shared."""
        return float((self.candidate - self.base).std(ddof=1)) / math.sqrt(self._shares)

    def _variance(self) -> tuple[float, float]:
        return self.spread**2 * self._shares / len(self.base), float(self.freedom)

    def shift(self) -> tuple[float, float | None, float | None]:
        """Return the pseudo-median of the differences with its exact 95 % interval (None: so few values have none)."""
        return pseudo_median(self.candidate - self.base)


def holm(levels: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    adjusted, highest = [0.0] * len(levels), 0.0
    for rank, index in enumerate(sorted(range(len(levels)), key=lambda i: levels[i])):
        highest = max(highest, min(1.0, (len(levels) - rank) * levels[index]))
        adjusted[index] = highest
    return adjusted


def hodges_lehmann(base: Array, candidate: Array) -> tuple[float, float | None, float | None]:
    """Return the median difference of a candidate to a base value, and its exact 95 % interval.

    Hodges & Lehmann (1963); the interval lies between ordered differences, ranked by the distribution of the
    Mann-Whitney statistic (Moses; Hollander & Wolfe 1999, 4.3). None: so few values have none at this level.
    """
    differences = np.sort(np.subtract.outer(candidate, base).ravel())
    return _middle(differences, _mann_whitney_quantile(len(base), len(candidate)))


def pseudo_median(differences: Array) -> tuple[float, float | None, float | None]:
    """Return the median mean of two differences (or of one with itself), and its exact 95 % interval.

    Hodges & Lehmann (1963); the interval lies between these means in order, ranked by the distribution of Wilcoxon's
    signed-rank statistic (Tukey; Hollander & Wolfe 1999, 3.3). None: so few values have none at this level.
    """
    means = np.sort(np.add.outer(differences, differences)[np.triu_indices(len(differences))] / 2)
    return _middle(means, _signed_rank_quantile(len(differences)))


def _middle(ordered: Array, rank: int | None) -> tuple[float, float | None, float | None]:
    """Return the median, and the values so many from either end."""
    ends = (None, None) if rank is None else (float(ordered[rank]), float(ordered[-1 - rank]))
    return float(np.median(ordered)), *ends


@cache
def _signed_rank_quantile(n: int) -> int | None:
    """Return the largest w with P(W <= w) <= `LEVEL` when nothing differs; None when not even 0 is that rare."""
    chances = np.zeros(n * (n + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, n + 1):  # which is in the sum or not
        chances[rank:] += chances[:-rank].copy()
        chances /= 2
    reached = np.flatnonzero(np.cumsum(chances) <= LEVEL)
    return int(reached[-1]) if len(reached) else None


@cache
def _mann_whitney_quantile(n: int, m: int) -> int | None:
    """Return the largest u with P(U <= u) <= `LEVEL` when nothing differs; None when not even 0 is that rare."""
    if n * m > 2500:
        u = math.floor(n * m / 2 + special.ndtri(LEVEL) * math.sqrt(n * m * (n + m + 1) / 12))
        return u if u >= 0 else None
    counts = np.zeros(n * m + 1)  # of the ways to a sum: the Gaussian binomial coefficients, factor by factor
    counts[0] = 1.0
    for i in range(1, n + 1):
        counts[m + i :] -= counts[: -(m + i)].copy() if m + i <= n * m else 0
        for u in range(i, n * m + 1):
            counts[u] += counts[u - i]
    reached = np.flatnonzero(np.cumsum(counts) / math.comb(n + m, n) <= LEVEL)
    return int(reached[-1]) if len(reached) else None


def runs_needed(
    spread: float, freedom: int, margins: Sequence[float], metrics: int, *, matched: bool = False
) -> int | None:
    """Return how many runs of each side find a difference as large as the smallest of `margins` with `POWER`.

    `spread` was seen with `freedom` degrees of freedom and may be larger in truth, so its upper limit is planned with.
    `matched` runs are compared two by two.
    `metrics` are tested at once: a single bad one must stand Holm's first step. None: more than `MOST_RUNS`.
    """
    if spread == 0:
        return FEWEST_RUNS
    likely = spread * math.sqrt(freedom / float(special.chdtri(freedom, _PILOT)))
    for runs in range(FEWEST_RUNS, MOST_RUNS + 1):
        left = runs - 1 if matched else 2 * runs - 2
        critical = float(special.stdtrit(left, 1 - LEVEL / max(1, metrics)))
        centre = min(margins) / (likely * math.sqrt(2 / runs))
        if special.nctdtr(left, centre, critical) <= 1 - POWER:
            return runs
    return None
