"""The cache's hit rate by three witnesses: the answers, the system's own metrics, the providers' ledgers.

They are made comparable by looking at the same requests: the **whole load, warm-up included, canary excluded**.
Counters cannot be read at the moment a request begins, so no witness is cut to the measured part; `by_phase` is.
The metrics counted the canary too; its lookups, which its own answers show, are taken off. What is left between
witnesses on a healthy run is requests that ran while the counters were read first or last, and requests that were
never answered (their lookups are counted by the system and shown to nobody). Across a fault the ledgers also hold
answers that the fault kept back; a lookup is never missed more than once, so they are not taken for misses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.frame import numbers, words
from harness.model.findings import CacheFindings, CacheWitness
from harness.model.request import UNKNOWN, Outcome

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.analysis.frame import Array, Frame
    from harness.analysis.ledger import Calls
    from harness.analysis.timeline import Timeline
    from harness.model.target import Metrics

Witness = CacheWitness | Literal["unsupported"]


def cache_findings(
    load: Frame, canary: Frame, calls: Calls, samples: pa.Table, metrics: Metrics | None, when: Timeline
) -> CacheFindings:
    """Return the hit rate by every witness there is, and by group as the answers claim."""
    everything = np.ones(len(load), bool)
    return CacheFindings(
        answers=_by_answers(load, everything) if (_lookups(load) >= 0).any() else "unsupported",
        metrics=_by_metrics(canary, samples, metrics),
        ledger=_by_ledger(load, canary, calls),
        by_tenant=_by_word(load, "tenant", load.measured(when)),
        by_agent=_by_word(load, "agent", load.measured(when)),
        by_phase=_shown(
            {phase: _by_answers(load, load.within(when.spans(phase))) for phase in dict(when.phases)},
        ),
    )


def _witness(hits: int, lookups: int) -> CacheWitness:
    return CacheWitness(hit_rate=hits / lookups if lookups else None, hits=hits, n=lookups)


def _shown(witnesses: dict[str, CacheWitness]) -> dict[str, CacheWitness]:
    return {name: witness for name, witness in witnesses.items() if witness.n}


def _lookups(frame: Frame) -> Array:
    return frame.numbers("cache_lookups")


def lookups_and_hits(frame: Frame, chosen: Array) -> tuple[int, int]:
    """Return the lookups and hits that the chosen answers show, each summed over the answers that show both."""
    lookups, hits = _lookups(frame)[chosen], frame.numbers("cache_hits")[chosen]
    shown = (lookups != UNKNOWN) & (hits != UNKNOWN)
    return int(lookups[shown].sum()), int(hits[shown].sum())


def _by_answers(load: Frame, chosen: Array) -> CacheWitness:
    lookups, hits = lookups_and_hits(load, chosen)
    return _witness(hits, lookups)


def _by_word(load: Frame, column: str, chosen: Array) -> dict[str, CacheWitness]:
    values = load.words(column)
    groups = {
        word: _by_answers(load, chosen & (values.codes == code)) for code, word in enumerate(values.words) if word
    }
    return _shown(dict(sorted(groups.items())))


def _by_metrics(canary: Frame, samples: pa.Table, metrics: Metrics | None) -> Witness:
    if metrics is None or metrics.cache_hits is None or metrics.cache_misses is None:
        return "unsupported"
    scraped = words(samples, "source").among(["metrics"])
    moments = numbers(samples, "t_ns")[scraped]
    if not len(moments):
        return "unsupported"
    metric = words(samples, "metric")
    hits, misses = (
        _increase(samples, scraped & metric.among([name.partition("{")[0]]), int(moments.min()))
        for name in (metrics.cache_hits, metrics.cache_misses)
    )
    between = (canary.start >= moments.min()) & (canary.end >= 0) & (canary.end <= moments.max())
    probes, probe_hits = lookups_and_hits(canary, between)
    lookups, hits = max(0, hits + misses - probes), max(0, hits - probe_hits)
    return _witness(min(hits, lookups), lookups) if lookups else "unsupported"


def _increase(samples: pa.Table, chosen: Array, first_scrape_ns: int) -> int:
    """Return how much a counter grew over the run, over all its label sets.

    One that was not there at the first scrape began at 0 (clients show a label set once it was used); a drop means the
    process restarted and counts from 0.
    """
    labels = words(samples, "labels")
    moments, values = numbers(samples, "t_ns"), numbers(samples, "value")
    total = 0.0
    for code in np.unique(labels.codes[chosen]):
        rows = np.flatnonzero(chosen & (labels.codes == code))
        rows = rows[np.argsort(moments[rows], kind="stable")]
        series = values[rows]
        steps = np.diff(series)
        before = 0.0 if moments[rows[0]] > first_scrape_ns else series[0]
        total += series[0] - before + np.where(steps >= 0, steps, series[1:]).sum()
    return round(total)


def _by_ledger(load: Frame, canary: Frame, calls: Calls) -> Witness:
    """1 - provider calls / lookups, over full answers: one that fell back to local rules made lookups and no call.

    Calls are joined to requests by id; when the system passes no ids on, totals are compared, canary included.
    """
    calls_made = calls.ok & ~calls.stream
    frames = (load,) if calls.joined else (load, canary)
    chosen = [_cacheable(frame) for frame in frames]
    lookups = sum(lookups_and_hits(frame, rows)[0] for frame, rows in zip(frames, chosen, strict=True))
    if not len(calls) or not lookups:
        return "unsupported"
    if not calls.joined:
        return _witness(max(0, lookups - int(calls_made.sum())), lookups)
    calls_made &= (calls.load_row >= 0) & chosen[0][calls.load_row]
    answered_by = np.bincount(calls.load_row[calls_made], minlength=len(load))
    return _witness(lookups - int(np.minimum(answered_by, _lookups(load))[chosen[0]].sum()), lookups)


def _cacheable(frame: Frame) -> Array:
    provider = frame.words("provider")
    local = [word for word in provider.words if "local" in word.split("+")]
    cacheable: Array = frame.outcome.among([Outcome.OK]) & ~provider.among(local) & (_lookups(frame) > 0)
    return cacheable
