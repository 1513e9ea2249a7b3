"""What the findings mean for a plan's thresholds (`methods.md`, Verdicts).

An interval wholly on the good side of the limit passes, wholly on the bad side fails, across it is inconclusive. No
data is inconclusive, never a pass, and neither is an invalid run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from harness.errors import ExitCode
from harness.model.request import ANSWERED, BAD, Outcome
from harness.model.threshold import METRICS
from harness.model.verdict import Check, Verdict, Verdicts
from harness.analysis import stats
from harness.wording import observation, quantity, setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pyarrow as pa

    from harness.model.findings import Estimate, Failover, Findings, Interval
    from harness.model.plan import Plan
    from harness.model.threshold import MetricKind, Threshold

Tags = tuple[tuple[str, str], ...]
WHEN_TAGS = ("phase", "fault", "upstream")
"""Tags that say when a request was due; what is compared with the baseline shares the others."""


class Measure(Protocol):
    """Offers the sample behind a threshold; `experiment` narrows faults to that experiment's own."""

    def times(self, metric: str, tags: Tags, experiment: str | None = None) -> stats.Times:
        """Return the sample of a time metric, ns, in due order."""

    def share(self, metric: str, tags: Tags, experiment: str | None = None) -> stats.Share:
        """Return the hits and trials of a rate metric."""

    def sent(self, tags: Tags, experiment: str | None = None) -> tuple[int, float]:
        """Return how many requests were sent, and the seconds in which they were due."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for or against a threshold, in its unit; an open side is infinite. Without data `observed` is None.

    `weak` says why even an interval on the good side is no pass; `said` replaces the sentence made from the value.
    """

    observed: float | None
    low: float = -math.inf
    high: float = math.inf
    n: int = 0
    weak: str = ""
    said: str = ""


@dataclass(frozen=True)
class _Case:
    """A threshold, where it comes from, and all it may be judged by."""

    threshold: Threshold
    measure: Measure
    failovers: tuple[Failover, ...]
    experiment: str | None = None

    @property
    def outages(self) -> list[Failover]:
        """The outages the threshold is about: faults that bit, of its own experiment, matching its tags."""
        tags = self.threshold.tags
        return [
            o
            for o in self.failovers
            if o.bit
            and self.experiment in (None, o.experiment)
            and all(value in (o.fault, o.kind) for tag, value in tags if tag == "fault")
            and all(value == o.upstream for tag, value in tags if tag == "upstream")
        ]


def judge(plan: Plan, findings: Findings, measure: Measure) -> Verdicts:
    """Hold every threshold of the plan against the findings; an experiment's are about its own faults."""
    cases = [_Case(t, measure, findings.failovers) for t in parse_all(plan.scenario.thresholds)]
    for experiment in plan.experiments:
        own = experiment.experiment
        cases += [_Case(t, measure, findings.failovers, own) for t in parse_all(experiment.thresholds)]
    checks = tuple(_check(case, valid=findings.validity.valid) for case in cases)
    verdict, why = _overall(checks, findings.validity.reasons)
    return Verdicts(verdict=verdict, exit_code=int(EXIT_CODES[verdict]), checks=checks, why=why)


EXIT_CODES: Mapping[Verdict, ExitCode] = {
    Verdict.PASS: ExitCode.PASS,
    Verdict.FAIL: ExitCode.FAIL,
    Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Verdict.INVALID: ExitCode.INVALID,
}


def _overall(checks: tuple[Check, ...], reasons: tuple[str, ...]) -> tuple[Verdict, str]:
    if reasons:
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        return Verdict.INVALID, f"Invalid: {reasons[0]}{more}"
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        found = sorted((c for c in checks if c.verdict is verdict), key=_badness, reverse=True)
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            return verdict, f"{found[0].why}{more}"
    if not checks:
        return Verdict.INCONCLUSIVE, "Inconclusive: the plan sets no thresholds, so there is nothing to pass."
    return Verdict.PASS, f"Passes: {'the one threshold holds' if len(checks) == 1 else f'all {len(checks)} hold'}."


def _badness(check: Check) -> float:
    """How far on the wrong side, as a factor; no value at all is worst among equals."""
    if not check.observed or not check.limit:
        return math.inf
    ratio = abs(check.observed) / check.limit
    return max(ratio, 1 / ratio)


# --- one check -------------------------------------------------------------------------------------------------------


def _check(case: _Case, *, valid: bool) -> Check:
    threshold = case.threshold
    evidence = _against_baseline(case) if threshold.vs_baseline else EVIDENCE[METRICS[threshold.metric].kind](case)
    unit = "x" if threshold.vs_baseline else threshold.unit
    limit = threshold.limit if threshold.share is None else threshold.share
    verdict = _decide(threshold, evidence)
    why = _why(case, evidence, verdict, quantity(limit, unit))
    if verdict is Verdict.PASS and not valid:
        verdict, why = Verdict.INCONCLUSIVE, f"Inconclusive, because the run is invalid. {why}"
    return Check(
        threshold=threshold.text,
        scope=case.experiment or "scenario",
        observed=_finite(evidence.observed),
        low=_finite(evidence.low),
        high=_finite(evidence.high),
        n=evidence.n,
        limit=limit,
        unit=unit,
        verdict=verdict,
        why=why,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _decide(threshold: Threshold, evidence: Evidence) -> Verdict:
    if evidence.observed is None:
        return Verdict.INCONCLUSIVE
    low, high, share = evidence.low, evidence.high, threshold.share
    good = (low >= share, high >= share) if share is not None else (threshold.holds(low), threshold.holds(high))
    if threshold.operator in ("==", "!=") and low < high:
        # A range is never equal to the limit, and certainly different only when the limit lies outside.
        outside = not low <= threshold.limit <= high
        good = ((threshold.operator == "!="),) * 2 if outside else (True, False)
    if good[0] != good[1]:
        return Verdict.INCONCLUSIVE
    if not good[0]:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE if evidence.weak else Verdict.PASS


def _why(case: _Case, evidence: Evidence, verdict: Verdict, limit: str) -> str:
    threshold = case.threshold
    if evidence.observed is None:
        return f"Inconclusive: {evidence.said or f'nothing was measured for {threshold.text}'}."
    unit = "x" if threshold.vs_baseline else threshold.unit
    said = evidence.said
    if not said:
        words = observation(threshold, evidence.observed, unit, evidence.n), setting(threshold, case.outages)
        said = f"{' '.join(filter(None, words))}; limit {limit}"
    if verdict is Verdict.PASS:
        return f"Passes: {said}."
    if verdict is Verdict.FAIL:
        return f"Fails: {said}."
    if evidence.weak:
        return f"Inconclusive: {said}, but {evidence.weak}."
    if threshold.share is not None:
        return f"Inconclusive: {said}."
    sides = [quantity(side, unit) if math.isfinite(side) else "open" for side in (evidence.low, evidence.high)]
    return f"Inconclusive: {said}, which lies within what {evidence.n:,} observations leave open ({' to '.join(sides)})."


# --- evidence by kind of metric --------------------------------------------------------------------------------------


def _from_estimate(estimate: Estimate, *, weak: str = "") -> Evidence:
    low = -math.inf if estimate.low is None else estimate.low
    high = math.inf if estimate.high is None else estimate.high
    return Evidence(estimate.value, low, high, estimate.n, weak)


def _trend(case: _Case) -> Evidence:
    threshold = case.threshold
    return _trend_of(threshold, case.measure.times(threshold.metric, threshold.tags, case.experiment))


def _trend_of(threshold: Threshold, times: stats.Times) -> Evidence:
    n = len(times)
    if not n:
        return Evidence(None)
    if threshold.aggregator in ("min", "max"):  # facts about what was observed
        value = float(times.ordered[0 if threshold.aggregator == "min" else -1]) / stats.NS_PER_MS
        open_end = threshold.aggregator == "max" and bool(times.lost.any())
        return Evidence(value, value, math.inf if open_end else value, n)
    if threshold.percentile is None:
        return _from_estimate(stats.mean_ms(times))
    needed = stats.needed_for(threshold.percentile)
    weak = f"a p{threshold.percentile:g} needs {needed:,} requests to pass and {n:,} were seen" if n < needed else ""
    return _from_estimate(stats.percentile_ms(times, threshold.percentile), weak=weak)


def _rate(case: _Case) -> Evidence:
    threshold = case.threshold
    return _rate_of(threshold, case.measure.share(threshold.metric, threshold.tags, case.experiment))


def _rate_of(threshold: Threshold, share: stats.Share) -> Evidence:
    if not share.n:
        return Evidence(None)
    if threshold.aggregator == "count":
        return Evidence(float(share.hits), share.hits, share.hits + share.unknown, share.n)
    return _from_estimate(stats.share_estimate(share))


def _counter(case: _Case) -> Evidence:
    count, seconds = case.measure.sent(case.threshold.tags, case.experiment)
    return _counter_of(case.threshold, count, seconds)


def _counter_of(threshold: Threshold, count: int, seconds: float) -> Evidence:
    if not count or not seconds:
        return Evidence(None)
    value = float(count) if threshold.aggregator == "count" else count / seconds
    return Evidence(value, value, value, count)


def _times_of(metric: str) -> Callable[[Failover], Interval | None]:
    return lambda outage: getattr(outage, metric)


_OUTAGE_VALUES: Mapping[str, Callable[[Failover], tuple[float, float] | None]] = {}


def _exact(value: float) -> tuple[float, float]:
    return value, value


def _interval(interval: Interval | None, *, never: bool = False) -> tuple[float, float] | None:
    """Return (low, high); what never came before the observation ended is endless."""
    if interval is not None:
        return interval.low, interval.high
    return (math.inf, math.inf) if never else None
