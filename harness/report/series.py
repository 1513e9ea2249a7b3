"""Series for the figures: what a recording says, bucket by bucket. Percentiles are exact in every bucket, never
averages of other percentiles; a bucket without answers is a gap (nan), never zero.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.frame import Array, Frame, Words, numbers, words
from harness.model.request import ANSWERED, BAD, UNKNOWN, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from harness.recording.reader import Recording
    from harness.report.timeline import Timeline


def percentiles_by(bucket: Array, values: Array, buckets: int, wanted: tuple[float, ...]) -> Array:
    """Return exact percentiles (Hyndman & Fan type 7), shape (len(wanted), buckets); nan where a bucket is empty."""
    found = np.full((len(wanted), buckets), np.nan)
    order = np.lexsort((values, bucket))
    ordered, sizes = values[order], np.bincount(bucket, minlength=buckets)
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
    """Requests, bucket by bucket. Times are seconds; the first three rows' bucket is the one they were due in."""

    edges: Array
    percentiles: Array
    """Response time of answered requests, seconds, shape (3, buckets): p50, p95, p99."""
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
class Rows:
    """The columns of a request table that figures need. Times in seconds, `due` after zero."""

    due: Array
    response: Array
    """Of a lost request: how long it had been waited for; nan where never sent."""
    outcome: Words


def rows(table: pa.Table, axis: Timeline) -> Rows:
    """Read the rows of a request table."""
    frame = Frame(table)
    told = frame.answered | frame.lost
    return Rows((frame.due - axis.zero_ns) / 1e9, np.where(told, frame.response / 1e9, np.nan), frame.outcome)


def _bucket(moments: Array, edges: Array) -> Array:
    """Return the bucket of each moment, -1 outside."""
    bucket = np.searchsorted(edges, moments, side="right") - 1
    return np.where((moments >= edges[0]) & (moments < edges[-1]), bucket, -1)


def _counts(bucket: Array, chosen: Array, buckets: int) -> Array:
    return np.bincount(bucket[chosen & (bucket >= 0)], minlength=buckets)


def traffic(recording: Recording, axis: Timeline) -> Traffic:
    """Return what users saw, bucket by bucket of the time requests were due."""
    every, edges = rows(recording.requests, axis), axis.edges()
    bucket, buckets = _bucket(every.due, edges), len(edges) - 1
    told = (bucket >= 0) & ~np.isnan(every.response)
    return Traffic(
        edges,
        percentiles_by(bucket[told], every.response[told], buckets, (50, 95, 99)),
        _counts(bucket, every.outcome.among(BAD), buckets),
        _counts(bucket, every.outcome.among([Outcome.DEGRADED]), buckets),
        _counts(bucket, every.outcome.among([Outcome.LOST, Outcome.DROPPED]), buckets),
        _counts(bucket, every.outcome.among(ANSWERED), buckets),
    )


def sparks(recording: Recording, axis: Timeline, column: str, buckets: int = 60) -> dict[str, Array]:
    """Return p95 of response time (seconds) of each word of `column`, in `buckets` equal buckets of the run."""
    if not recording.requests.num_rows:
        return {}
    every, edges = rows(recording.requests, axis), axis.edges(buckets)
    names = words(recording.requests, column)
    bucket = _bucket(every.due, edges)
    found = {}
    for code, name in enumerate(names.words):
        mine = (names.codes == code) & (bucket >= 0) & ~np.isnan(every.response)
        if mine.any():
            found[name] = percentiles_by(bucket[mine], every.response[mine], buckets, (95,))[0]
    return found


def distributions(recording: Recording, axis: Timeline) -> dict[str, Array]:
    """Return sorted response times (seconds) of the healthy phase and of requests due in each kind of fault."""
    if not recording.requests.num_rows:
        return {}
    every = rows(recording.requests, axis)
    told = ~np.isnan(every.response)
    stretches: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for span in axis.phases:
        if span.name in ("baseline", "steady"):
            stretches[span.name].append((span.begin, span.end))
    for span in axis.faults:
        stretches[span.name].append((span.begin, span.end))
    found = {}
    for name, parts in stretches.items():
        inside = np.zeros(len(every.due), bool)
        for begin, end in parts:
            inside |= (every.due >= begin) & (every.due < end)
        if (inside & told).any():
            found[name] = np.sort(every.response[inside & told])
    return found


@dataclass(frozen=True)
class Shares:
    """Answers by who gave them, bucket by bucket; `from_ledger` tells whether providers' own ledgers say so."""

    edges: Array
    answers: dict[str, Array]
    from_ledger: bool


def shares(recording: Recording, axis: Timeline) -> Shares:
    """Count answers by provider: upstreams by their ledgers, cache and local (which have none) by the answers."""
    edges = axis.edges()
    buckets = len(edges) - 1
    answers: dict[str, Array] = {}
    ledger = recording.ledger
    requests = recording.requests
    if ledger.num_rows:
        upstream = words(ledger, "upstream")
        bucket = _bucket((numbers(ledger, "answered_ns") - axis.zero_ns) / 1e9, edges)
        whole = words(ledger, "status").among(["ok"])
        called_by = numbers(ledger, "request_id")
        if (called_by != UNKNOWN).any():  # the canary's calls are no answers to users
            whole &= np.isin(called_by, numbers(requests, "request_id"))
        answers = {n: _counts(bucket, whole & (upstream.codes == i), buckets) for i, n in enumerate(upstream.words)}
    if requests.num_rows:
        provider = words(requests, "provider")
        bucket = _bucket((numbers(requests, "end_ns") - axis.zero_ns) / 1e9, edges)
        hits = numbers(requests, "cache_hits")
        for i, name in enumerate(provider.words):
            for part in filter(None, name.split("+")):
                if ledger.num_rows and part in answers and part not in ("cache", "local"):
                    continue  # its ledger has spoken
                chosen = (provider.codes == i) & (bucket >= 0)
                weight = np.maximum(hits, 1) if part == "cache" else np.ones(len(hits))
                counted = np.bincount(bucket[chosen], weight[chosen], minlength=buckets)
                answers[part] = answers.get(part, np.zeros(buckets)) + counted
    return Shares(edges, {n: a for n, a in answers.items() if a.sum()}, bool(ledger.num_rows))


@dataclass(frozen=True)
class Resource:
    """One resource of one process or container over the run."""

    source: str
    metric: str
    seconds: Array
    values: Array

    @property
    def owner(self) -> str:
        """Whose it is, in words; a worker is named as what it is: the instrument, not the system under test."""
        kind, _, name = self.source.partition(":")
        return f"load generator {name}" if kind == "worker" else name


def resources(recording: Recording, axis: Timeline, wanted: Iterable[str]) -> list[Resource]:
    """Return the sampled series named `wanted` of every process and container, thinned to a point a bucket."""
    table = recording.samples
    if not table.num_rows:
        return []
    source, metric = words(table, "source"), words(table, "metric")
    moments = (numbers(table, "t_ns") - axis.zero_ns) / 1e9
    values, edges = numbers(table, "value"), axis.edges()
    found = []
    for j, name in enumerate(metric.words):
        for i, owner in enumerate(source.words):
            mine = (source.codes == i) & (metric.codes == j)
            if name not in wanted or ":" not in owner or not mine.any():
                continue
            bucket = _bucket(moments[mine], edges)
            inside = bucket >= 0
            if inside.any():
                tops = percentiles_by(bucket[inside], values[mine][inside], len(edges) - 1, (100,))[0]
                full = ~np.isnan(tops)
                found.append(Resource(owner, name, ((edges[:-1] + edges[1:]) / 2)[full], tops[full]))
    return sorted(found, key=lambda r: (r.metric, r.source))
