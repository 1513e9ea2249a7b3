"""What speaks for or against a threshold, by kind of metric: a value, its interval, and on how much it rests."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from harness.analysis import stats
from harness.analysis.claims import recovered_within
from harness.analysis.dependence import student
from harness.model.experiment import names_of
from harness.model.threshold import METRICS
from harness.report import units
from harness.wording import quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.model.capacity import CapacityFindings, CapacityState
    from harness.model.findings import Estimate, Failover, Interval
    from harness.model.soak import SoakFindings, SoakSeries
    from harness.model.threshold import MetricKind, Threshold

Tags = tuple[tuple[str, str], ...]


class Samples(Protocol):
    """Offers the sample behind a threshold; `experiment` narrows faults to that experiment's own."""

    def times(self, metric: str, tags: Tags, experiment: str | None = None) -> stats.Observed:
        """Return the sample of a trend metric, in due order (times in ns)."""

    def share(self, metric: str, tags: Tags, experiment: str | None = None) -> stats.Share:
        """Return the hits and trials of a rate metric."""

    def sent(self, tags: Tags, experiment: str | None = None) -> tuple[int, float]:
        """Return how many requests were sent, and the seconds in which they were due."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for or against a threshold, in its unit; an open side is infinite. Without data `observed` is None.

    `weak` says why even an interval on the good side is no pass; `said` replaces the sentence made from the value.
    `at_least`: what was observed had not come to its end, so `observed` is what it lasted at least.
    """

    observed: float | None
    low: float = -math.inf
    high: float = math.inf
    n: int = 0
    weak: str = ""
    said: str = ""
    at_least: bool = False


@dataclass(frozen=True)
class Case:
    """A threshold, where it comes from, and all it may be judged by."""

    threshold: Threshold
    measure: Samples
    failovers: tuple[Failover, ...]
    experiment: str | None = None
    capacity: CapacityFindings | None = None
    soak: SoakFindings | None = None

    @property
    def outages(self) -> list[Failover]:
        """The outages the threshold is about: faults that bit, of its own experiment, matching its tags."""
        tags = self.threshold.tags
        return [
            o
            for o in self.failovers
            if o.bit
            and self.experiment in (None, o.experiment)
            and all(value in names_of(o.fault, o.kind) for tag, value in tags if tag == "fault")
            and all(value == o.upstream for tag, value in tags if tag == "upstream")
        ]


def evidence_for(case: Case) -> Evidence:
    """Return what the run has to say about a threshold."""
    if case.threshold.vs_baseline:
        return _against_baseline(case)
    return _EVIDENCE[METRICS[case.threshold.metric].kind](case)


def _from_estimate(estimate: Estimate, *, weak: str = "") -> Evidence:
    low = -math.inf if estimate.low is None else estimate.low
    high = math.inf if estimate.high is None else estimate.high
    return Evidence(estimate.value, low, high, estimate.n, weak)


def _trend(case: Case) -> Evidence:
    threshold = case.threshold
    return _trend_of(threshold, case.measure.times(threshold.metric, threshold.tags, case.experiment))


def _trend_of(threshold: Threshold, times: stats.Observed) -> Evidence:
    n = len(times)
    if not n:
        return Evidence(None)
    if threshold.aggregator in ("min", "max"):  # facts about what was observed
        value = times.at(0 if threshold.aggregator == "min" else n - 1) / times.unit
        open_end = threshold.aggregator == "max" and bool(times.lost)
        return Evidence(value, value, math.inf if open_end else value, n)
    if threshold.percentile is None:
        return _from_estimate(stats.mean_ms(times))
    needed, seen = stats.needed_for(threshold.percentile), times.seen(threshold.percentile)
    short = f"a p{threshold.percentile:g} needs {needed:,} {times.observed} to pass and {seen:,} were seen"
    return _from_estimate(stats.percentile_ms(times, threshold.percentile), weak=short if seen < needed else "")


def _rate(case: Case) -> Evidence:
    threshold = case.threshold
    return _rate_of(threshold, case.measure.share(threshold.metric, threshold.tags, case.experiment))


def _rate_of(threshold: Threshold, share: stats.Share) -> Evidence:
    if not share.n:
        return Evidence(None)
    if threshold.aggregator == "count":
        return Evidence(float(share.hits), share.hits, share.hits + share.unknown, share.n)
    return _from_estimate(stats.share_estimate(share))


def _counter(case: Case) -> Evidence:
    count, seconds = case.measure.sent(case.threshold.tags, case.experiment)
    return counted(case.threshold, count, seconds)


def counted(threshold: Threshold, count: int, seconds: float, late_s: float = 0.0) -> Evidence:
    """Return what `count` requests in `seconds` say of a counter; those of the last `late_s` may not have come in yet.

    That none was sent is known, and can fail; but a load that was never made passes nothing.
    """
    if not seconds:
        return Evidence(None)
    value = float(count) if threshold.aggregator == "count" else count / seconds
    known_s = seconds - late_s
    high = value * (seconds / known_s) if known_s > 0 else math.inf
    return Evidence(value, value, high, count, weak="" if count else "requests that were never sent prove nothing")


# --- outages ---------------------------------------------------------------------------------------------------------


def _interval(interval: Interval | None, *, never: bool = False) -> tuple[float, float] | None:
    """Return (low, high); endless for what never came while it was watched, None for what was not measured."""
    if interval is not None:
        return interval.low, interval.high
    return (math.inf, math.inf) if never else None


def _lasting(outage: Failover, seconds: float) -> tuple[float, float] | None:
    """Return (low, high) of what was counted until service was good again: open where it was not while it was watched.

    None where at most one request was due to tell of it.
    """
    if not outage.censored:
        return seconds, seconds
    return None if outage.resolution_s >= outage.observed_s else (seconds, math.inf)


_OUTAGE: Mapping[str, Callable[[Failover], tuple[float, float] | None]] = {
    "impact_delay": lambda o: _interval(o.impact_s),
    "detection_time": lambda o: _interval(o.detection_s),
    # Without failover a system may still answer (from its own rules); only where it never did is that a failure.
    "failover_time": lambda o: _interval(o.failover_s, never=o.censored),
    "recovery_time": lambda o: _interval(o.recovery_s, never=o.censored),
    "failback_time": lambda o: (o.failback_beyond_s, math.inf) if o.failback_censored else _interval(o.failback_s),
    "unavailable_time": lambda o: _lasting(o, o.unavailable_s),
    "worst_stall": lambda o: _lasting(o, o.worst_stall_s),
    "flaps": lambda o: None if o.flaps is None else (o.flaps, o.flaps),
}


def _outage(case: Case) -> Evidence:
    """Each outage is one observation, an interval itself. The observed value is of the upper ends: never flattering.
    Where that is open, it is of the lower ends; what never came is infinite at both."""
    threshold = case.threshold
    values = [value for o in case.outages if (value := _OUTAGE[threshold.metric](o)) is not None]
    if not values:
        return Evidence(None, said=f"no outage to measure {threshold.metric} on" if not case.outages else "")
    n, low, high = len(values), np.sort([v[0] for v in values]), np.sort([v[1] for v in values])
    weak = f"it was measured on {n} of {len(case.outages)} outages" if n < len(case.outages) else ""
    if threshold.metric == "impact_delay":  # an outage without harm has no first harm
        weak = ""
    if threshold.aggregator == "count":
        return Evidence(float(n), n, n, n)
    if threshold.aggregator in ("min", "max"):  # facts about what was observed
        at = 0 if threshold.aggregator == "min" else -1
        observed, unended = _observed(low[at], high[at])
        return Evidence(observed, float(low[at]), float(high[at]), n, weak, at_least=unended)
    if threshold.percentile is None:
        return replace(_mean_of_outages(low, high), weak=weak)
    percent = threshold.percentile
    lower, upper = (float(np.percentile(ends, percent, method="inverted_cdf")) for ends in (low, high))
    observed, unended = _observed(lower, upper)
    if math.isinf(observed):  # censored: not recovered before the deadline fails
        return Evidence(observed, math.inf, math.inf, n)
    ranks = stats.rank_interval(n, percent / 100)
    needed = stats.needed_for(percent)
    return Evidence(
        observed,
        -math.inf if ranks[0] is None else float(low[ranks[0] - 1]),
        math.inf if ranks[1] is None else float(high[ranks[1] - 1]),
        n,
        weak=f"{n} outages say too little about a p{percent:g} ({needed:,} would): use max<TIME, or failover_claim"
        if n < needed
        else weak,
        at_least=unended,
    )


def _observed(low: float, high: float) -> tuple[float, bool]:
    """Return what to tell of an interval, and whether that is only its lower end, because it had not ended."""
    return float(low if math.isinf(high) else high), math.isinf(high) and not math.isinf(low)


def _mean_of_outages(low: stats.Array, high: stats.Array) -> Evidence:
    n, (observed, unended) = len(high), _observed(low.mean(), high.mean())
    if math.isinf(high[-1]) or n < 2:
        end = math.inf if math.isinf(observed) else -math.inf
        return Evidence(observed, end, math.inf, n, at_least=unended)
    half = student(n - 1) * float(((low + high) / 2).std(ddof=1)) / math.sqrt(n)
    return Evidence(observed, float(low.mean()) - half, observed + half, n)


def _claim(case: Case) -> Evidence:
    """At least `share` of outages recover under the limit, at `confidence`: exact one-sided bounds."""
    threshold, outages = case.threshold, case.outages
    share, confidence = threshold.share, threshold.confidence
    if not outages or share is None or confidence is None:
        return Evidence(None, said="no outage to claim anything from")
    recovered, n = sum(recovered_within(o, threshold.limit) for o in outages), len(outages)
    low, high = stats.at_least(recovered, n, confidence), stats.at_most(recovered, n, confidence)
    supported, sure, claimed = (quantity(x, "share") for x in (units.supported(low), confidence, share))
    said = (
        f"{recovered} of {n} outages recovered under {threshold.limit:g} s, which supports at least {supported} "
        f"at {sure} confidence; claimed {claimed}"
    )
    if low < share <= high and (more := stats.more_successes(recovered, n, share, confidence)) is not None:
        said += f", for which {more:,} more {'recovery' if more == 1 else 'recoveries'} in a row "
        said += "is needed" if more == 1 else "are needed"
    return Evidence(recovered / n, low, high, n, said=said)


# --- capacity --------------------------------------------------------------------------------------------------------


def _capacity(case: Case) -> Evidence:
    """The capacity of one state, or of the worst: the lowest there is lies between the lowest ends."""
    threshold, wanted = case.threshold, [value for _, value in case.threshold.tags]
    states = () if case.capacity is None else case.capacity.states
    chosen = [s for s in states if all(s.state == name for name in wanted)]
    if not chosen:
        return Evidence(None, said=f"the load had no levels{f' in state {wanted[0]}' if wanted and states else ''}")
    found = [_capacity_of(state, threshold) for state in chosen]
    told, open_ones = [e for e in found if e.observed is not None], [e for e in found if e.observed is None]
    if not told:
        return open_ones[0]
    # Of a state nobody knows, the capacity may be anything; the lowest of all lies no higher than where another's ends.
    low, high = 0.0 if open_ones else min(e.low for e in told), min(e.high for e in told)
    if open_ones and threshold.holds(low) != threshold.holds(high):
        return open_ones[0]
    fails = not threshold.holds(high)
    lowest = min(told, key=lambda e: e.high if fails else e.low)  # the state that decides is the one to tell of
    return replace(lowest, low=low, high=high)


def _capacity_of(state: CapacityState, threshold: Threshold) -> Evidence:
    estimate = state.capacity.rate if threshold.aggregator == "rate" else state.capacity.users
    if estimate is None:
        return Evidence(None, said="nobody knows how long users think between requests (load.think)")
    ends = [(estimate.value, ""), (estimate.low, "at least "), (estimate.high, "less than ")]
    observed, how = next(((value, how) for value, how in ends if value is not None), (None, ""))
    if observed is None:
        of = f"level of state {state.state}"
        few = f"too few requests ended on a {of} to tell its throughput"
        said = f"no {of} shows whether the SLO is met" if state.capacity.state == "undecided" else few
        return Evidence(None, n=estimate.n, said=said)
    unit = "requests/s" if threshold.aggregator == "rate" else "users"
    carried, limit = (_of_load(value, threshold) for value in (observed, threshold.limit))
    said = f"the system carries {how}{carried} {unit} within its SLO in state {state.state}"
    return Evidence(
        observed,
        0.0 if estimate.low is None else estimate.low,
        math.inf if estimate.high is None else estimate.high,
        estimate.n,
        said=f"{said}; limit {limit}",
    )


def _of_load(value: float, threshold: Threshold) -> str:
    """Say a load as the threshold counts it: a rate with three digits, users in full."""
    return units.three(value) if threshold.aggregator == "rate" else quantity(value, "count")


# --- a long load -----------------------------------------------------------------------------------------------------


def _series(case: Case) -> list[SoakSeries]:
    """Return the series a threshold is about: of the tags' owners, else of all that is part of the system."""
    if case.soak is None:
        return []
    owners = {f"{tag}:{value}" for tag, value in case.threshold.tags}
    return [s for s in case.soak.series if (s.owner in owners if owners else not s.instrument)]


def _too_short(case: Case) -> Evidence:
    whose = " or ".join(f"{tag} {value}" for tag, value in case.threshold.tags)
    said = f"nothing of the sort was recorded{f' of {whose}' if whose else ''}"
    return Evidence(None, said="the load was too short, or not steady" if case.soak is None else said)


def _drifting(case: Case) -> Evidence:
    """How many series leak, or drift to the bad side: at least those that certainly do, at most all that may."""
    leak = case.threshold.metric == "leak"
    mine = [s for s in _series(case) if (s.owner != "service") == leak]
    if not mine:
        return _too_short(case)
    found = [s for s in mine if s.worse and s.verdict == ("leak" if leak else "drift")]
    unsure = [s for s in mine if s.verdict == "inconclusive"]
    names = ", ".join(s.name for s in found)
    said = f"{len(found)} of {len(mine)} series {'leak' if leak else 'drift'}{f' ({names})' if names else ''}"
    if unsure:
        said += f", and of {len(unsure)} this length cannot tell ({', '.join(s.name for s in unsure[:3])}"
        said += ", ...)" if len(unsure) > 3 else ")"
    return Evidence(float(len(found)), len(found), len(found) + len(unsure), len(mine), said=said)


def _slope(case: Case) -> Evidence:
    """The steepest slope of the series a threshold is about; its interval holds that of each."""
    what = case.threshold.metric.removesuffix("_slope")
    mine = [s for s in _series(case) if s.what == what]
    told = [(s.slope, s.n) for s in mine if s.slope is not None]
    if not told:
        return _too_short(case)
    slopes, short = [slope for slope, _ in told], len(mine) - len(told)
    return Evidence(
        max(slope.value for slope in slopes),
        max(-math.inf if slope.low is None else slope.low for slope in slopes),
        max(math.inf if slope.high is None else slope.high for slope in slopes),
        sum(n for _, n in told),
        weak=f"{short} of {len(mine)} have no slope" if short else "",
    )


_EVIDENCE: Mapping[MetricKind, Callable[[Case], Evidence]] = {
    "trend": _trend,
    "rate": _rate,
    "counter": _counter,
    "outage": _outage,
    "claim": _claim,
    "capacity": _capacity,
    "soak": _drifting,
    "slope": _slope,
}


# --- against the baseline --------------------------------------------------------------------------------------------


def _against_baseline(case: Case) -> Evidence:
    """The ratio to the same figure in the baseline phase; its interval is the widest the two allow."""
    threshold = replace(case.threshold, vs_baseline=False)
    kind = METRICS[threshold.metric].kind
    if kind in ("outage", "claim", "capacity"):
        return Evidence(None, said=f"{threshold.metric} has no baseline to be held against")
    tags = threshold.baseline_tags
    now = _EVIDENCE[kind](replace(case, threshold=threshold))
    then = _EVIDENCE[kind](replace(case, threshold=replace(threshold, tags=tags), experiment=None))
    if now.observed is None or not then.observed:
        return Evidence(None, n=now.n, said=f"there is no baseline figure to hold {threshold.metric} against")
    return Evidence(
        now.observed / then.observed,
        max(0.0, now.low) / then.high,
        now.high / then.low if then.low > 0 else math.inf,
        now.n,
        weak=now.weak or (f"in the baseline, {then.weak}" if then.weak else ""),
    )
