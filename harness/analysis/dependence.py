"""How many independent observations a series in due order is worth, whose observations depend on each other."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import special

Array = np.ndarray[Any, np.dtype[Any]]

CONFIDENCE = 0.95
MAX_BATCHES = 4096
"""Longer series are summed in this many batches first: the cost of an interval stays that of a short series."""


@lru_cache(1 << 12)
def student(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Return Student's t for a two-sided interval."""
    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def effective_size(series: Array) -> int:
    """Return how many independent observations the mean of a series in due order is worth; at most its length.

    With percentiles the series is 0/1 (at or below the percentile): the spread of its mean carries over to ranks
    (Bahadur 1966).
    """
    n = len(series)
    batch = batch_size(n)
    batches = series[: n // batch * batch].reshape(-1, batch).sum(axis=1)
    mean = float(series.mean())
    single = mean * (1 - mean) if series.dtype == bool else float(series.var())
    return effective_size_of(n, mean, single, batches, np.full(len(batches), batch))


def batch_size(n: int) -> int:
    """Return how many rows of a sample of n are summed before anything else is done with them."""
    return max(1, n // MAX_BATCHES)


def effective_size_of(n: int, mean: float, single: float, sums: Array, sizes: Array) -> int:
    """Return how many independent observations the mean of n is worth, from sums over batches in due order.

    n times the variance of one observation, `single`, over the long-run variance (`long_run`). Batches need not be of
    one size: what counts is how far a batch's sum lies from what `mean` lets expect (the ratio estimator of Cochran,
    Sampling Techniques, 1977, 6.3). With few blocks Student's t replaces the normal quantile, hence the factor.
    """
    return effective_sizes_of(n, np.array([mean]), np.array([single]), sums[None], sizes)[0]


def effective_sizes_of(n: int, means: Array, singles: Array, sums: Array, sizes: Array) -> list[int]:
    """Return the same of several series over the same batches: `sums` is [series, batch]."""
    worth = [n] * len(means)
    varying = singles > 0
    if sums.shape[1] < 8 or not varying.any():
        return worth
    batch = float(sizes.mean())
    even = bool((sizes == sizes[0]).all())
    variances, blocks = long_runs(sums / batch if even else (sums - means[:, None] * sizes) / batch)
    for i in np.flatnonzero(varying).tolist():
        inflation = float(variances[i] * batch / singles[i])
        if blocks[i] < sums.shape[1]:
            inflation *= (student(max(1.0, blocks[i] - 1)) / student(np.inf)) ** 2
        if inflation > 1 + 1e-9:  # rounding is no autocorrelation
            worth[i] = max(1, math.floor(n / inflation))
    return worth


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
    variances, blocks = long_runs(series[None])
    return variances[0], blocks[0]


def long_runs(series: Array) -> tuple[list[float], list[float]]:
    """Return the same of several series of one length: [series, observation]."""
    n = series.shape[1]
    in_a_row = max(5, math.ceil(math.sqrt(math.log10(n))))
    most = min(n - 1, math.ceil(math.sqrt(n)) + in_a_row)
    centred = series - series.mean(axis=1, keepdims=True)
    covariances = _autocovariances(centred, most)
    small = np.abs(covariances[:, 1:]) < 2 * math.sqrt(math.log10(n) / n) * covariances[:, :1]
    found = [
        _long_run(*one, in_a_row) if one[1][0] > 0 else (0.0, n)
        for one in zip(centred, covariances, small, strict=True)
    ]
    return [variance for variance, _ in found], [blocks for _, blocks in found]


def _long_run(centred: Array, covariance: Array, small: Array, in_a_row: int) -> tuple[float, float]:
    """See `long_run`; `small` tells which autocorrelations, from the first on, are."""
    n, most = len(centred), len(covariance) - 1
    last = small.tobytes().find(b"\1" * in_a_row)
    last = last if last >= 0 else most - in_a_row
    lags = np.arange(1, min(2 * last, most) + 1)
    weighted = np.minimum(2 * (1 - lags / max(1, 2 * last)), 1) * covariance[1 : len(lags) + 1]
    flat_top = float(covariance[0] + 2 * weighted.sum())
    if last == 0 or flat_top <= 0:
        return float(covariance[0]), n
    chosen = (2 * (2 * (lags * weighted).sum()) ** 2 / (4 / 3 * flat_top**2) * n) ** (1 / 3)
    block = min(max(2 * math.ceil(chosen), 1), n // 3)
    sums = np.zeros(n + 1)
    centred.cumsum(out=sums[1:])
    means = (sums[block:] - sums[:-block]) / block
    return max(flat_top, float((means**2).mean()) * block), n / block


def _autocovariances(centred: Array, lags: int) -> Array:
    """Return the autocovariances of several series, [series, lag], from lag 0 on."""
    size = -(-(centred.shape[1] + lags) // 512) * 512  # what wraps round, up to `lags`, meets the zeros behind
    transform = np.fft.rfft(centred, size)
    covariances: Array = np.fft.irfft(transform * transform.conj(), size)[:, : lags + 1] / centred.shape[1]
    return covariances
