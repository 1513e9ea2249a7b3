"""What to configure and how many replicas to buy: from measured capacity, headroom, what fills up, and a forecast."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.capacity_notes import NO_THINK
from harness.analysis.capacity_use import MACHINE
from harness.analysis.resources import CPU_FULL
from harness.analysis.usl import LEAST, scaling
from harness.model.capacity import Forecast, ScalingAdvice
from harness.model.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.model.capacity import CapacityFindings, CapacityState, Level, Limit, SloCapacity

HEADROOM = 0.7
"""Share of the capacity to plan with (`methods.md`, Capacity)."""
MOST_REPLICAS = 10_000
"""More than anybody runs."""
ONE_LOST = "one_replica_lost"


def up(state: str, replicas: int) -> int:
    """Return how many replicas carry the load in a state."""
    return max(1, replicas - 1) if state == ONE_LOST else replicas


def planned(capacity: SloCapacity) -> float | None:
    """Return the rate that headroom is taken of: the capacity or, where no level missed the SLO, the highest load that
    met it."""
    return capacity.rate.value if capacity.rate.value is not None else capacity.rate.low


def stops(limits: Sequence[Limit]) -> Limit | None:
    """Return what plans have to stay below: the resource that load was seen to fill first; None where none was.

    One that only a straight line fills lies beyond every level it was watched on, and the capacity below those. What a
    throttled CPU costs is waiting, which the SLO measures: of a CPU its utilisation counts.
    """
    return next(
        (one for one in limits if one.by_load and one.rate > 0 and not one.extrapolated and one.kind != "throttled"),
        None,
    )


def advice(
    state: str,
    capacity: SloCapacity,
    levels: Sequence[Level],
    limits: Sequence[Limit],
    cpu: Sequence[str],
    *,
    think_s: float | None,
    headroom: float,
    replicas: int,
) -> ScalingAdvice | None:
    """Return what to configure; `cpu` names the resources that are CPU. None if no load is known to be carried.

    Headroom governs, or what fills up (a CPU: 80 %) at a lower rate: the SLO still holds there, but what is left does
    not carry the next rise of the load. Utilisation grows in a straight line from level to level, so the rate read off
    between two is taken, not the lower of them: what is left when it is called full is kept for what one does not know,
    as the headroom is.

    `think_s` is what a user waits between requests; of a closed loop, None leaves its users as they were.
    """
    carried, told = planned(capacity), rising([level for level in levels if level.counts])
    if carried is None or not told:
        return None
    wanted, full = headroom * carried, stops(limits)
    limited_by = full.resource if full is not None and full.rate < wanted else None
    rate = wanted if full is None else min(wanted, full.rate)
    share = headroom if limited_by is None else rate / carried
    # Below the lowest level as many are in flight as at its response time (Little's law).
    number = at_rate(told, rate, lambda level: level.in_flight) * min(1.0, rate / (told[0].achieved.value or rate))
    used = {
        name: min(at_rate(some, rate, lambda level, name=name: level.used[name]), CPU_FULL)  # type: ignore[misc]
        for name in cpu
        if (some := [level for level in told if name in level.used])
    }
    response = at_rate(told, rate, response_s)
    return ScalingAdvice(
        rate=rate,
        limited_by=limited_by,
        shown=capacity.rate.low is not None and rate <= capacity.rate.low,
        users=rate * (response + think_s) if think_s is not None else _users(capacity, told, rate, share),
        rate_per_replica=rate / up(state, replicas),
        in_flight_per_replica=number / up(state, replicas),
        cpu=used,
    )


def _users(capacity: SloCapacity, levels: Sequence[Level], rate: float, share: float) -> float | None:
    """Return the users of a closed loop who make a rate, waiting as they did: that `share` of those at the capacity, or
    fewer where throughput grows less than they do."""
    if levels[0].users is None or not capacity.users:
        return None
    carried = capacity.users.value if capacity.users.value is not None else capacity.users.low
    return None if carried is None else min(share * carried, at_rate(levels, rate, lambda level: level.users or 0))


def users_of(rate: Estimate, levels: Sequence[Level], think_s: float, most_s: float) -> Estimate:
    """Return the users who make a rate, X (R + Z), when each waits `think_s` between requests; `levels` are those that
    count.

    Above the capacity a response time is that of a growing queue; at it, the SLO is just met: R is at most `most_s`.
    """

    def users(end: float | None) -> float | None:
        return None if end is None else end * (min(_response_at(levels, end), most_s) + think_s)

    return Estimate(value=users(rate.value), low=users(rate.low), high=users(rate.high), n=rate.n)


def _response_at(levels: Sequence[Level], rate: float) -> float:
    """Return the mean response time at a rate, seconds, between levels: as offered, or of a closed loop achieved."""
    if any(level.rate is None for level in levels):
        return at_rate(levels, rate, response_s)
    x, y = np.array(sorted((level.rate or 0.0, response_s(level)) for level in levels)).T
    return float(np.interp(rate, x, y))


def costs(per_1k: float | None, what: ScalingAdvice | None) -> dict[str, float | None]:
    """Return what the planned load costs an hour, in all and for each user, as fields of `CapacityState`."""
    if per_1k is None or what is None:
        return {"cost_per_hour": None, "cost_per_user_hour": None}
    hour = per_1k / 1000 * what.rate * 3600
    return {"cost_per_hour": hour, "cost_per_user_hour": hour / what.users if what.users else None}


def rising(levels: Sequence[Level]) -> list[Level]:
    """Return the levels, by load, that brought more throughput than every lower one: past its highest throughput a
    system does other things at the same rate."""
    found: list[Level] = []
    for level in sorted(levels, key=lambda level: (level.users or 0, level.rate or 0.0)):
        if (level.achieved.value or 0.0) > (found[-1].achieved.value or 0.0 if found else 0.0):
            found.append(level)
    return found


def at_rate(levels: Sequence[Level], rate: float, of: Callable[[Level], float]) -> float:
    """Return a figure of the levels at a rate: on a straight line between the two next to it; beyond the lowest and
    the highest throughput as there. There has to be a level with any."""
    up = rising(levels)
    return float(np.interp(rate, [level.achieved.value or 0.0 for level in up], [of(level) for level in up]))


def response_s(level: Level) -> float:
    """Return the mean response time of a level, seconds."""
    return (level.response_mean_ms.value or 0.0) / 1000


def with_headroom(found: CapacityFindings, headroom: float, think_s: float | None) -> CapacityFindings:
    """Return findings planned with another headroom, or (unless None) for users with another think time: the rate to
    plan with, users, and what they cost. Of a closed loop `think_s` makes its users others than those who were there.
    """
    states = tuple(_replanned(state, found, headroom, think_s) for state in found.states)
    known = found.think_s if think_s is None else think_s
    return found.model_copy(update={"states": states, "headroom": headroom, "think_s": known})


def _replanned(state: CapacityState, found: CapacityFindings, headroom: float, think_s: float | None) -> CapacityState:
    capacity, notes, told = state.capacity, state.notes, [level for level in state.levels if level.counts]
    if think_s is not None and told:
        users = users_of(capacity.rate, told, think_s, found.slo_response_s)
        capacity = capacity.model_copy(update={"users": users})
    if think_s is not None:
        notes = tuple(note for note in notes if note != NO_THINK)
    what = advice(
        state.state, capacity, state.levels, state.limits, list(state.advice.cpu) if state.advice else [],
        think_s=found.think_s if think_s is None else think_s, headroom=headroom, replicas=found.replicas,
    )  # fmt: skip
    update = {"capacity": capacity, "advice": what, "notes": notes, **costs(state.cost_per_1k, what)}
    return state.model_copy(update=update)


def forecast(
    runs: Sequence[CapacityFindings], state: str, *, rate: float | None, users: float | None
) -> Forecast | None:
    """Return the replicas that a load needs in a state, from runs with the same or different numbers of them.

    The headroom is that of the runs. A replica is taken to carry what it did in the run with the most of them: what
    replicas cost each other is in that, as far as it was tested. From four different numbers of replicas on, the
    scalability law with replicas as its N (Gunther 2007, ch. 4) says how much less each further one brings. None where
    the state's capacity is not known, or users were asked for whose think time nobody knows.
    """
    known: dict[int, tuple[float, CapacityFindings, CapacityState]] = {}
    for run in runs:
        found = run.state(state)
        if found is None or found.advice is None:
            continue
        count = up(state, run.replicas)
        if count not in known or found.advice.rate < known[count][0]:  # several runs with as many: the worst governs
            known[count] = (found.advice.rate, run, found)
    if not known:
        return None
    most = max(known)
    _, run, found = known[most]
    per_user = _per_user(found, run)
    if rate is None and (users is None or per_user is None):
        return None
    wanted = rate if rate is not None else (users or 0.0) * (per_user or 0.0)
    needed, per_replica, basis = _count(wanted, {count: each for count, (each, _, _) in known.items()})
    lost = 1 if state == ONE_LOST else 0
    return Forecast(
        state=state,
        rate=wanted,
        replicas=None if needed is None else needed + lost,
        measured=tuple(sorted(known)),
        per_replica=per_replica,
        basis=basis,
        notes=tuple(_doubts(found, most, needed)),
    )


def _per_user(state: CapacityState, run: CapacityFindings) -> float | None:
    """Return the requests per second that one user makes at the planned load."""
    if state.advice is None or not state.advice.users:
        return None if run.think_s is None else 1 / max(run.think_s, 1e-9)
    return state.advice.rate / state.advice.users


def _count(
    wanted: float, carried: Mapping[int, float]
) -> tuple[int | None, float, Literal["measured", "assumed", "law"]]:
    """Return how many replicas carry a rate, what each then carries, and how that is known."""
    most = max(carried)
    for count in sorted(carried):
        if count - 1 in carried and carried[count - 1] < wanted <= carried[count]:
            return count, carried[count] / count, "measured"
    if len(carried) >= LEAST:
        counts = np.array(sorted(carried), float)
        law = scaling(counts, np.array([carried[int(count)] for count in counts]))
        if law is not None:
            numbers = np.arange(1, MOST_REPLICAS)
            enough = np.flatnonzero(law(numbers) >= wanted)
            first = int(numbers[enough[0]]) if len(enough) else None
            return first, float(law(np.array([first or most]))[0]) / (first or most), "law"
    count = max(1, math.ceil(wanted * most / carried[most] - 1e-9))
    return count, carried[most] / most, "measured" if count == most else "assumed"


def _doubts(state: CapacityState, most: int, count: int | None) -> Iterator[str]:
    if count is None:
        yield "No number of replicas carries it: each further one costs the others more than it brings."
    elif count > most:
        yield f"At most {most} replica{'s were' if most > 1 else ' was'} measured."
    if why := more_do_not_help(state):
        yield why


def more_do_not_help(state: CapacityState) -> str:
    """Return why further replicas would not raise the capacity, in a sentence; empty where nothing says so."""
    first = state.fills_first
    if first is not None and first.kind == "rate_limit":
        return f"{first.resource} is what fills up first: more replicas do not raise it."
    if first is not None and first.resource == MACHINE:
        return "The machine is what fills up first: replicas on it share its cores."
    return ""
