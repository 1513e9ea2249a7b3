"""The cache's hit rate by three witnesses: the answers, the system's own metrics, the providers' ledgers.

They are made comparable by looking at the same requests: the **whole load, warm-up included, canary excluded**.
Counters cannot be read at the moment a request begins, so no witness is cut to the measured part. What is judged is: in
`measured`, `by_tenant` and `by_agent` the answers of the measured part speak alone.
The metrics counted the canary too; its lookups, which its own answers show, are taken off. What is left between
witnesses on a healthy run is requests that ran while the counters were read first or last, and requests that were
never answered (their lookups are counted by the system and shown to nobody). Across a fault the ledgers also hold
answers that the fault kept back; a lookup is never missed more than once, so they are not taken for misses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.frame import ALWAYS
from harness.analysis.scrapes import scraped
from harness.model.findings import CacheFindings, CacheWitness
from harness.model.request import UNKNOWN, Outcome

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.analysis.frame import Array, Frame, Kinds
    from harness.analysis.ledger import Calls
    from harness.analysis.orders import Orders
    from harness.analysis.timeline import Timeline
    from harness.model.target import Metrics

Witness = CacheWitness | Literal["unsupported"]


def cache_findings(
    orders: Orders,
    kinds: Kinds,
    canary: Frame,
    calls: Calls,
    samples: pa.Table,
    metrics: Metrics | None,
    when: Timeline,
) -> CacheFindings:
    """Return the hit rate by every witness there is, and by group as the answers claim."""
    everything = orders.counts([ALWAYS])
    measured = orders.counts([(when.zero_ns, when.end_ns)])
    shown = (everything > 0) & (kinds.numbers("cache_lookups") >= 0)
    return CacheFindings(
        answers=_by_answers(kinds, everything) if shown.any() else "unsupported",
        metrics=_by_metrics(canary, samples, metrics),
        ledger=_by_ledger(kinds, everything, canary, calls),
        measured=_by_answers(kinds, measured) if shown.any() else "unsupported",
        by_tenant=_by_word(kinds, "tenant", measured),
        by_agent=_by_word(kinds, "agent", measured),
        by_phase=_shown(
            {phase: _by_answers(kinds, orders.counts(when.spans(phase))) for phase in dict(when.phases)},
        ),
    )


def _witness(hits: int, lookups: int) -> CacheWitness:
    return CacheWitness(hit_rate=hits / lookups if lookups else None, hits=hits, n=lookups)


def _shown(witnesses: dict[str, CacheWitness]) -> dict[str, CacheWitness]:
    return {name: witness for name, witness in witnesses.items() if witness.n}


def lookups_and_hits(kinds: Kinds, counts: Array) -> tuple[int, int]:
    """Return the lookups and hits that answers show, of so many of each kind; of those that show both."""
    lookups, hits = kinds.numbers("cache_lookups").astype(np.int64), kinds.numbers("cache_hits").astype(np.int64)
    shown = counts * ((lookups != UNKNOWN) & (hits != UNKNOWN))
    return int((lookups * shown).sum()), int((hits * shown).sum())


def _by_answers(kinds: Kinds, counts: Array) -> CacheWitness:
    lookups, hits = lookups_and_hits(kinds, counts)
    return _witness(hits, lookups)


def _by_word(kinds: Kinds, column: str, counts: Array) -> dict[str, CacheWitness]:
    values = kinds.words(column)
    groups = {word: _by_answers(kinds, counts * values.among([word])) for word in values.words if word}
    return _shown(dict(sorted(groups.items())))


def by_kind(frame: Frame, chosen: Array) -> Array:
    """Return how many of the chosen requests are of each kind."""
    return np.bincount(frame.kind[chosen], minlength=len(frame.kinds))


def _by_metrics(canary: Frame, samples: pa.Table, metrics: Metrics | None) -> Witness:
    if metrics is None or metrics.cache_hits is None or metrics.cache_misses is None:
        return "unsupported"
    found = scraped(samples)
    if not found:
        return "unsupported"
    first = min(int(series.moments[0]) for each in found.values() for series in each)
    last = max(int(series.moments[-1]) for each in found.values() for series in each)
    hits, misses = (
        round(sum(series.growth(ALWAYS) for series in found.get(name.partition("{")[0], ())))
        for name in (metrics.cache_hits, metrics.cache_misses)
    )
    between = (canary.start >= first) & (canary.end >= 0) & (canary.end <= last)
    probes, probe_hits = lookups_and_hits(canary.kinds, by_kind(canary, between))
    lookups, hits = max(0, hits + misses - probes), max(0, hits - probe_hits)
    return _witness(min(hits, lookups), lookups) if lookups else "unsupported"


def _by_ledger(kinds: Kinds, counts: Array, canary: Frame, calls: Calls) -> Witness:
    """1 - provider calls / lookups, over full answers: one that fell back to local rules made lookups and no call.

    Calls are joined to requests by id; when the system passes no ids on, totals are compared, canary included.
    """
    calls_made = calls.ok & ~calls.stream
    cacheable = _cacheable(kinds)
    lookups = lookups_and_hits(kinds, counts * cacheable)[0]
    if not calls.joined:
        probes = by_kind(canary, np.ones(len(canary), bool)) * _cacheable(canary.kinds)
        lookups += lookups_and_hits(canary.kinds, probes)[0]
    if not len(calls) or not lookups:
        return "unsupported"
    if not calls.joined:
        return _witness(max(0, lookups - int(calls_made.sum())), lookups)
    called = calls.called
    chosen = cacheable.take(called.kind)
    calls_made &= calls.load_row >= 0
    answered_by = np.bincount(calls.load_row[calls_made], minlength=len(called))
    return _witness(lookups - int(np.minimum(answered_by, called.numbers("cache_lookups"))[chosen].sum()), lookups)


def _cacheable(kinds: Kinds) -> Array:
    provider = kinds.words("provider")
    local = [word for word in provider.words if "local" in word.split("+")]
    cacheable: Array = (
        kinds.words("outcome").among([Outcome.OK]) & ~provider.among(local) & (kinds.numbers("cache_lookups") > 0)
    )
    return cacheable
