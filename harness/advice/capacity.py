"""Rules on how much the system carries, and on what drifts while it carries it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.advice.case import Advice, Severity, Value, limit, name, per_hour
from harness.analysis.capacity_use import MACHINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.advice.case import Case
    from harness.model.capacity import CapacityFindings, CapacityState, Limit, LimitKind
    from harness.model.soak import SoakSeries

_LIMITS: Mapping[LimitKind, tuple[str, str]] = {
    "cpu": ("capacity_limit", " cpu"),
    "generator": ("capacity_limit", " cpu"),
    "stand_in": ("capacity_limit", " cpu"),
    "memory": ("capacity_limit", " memory"),
    "rate_limit": ("capacity_rate_limit", " rate limit"),
    "pool": ("capacity_pool", " pool"),
    "throttled": ("capacity_throttled", " throttling"),
}
"""Kinds of limit: the rule that has words for it, and what stands after its owner in `Limit.resource`."""


def capacity_limit(case: Case) -> Iterator[Advice]:
    """What is used up first, and where to scale out if that helps: it does not raise a provider's limit, nor give the
    machine more cores."""
    worst = case.capacity.governing if case.capacity else None
    if worst is None or worst.advice is None:
        return
    first = worst.fills_first
    if first is not None:
        owner = first.resource.removesuffix(_LIMITS[first.kind][1])
        values = {
            "state": Value(worst.state, "state"), "resource": limit(owner, first.kind), "owner": name(owner),
            "full": Value(first.full_at, "share"),
            "full_rate": Value(first.rate, "rate_or_less" if first.at_most else "rate"),
            "rate": Value(worst.advice.rate_per_replica, "rate"),
        }  # fmt: skip
        yield Advice(_of_limit(first), Severity.WATCH, 1, values, ("capacity",), case.again)


def _of_limit(first: Limit) -> str:
    machine = first.resource == MACHINE
    if first.extrapolated:
        return "capacity_machine_would" if machine else "capacity_limit_would"
    return "capacity_machine" if machine else _LIMITS[first.kind][0]


def _load(found: CapacityFindings, rate: float | None, users: float | None) -> Value:
    """Return an end of a capacity as the load was made: in users of a closed loop, else in requests per second."""
    if not found.open_loop and users is not None:
        return Value(math.floor(users), "users")
    return Value(rate or 0.0, "rate")


def _with(case: Case, state: str) -> Iterator[tuple[CapacityFindings, CapacityState]]:
    found = case.capacity
    for one in found.states if found else ():
        if found is not None and one.capacity.state == state:
            yield found, one


def capacity_below(case: Case) -> Iterator[Advice]:
    """No level of load is shown to meet the SLO, and this one to miss it."""
    for found, state in _with(case, "below"):
        carried = state.capacity
        missed = _load(found, carried.rate.high, carried.users.high if carried.users else None)
        values = {"state": Value(state.state, "state"), "rate": missed}
        yield Advice("capacity_below", Severity.STOP, 1, values, ("capacity",), case.again)


def capacity_beyond(case: Case) -> Iterator[Advice]:
    """No level is shown to miss the SLO: the capacity lies beyond all of them, or among those that tell nothing."""
    for found, state in _with(case, "at_least"):
        carried = state.capacity
        met = _load(found, carried.rate.low, carried.users.low if carried.users else None)
        values = {"state": Value(state.state, "state"), "rate": met, "levels": Value(carried.untold, "levels")}
        rule = "capacity_untold" if carried.untold else "capacity_beyond"
        yield Advice(rule, Severity.KNOW, 1, values, ("capacity",), case.again)


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
            "owner": name(_owner(series)), "what": Value(series.what, "series"), "slope": per_hour(slope, series.unit),
            "limit": per_hour(series.threshold, series.unit),
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
            "owner": name(_owner(series)), "what": Value(series.what, "series"), "slope": per_hour(slope, series.unit),
            "limit": per_hour(series.threshold, series.unit),
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
