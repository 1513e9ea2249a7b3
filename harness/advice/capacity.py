"""Rules on how much the system carries, and on what drifts while it carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.advice.case import Advice, Severity, Value, name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.advice.case import Case
    from harness.model.soak import SoakSeries


def capacity_limit(case: Case) -> Iterator[Advice]:
    """What is used up first, and where to scale out."""
    worst = case.capacity.governing if case.capacity else None
    if worst is None or worst.advice is None:
        return
    first = next((limit for limit in worst.limits if limit.kind != "generator"), None)
    if first is not None:
        values = {
            "state": Value(worst.state, "state"), "resource": name(first.resource),
            "full": Value(first.full_at, "share"), "full_rate": Value(first.rate, "rate"),
            "rate": Value(worst.advice.rate_per_replica, "rate"),
        }  # fmt: skip
        yield Advice("capacity_limit", Severity.WATCH, 1, values, ("capacity",), case.again)


def capacity_below(case: Case) -> Iterator[Advice]:
    """Not even the lowest level of load met the SLO."""
    for state in case.capacity.states if case.capacity else ():
        if state.capacity.state == "below" and state.levels:
            lowest = min(level.offered for level in state.levels)
            values = {"state": Value(state.state, "state"), "rate": Value(lowest, "rate")}
            yield Advice("capacity_below", Severity.STOP, 1, values, ("capacity",), case.again)


def capacity_beyond(case: Case) -> Iterator[Advice]:
    """Capacity lies beyond what was tested."""
    for state in case.capacity.states if case.capacity else ():
        if state.capacity.state == "at_least" and state.levels:
            highest = max(level.offered for level in state.levels)
            values = {"state": Value(state.state, "state"), "rate": Value(highest, "rate")}
            yield Advice("capacity_beyond", Severity.KNOW, 1, values, ("capacity",), case.again)


def _drifting(case: Case, verdict: str) -> Iterator[SoakSeries]:
    for series in case.soak.series if case.soak else ():
        if series.verdict == verdict and not series.instrument and series.worse is not False and series.slope:
            yield series


def _owner(series: SoakSeries) -> str:
    return series.owner.partition(":")[2] or series.owner


def leak(case: Case) -> Iterator[Advice]:
    """A resource grows; with a limit, until when."""
    for series in _drifting(case, "leak"):
        slope = series.slope.value if series.slope else 0.0
        values = {
            "owner": name(_owner(series)), "what": Value(series.what, "series"), "slope": Value(slope, series.unit),
            "limit": Value(series.threshold, series.unit),
        }  # fmt: skip
        excess, rule = abs(slope) / max(series.threshold, 1e-9), "leak"
        if series.to_limit_h is not None:
            rule, values = "leak_limit", values | {"left": Value(series.to_limit_h.value * 3600, "s")}
        yield Advice(rule, Severity.HARM, excess, values, ("soak",), case.again)


def drift(case: Case) -> Iterator[Advice]:
    """A figure of the service gets worse hour by hour."""
    for series in _drifting(case, "drift"):
        slope = series.slope.value if series.slope else 0.0
        values = {
            "owner": name(_owner(series)), "what": Value(series.what, "series"), "slope": Value(slope, series.unit),
            "limit": Value(series.threshold, series.unit),
        }  # fmt: skip
        yield Advice("drift", Severity.HARM, abs(slope) / max(series.threshold, 1e-9), values, ("soak",), case.again)


def soak_short(case: Case) -> Iterator[Advice]:
    """Too short to say whether anything drifts."""
    found = case.soak
    if found is not None and found.verdict == "inconclusive":
        needed = [s.needed_s for s in found.series if s.verdict == "inconclusive" and s.needed_s]
        if needed:
            values = {"length": Value(found.length_s, "s"), "needed": Value(max(needed), "s")}
            yield Advice("soak_short", Severity.KNOW, max(needed) / max(found.length_s, 1), values, ("soak",),
                         case.command("soak"))  # fmt: skip
