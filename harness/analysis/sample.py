"""One sample of a scan: a metric over some requests, of which a few order statistics are known exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import stats
from harness.analysis.buckets import BUCKETS, NOWHERE
from harness.analysis.dependence import batch_size, effective_size_of

if TYPE_CHECKING:
    from harness.analysis.frame import Array
    from harness.analysis.grouping import Collected
    from harness.analysis.timeline import Span


class Sample:
    """What `stats.percentile_ms` and `stats.mean_ms` read (`stats.Observed`). Identity is what it is of."""

    unit, observed = stats.NS_PER_MS, "requests"

    def __init__(self, metric: str, spans: list[Span], kinds: Array, *, done: bool) -> None:
        self.metric, self.spans, self.kinds, self.done = metric, spans, kinds, done
        self.percents: set[float] = set()
        self.extremes = self.mean = False
        self.bare = True
        """Only values are wanted of the percentiles, no intervals."""
        self.counts = np.zeros(BUCKETS, np.int64)
        self._n = 0
        self._so_far = self.counts
        self._ranges: list[tuple[int, int, Array, Array]] = []
        """First and last bucket, the values in them and how many lie up to each, in order."""
        self._lost: list[Array] = []
        self._known = self.counts.copy()
        """As `counts`, without lost requests."""
        self._worth: dict[float, int] = {}
        self._sums: list[float] = [0.0, 0.0, 0.0]
        self._batch_sums = np.zeros(0)

    def same(self, other: Sample) -> bool:
        """Tell whether another sample is of the same."""
        return (self.metric, self.done, self.spans) == (other.metric, other.done, other.spans) and np.array_equal(
            self.kinds, other.kinds
        )

    def covers(self, moment: int) -> bool:
        """Tell whether requests due at a moment count."""
        return any(begin <= moment < end for begin, end in self.spans)

    # --- filled in by the scan ---------------------------------------------------------------------------------------

    def lose(self, values: Array, buckets: Array) -> None:
        """Take values of lost requests, which are counted as well."""
        self._lost.append(values)
        np.subtract.at(self._known, buckets, 1)

    def counted(self) -> None:
        """All rows were counted."""
        self.counts[NOWHERE] = 0
        self._so_far = np.cumsum(self.counts)
        self._known_so_far = np.cumsum(self.counts + self._known)
        self._n = int(self._so_far[-1])
        self.batch = self._n + 1 if self.bare else batch_size(self._n)
        self._batch_sums = np.zeros(self._n // self.batch + 1)

    def _first_ranks(self) -> list[int]:
        """Return the ranks (0-based) that the values asked for lie at."""
        ranks = [0, self._n - 1] if self.extremes else []
        for percent in self.percents:
            below = math.floor((self._n - 1) * (percent / 100))
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

    def ranges(self, buckets: set[int]) -> list[tuple[int, int]]:
        """Return those of the buckets, as first and last, whose rows were not collected yet."""
        known = {low for low, *_ in self._ranges}
        return [(b, b) for b in sorted(buckets - known)]

    def collected(self, found: Collected, *, series: bool) -> None:
        """Take the rows of the buckets asked for, and the batches they are counted in."""
        for low, high, values, _, weights in found.ranges:
            order = np.argsort(values, kind="stable")
            self._ranges.append((low, high, values[order], np.cumsum(weights[order])))
        if not series or not self._n or self.bare:
            return
        whole = self._n // self.batch
        for percent in self.percents:
            value = stats.percentile(self, percent)
            bucket = int(np.searchsorted(self._so_far, math.floor((self._n - 1) * (percent / 100)), "right"))
            hits, sizes = found.below(bucket), found.sizes()
            for low, _, values, batches, weights in found.ranges:
                if low >= bucket:
                    under = values <= value
                    np.add.at(hits, batches[under], weights[under])
            share = float(hits.sum()) / self._n
            full = np.flatnonzero(sizes[:whole] > 0)
            single = share * (1 - share)
            self._worth[value] = effective_size_of(self._n, share, single, hits[full], sizes[full])

    def add_mean(self, kind: Array, values: Array, told: Array | None) -> None:
        """Take the next rows in due order towards the mean, where that was asked for."""
        if not self.mean:
            return
        mine = self.kinds.take(kind)
        rows = values[mine if told is None else mine & told]
        if not len(rows):
            return
        n, total, squares = self._sums
        if not n:
            self._centre = float(rows.mean())
        centred = rows - self._centre
        batches = (int(n) + np.arange(len(rows))) // self.batch
        self._batch_sums += np.bincount(batches, centred, minlength=len(self._batch_sums))
        self._sums = [n + len(rows), total + float(centred.sum()), squares + float((centred**2).sum())]

    # --- read by the statistics --------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._n

    @property
    def lost(self) -> int:
        """How many were lost."""
        return sum(map(len, self._lost))

    def at(self, rank: int) -> int:
        """Return the value with so many (0-based) below it in order, ns."""
        bucket = _bucket(self._so_far, rank)
        values, so_far = self._held(bucket)
        return int(values[np.searchsorted(so_far, rank - _before(self._so_far, bucket), "right")])

    def known_at(self, rank: int) -> int:
        """Return the same without lost requests."""
        if not self._lost:
            return self.at(rank)
        bucket = _bucket(self._known_so_far, rank)
        values, so_far = self._held(bucket)
        known = np.diff(so_far, prepend=0)
        for lost in np.concatenate(self._lost).tolist():
            place = int(np.searchsorted(values, lost))
            while place < len(values) and values[place] == lost:
                if known[place]:  # of equal values it does not matter which is taken away
                    known[place] -= 1
                    break
                place += 1
        return int(values[np.searchsorted(np.cumsum(known), rank - _before(self._known_so_far, bucket), "right")])

    def _held(self, bucket: int) -> tuple[Array, Array]:
        for low, high, values, so_far in self._ranges:
            if low <= bucket <= high:
                return values, so_far
        raise LookupError(f"bucket {bucket} was not asked for")

    def worth(self, value: float) -> int:
        """Return how many independent observations the share at or below a percentile asked for is worth."""
        return self._worth[value]

    def seen(self, percent: float) -> int:  # noqa: ARG002 - of other samples it depends on it
        """Return how many observations a percentile rests on."""
        return self._n

    def moments(self) -> tuple[float, float, int]:
        """Return mean, standard deviation, and how many independent observations that mean is worth."""
        n, total, squares = self._sums
        mean = total / n
        spread = max(0.0, squares - n * mean**2)
        sums, sizes = self._batch_sums[: int(n) // self.batch], np.full(int(n) // self.batch, self.batch)
        worth = effective_size_of(int(n), mean, spread / n, sums, sizes)
        return self._centre + mean, math.sqrt(spread / (n - 1)) if n > 1 else 0.0, worth


def _bucket(so_far: Array, rank: int) -> int:
    return int(np.searchsorted(so_far, rank, "right"))


def _before(so_far: Array, bucket: int) -> int:
    return int(so_far[bucket - 1]) if bucket else 0
