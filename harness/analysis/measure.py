"""The sample behind any threshold, for the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.cache import lookups_and_hits
from harness.analysis.frame import METRICS, selection
from harness.analysis.stats import Share
from harness.analysis.streams import SAMPLES, Tokens
from harness.clock import NS_PER_S
from harness.model.request import BAD, Outcome
from harness.model.threshold import parse_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.analysis.frame import Array, Frame, Kinds, Selection
    from harness.analysis.orders import Orders
    from harness.analysis.sample import Sample
    from harness.analysis.stats import Observed
    from harness.analysis.timeline import Timeline
    from harness.model.plan import Plan
    from harness.model.threshold import Threshold

Tags = tuple[tuple[str, str], ...]
RATES = {"request_failed": BAD, "request_ok": (Outcome.OK,), "request_degraded": (Outcome.DEGRADED,)}


class Measure:
    """Samples of the load, by metric and tags; `experiment` narrows faults to that experiment's own."""

    def __init__(self, kinds: Kinds, when: Timeline, tokens: Tokens) -> None:
        self._kinds, self._when, self._tokens = kinds, when, tokens

    def times(self, metric: str, tags: Tags, experiment: str | None = None) -> Observed:
        """Return the sample of a trend metric, in due order (times in ns)."""
        if metric in SAMPLES:
            return self._tokens.sample(metric, self._tokens.load.select(tags, self._when, experiment))
        return self._times(metric, tags, experiment)

    def _times(self, metric: str, tags: Tags, experiment: str | None) -> Observed:
        """Return the sample of a metric of `METRICS`."""
        raise NotImplementedError

    def _counts(self, chosen: Selection) -> Array:
        """Return how many requests of each kind were due in the stretches chosen."""
        raise NotImplementedError

    def share(self, metric: str, tags: Tags, experiment: str | None = None) -> Share:
        """Return the hits and trials of a rate metric. Lost requests could have been anything: `unknown`."""
        if metric == "stream_complete":
            return self._tokens.complete(self._tokens.load.select(tags, self._when, experiment))
        kinds = self._kinds
        chosen = selection(kinds, tags, self._when, experiment)
        counts = self._counts(chosen) * chosen.kinds
        if metric == "cache_hit":
            lookups, hits = lookups_and_hits(kinds, counts)
            return Share(hits, lookups)
        hits = int(counts[kinds.words("outcome").among(RATES[metric])].sum())
        return Share(hits, int(counts[kinds.answered].sum()), int(counts[kinds.lost].sum()))

    def sent(self, tags: Tags, experiment: str | None = None) -> tuple[int, float]:
        """Return how many requests were sent, and the seconds in which they were due."""
        chosen = selection(self._kinds, tags, self._when, experiment)
        counts = self._counts(chosen)[chosen.kinds & ~self._kinds.dropped]
        # A phase that the load's end cut short counts as long as there was load.
        seconds = sum(max(0, min(end, self._when.end_ns) - begin) for begin, end in chosen.spans)
        return int(counts.sum()), seconds / NS_PER_S


class OfFrame(Measure):
    """Samples of requests held in memory: the last seconds of a running load."""

    def __init__(self, frame: Frame, when: Timeline) -> None:
        super().__init__(frame.kinds, when, Tokens(frame))
        self._frame = frame

    def _times(self, metric: str, tags: Tags, experiment: str | None) -> Observed:
        return self._frame.times(metric, self._frame.select(tags, self._when, experiment))

    def _counts(self, chosen: Selection) -> Array:
        inside = self._frame.within(chosen.spans)
        return np.bincount(self._frame.kind[inside], minlength=len(self._kinds))


class OfPlan(Measure):
    """Samples of a scan, for the thresholds of a plan: made before the scan runs, to be read after it."""

    def __init__(self, orders: Orders, kinds: Kinds, when: Timeline, plan: Plan, tokens: Tokens) -> None:
        super().__init__(kinds, when, tokens)
        self._orders = orders
        self._samples: dict[tuple[str, Tags, str | None], Sample] = {}
        for threshold, experiment in _thresholds(plan):
            if threshold.metric in METRICS:
                self._ask(threshold, threshold.tags, experiment)
                if threshold.vs_baseline:
                    self._ask(threshold, threshold.baseline_tags, None)

    def _ask(self, threshold: Threshold, tags: Tags, experiment: str | None) -> None:
        percent, extremes = threshold.percentile, threshold.aggregator in ("min", "max")
        self._samples[threshold.metric, tags, experiment] = self._orders.ask(
            threshold.metric,
            selection(self._kinds, tags, self._when, experiment).narrowed(self._kinds.told(threshold.metric)),
            () if percent is None or extremes else (percent,),
            extremes=extremes,
            mean=percent is None and not extremes,
        )

    def _times(self, metric: str, tags: Tags, experiment: str | None) -> Observed:
        # Only of what the plan's thresholds ask for.
        return self._samples[metric, tags, experiment]

    def _counts(self, chosen: Selection) -> Array:
        return self._orders.counts(chosen.spans)


def _thresholds(plan: Plan) -> Iterable[tuple[Threshold, str | None]]:
    yield from ((threshold, None) for threshold in parse_all(plan.scenario.thresholds))
    for experiment in plan.experiments:
        yield from ((threshold, experiment.experiment) for threshold in parse_all(experiment.thresholds))
