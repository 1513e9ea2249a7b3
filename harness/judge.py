"""What the findings mean for a plan's thresholds (`methods.md`, Verdicts).

An interval wholly on the good side of the limit passes, wholly on the bad side fails, across it is inconclusive. No
data is inconclusive, never a pass, and neither is an invalid run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.analysis.frame import Frame
from harness.analysis.measure import OfFrame
from harness.analysis.stats import Share, needed_for, share_estimate
from harness.analysis.timeline import Timeline
from harness.errors import ExitCode
from harness.evidence import Case, Evidence, counted, evidence_for
from harness.model.request import BAD
from harness.model.threshold import METRICS, parse_all
from harness.model.verdict import STEADY_STATE, Check, Verdict, Verdicts
from harness.wording import observation, quantity, setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from harness.evidence import Samples
    from harness.model.experiment import Experiment
    from harness.model.findings import Findings, SteadyCheck
    from harness.model.plan import Plan, Slo
    from harness.model.threshold import Threshold


def judge(plan: Plan, findings: Findings, measure: Samples) -> Verdicts:
    """Hold every threshold of the plan against the findings; an experiment's are about its own faults."""
    own = [(t, None) for t in parse_all(plan.scenario.thresholds)]
    others = [(t, e.experiment) for e in plan.experiments for t in parse_all(e.thresholds)]
    cases = [
        Case(t, measure, findings.failovers, whose, findings.capacity, findings.soak) for t, whose in (*own, *others)
    ]
    checks = tuple(_check(case, valid=findings.validity.valid) for case in cases)
    checks += tuple(check for experiment in plan.experiments for check in _steady_again(experiment, findings))
    verdict, why = _overall(checks, findings.validity.reasons)
    return Verdicts(verdict=verdict, exit_code=int(EXIT_CODES[verdict]), checks=checks, why=why)


_LEAST_BUDGET = 1e-6
"""An SLO of 100 % leaves no budget; any bad request then spends it at once."""

EXIT_CODES: Mapping[Verdict, ExitCode] = {
    Verdict.PASS: ExitCode.PASS,
    Verdict.FAIL: ExitCode.FAIL,
    Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Verdict.INVALID: ExitCode.INVALID,
}


def _overall(checks: tuple[Check, ...], reasons: tuple[str, ...]) -> tuple[Verdict, str]:
    if reasons:
        return Verdict.INVALID, _and_more(f"Invalid: {reasons[0]}", len(reasons))
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        found = sorted((c for c in checks if c.verdict is verdict), key=_badness, reverse=True)
        if found:
            return verdict, _and_more(found[0].why, len(found))
    if not checks:
        return Verdict.INCONCLUSIVE, "Inconclusive: the plan sets no thresholds, so there is nothing to pass."
    hold = "the one threshold holds" if len(checks) == 1 else f"all {len(checks)} thresholds hold"
    return Verdict.PASS, f"Passes: {hold}."


def _and_more(sentence: str, n: int) -> str:
    return f"{sentence.removesuffix('.')} (and {n - 1} more)." if n > 1 else sentence


def _badness(check: Check) -> float:
    """How far on the wrong side, as a factor; no value at all is worst among equals."""
    if not check.observed or not check.limit:
        return math.inf
    ratio = abs(check.observed) / check.limit
    return max(ratio, 1 / ratio)


# --- one check -------------------------------------------------------------------------------------------------------


def _check(case: Case, *, valid: bool) -> Check:
    threshold = case.threshold
    evidence = evidence_for(case)
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
        at_least=evidence.at_least,
    )


def _steady_again(experiment: Experiment, findings: Findings) -> Iterator[Check]:
    """Yield a check for each condition of a steady state that the experiment's author wrote down: does it hold again
    after the last fault? What an SLO implies is only noted (`analysis.safety`)."""
    looks = [look for look in findings.steady_state if (look.experiment, look.when) == (experiment.experiment, "after")]
    seen = {check.threshold: check for look in looks for check in look.checks}
    asked = parse_all(experiment.steady_state or {})
    silent = bool(seen.keys() - {threshold.text for threshold in asked})  # all that is looked at beside the conditions
    for threshold in asked:
        check = seen.get(threshold.text)
        observed = None if check is None else check.observed
        verdict, why = _held(threshold, check, valid=findings.validity.valid, silent=silent)
        said = "" if observed is None else f" (observed {quantity(observed, threshold.unit)})"
        yield Check(
            threshold=threshold.text,
            scope=f"{experiment.experiment}{STEADY_STATE}",
            observed=observed,
            low=None if check is None else check.low,
            high=None if check is None else check.high,
            n=0 if check is None else check.n,
            limit=threshold.limit,
            unit=threshold.unit,
            verdict=verdict,
            why=f"{why} {threshold.text}{said}.",
        )


def _held(threshold: Threshold, check: SteadyCheck | None, *, valid: bool, silent: bool) -> tuple[Verdict, str]:
    """Return whether a condition holds after the last fault, and the words that stand before it. `silent`: requests
    were on their way then, and nobody was answered."""
    if check is None:
        return Verdict.INCONCLUSIVE, "Inconclusive: the load ended too soon after the last fault to see whether"
    if check.observed is None:
        nothing = "nobody was answered" if silent else "nothing was measured"
        return Verdict.INCONCLUSIVE, f"Inconclusive: {nothing} at the end, after the last fault, to see whether"
    if check.state == "sick":
        return Verdict.FAIL, "Fails: after the last fault it is no longer true that"
    if not valid or not all(side is not None and threshold.holds(side) for side in (check.low, check.high)):
        return Verdict.INCONCLUSIVE, "Inconclusive: after the last fault it is not certain that"
    percent = threshold.percentile
    if percent is not None and check.n < needed_for(percent):
        few = f"{check.n:,} requests after the last fault are too few (a p{percent:g} needs {needed_for(percent):,})"
        return Verdict.INCONCLUSIVE, f"Inconclusive: {few} to say that"
    return Verdict.PASS, "Passes: after the last fault it is true again that"


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


def _why(case: Case, evidence: Evidence, verdict: Verdict, limit: str) -> str:
    threshold = case.threshold
    if evidence.observed is None:
        return f"Inconclusive: {evidence.said or f'nothing was measured for {threshold.text}'}."
    unit = "x" if threshold.vs_baseline else threshold.unit
    said = evidence.said
    if not said:
        told = observation(threshold, evidence.observed, unit, evidence.n, at_least=evidence.at_least)
        said = f"{' '.join(filter(None, (told, setting(threshold, case.outages))))}; limit {limit}"
    if verdict is Verdict.PASS:
        return f"Passes: {said}."
    if verdict is Verdict.FAIL:
        return f"Fails: {said}."
    if evidence.weak:
        return f"Inconclusive: {said}, but {evidence.weak}."
    if threshold.share is not None or METRICS[threshold.metric].kind == "soak":
        return f"Inconclusive: {said}."  # which says itself what is open
    sides = [quantity(side, unit) if math.isfinite(side) else "open" for side in (evidence.low, evidence.high)]
    return (
        f"Inconclusive: {said}, which lies within what {evidence.n:,} observations leave open ({' to '.join(sides)})."
    )


LATE_S = 1.0
"""A row comes up to so much after its answer: what the last second of a running load holds is not known."""


def observe_window(threshold: Threshold, window: pa.Table, slo: Slo, window_s: float | None = None) -> Evidence:
    """Return what the requests of `window` (`layout.REQUEST_SCHEMA`), over within the last seconds, say of a threshold
    that is asked while the load is on. `window_s`: how many seconds those are, where the threshold has no window."""
    kind = METRICS[threshold.metric].kind
    if kind == "counter":
        return _sent_within(threshold, window, window_s)
    if not len(window):
        return Evidence(None)
    frame = Frame.of(window)
    return _burn(frame, slo) if kind == "budget" else evidence_for(Case(threshold, _all_of(frame), ()))


def _all_of(frame: Frame) -> OfFrame:
    return OfFrame(frame, Timeline(int(frame.due.min()), frame.last_ns + 1, ()))


def _sent_within(threshold: Threshold, window: pa.Table, window_s: float | None) -> Evidence:
    """Requests are in the window when they were over in it: its length counts, and not since when they were due, which
    one time-out stretches.

    A threshold with a window of its own is asked once the load has lasted as long, so none is a number like any other;
    a steady state is asked early, too, when nothing may have been answered yet.
    """
    count = _all_of(Frame.of(window)).sent(threshold.tags)[0] if len(window) else 0
    if not count and threshold.window_s is None:
        return Evidence(None)
    return counted(threshold, count, threshold.window_s or window_s or 0.0, LATE_S)


def _burn(frame: Frame, slo: Slo) -> Evidence:
    """How many times faster than the SLO allows its budget is spent (SRE workbook, ch. 5): bad share / (1 - SLO).

    Bad is what is bad for recovery, too: failed, or slower than the SLO's response time. What was lost may have been.
    """
    bad = frame.answered & (frame.ended_as(BAD) | (frame.response > slo.response_time * 1e9))
    share = share_estimate(Share(int(bad.sum()), int(frame.answered.sum()), int(frame.lost.sum())))
    if share.value is None or share.low is None or share.high is None or not share.n:
        return Evidence(None)
    allowed = max(1 - slo.good_share, _LEAST_BUDGET)
    return Evidence(share.value / allowed, share.low / allowed, share.high / allowed, share.n)


def abort_crossed(threshold: Threshold, window: pa.Table, slo: Slo) -> float | None:
    """Return what was observed when the requests of `window` are certain to have crossed an abort condition.

    A condition is written as what must not happen; it is crossed when the whole interval of what was observed lies
    beyond it, so that one failed request of one does not stop a run.
    """
    evidence = observe_window(threshold, window, slo)
    crossed = evidence.observed is not None and threshold.holds(evidence.low) and threshold.holds(evidence.high)
    return evidence.observed if crossed else None
