"""How the measured part of the load went: counts, rate and times, whole and by group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.frame import Selection, overlap
from harness.analysis.stats import Share, percentiles_ms, share_estimate
from harness.clock import NS_PER_S
from harness.model.findings import Group, LoadFindings
from harness.model.request import BAD, Outcome

if TYPE_CHECKING:
    from harness.analysis.frame import Kinds
    from harness.analysis.orders import Orders
    from harness.analysis.sample import Sample
    from harness.analysis.timeline import Span, Timeline

Dimension = Literal["phase", "agent", "team", "tenant", "provider", "name"]
COLUMNS: tuple[Dimension, ...] = ("agent", "team", "tenant", "provider", "name")
ASKED: tuple[Dimension, ...] = ("agent", "team", "tenant", "name", "provider")
"""The same, those first that tell apart the same requests: what is alike is looked up together (`grouping`)."""
PERCENTS = (50, 95, 99)


class _Group:
    """One group of requests: what is asked of the scan, and what it says then."""

    def __init__(self, orders: Orders, chosen: Selection, kinds: Kinds, seconds: float) -> None:
        self._orders, self._chosen, self._seconds = orders, chosen, seconds
        self._outcome = kinds.words("outcome")
        self.response: Sample = orders.ask("response_time", chosen.narrowed(kinds.told("response_time")), PERCENTS)
        self.service: Sample = orders.ask("service_time", chosen.narrowed(kinds.told("service_time")), PERCENTS)

    def found(self) -> Group:
        """Return what the group says."""
        codes, words = self._outcome.codes, self._outcome.words
        by_kind = self._orders.counts(self._chosen.spans) * self._chosen.kinds
        by_word = dict(zip(words, np.bincount(codes, by_kind, len(words)).astype(int).tolist(), strict=True))
        counts = {outcome: by_word.get(outcome, 0) for outcome in Outcome}
        requests, dropped, lost = sum(counts.values()), counts[Outcome.DROPPED], counts[Outcome.LOST]
        bad = sum(counts[outcome] for outcome in BAD)
        response_ms = percentiles_ms(self.response)
        return Group(
            requests=requests,
            **{str(outcome): count for outcome, count in counts.items()},
            rate_per_s=(requests - dropped) / self._seconds if self._seconds > 0 else None,
            response_ms=response_ms,
            service_ms=response_ms if self.service is self.response else percentiles_ms(self.service),
            failed_share=share_estimate(Share(bad, requests - dropped - lost, lost)),
        )


class LoadGroups:
    """The measured part of the load: whole, by phase, and by each word of `COLUMNS`."""

    def __init__(self, orders: Orders, kinds: Kinds, when: Timeline) -> None:
        measured: list[Span] = [(when.zero_ns, when.end_ns)]
        everybody = np.ones(len(kinds), bool)
        self._whole = _Group(orders, Selection(measured, everybody), kinds, when.measured_s)
        self._by: dict[Dimension, dict[str, _Group]] = {"phase": {}}
        for phase in dict.fromkeys(name for name, _ in when.phases):
            spans = overlap(measured, when.spans(phase))
            seconds = sum(end - begin for begin, end in spans) / NS_PER_S
            self._by["phase"][phase] = _Group(orders, Selection(spans, everybody), kinds, seconds)
        for column in ASKED:
            words = kinds.words(column)
            self._by[column] = {
                word: _Group(orders, Selection(measured, words.among([word])), kinds, when.measured_s)
                for word in sorted(words.words)
                if word
            }

    def findings(self) -> LoadFindings:
        """Return counts, rates and times, once the scan has run.

        `rate_per_s` counts requests sent, per second of the measured part (of the phase, for a phase).
        """
        by = {
            column: {word: said for word, group in self._by[column].items() if (said := group.found()).requests}
            for column in ("phase", *COLUMNS)
        }
        return LoadFindings(**dict(self._whole.found()), by=by)
