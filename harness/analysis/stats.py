"""Numbers with their uncertainty: percentiles, means and shares of a sample, and claims from a few outages.

Nothing here knows what is measured. Samples are in due order, because that order is what reveals autocorrelation.
Intervals are two-sided and 95 % unless said otherwise; a side the sample cannot bound is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from scipy import special

from harness.analysis.dependence import CONFIDENCE, cluster_size, effective_size, student
from harness.model.findings import Estimate, Percentiles

if TYPE_CHECKING:
    from collections.abc import Iterable

Array = np.ndarray[Any, np.dtype[Any]]

NS_PER_MS = 1e6
CLAIM_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""The claims a report counts towards."""
SURELY_BOUND = 10
"""So many observations expected on both sides of a quantile bound it: none on one has a chance of exp(-10)."""
MAX_TRIALS = 100_000
"""More outages than anybody will ever run: a claim that needs more is out of reach."""


class Observed(Protocol):
    """What percentiles and means are read from: an array (`Times`), or a scan (`analysis.orders.Sample`)."""

    def __len__(self) -> int: ...

    @property
    def lost(self) -> int:
        """Observations whose true time is longer than the one given."""

    @property
    def unit(self) -> float:
        """What one unit of the published figures is in values: of times a millisecond, of anything else 1."""

    @property
    def observed(self) -> str:
        """What `worth` and `seen` count."""

    def at(self, rank: int) -> float:
        """Return the value with so many (0-based) below it in order (times in ns)."""

    def known_at(self, rank: int) -> float:
        """Return the same among values that are not lost, which lie above them all as far as anybody knows."""

    def worth(self, value: float) -> int:
        """Return how many independent observations the share at or below `value` is worth."""

    def seen(self, percent: float) -> int:
        """Return how many observations a percentile rests on."""

    def moments(self) -> tuple[float, float, int]:
        """Return mean, standard deviation, and how many independent observations that mean is worth."""


@dataclass(frozen=True)
class Times:
    """A sample of times, ns, in due order. Where `marked` is set, the true time is longer than the one given."""

    values: Array
    marked: Array
    unit: float = NS_PER_MS
    """What one unit of the published figures is in `values`: of times a millisecond, of anything else 1."""

    observed: ClassVar[str] = "requests"
    """What `worth` counts."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def lost(self) -> int:
        """How many are marked."""
        return int(self.marked.sum())

    @cached_property
    def _ordered(self) -> Array:
        return np.sort(self.values)

    @cached_property
    def _known(self) -> Array:
        return np.sort(self.values[~self.marked]) if self.lost else self._ordered

    def at(self, rank: int) -> float:
        """Return the value with so many (0-based) below it in order."""
        value: float = self._ordered[rank].item()
        return value

    def known_at(self, rank: int) -> float:
        """Return the same without the marked ones."""
        value: float = self._known[rank].item()
        return value

    def worth(self, value: float) -> int:
        """Return how many independent observations the share at or below `value` is worth."""
        return self._worth(self.values <= value)

    def seen(self, percent: float) -> int:  # noqa: ARG002 - of other samples it depends on it
        """Return how many observations a percentile rests on."""
        return len(self)

    def _worth(self, series: Array) -> int:
        """Return how many independent observations the mean of `series`, which has a value for each time, is worth."""
        return effective_size(series)

    def moments(self) -> tuple[float, float, int]:
        """Return mean, standard deviation, and how many independent observations that mean is worth."""
        deviation = float(self.values.std(ddof=1)) if len(self) > 1 else 0.0
        return float(self.values.mean()), deviation, self._worth(self.values)


@dataclass(frozen=True)
class Gaps(Times):
    """Times that come in clusters, as the gaps between the tokens of one stream: `sizes` of the clusters, in due order.

    What one stream does to one gap it does to the next, so the stream is what counts, not the gap (`cluster_size`).
    """

    sizes: Array = field(default_factory=lambda: np.zeros(0, np.int64))

    observed: ClassVar[str] = "independent gaps"

    def _worth(self, series: Array) -> int:
        return cluster_size(series, self.sizes)

    def seen(self, percent: float) -> int:
        """See `Times`: at least as many as there are clusters, as every request counts there, correlated or not."""
        worth = self.worth(percentile(self, percent)) if len(self) else 0
        return max(worth, len(self.sizes))


@dataclass(frozen=True)
class Share:
    """`hits` of `n`; `unknown` more could have been either."""

    hits: int
    n: int
    unknown: int = 0


# --- percentiles and means -------------------------------------------------------------------------------------------


def percentile_ms(times: Observed, percent: float) -> Estimate:
    """Return the exact percentile of `times` with its interval, ms (of what is no time: in its `unit`).

    The value is numpy's on the raw ns: ``linear``, type 7 of Hyndman & Fan (1996). The interval lies between order
    statistics and assumes no distribution (David & Nagaraja, Order Statistics, 7.1); it is widened to that of as many
    independent observations as the series is worth (`effective_size`), within the sample, as a bootstrap's would be.
    A lost request counts with the time waited for the value and the lower side, and as endless for the upper side.
    """
    n = len(times)
    if n == 0:
        return Estimate(value=None, low=None, high=None, n=0)
    value, unit = percentile(times, percent), times.unit
    low, high = interval_ranks(n, times.worth(value), percent / 100)
    return Estimate(
        value=value / unit,
        low=None if low is None else min(value, float(times.at(low - 1))) / unit,
        high=None if high is None or high > n - times.lost else max(value, float(times.known_at(high - 1))) / unit,
        n=n,
    )


def percentile(times: Observed, percent: float) -> float:
    """Return `numpy.percentile` of a sample, to the last bit, from its order statistics."""
    below, weight = place(len(times), percent)
    return _between(times.at(below), times.at(min(below + 1, len(times) - 1)), weight)


def percentiles(values: Array, percents: Iterable[float]) -> list[float]:
    """Return the same of plain values, for a few percents of many values: a fifth of the time that a sort takes.

    The values are left in another order.
    """
    places = [place(len(values), percent) for percent in percents]
    next_to: dict[int, tuple[float, float]] = {}
    rest = values
    for below in sorted({below for below, _ in places}, reverse=True):
        rest.partition(below)
        later = rest[below + 1 :]
        next_to[below] = rest[below], later.min() if len(later) else values[min(below + 1, len(values) - 1)]
        rest = rest[:below]
    return [_between(*next_to[below], weight) for below, weight in places]


def place(n: int, percent: float) -> tuple[int, float]:
    """Return the rank (0-based) below the place of a percentile among n, and how far behind that it lies."""
    exact = (n - 1) * (percent / 100)
    below = math.floor(exact)
    return below, exact - below


def _between(first: float, second: float, weight: float) -> float:
    """Interpolate as numpy does: from the nearer end, so that rounding cannot leave the two."""
    step = float(second - first)
    return float(first) + step * weight if weight < 0.5 else float(first) + step - step * (1 - weight)


@lru_cache(1 << 12)
def interval_ranks(n: int, worth: int, share: float) -> tuple[int | None, int | None]:
    """Return the ranks between which a quantile of n observations lies that are worth fewer."""
    low, high = rank_interval(worth, share)
    ranks = max(1, math.floor((low or 0) * n / worth)), min(n, math.ceil((high or worth) * n / worth))
    if n * min(share, 1 - share) >= SURELY_BOUND:
        return ranks
    plain = rank_interval(n, share)
    return None if plain[0] is None else ranks[0], None if plain[1] is None else ranks[1]


def percentiles_ms(times: Observed) -> Percentiles:
    """Return p50, p95 and p99 of `times`, ms."""
    return Percentiles(p50=percentile_ms(times, 50), p95=percentile_ms(times, 95), p99=percentile_ms(times, 99))


def rank_interval(n: int, share: float, confidence: float = CONFIDENCE) -> tuple[int | None, int | None]:
    """Return the ranks (1-based) of the order statistics between which the `share` quantile lies.

    The number of observations below the quantile is binomial(n, share): rank r is a lower bound when fewer than r lie
    below with probability at most (1 - confidence) / 2, and likewise above. None: n is too small to bound that side.
    """
    tail = (1 - confidence) / 2
    low = _binomial_quantile(tail, n, share)
    high = _binomial_quantile(1 - tail, n, share) + 1
    return (low if low >= 1 else None), (high if high <= n else None)


def _binomial_quantile(probability: float, n: int, share: float) -> int:
    """Smallest k with P(binomial(n, share) <= k) >= probability; scipy.stats does the same, a hundred times slower."""
    k = math.ceil(special.bdtrik(probability, n, share))
    return k - 1 if k >= 1 and special.bdtr(k - 1, n, share) >= probability else k


def ratio_estimate(spent: Array, gained: Array, times: Array | None = None) -> Estimate:
    """Return what was spent per unit gained, both given per request, with Student's interval; `n` counts units.

    `times` says how many requests each entry stands for (else one). The variance of a ratio of sums is that of its
    residuals (Cochran, Sampling Techniques, 1977, 6.3). No interval for fewer than two requests; no value without gain.
    """
    times = np.ones(len(spent), np.int64) if times is None else times
    n, gain = int(times.sum()), float((times * gained).sum())
    if not gain:
        return Estimate(value=None, low=None, high=None, n=0)
    value = float((times * spent).sum()) / gain
    if n < 2:
        return Estimate(value=value, low=None, high=None, n=round(gain))
    residuals = spent - value * gained
    variance = float((times * (residuals - (times * residuals).sum() / n) ** 2).sum()) / (n - 1)
    half = student(n - 1) * math.sqrt(n * variance) / gain
    return Estimate(value=value, low=max(0.0, value - half), high=value + half, n=round(gain))


def mean_ms(times: Observed) -> Estimate:
    """Return the mean of `times` with Student's interval for as many observations as the series is worth.

    Ms; of what is no time, in its `unit`.
    """
    n, unit = len(times), times.unit
    if n == 0:
        return Estimate(value=None, low=None, high=None, n=0)
    mean, deviation, worth = times.moments()
    if worth < 2:
        return Estimate(value=mean / unit, low=None, high=None, n=n)
    half = student(worth - 1) * deviation / math.sqrt(worth)
    return Estimate(value=mean / unit, low=(mean - half) / unit, high=None if times.lost else (mean + half) / unit, n=n)


# --- shares and claims -----------------------------------------------------------------------------------------------


def wilson(hits: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's (1927) score interval for a share; (0, 1) without observations. Counts of observations that
    depend on each other are what they are worth, which need not be whole."""
    if n == 0:
        return 0.0, 1.0
    z2 = float(special.ndtri((1 + confidence) / 2)) ** 2
    share = hits / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(share * (1 - share) * z2 / n + z2 * z2 / (4 * n * n)) / (1 + z2 / n)
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == n else centre + half)


def share_estimate(share: Share) -> Estimate:
    """Return a share with Wilson's interval, wide enough for whatever the unknown ones were."""
    total = share.n + share.unknown
    if total == 0:
        return Estimate(value=None, low=None, high=None, n=0)
    low, high = wilson(share.hits, total)[0], wilson(share.hits + share.unknown, total)[1]
    return Estimate(value=share.hits / share.n if share.n else None, low=low, high=high, n=share.n)


def at_least(successes: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the share that n trials support at least: the exact one-sided lower bound (Clopper & Pearson 1934)."""
    return float(special.betaincinv(successes, trials - successes + 1, 1 - confidence)) if successes else 0.0


def at_most(successes: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the exact one-sided upper bound of the share (Clopper & Pearson 1934)."""
    return float(special.betaincinv(successes + 1, trials - successes, confidence)) if successes < trials else 1.0


def more_successes(successes: int, trials: int, share: float, confidence: float = CONFIDENCE) -> int | None:
    """Return how many further successes in a row support `share`; None when more than `MAX_TRIALS`."""
    low, high = -1, MAX_TRIALS
    if at_least(successes + high, trials + high, confidence) < share:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if at_least(successes + middle, trials + middle, confidence) >= share:
            high = middle
        else:
            low = middle
    return high


def binom_quantile(trials: Array, share: float, confidence: float = CONFIDENCE) -> Array:
    """Return, for each number of trials, how many successes are not exceeded with `confidence` at this true share."""
    quantile: Array = np.ceil(np.maximum(special.bdtrik(confidence, np.maximum(trials, 1), share), 0) - 1e-9)
    return quantile


def needed_for(percent: float) -> int:
    """Return how many observations a percentile needs before a threshold on it can pass.

    Enough to bound its interval on both sides (Hahn & Meeker 1991, 5.2), and from p99 on (p1 downwards) 20 beyond it as
    well: about 2,000 for a p99 (`methods.md`, Percentiles).
    """
    tail = min(percent / 100, 1 - percent / 100)
    bounded = math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log1p(-tail) - 1e-6)
    return max(bounded, math.ceil(20 / tail - 1e-6)) if percent >= 99 or percent <= 1 else bounded
