"""What users saw, for the figures: read off a recording of any size in one pass, in due order.

Percentiles are exact in every bucket, never averages of other percentiles; a bucket without answers is a gap (nan),
never zero.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.buckets import FINE, fine_bucket, middle
from harness.analysis.by_bucket import ByBucket, bucket_of
from harness.clock import NS_PER_S
from harness.model.request import ANSWERED, BAD, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.analysis.frame import Array, Frame
    from harness.analysis.scan import Scan
    from harness.report.timeline import Timeline

SPARK_BUCKETS = 60
EXACT = 1 << 20
"""Distributions of more answers are drawn from buckets of them."""
_PERCENTS = (50.0, 95.0, 99.0)


def percentiles_by(bucket: Array, values: Array, buckets: int, wanted: tuple[float, ...]) -> Array:
    """Return exact percentiles (Hyndman & Fan type 7), shape (len(wanted), buckets); nan where a bucket is empty."""
    ascending = np.argsort(values)
    return _percentiles(bucket[ascending], values[ascending], buckets, wanted)


def _percentiles(bucket: Array, values: Array, buckets: int, wanted: tuple[float, ...]) -> Array:
    """Return the same of values in ascending order."""
    found = np.full((len(wanted), buckets), np.nan)
    codes = bucket.astype(np.uint16) if buckets < 1 << 16 else bucket  # sorted by their digits, which is linear
    ordered, sizes = values[np.argsort(codes, kind="stable")], np.bincount(bucket, minlength=buckets)
    ends = np.cumsum(sizes)
    full = sizes > 0
    for row, share in enumerate(wanted):
        rank = (sizes[full] - 1) * share / 100
        below = np.floor(rank).astype(np.int64)
        first = (ends - sizes)[full] + below
        second = np.minimum(first + 1, ends[full] - 1)
        found[row, full] = ordered[first] + (ordered[second] - ordered[first]) * (rank - below)
    return found


@dataclass(frozen=True)
class Traffic:
    """Requests, bucket by bucket of the time they were due. Times are seconds."""

    edges: Array
    percentiles: Array
    """Response time of answered and lost requests, seconds, shape (3, buckets): p50, p95, p99."""
    bad: Array
    """Failed and timed-out requests."""
    degraded: Array
    unsent: Array
    """Lost and dropped requests."""
    answered: Array

    @property
    def middles(self) -> Array:
        """Middle of each bucket, seconds after zero."""
        middles: Array = (self.edges[:-1] + self.edges[1:]) / 2
        return middles


@dataclass(frozen=True)
class Seen:
    """What users saw."""

    traffic: Traffic
    sparks: dict[str, dict[str, Array]]
    """Column -> word -> p95 of response time, seconds, in `SPARK_BUCKETS` equal buckets of the run."""
    distributions: dict[str, Array]
    """Ascending response times, seconds, of the healthy phase and of requests due in each kind of fault; infinite for
    those that were never answered."""
    answers: dict[str, Array]
    """What the answers say gave them -> how many, bucket by bucket of the time they came."""


def seen(load: Scan, axis: Timeline, columns: Iterable[str]) -> Seen:
    """Read everything in one pass; `columns` are those of `sparks`."""
    traffic, sparks = _Traffic(load, axis), _Sparks(load, axis, columns)
    spread, answers = _Spread(axis), _Answers(load, axis)
    for frame in load.blocks():
        told = frame.answered | frame.lost
        due = (frame.due - axis.zero_ns) / NS_PER_S
        response = frame.response / NS_PER_S
        traffic.add(frame, due, told, response)
        sparks.add(frame.kind[told], due[told], response[told])
        spread.add(due[told], np.where(frame.lost, np.inf, response)[told])
        answers.add(frame)
    return Seen(traffic.found(), sparks.found(), spread.found(), answers.found())


class _Traffic:
    def __init__(self, load: Scan, axis: Timeline) -> None:
        self._edges = axis.edges()
        self._buckets = len(self._edges) - 1
        self._times = ByBucket(self._edges)
        self._percentiles = np.full((len(_PERCENTS), self._buckets), np.nan)
        outcome = load.kinds.words("outcome")
        groups = (BAD, (Outcome.DEGRADED,), (Outcome.LOST, Outcome.DROPPED), ANSWERED)
        self._chosen = [outcome.among(group) for group in groups]
        self._counts = np.zeros((len(groups), self._buckets), np.int64)

    def add(self, frame: Frame, due: Array, told: Array, response: Array) -> None:
        bucket = bucket_of(due, self._edges)
        inside = bucket >= 0
        for number, chosen in enumerate(self._chosen):
            self._counts[number] += np.bincount(bucket[inside & chosen.take(frame.kind)], minlength=self._buckets)
        for number, (times,) in self._times.add(due[told], response[told]):
            self._take(number, times)

    def _take(self, number: int, times: Array) -> None:
        self._percentiles[:, number] = np.percentile(times, _PERCENTS)

    def found(self) -> Traffic:
        for number, (times,) in self._times.rest():
            self._take(number, times)
        bad, degraded, unsent, answered = self._counts
        return Traffic(self._edges, self._percentiles, bad, degraded, unsent, answered)


class _Sparks:
    def __init__(self, load: Scan, axis: Timeline, columns: Iterable[str]) -> None:
        self._rows = ByBucket(axis.edges(SPARK_BUCKETS))
        self._words = {column: load.kinds.words(column) for column in columns}
        self._p95 = {
            column: np.full((len(words.words), SPARK_BUCKETS), np.nan) for column, words in self._words.items()
        }

    def add(self, kind: Array, due: Array, response: Array) -> None:
        for number, (kinds, times) in self._rows.add(due, kind, response):
            self._take(number, kinds, times)

    def _take(self, number: int, kind: Array, times: Array) -> None:
        ascending = np.argsort(times)
        kind, times = kind[ascending], times[ascending]
        for column, words in self._words.items():
            found = _percentiles(words.codes.take(kind), times, len(words.words), (95,))
            self._p95[column][:, number] = found[0]

    def found(self) -> dict[str, dict[str, Array]]:
        for number, (kinds, times) in self._rows.rest():
            self._take(number, kinds, times)
        return {
            column: {word: line for word, line in zip(words.words, self._p95[column], strict=True)
                     if np.isfinite(line).any()}
            for column, words in self._words.items()
        }  # fmt: skip


@dataclass
class _Times:
    """Response times of one stretch: themselves, or counts of them by bucket once there are many. Those of lost
    requests are infinite, and counted only."""

    held: list[Array] = field(default_factory=list)
    many: int = 0
    answered: int = 0
    counts: Array | None = None

    def add(self, times: Array) -> None:
        self.many += len(times)
        self.held.append(times[np.isfinite(times)])
        self.answered += len(self.held[-1])
        if self.many > EXACT:
            found = np.bincount(fine_bucket(np.concatenate(self.held)), minlength=FINE)
            self.counts = found if self.counts is None else self.counts + found
            self.held.clear()

    def found(self) -> Array:
        if self.counts is None:
            return np.append(np.sort(np.concatenate(self.held)), np.full(self.many - self.answered, np.inf))
        # Evenly spaced ranks stand for all.
        ranks = np.linspace(0, self.many - 1, EXACT // 2)
        buckets = np.searchsorted(np.cumsum(self.counts), ranks, "right")
        return np.where(ranks < self.answered, middle(np.minimum(buckets, FINE - 1)), np.inf)


class _Spread:
    def __init__(self, axis: Timeline) -> None:
        self._stretches: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for span in axis.phases:
            if span.name in ("baseline", "steady"):
                self._stretches[span.name].append((span.begin, span.end))
        for span in axis.faults:
            self._stretches[span.name].append((span.begin, span.end))
        self._times: dict[str, _Times] = defaultdict(_Times)

    def add(self, due: Array, response: Array) -> None:
        for name, parts in self._stretches.items():
            inside = np.zeros(len(due), bool)
            for begin, end in parts:
                low, high = np.searchsorted(due, (begin, end))
                inside[low:high] = True
            if inside.any():
                self._times[name].add(response[inside])

    def found(self) -> dict[str, Array]:
        return {name: self._times[name].found() for name in self._stretches if name in self._times}


class _Answers:
    def __init__(self, load: Scan, axis: Timeline) -> None:
        self._axis, self._edges = axis, axis.edges()
        self._provider = load.kinds.words("provider")
        self._hits = np.maximum(load.kinds.numbers("cache_hits"), 1)
        shape = (len(self._provider.words), len(self._edges) - 1)
        self._counts, self._cached = np.zeros(shape), np.zeros(shape)

    def add(self, frame: Frame) -> None:
        bucket = bucket_of((frame.end - self._axis.zero_ns) / NS_PER_S, self._edges)
        inside = np.flatnonzero(bucket >= 0)
        kind, size = frame.kind[inside], self._counts.size
        place = self._provider.codes.take(kind) * self._counts.shape[1] + bucket[inside]
        self._counts += np.bincount(place, minlength=size).reshape(self._counts.shape)
        self._cached += np.bincount(place, self._hits.take(kind), minlength=size).reshape(self._counts.shape)

    def found(self) -> dict[str, Array]:
        answers: dict[str, Array] = {}
        for word, counts, cached in zip(self._provider.words, self._counts, self._cached, strict=True):
            for part in filter(None, word.split("+")):
                answers[part] = answers.get(part, 0) + (cached if part == "cache" else counts)
        return answers
