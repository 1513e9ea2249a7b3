"""One sample of a scan: a metric over some requests, of which a few order statistics are known exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import stats
from harness.analysis.dependence import batch_size, effective_size_of, effective_sizes_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    from harness.analysis.collecting import Collected
    from harness.analysis.frame import Array
    from harness.analysis.timeline import Span


class Sample:
    """What `stats.percentile_ms` and `stats.mean_ms` read (`stats.Observed`). Identity is what it is of."""

    unit, observed = stats.NS_PER_MS, "requests"

    def __init__(self, metric: str, spans: list[Span], kinds: Array, buckets: int, *, done: bool) -> None:
        self.metric, self.spans, self.kinds, self.done = metric, spans, kinds, done
        self.percents: set[float] = set()
        self.extremes = self.mean = False
        self.bare = True
        """Only values are wanted of the percentiles, no intervals."""
        self.constant = False
        """Every value is known to be 0."""
        self.counts = np.zeros(buckets, np.int64)
        self._n = 0
        self._so_far = self.counts
        self._held: dict[int, tuple[Array, Array | None]] = {}
        """By bucket: the values in it and how many lie up to each, in order (None: each is there once)."""
        self._at: dict[int, int] = {}
        """What was found by rank: each is asked for several times."""
        self._lost: list[Array] = []
        self._lost_counts: Array | None = None
        """As `counts`, of lost requests alone."""
        self._worth: dict[float, int] = {}
        self._sums: list[Sums] = []

    @property
    def about(self) -> Hashable:
        """What it is of: samples with the same are the same."""
        return self.metric, self.done, tuple(self.spans), self.kinds.tobytes()

    def covers(self, moments: Array) -> Array:
        """Tell whether requests due at each of some moments count."""
        covered = np.zeros(len(moments), bool)
        for begin, end in self.spans:
            covered |= (moments >= begin) & (moments < end)
        return covered

    # --- filled in by the scan ---------------------------------------------------------------------------------------

    def lose(self, values: Array, buckets: Array) -> None:
        """Take values of lost requests, which are counted as well."""
        self._lost.append(values)
        if self._lost_counts is None:
            self._lost_counts = np.zeros_like(self.counts)
        np.add.at(self._lost_counts, buckets, 1)

    def all_zero(self, n: int) -> None:
        """Take n requests, all of them of the value 0, which lies in the first bucket."""
        self.counts[0] = n
        self._held[0] = np.zeros(1, np.int64), np.full(1, n)

    def counted(self) -> None:
        """All rows were counted."""
        self.counts[-1] = 0  # rows without a value
        self._so_far = self._known_so_far = np.cumsum(self.counts)
        if self._lost_counts is not None:
            self._known_so_far = np.cumsum(self.counts - self._lost_counts)
        self.counts = self._so_far[:0]
        self._n = int(self._so_far[-1])
        self.batch = self._n + 1 if self.bare else batch_size(self._n)

    def _first_ranks(self) -> list[int]:
        """Return the ranks (0-based) that the values asked for lie at."""
        ranks = [0, self._n - 1] if self.extremes else []
        for percent in self.percents:
            below, _ = stats.place(self._n, percent)
            ranks += [below, min(below + 1, self._n - 1)]
        return ranks if self._n else []

    def first_buckets(self) -> set[int]:
        """Return the buckets that the values asked for lie in."""
        return {_bucket(self._so_far, rank) for rank in self._first_ranks()}

    def interval_buckets(self) -> set[int]:
        """Return the buckets of what bounds the intervals of the percentiles asked for."""
        buckets = set()
        for percent in self.percents if self._n and not self.bare else ():
            value = stats.percentile(self, percent)
            low, high = stats.interval_ranks(self._n, self.worth(value), percent / 100)
            buckets |= set() if low is None else {_bucket(self._so_far, low - 1)}
            if high is not None and high <= self._n - self.lost:
                buckets.add(_bucket(self._known_so_far, high - 1))
        return buckets

    def missing(self, buckets: set[int]) -> list[int]:
        """Return those of the buckets, in order, whose rows were not collected yet."""
        return sorted(buckets - self._held.keys())

    def collected(self, found: Collected, *, series: bool) -> None:
        """Take the rows of the buckets asked for, and the batches they are counted in."""
        for bucket, (values, _, weights) in found.rows.items():
            if weights is None:
                self._held[bucket] = np.sort(values), None
            else:
                order = np.argsort(values)
                self._held[bucket] = values[order], weights[order].cumsum(dtype=np.int32)
        if not series or not self._n or self.bare or not self.percents:
            return
        sizes = found.below[None]
        at_or_below = np.empty((len(self.percents), len(sizes)))
        values_of = [stats.percentile(self, percent) for percent in self.percents]
        for i, (value, percent) in enumerate(zip(values_of, self.percents, strict=True)):
            bucket = _bucket(self._so_far, stats.place(self._n, percent)[0])
            values, batches, weights = found.rows[bucket]
            under = values <= value
            in_bucket = np.bincount(batches[under], None if weights is None else weights[under], len(sizes))
            np.add(found.below[bucket], in_bucket, out=at_or_below[i])
        shares = at_or_below.sum(axis=1) / self._n
        there = np.flatnonzero(found.whole & (sizes > 0))
        sums = at_or_below.take(there, axis=1)
        worth = effective_sizes_of(self._n, shares, shares * (1 - shares), sums, sizes.take(there))
        self._worth.update(zip(values_of, worth, strict=True))

    def summed(self, parts: list[Sums]) -> None:
        """Take the sums of every part towards the mean."""
        self._sums = parts

    # --- read by the statistics --------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._n

    @property
    def lost(self) -> int:
        """How many were lost."""
        return sum(map(len, self._lost))

    def at(self, rank: int) -> int:
        """Return the value with so many (0-based) below it in order, ns."""
        if rank not in self._at:
            bucket = _bucket(self._so_far, rank)
            values, so_far = self._held[bucket]
            within = rank - _before(self._so_far, bucket)
            self._at[rank] = int(values[within if so_far is None else _bucket(so_far, within)])
        return self._at[rank]

    def known_at(self, rank: int) -> int:
        """Return the same without lost requests."""
        if not self._lost:
            return self.at(rank)
        bucket = _bucket(self._known_so_far, rank)
        values, so_far = self._held[bucket]
        known = np.ones(len(values), np.int32) if so_far is None else np.diff(so_far, prepend=0)
        for lost in np.concatenate(self._lost).tolist():
            place = int(np.searchsorted(values, lost))
            while place < len(values) and values[place] == lost:
                if known[place]:  # of equal values it does not matter which is taken away
                    known[place] -= 1
                    break
                place += 1
        return int(values[np.searchsorted(np.cumsum(known), rank - _before(self._known_so_far, bucket), "right")])

    def worth(self, value: float) -> int:
        """Return how many independent observations the share at or below a percentile asked for is worth."""
        return self._n if self.constant else self._worth[value]

    def seen(self, percent: float) -> int:  # noqa: ARG002 - of other samples it depends on it
        """Return how many observations a percentile rests on."""
        return self._n

    def moments(self) -> tuple[float, float, int]:
        """Return mean, standard deviation, and how many independent observations that mean is worth."""
        n = sum(part.n for part in self._sums)
        mean = sum(part.total for part in self._sums) / n
        spread = sum(part.spread + part.n * (part.total / part.n - mean) ** 2 for part in self._sums if part.n)
        counted = [part.whole_batches(self.batch) for part in self._sums]
        sums, sizes = (np.concatenate([pair[i] for pair in counted]) for i in (0, 1))
        worth = effective_size_of(n, 0.0, spread / n, sums - mean * sizes, sizes)
        return mean, math.sqrt(spread / (n - 1)) if n > 1 else 0.0, worth


class Sums:
    """Sums of one sample's rows of a part, in due order."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self.n, self.total, self.spread = 0, 0.0, 0.0
        """How many rows; their sum; the sum of their squared distances from their mean."""
        self._batches = np.zeros(len(sample) // sample.batch + 2)

    def add(self, kind: Array, values: Array, told: Array | None) -> None:
        """Take the next rows in due order."""
        mine = self._sample.kinds.take(kind)
        rows = values[mine if told is None else mine & told]
        if not len(rows):
            return
        batches = (self.n + np.arange(len(rows))) // self._sample.batch
        self._batches += np.bincount(batches, rows, minlength=len(self._batches))
        # Two sets of rows as one (Chan, Golub & LeVeque, The American Statistician 37, 1983).
        mean, many, before = float(rows.mean()), len(rows), self.n
        apart = mean - self.total / before if before else 0.0
        self.spread += float(((rows - mean) ** 2).sum()) + apart**2 * before * many / (before + many)
        self.total += float(rows.sum())
        self.n += many

    def whole_batches(self, batch: int) -> tuple[Array, Array]:
        """Return the sums of the batches that are full, and how many rows each has."""
        full = self.n // batch
        return self._batches[:full], np.full(full, batch)


def _bucket(so_far: Array, rank: int) -> int:
    return int(so_far.searchsorted(rank, "right"))


def _before(so_far: Array, bucket: int) -> int:
    return int(so_far[bucket - 1]) if bucket else 0
