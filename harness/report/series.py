"""Series for the figures beside those of requests (`seen`): who answered, and what resources were used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.by_bucket import bucket_of
from harness.analysis.frame import Array, Frame, Words, numbers, words
from harness.model.request import UNKNOWN
from harness.report.seen import percentiles_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from harness.analysis.scan import Scan
    from harness.recording.reader import Recording
    from harness.report.timeline import Timeline


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
    return Rows((frame.due - axis.zero_ns) / 1e9, np.where(told, frame.response / 1e9, np.nan), frame.words("outcome"))


@dataclass(frozen=True)
class Shares:
    """Answers by who gave them, bucket by bucket; `from_ledger` tells whether providers' own ledgers say so."""

    edges: Array
    answers: dict[str, Array]
    from_ledger: bool


def shares(recording: Recording, load: Scan, axis: Timeline, told: Mapping[str, Array]) -> Shares:
    """Count answers by provider: upstreams by their ledgers, cache and local (which have none) by the answers.

    `told` is what the answers say (`seen.Seen.answers`).
    """
    edges = axis.edges()
    answers: dict[str, Array] = {}
    ledger = recording.ledger
    if ledger.num_rows:
        upstream = words(ledger, "upstream")
        bucket = bucket_of((numbers(ledger, "answered_ns") - axis.zero_ns) / 1e9, edges)
        whole = words(ledger, "status").among(["ok"])
        called_by = numbers(ledger, "request_id")
        if (known := called_by != UNKNOWN).any():  # the canary's calls are no answers to users
            whole &= np.isin(called_by, load.holding(np.unique(called_by[known])).numbers("request_id"))
        whole &= bucket >= 0
        answers = {
            name: np.bincount(bucket[whole & (upstream.codes == i)], minlength=len(edges) - 1)
            for i, name in enumerate(upstream.words)
        }
    for name, counts in told.items():
        if name not in answers or name in ("cache", "local"):  # of the others their ledgers have spoken
            answers[name] = answers.get(name, 0) + counts
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
        bucket = bucket_of(when, edges)
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
