"""Rules on the verdict and what it rests on: checks that failed, checks that know too little, runs nobody can judge."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.advice.case import Advice, Severity, Value, check_id, name
from harness.analysis.stats import needed_for
from harness.model.instrument import CPU_LIMIT, LAG_LIMIT_MS, LATENESS_LIMIT_MS
from harness.model.threshold import METRICS, Threshold, parse_threshold
from harness.model.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.advice.case import Case
    from harness.model.estimate import Estimate
    from harness.model.verdict import Check

MOST_LONGER = 50.0
"""A run that would have to be longer than this many times decides nothing: the value lies at its limit."""
UNDER_FAULTS = ("fault", "recovery")
"""Phases in which what is broken may be why users wait."""


def generator(case: Case) -> Iterator[Advice]:
    """The load generator was at its own limit."""
    facts = case.findings.validity.instrument
    limits = [("cpu_sustained", CPU_LIMIT, "share"), ("lag_p99_ms", LAG_LIMIT_MS, "ms")]
    if case.plan.scenario.load.open_loop:
        limits.append(("lateness_p99_ms", LATENESS_LIMIT_MS, "ms"))
    seen = [(key, facts.get(key) or 0.0, limit, unit) for key, limit, unit in limits]
    over = [(fact / limit, key, fact, limit, unit) for key, fact, limit, unit in seen if fact > limit]
    if over and not case.findings.validity.valid:
        excess, key, fact, limit, unit = max(over)
        workers = max(2, 2 * case.plan.workers)
        values = {"seen": Value(fact, unit), "limit": Value(limit, unit), "workers": Value(workers, "count")}
        again = case.again.replace(f" --workers {case.plan.workers}", "")
        command = case.again if key == "lag_p99_ms" else f"{again} --workers {workers}"
        yield Advice(f"generator_{key.split('_')[0]}", Severity.STOP, excess, values, ("validity",), command)


def invalid(case: Case) -> Iterator[Advice]:
    """The run cannot be judged, for a reason that is not the generator's limits."""
    if not case.findings.validity.valid and not any(generator(case)):
        reasons = case.findings.validity.reasons
        values = {"reason": name(reasons[0].rstrip(".")), "reasons": Value(len(reasons), "reasons")}
        yield Advice("invalid", Severity.STOP, len(reasons), values, ("validity",), case.again)


def _parsed(check: Check) -> Threshold | None:
    metric, _, text = check.threshold.partition(": ")
    try:
        return parse_threshold(metric, text)
    except ValueError:
        return None


def _checks(case: Case, verdict: Verdict) -> Iterator[tuple[int, Check, Threshold]]:
    for number, check in enumerate(case.verdicts.checks):
        threshold = _parsed(check)
        if check.verdict is verdict and threshold is not None:
            yield number, check, threshold


def _values(check: Check) -> dict[str, Value]:
    return {
        "check": name(check.threshold), "observed": Value(check.observed or 0.0, check.unit),
        "limit": Value(check.limit, check.unit),
    }  # fmt: skip


def failed_times(case: Case) -> Iterator[Advice]:
    """Users wait longer than a threshold allows: because of outages, because of one agent, or all the time."""
    for number, check, threshold in _checks(case, Verdict.FAIL):
        if METRICS[threshold.metric].unit != "ms" or check.observed is None or check.unit != "ms":
            continue
        if check.of_steady_state:
            continue
        values = _values(check) | {"statistic": name(f"p{threshold.percentile:g}" if threshold.percentile else
                                                     threshold.aggregator)}  # fmt: skip
        rule, healthy, worst = "failed_times", _healthy(case, threshold), _slowest(case, check.observed)
        if healthy is not None and threshold.holds(healthy):
            rule, values = "failed_times_outage", values | {"healthy": Value(healthy, "ms")}
        elif worst is not None:
            rule = "failed_times_agent"
            values |= {"agent": name(worst[0]), "agent_p95": Value(worst[1], "ms")}
        excess = check.observed / max(check.limit, 1e-9)
        yield Advice(rule, Severity.STOP, excess, values, (check_id(number), "users"), case.again)


def _healthy(case: Case, threshold: Threshold) -> float | None:
    """Return what a check of response times would have observed before any fault, ms.

    None where nothing was ever broken, where the check is not about that, and where findings do not tell it of the
    baseline: of some requests only, or a statistic other than theirs.
    """
    baseline = case.findings.load.by.get("phase", {}).get("baseline")
    if baseline is None or not case.findings.failovers or threshold.metric != "response_time":
        return None
    told = [value for tag, value in threshold.tags if tag == "phase"]
    if threshold.baseline_tags != (("phase", "baseline"),) or any(phase not in UNDER_FAULTS for phase in told):
        return None
    known: Estimate | None = getattr(baseline.response_ms, f"p{threshold.percentile or 0:g}", None)
    return known.value if known else None


def _slowest(case: Case, observed: float) -> tuple[str, float] | None:
    """Return the slowest agent and its p95 in ms; None where none is slower than the rest by more than chance."""
    whole, agents = case.findings.load.response_ms.p95, case.findings.load.by.get("agent", {})
    known = {n: g.response_ms.p95 for n, g in agents.items() if g.response_ms.p95.low is not None}
    if len(known) < 2 or whole.high is None:
        return None
    worst = max(known, key=lambda agent: known[agent].value or 0.0)
    apart = (known[worst].low or 0.0) > max(whole.high, 0.0)
    return (worst, known[worst].value or observed) if apart else None


_OF_SHARE = {
    "request_failed": "failed_share", "request_degraded": "failed_share", "request_ok": "failed_share_full",
    "stream_complete": "failed_share_full",
}  # fmt: skip
"""Rates of requests, and whose words say it when too many, or too few, are so."""


def failed_share(case: Case) -> Iterator[Advice]:
    """More requests fail (or fewer are answered) than a threshold allows."""
    for number, check, threshold in _checks(case, Verdict.FAIL):
        if threshold.metric not in _OF_SHARE or check.of_steady_state:
            continue
        values = _values(check) | {"n": Value(check.n, "requests")}
        rule, evidence = _OF_SHARE[threshold.metric], (check_id(number), "users")
        yield Advice(rule, Severity.STOP, _off(check), values, evidence, case.again)


def not_steady_again(case: Case) -> Iterator[Advice]:
    """What the steady state was no longer holds in the last seconds, after the last fault."""
    for number, check, _ in _checks(case, Verdict.FAIL):
        if check.of_steady_state:
            evidence = (check_id(number),)
            yield Advice("not_steady_again", Severity.STOP, _off(check), _values(check), evidence, case.again)


def _off(check: Check) -> float:
    """Return how far a value is from its limit, on whichever side, as a factor."""
    observed = check.observed or 0.0
    return min(max(observed, check.limit) / max(min(observed, check.limit), 1e-9), 1e6)


def too_few(case: Case) -> Iterator[Advice]:
    """A percentile that rests on too few requests to be gated on."""
    for number, check, threshold in _checks(case, Verdict.INCONCLUSIVE):
        percent = threshold.percentile
        if percent is None or METRICS[threshold.metric].kind != "trend" or check.of_steady_state:
            continue
        if not 0 < check.n < needed_for(percent):
            continue
        needed = needed_for(percent)
        factor = needed / check.n
        values = {
            "check": name(check.threshold), "n": Value(check.n, "requests"), "needed": Value(needed, "requests"),
            "percent": Value(percent, "percentile"),
        } | _longer(case, factor)  # fmt: skip
        yield Advice("too_few", Severity.KNOW, factor, values, (check_id(number),), _longer_command(case, factor))


def undecided(case: Case) -> Iterator[Advice]:
    """An interval that lies across its limit: how much longer a run would decide, as intervals shrink by its root."""
    for number, check, threshold in _checks(case, Verdict.INCONCLUSIVE):
        trend = METRICS[threshold.metric].kind in ("trend", "rate")
        if not trend or check.of_steady_state or check.observed is None or any(too_few(_alone(case, number))):
            continue
        side = check.high if check.observed < check.limit else check.low
        away = abs(check.limit - check.observed)
        if side is None or not away:
            continue
        factor = (abs(side - check.observed) / away) ** 2
        if 1 < factor <= MOST_LONGER:
            values = _values(check) | {"side": Value(side, check.unit)} | _longer(case, factor)
            yield Advice("undecided", Severity.KNOW, factor, values, (check_id(number),), _longer_command(case, factor))
        elif factor > MOST_LONGER:
            values = _values(check) | {"side": Value(side, check.unit)}
            yield Advice("at_limit", Severity.WATCH, factor, values, (check_id(number),), case.again)


def _alone(case: Case, number: int) -> Case:
    """Return the case with one of its checks only."""
    only = case.verdicts.model_copy(update={"checks": (case.verdicts.checks[number],)})
    return replace(case, verdicts=only)


def _length(case: Case, factor: float) -> int:
    """Return how long a run `factor` times as long is, seconds: in whole minutes, a short one in tens of seconds."""
    length = case.plan.scenario.load.measured_s * factor
    step = 60 if length > 600 else 10
    return math.ceil(length / step - 1e-9) * step


def _longer(case: Case, factor: float) -> dict[str, Value]:
    return {"factor": Value(math.ceil(factor * 10 - 1e-9) / 10, "x"), "length": Value(_length(case, factor), "s")}


def _longer_command(case: Case, factor: float) -> str:
    if not hasattr(case.plan.scenario.load, "hold"):
        return case.again
    hold = round(_length(case, factor) / case.plan.scale)  # which --scale shortens again
    return f"{case.again} --set load.hold={hold}s"


def no_data(case: Case) -> Iterator[Advice]:
    """A threshold that nothing was measured for."""
    empty = [(n, c) for n, c, _ in _checks(case, Verdict.INCONCLUSIVE) if c.observed is None]
    if empty:
        number, check = empty[0]
        values = {"check": name(check.threshold), "checks": Value(len(empty), "checks")}
        yield Advice("no_data", Severity.KNOW, len(empty), values, (check_id(number),), case.again)


def shortened(case: Case) -> Iterator[Advice]:
    """A run whose durations were shortened shows nothing about full length."""
    scale = case.plan.scale
    if scale < 1:
        values = {
            "scale": Value(scale, "number"), "length": Value(case.plan.scenario.load.measured_s, "s"),
            "full": Value(case.plan.scenario.load.measured_s / scale, "s"),
        }  # fmt: skip
        yield Advice("shortened", Severity.KNOW, 1 / scale, values, ("made",), case.full_length)
