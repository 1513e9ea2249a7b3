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
    frame = Frame.of(table)
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
    """One resource of one process or container over the run, a point a bucket."""

    source: str
    metric: str
    seconds: Array
    values: Array
    limit: Array | None = None
    """What it could have had at each moment; None where no limit was sampled."""
    throttled: Array | None = None
    """Of CPU with a limit: share of periods in which that held its owner back; nan where none was sampled."""

    @property
    def owner(self) -> str:
        """Whose it is, in words; a worker is named as what it is: the instrument, not the system under test."""
        kind, _, name = self.source.partition(":")
        return f"load generator {name}" if kind == "worker" else name


LIMITS = {"cpu": "cpu_limit", "memory_mib": "memory_limit_mib"}


def resources(recording: Recording, axis: Timeline, wanted: Iterable[str]) -> list[Resource]:
    """Return the sampled series named `wanted` of every process and container, thinned to the highest of a bucket."""
    table = recording.samples
    if not table.num_rows:
        return []
    source, metric = words(table, "source"), words(table, "metric")
    moments = (numbers(table, "t_ns") - axis.zero_ns) / 1e9
    values, edges = numbers(table, "value"), axis.edges()
    middles = (edges[:-1] + edges[1:]) / 2

    def sampled(owner: str, name: str) -> tuple[Array, Array]:
        mine = source.among([owner]) & metric.among([name])
        return moments[mine], values[mine]

    def tops(owner: str, name: str) -> Array:
        when, what = sampled(owner, name)
        bucket = _bucket(when, edges)
        highest: Array = percentiles_by(bucket[bucket >= 0], what[bucket >= 0], len(middles), (100,))[0]
        return highest

    found = []
    for owner in (word for word in source.words if ":" in word):
        for name in wanted:
            line = tops(owner, name)
            full = ~np.isnan(line)
            if full.any():
                limit = _in_force(*sampled(owner, LIMITS.get(name, "")), middles[full])
                throttled = tops(owner, "throttled")[full] if name == "cpu" and limit is not None else None
                found.append(Resource(owner, name, middles[full], line[full], limit, throttled))
    return sorted(found, key=lambda r: (r.metric, r.source))


def _in_force(moments: Array, values: Array, at: Array) -> Array | None:
    """Return the value said last at each moment `at` (before the first: the first); None if none ever was."""
    if not len(values):
        return None
    known: Array = values[np.maximum(np.searchsorted(moments, at, side="right") - 1, 0)]
    return known
