"""Numbers with their uncertainty: percentiles, means and shares of a sample, and claims from a few outages.

Nothing here knows what is measured. Samples are in due order, because that order is what reveals autocorrelation.
Intervals are two-sided and 95 % unless said otherwise; a side the sample cannot bound is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy import special

from harness.model.findings import Estimate, Percentiles

Array = np.ndarray[Any, np.dtype[Any]]

CONFIDENCE = 0.95
NS_PER_MS = 1e6
CLAIM_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""The claims a report counts towards."""
MAX_BATCHES = 4096
"""Longer series are summed in this many batches first: the cost of an interval stays that of a short series."""
MAX_TRIALS = 100_000
"""More outages than anybody will ever run: a claim that needs more is out of reach."""


@dataclass(frozen=True)
class Times:
    """A sample of times, ns, in due order. Where `lost` is set, the true time is longer than the one given."""

    values: Array
    lost: Array
    unit: float = NS_PER_MS
    """What one unit of the published figures is in `values`: of times a millisecond, of anything else 1."""

    observed: ClassVar[str] = "requests"
    """What `worth` counts."""

    def __len__(self) -> int:
        return len(self.values)

    def worth(self, series: Array) -> int:
        """Return how many independent observations the mean of `series`, which has a value for each time, is worth."""
        return effective_size(series)

    def seen(self, percent: float) -> int:  # noqa: ARG002 - of other samples it depends on it
        """Return how many observations a percentile rests on."""
        return len(self)

    @cached_property
    def ordered(self) -> Array:
        """All values, sorted."""
        return np.sort(self.values)

    @cached_property
    def known(self) -> Array:
        """Sorted values without the lost ones, which lie above them all as far as anybody knows."""
        return np.sort(self.values[~self.lost]) if self.lost.any() else self.ordered


@dataclass(frozen=True)
class Gaps(Times):
    """Times that come in clusters, as the gaps between the tokens of one stream: `sizes` of the clusters, in due order.

    What one stream does to one gap it does to the next, so the stream is what counts, not the gap (`cluster_size`).
    """

    sizes: Array = field(default_factory=lambda: np.zeros(0, np.int64))

    observed: ClassVar[str] = "independent gaps"

    def worth(self, series: Array) -> int:
        """See `Times`."""
        return cluster_size(series, self.sizes)

    def seen(self, percent: float) -> int:
        """See `Times`: at least as many as there are clusters, as every request counts there, correlated or not."""
        worth = self.worth(self.values <= _type7(self.ordered, percent / 100)) if len(self) else 0
        return max(worth, len(self.sizes))


@dataclass(frozen=True)
class Share:
    """`hits` of `n`; `unknown` more could have been either."""

    hits: int
    n: int
    unknown: int = 0


# --- percentiles and means -------------------------------------------------------------------------------------------


def percentile_ms(times: Times, percent: float) -> Estimate:
    """Return the exact percentile of `times` with its interval, ms (of what is no time: in its `unit`).

    The value is numpy's on the raw ns: ``linear``, type 7 of Hyndman & Fan (1996). The interval lies between order
    statistics and assumes no distribution (David & Nagaraja, Order Statistics, 7.1); it is widened to that of as many
    independent observations as the series is worth (`effective_size`), within the sample, as a bootstrap's would be.
    A lost request counts with the time waited for the value and the lower side, and as endless for the upper side.
    """
    n = len(times)
    if n == 0:
        return Estimate(value=None, low=None, high=None, n=0)
    value = _type7(times.ordered, percent / 100)
    low, high = _ranks(n, times.worth(times.values <= value), percent / 100)
    known, unit = times.known, times.unit
    return Estimate(
        value=value / unit,
        low=None if low is None else min(value, float(times.ordered[low - 1])) / unit,
        high=None if high is None or high > len(known) else max(value, float(known[high - 1])) / unit,
        n=n,
    )


def _type7(ordered: Array, share: float) -> float:
    """`numpy.percentile` of a sorted sample, to the last bit, without its second sort."""
    place = (len(ordered) - 1) * share
    below = math.floor(place)
    weight, step = place - below, float(ordered[min(below + 1, len(ordered) - 1)] - ordered[below])
    # numpy interpolates from the nearer end, so that rounding cannot leave the two.
    return float(ordered[below]) + step * weight if weight < 0.5 else float(ordered[below]) + step - step * (1 - weight)


def _ranks(n: int, worth: int, share: float) -> tuple[int | None, int | None]:
    """Return the ranks between which a quantile of n observations lies that are worth fewer."""
    plain_low, plain_high = rank_interval(n, share)
    low, high = rank_interval(worth, share)
    return (
        None if plain_low is None else max(1, math.floor((low or 0) * n / worth)),
        None if plain_high is None else min(n, math.ceil((high or worth) * n / worth)),
    )


def percentiles_ms(times: Times) -> Percentiles:
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


def ratio_estimate(spent: Array, gained: Array) -> Estimate:
    """Return what was spent per unit gained, both given per request, with Student's interval; `n` counts units.

    The variance of a ratio of sums is that of its residuals (Cochran, Sampling Techniques, 1977, 6.3). No interval for
    fewer than two requests; no value without gain.
    """
    n, gain = len(spent), float(gained.sum())
    if not gain:
        return Estimate(value=None, low=None, high=None, n=0)
    value = float(spent.sum()) / gain
    if n < 2:
        return Estimate(value=value, low=None, high=None, n=round(gain))
    half = student(n - 1) * math.sqrt(n * float(np.var(spent - value * gained, ddof=1))) / gain
    return Estimate(value=value, low=max(0.0, value - half), high=value + half, n=round(gain))


def mean_ms(times: Times) -> Estimate:
    """Return the mean of `times` with Student's interval for as many observations as the series is worth.

    Ms; of what is no time, in its `unit`.
    """
    n = len(times)
    if n == 0:
        return Estimate(value=None, low=None, high=None, n=0)
    mean = float(times.values.mean()) / times.unit
    worth = times.worth(times.values)
    if worth < 2:
        return Estimate(value=mean, low=None, high=None, n=n)
    half = student(worth - 1) * float(times.values.std(ddof=1)) / math.sqrt(worth) / times.unit
    return Estimate(value=mean, low=mean - half, high=None if times.lost.any() else mean + half, n=n)


def student(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Return Student's t for a two-sided interval."""
    return float(special.stdtrit(freedom, (1 + confidence) / 2))


# --- autocorrelation -------------------------------------------------------------------------------------------------


def effective_size(series: Array) -> int:
    """Return how many independent observations the mean of a series in due order is worth; at most its length.

    n times the variance of one observation over the long-run variance (`long_run`). With percentiles the series is
    0/1 (at or below the percentile): the spread of its mean carries over to ranks (Bahadur 1966). With few blocks
    Student's t replaces the normal quantile, hence the factor.
    """
    n = len(series)
    batch = max(1, n // MAX_BATCHES)
    batches = series[: n // batch * batch].reshape(-1, batch).sum(axis=1) / batch
    mean = float(series.mean())
    single = mean * (1 - mean) if series.dtype == bool else float(series.var())
    if len(batches) < 8 or single <= 0:
        return n
    variance, blocks = long_run(batches)
    inflation = variance * batch / single
    if blocks < len(batches):
        inflation *= (student(max(1.0, blocks - 1)) / student(np.inf)) ** 2
    return max(1, math.floor(n / inflation)) if inflation > 1 + 1e-9 else n  # rounding is no autocorrelation


def cluster_size(series: Array, sizes: Array) -> int:
    """Return how many independent observations the mean of a series is worth that comes in clusters of `sizes`.

    The mean is a ratio, of the clusters' sums to their sizes; its variance is that of the clusters' residuals from it
    (Cochran, Sampling Techniques, 1977, 9A), long-run (`long_run`), because clusters in due order may be correlated as
    well. With percentiles the series is 0/1 and the interval Woodruff's (JASA 47, 1952). Student's factor as in
    `effective_size`, for as many clusters (or blocks of them) as there are. At most the length of the series.
    """
    n, clusters = len(series), len(sizes)
    if clusters < 2:
        return min(n, 1)
    mean, single = float(series.mean()), float(series.var())
    if single <= 0:
        return clusters
    sums = np.add.reduceat(series.astype(np.float64), np.cumsum(sizes) - sizes)
    residuals = sums - mean * sizes
    batch = max(1, clusters // MAX_BATCHES)
    batches = residuals[: clusters // batch * batch].reshape(-1, batch).sum(axis=1)
    if len(batches) < 8:
        variance, blocks = float(batches.var(ddof=1)), float(len(batches))
    else:
        variance, blocks = long_run(batches)
    variance *= (student(max(1.0, blocks - 1)) / student(np.inf)) ** 2 / batch
    if variance <= 0:
        return clusters
    return max(1, min(n, math.floor(single * n * n / (clusters * variance))))


def long_run(series: Array) -> tuple[float, float]:
    """Return the long-run variance of a series (n times that of its mean), and the number of blocks it rests on.

    It is the variance of the moving-block bootstrap (Kuensch 1989), which for a mean has a closed form: no draws are
    made. Blocks are twice as long as Politis & White (2004, corrected by Patton et al. 2009) choose, because theirs
    serve the variance's error, not coverage, and never below the flat-top estimate their choice rests on. A series
    whose first autocorrelations all lie within 2 sqrt(log10 n / n) is taken as independent: blocks of one.
    """
    n = len(series)
    lags_in_a_row = max(5, math.ceil(math.sqrt(math.log10(n))))
    most = min(n - 1, math.ceil(math.sqrt(n)) + lags_in_a_row)
    centred = series - series.mean()
    covariance = _autocovariance(centred, most)
    if covariance[0] <= 0:
        return 0.0, n
    small = np.abs(covariance[1:] / covariance[0]) < 2 * math.sqrt(math.log10(n) / n)
    runs = np.convolve(small, np.ones(lags_in_a_row, int), "valid") == lags_in_a_row
    last = int(np.argmax(runs)) if runs.any() else most - lags_in_a_row
    lags = np.arange(1, min(2 * last, most) + 1)
    weighted = np.clip(2 * (1 - lags / max(1, 2 * last)), 0, 1) * covariance[lags]
    flat_top = float(covariance[0] + 2 * weighted.sum())
    if last == 0 or flat_top <= 0:
        return float(covariance[0]), n
    chosen = (2 * (2 * (lags * weighted).sum()) ** 2 / (4 / 3 * flat_top**2) * n) ** (1 / 3)
    block = int(np.clip(2 * math.ceil(chosen), 1, n // 3))
    sums = np.cumsum(np.concatenate(([0.0], centred)))
    means = (sums[block:] - sums[:-block]) / block
    return max(flat_top, float((means**2).mean()) * block), n / block


def _autocovariance(centred: Array, lags: int) -> Array:
    size = 1 << (2 * len(centred) - 1).bit_length()
    transform = np.fft.rfft(centred, size)
    covariance: Array = np.fft.irfft(transform * transform.conj(), size)[: lags + 1] / len(centred)
    return covariance


# --- shares and claims -----------------------------------------------------------------------------------------------


def wilson(hits: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's (1927) score interval for a share; (0, 1) without observations."""
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
