"""How the measured part of the load went: counts, rate and times, whole and by group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.stats import Share, Times, percentiles_ms, share_estimate
from harness.clock import NS_PER_S
from harness.model.findings import Group, LoadFindings
from harness.model.request import BAD, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.analysis.frame import Array, Frame, Words
    from harness.analysis.timeline import Timeline

Dimension = Literal["phase", "agent", "team", "tenant", "provider", "name"]
COLUMNS: tuple[Dimension, ...] = ("agent", "team", "tenant", "provider", "name")
OUTCOMES = tuple(Outcome)


class _Measured:
    """The measured requests in due order, columns gathered once for all groups."""

    def __init__(self, frame: Frame, when: Timeline) -> None:
        rows = np.flatnonzero(frame.measured(when))
        self.rows = rows[np.argsort(frame.due[rows], kind="stable")]
        self.due = frame.due[self.rows]
        self.response = frame.response[self.rows]
        self.service = (frame.end - frame.start)[self.rows]
        self.answered, self.lost = frame.answered[self.rows], frame.lost[self.rows]
        known = {word: code for code, word in enumerate(OUTCOMES)}
        self.outcome = np.array([known[Outcome(w)] for w in frame.outcome.words] or [0])[frame.outcome.codes[self.rows]]

    def group(self, chosen: Array | slice, seconds: float) -> Group:
        """Return what the chosen rows (still in due order) say."""
        counts = dict(zip(OUTCOMES, np.bincount(self.outcome[chosen], minlength=len(OUTCOMES)).tolist(), strict=True))
        requests, dropped, lost_ones = sum(counts.values()), counts[Outcome.DROPPED], counts[Outcome.LOST]
        answered, lost = self.answered[chosen], self.lost[chosen]
        response, service = self.response[chosen], self.service[chosen]
        if dropped or lost_ones:
            service, waited = service[answered], answered | lost
            response, lost = response[waited], lost[waited]
        bad = sum(counts[outcome] for outcome in BAD)
        return Group(
            requests=requests,
            **{str(outcome): count for outcome, count in counts.items()},
            rate_per_s=(requests - dropped) / seconds if seconds > 0 else None,
            response_ms=percentiles_ms(Times(response, lost)),
            service_ms=percentiles_ms(Times(service, np.zeros(len(service), bool))),
            failed_share=share_estimate(Share(bad, requests - dropped - lost_ones)),
        )

    def by(self, column: Words) -> Iterator[tuple[str, Array]]:
        """Yield (word, rows in due order) of every word of a column that occurs; nothing for ""."""
        codes = column.codes[self.rows]
        small = codes.astype(np.int16) if len(column.words) < 2**15 else codes  # sorted by radix, ten times faster
        order = np.argsort(small, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(column.words)))
        for word, begin, end in zip(column.words, np.concatenate(([0], ends)), ends, strict=False):
            if word and end > begin:
                yield word, order[begin:end]


def load_findings(frame: Frame, when: Timeline) -> LoadFindings:
    """Return the measured part of the load: whole, by phase, and by each word of `COLUMNS`.

    `rate_per_s` counts requests sent, per second of the measured part (of the phase, for a phase).
    """
    measured = _Measured(frame, when)
    by: dict[Dimension, dict[str, Group]] = {"phase": dict(_phases(measured, when))}
    for column in COLUMNS:
        groups = {word: measured.group(rows, when.measured_s) for word, rows in measured.by(frame.words(column))}
        by[column] = dict(sorted(groups.items()))
    return LoadFindings(**dict(measured.group(slice(None), when.measured_s)), by=by)


def _phases(measured: _Measured, when: Timeline) -> Iterator[tuple[str, Group]]:
    for phase in dict.fromkeys(name for name, _ in when.phases):
        spans = [(max(begin, when.zero_ns), min(end, when.end_ns)) for begin, end in when.spans(phase)]
        inside = np.zeros(len(measured.due), bool)
        for begin, end in spans:
            inside[np.searchsorted(measured.due, begin) : np.searchsorted(measured.due, end)] = True
        if inside.any():
            yield phase, measured.group(inside, sum(max(0, end - begin) for begin, end in spans) / NS_PER_S)
