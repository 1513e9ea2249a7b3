"""What the block on capacity says: how many users, what gets used up first, what to configure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.analysis.capacity_plan import more_do_not_help, planned, stops
from harness.analysis.capacity_use import MACHINE
from harness.analysis.resources import CPU_FULL
from harness.report import units, words
from harness.report.block_cost import money
from harness.report.units import SPACE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.model.capacity import CapacityFindings, CapacityState, Level, Limit, ScalingAdvice, SloMet, Usl
    from harness.model.estimate import Estimate
    from harness.model.findings import Findings

STATES = ("requests/s at SLO", "95 % interval", "users at SLO", "first to fill up", "knee N*", "highest measured",
          "plan with")  # fmt: skip
LEVELS = ("offered", "answered", "in flight", "mean", "p95", "good", "SLO", "Little's law")
_MET: Mapping[SloMet, str] = {"meets": "met", "misses": "missed", "inconclusive": "?"}


def said(findings: Findings) -> str:
    """Return how much the system carries, in a few sentences; empty where no levels were run."""
    found = findings.capacity
    if found is None:
        return ""
    state, plan = found.worst_state, found.governing
    if state is None:
        return _not_known(found)
    several = len(found.states) > 1
    where = f" in its worst state, {name(state)}" if several else ""
    parts = [f"{_carries(state)}{where}"]
    if state.fills_first:
        parts.append(first(state.fills_first))
    text = words.sentence("; ".join(parts))
    if plan and plan.advice:
        elsewhere = "" if plan is state else f"in state {name(plan)} "
        why = _share(found, plan, "it" if plan is state else "the capacity there")
        if plan.advice.limited_by:
            why = f"{elsewhere}{plan.advice.limited_by} is full there, short of {why}"
        text += f" Plan with {rate(plan.advice.rate)}{_of_users(plan.advice)}: {why}."
    return text


def _share(found: CapacityFindings, state: CapacityState, of: str) -> str:
    """Return what headroom leaves, in words; with its rate where something else is planned with."""
    share, carried = f"{units.share(found.headroom)} of {of}", planned(state.capacity)
    if state.advice is None or not state.advice.limited_by or carried is None:
        return share
    return f"{share} ({rate(found.headroom * carried)})"


def _not_known(found: CapacityFindings) -> str:
    """Return what is known of the other states, where that of the worst is not."""
    told = [state for state in found.states if state.capacity.state != "undecided"]
    if not told:
        return "No level shows whether the SLO is met: the capacity is not known."
    several = len(found.states) > 1
    text = words.sentence("; ".join(f"{f'in state {name(s)} ' if several else ''}{_carries(s)}" for s in told))
    if missing := [name(state) for state in found.states if state.capacity.state == "undecided"]:
        where = f"state{'s' if len(missing) > 1 else ''} {' and '.join(missing)}"
        text += f" No level shows whether it is met in {where}: the capacity in the worst state is not known."
    return text


def name(state: CapacityState) -> str:
    """Return a state as words."""
    return state.state.replace("_", " ")


def rate(value: float | None) -> str:
    """Return a rate of requests."""
    return units.NONE if value is None else f"{units.three(value)}{SPACE}requests/s"


def _carries(state: CapacityState) -> str:
    capacity = state.capacity
    slo = capacity.rate
    if capacity.state == "below":
        lowest = _load(slo.high, None if capacity.users is None else capacity.users.high)
        if capacity.untold:
            return f"the system does not meet its SLO {lowest}; {_untold(capacity.untold, 'lower')}"
        return f"the system does not meet its SLO even {lowest}"
    if slo.value is None:
        highest = _load(slo.low, None if capacity.users is None else capacity.users.low)
        if capacity.untold:
            return f"the system meets its SLO {highest} and may carry more; {_untold(capacity.untold, 'higher')}"
        return f"the system meets its SLO {highest}, the highest load tested, and may carry more"
    users = f" or {units.count(capacity.users.value)} users" if capacity.users and capacity.users.value else ""
    return f"the system carries {rate(slo.value)}{users} within its SLO"


def _untold(levels: int, where: str) -> str:
    """Return that levels beyond the end that is known are undecided or do not count."""
    return f"{levels} {where} {'levels do' if levels > 1 else 'level does'} not tell"


def _load(at: float | None, users: float | None) -> str:
    """Return a load; of a closed loop that had too few requests to tell its throughput, the users."""
    return f"with {units.count(users)} users" if at is None and users is not None else f"at {rate(at)}"


def first(limit: Limit) -> str:
    """Return what fills up, and how that is known."""
    measured = "fills up first, at or below" if limit.at_most else "fills up first, at"
    how = "would fill up first, at about" if limit.extrapolated else measured
    why = " (extrapolated: nothing that was watched did)" if limit.extrapolated else ""
    return f"{limit.resource} {how} {rate(limit.rate)}{why}"


def interval(estimate: Estimate | None, unit: str) -> str:
    """Return an interval in words; a dash where neither side is known."""
    return (units.between(estimate.low, estimate.high, unit) if estimate else "") or units.NONE


def state_cells(state: CapacityState) -> list[str]:
    """Return the cells of `STATES`."""
    slo, law = state.capacity.rate, state.usl
    return [
        units.per_second(slo.value),
        interval(slo, "per_s"),
        units.say(state.capacity.users.value, "count") if state.capacity.users else units.NONE,
        _limit_cell(state.fills_first),
        _knee(law),
        units.per_second(max((level.achieved.value or 0.0 for level in state.levels if level.counts), default=None)),
        units.per_second(state.advice.rate) if state.advice else units.NONE,
    ]


def _limit_cell(limit: Limit | None) -> str:
    if limit is None:
        return units.NONE
    about = f"about{SPACE}" if limit.extrapolated else f"at most{SPACE}" if limit.at_most else ""
    return f"{limit.resource}, {about}{units.per_second(limit.rate)}"


def _knee(law: Usl | None) -> str:
    """Return N*; where the levels do not reach past it, only what it lies above."""
    if law is None:
        return units.NONE
    if not law.fits:
        return "none: the law does not fit"
    peak = law.peak_in_flight
    if peak.value is None:
        return f"> {units.three(peak.low or 0.0)}, beyond the tested range"
    return f"{units.three(peak.value)} ({interval(peak, 'in flight')})"


def _level_cells(level: Level) -> list[str]:
    little = level.little
    return [
        units.per_second(level.offered),
        units.per_second(level.achieved.value),
        units.three(level.in_flight),
        units.milliseconds(level.response_mean_ms.value),
        units.milliseconds(level.response_ms.p95.value),
        units.share(level.good_share.value),
        _MET[level.slo] if level.counts else "does not count",
        "holds" if little.holds else f"{units.share(little.off)} off: {little.why.partition(':')[0]}",
    ]


def _of_users(what: ScalingAdvice) -> str:
    return f" ({units.count(math.floor(what.users))} users)" if what.users is not None else ""


def advice_rows(found: CapacityFindings, state: CapacityState) -> list[tuple[str, str, str]]:
    """Return what to configure: what, at which value, and a word on it."""
    what = state.advice
    if what is None:
        return []
    shown = "shown to meet the SLO" if what.shown else "not itself shown to meet the SLO: longer levels would tell"
    measured = ". ".join(filter(None, (f"measured with {found.replicas}", words.sentence(more_do_not_help(state)))))
    of = "the capacity" if state.capacity.rate.value is not None else "the highest load shown to meet the SLO"
    rows = [
        ("plan with", rate(what.rate) + _of_users(what), f"{_why(found, state, of)}; {shown}"),
        ("scale out at", f"{units.per_second(what.rate_per_replica)} per replica", measured),
    ]
    if what.in_flight_per_replica is not None:
        rows.append(("or at", f"{units.three(what.in_flight_per_replica)} in flight per replica", "mean at that rate"))
    return [*rows, *_cpu(what), *_costs(found, state)]


def _why(found: CapacityFindings, state: CapacityState, of: str) -> str:
    """Return which governs the rate to plan with, headroom or a resource that is full, and how the other lies to it."""
    share, full = _share(found, state, of), stops(state.limits)
    if full is None:
        return share
    if state.advice is None or not state.advice.limited_by:
        may = f", where {full.resource} may be full: it is at {rate(full.rate)} or below"
        return share + (may if full.at_most else f", before {full.resource} is full ({rate(full.rate)})")
    already = " there or below" if full.at_most else ""
    ours = ", the load generator's part included" if full.resource == MACHINE else ""
    return f"{full.resource} is full{already} ({units.share(full.full_at)} of {full.of}{ours}), short of {share}"


def _cpu(what: ScalingAdvice) -> list[tuple[str, str, str]]:
    busiest = sorted(what.cpu.items(), key=lambda used: -used[1])[:2]
    return [
        (
            "or at",
            f"{units.share(share)} of {resource}",
            "mean at that rate" if share < CPU_FULL else "where it is full",
        )
        for resource, share in busiest
    ]


def _costs(found: CapacityFindings, state: CapacityState) -> list[tuple[str, str, str]]:
    if found.currency is None or state.cost_per_hour is None:
        return []
    rows = [("costs", f"{money(state.cost_per_hour, found.currency)} an hour", "provider calls at that rate")]
    if state.cost_per_user_hour is not None:
        rows.append(("or", f"{money(state.cost_per_user_hour, found.currency)} a user and hour", ""))
    return rows


def capacity(findings: Findings) -> dict[str, Any] | None:
    """Return the block; None where no levels were run."""
    found = findings.capacity
    if found is None:
        return None
    governing = found.governing
    several = len(found.states) > 1
    return {
        "answer": said(findings),
        "columns": STATES,
        "rows": [(name(state), state is governing and several, state_cells(state)) for state in found.states],
        "advice": advice_rows(found, governing) if governing else [],
        "advice_of": f"in state {name(governing)}, which governs" if governing and several else "",
        "limits": [(name(state), limit.resource, words.sentence(limit.evidence), units.per_second(limit.rate),
                    "extrapolated" if limit.extrapolated else "at or below" if limit.at_most else "measured")
                   for state in found.states for limit in state.limits],
        "level_columns": LEVELS,
        "levels": [(name(state), level.level, _level_cells(level), level.why)
                   for state in found.states for level in state.levels],
        "notes": notes(found),
        "slo": f"{units.share(found.slo_good_share)} answered within {units.seconds(found.slo_response_s)}",
    }  # fmt: skip


def notes(found: CapacityFindings) -> list[str]:
    """Return what a reader should know besides; what is true of every state is said once."""
    said_of: dict[str, list[str]] = {}
    for state in found.states:
        for note in state.notes:
            said_of.setdefault(note, []).append(name(state))
    every = len(found.states)
    return [
        note if len(of) == every else f"{words.sentence(', '.join(of))[:-1]}: {note}" for note, of in said_of.items()
    ]


def table_rows(found: CapacityFindings) -> list[list[str]]:
    """Return the states with their cells, for Markdown and terminals."""
    return [[name(state), *state_cells(state)] for state in found.states]
