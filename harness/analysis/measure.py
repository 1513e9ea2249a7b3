"""The sample behind any threshold, for the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.cache import lookups_and_hits
from harness.analysis.frame import fault_spans
from harness.analysis.stats import Share
from harness.analysis.streams import SAMPLES, Tokens
from harness.clock import NS_PER_S
from harness.model.request import BAD, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.analysis.frame import Frame
    from harness.analysis.stats import Times
    from harness.analysis.timeline import Span, Timeline

Tags = tuple[tuple[str, str], ...]
RATES = {"request_failed": BAD, "request_ok": (Outcome.OK,), "request_degraded": (Outcome.DEGRADED,)}


class Measure:
    """Samples of the load, by metric and tags; `experiment` narrows faults to that experiment's own."""

    def __init__(self, load: Frame, when: Timeline, tokens: Tokens | None = None) -> None:
        self._load, self._when = load, when
        self._tokens = tokens or Tokens(load)

    def times(self, metric: str, tags: Tags, experiment: str | None = None) -> Times:
        """Return the sample of a trend metric, in due order (times in ns)."""
        chosen = self._load.select(tags, self._when, experiment)
        return self._tokens.sample(metric, chosen) if metric in SAMPLES else self._load.times(metric, chosen)

    def share(self, metric: str, tags: Tags, experiment: str | None = None) -> Share:
        """Return the hits and trials of a rate metric. Lost requests could have been anything: `unknown`."""
        load = self._load
        chosen = load.select(tags, self._when, experiment)
        if metric == "cache_hit":
            lookups, hits = lookups_and_hits(load, chosen)
            return Share(hits, lookups)
        if metric == "stream_complete":
            return self._tokens.complete(chosen)
        hits = int((chosen & load.outcome.among(RATES[metric])).sum())
        return Share(hits, int((chosen & load.answered).sum()), int((chosen & load.lost).sum()))

    def sent(self, tags: Tags, experiment: str | None = None) -> tuple[int, float]:
        """Return how many requests were sent, and the seconds in which they were due."""
        chosen = self._load.select(tags, self._when, experiment)
        return int((chosen & ~self._load.dropped).sum()), self._seconds(tags, experiment)

    def _seconds(self, tags: Tags, experiment: str | None) -> float:
        """Length of the time that the tags leave."""
        tagged = any(tag == "phase" for tag, _ in tags)
        spans: list[Span] = [(0 if tagged else self._when.zero_ns, self._when.end_ns)]
        for tag, value in tags:
            if tag == "phase":
                spans = _overlap(spans, self._when.spans(value))
            if tag in ("fault", "upstream") or (experiment is not None and (tag, value) == ("phase", "fault")):
                spans = _overlap(spans, _merged(fault_spans(self._when, tag, value, experiment)))
        return sum(end - begin for begin, end in spans) / NS_PER_S


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _overlap(one: list[Span], other: list[Span]) -> list[Span]:
    cuts = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return [(begin, end) for begin, end in cuts if end > begin]
