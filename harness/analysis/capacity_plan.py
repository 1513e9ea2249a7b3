"""What to configure and how many replicas to buy: from measured capacity, headroom and a forecast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.model.capacity import ScalingAdvice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.model.capacity import CapacityFindings, CapacityState, Level, SloCapacity

HEADROOM = 0.7
"""Share of the capacity to plan with (`methods.md`, Capacity)."""
ONE_LOST = "one_replica_lost"


def up(state: str, replicas: int) -> int:
    """Return how many replicas carry the load in a state."""
    return max(1, replicas - 1) if state == ONE_LOST else replicas


def planned(capacity: SloCapacity) -> float | None:
    """Return the rate that headroom is taken of: the capacity or, where no level missed the SLO, the highest load that
    met it."""
    return capacity.rate.value if capacity.rate.value is not None else capacity.rate.low


def advice(
    state: str,
    capacity: SloCapacity,
    levels: Sequence[Level],
    cpu: Sequence[str],
    *,
    think_s: float | None,
    headroom: float,
    replicas: int,
) -> ScalingAdvice | None:
    """Return what to configure; `cpu` names the resources that are CPU. None if no load is known to be carried."""
    carried, told = planned(capacity), rising([level for level in levels if level.counts])
    if carried is None or not told:
        return None
    rate = headroom * carried
    number = at_rate(told, rate, lambda level: level.in_flight)
    used = {
        name: at_rate(some, rate, lambda level, name=name: level.used[name])  # type: ignore[misc]
        for name in cpu
        if (some := [level for level in told if name in level.used])
    }
    response = at_rate(told, rate, response_s)
    return ScalingAdvice(
        rate=rate,
        shown=capacity.rate.low is not None and rate <= capacity.rate.low,
        users=_users(capacity, rate, response, think_s, headroom, closed=told[0].users is not None),
        rate_per_replica=rate / up(state, replicas),
        in_flight_per_replica=number / up(state, replicas),
        cpu=used,
    )


def _users(
    capacity: SloCapacity, rate: float, response: float, think_s: float | None, headroom: float, *, closed: bool
) -> float | None:
    if closed and capacity.users:
        carried = capacity.users.value if capacity.users.value is not None else capacity.users.low
        return None if carried is None else headroom * carried
    return None if think_s is None else rate * (response + think_s)


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


@dataclass(frozen=True)
class Demand:
    """A forecast: requests per second, or users (turned into requests by each state's own response time)."""

    rate: float | None = None
    users: float | None = None


@dataclass(frozen=True)
class Needed:
    """Replicas that carry a forecast in one state."""

    state: str
    rate: float
    """Requests per second to be carried."""
    replicas: int
    """Of the service that is replicated, those that may be lost included."""
    measured: tuple[int, ...]
    """Replicas that were measured."""
    per_replica: float
    """Requests per second that one replica is planned to carry, headroom taken."""
    basis: Literal["measured", "assumed"]
    """`assumed`: more replicas than were measured, taken to carry as much each."""


def needed(runs: Sequence[CapacityFindings], state: str, demand: Demand, headroom: float) -> Needed | None:
    """Return the replicas that a forecast needs in a state, from runs with the same or different numbers of them.

    A replica is taken to carry what it did in the run that has most of them: what replicas cost each other (a shared
    cache, a shared provider) is in that, as far as it was tested. Beyond, the same is assumed and said. None where the
    state's capacity is not known, or users were asked for and nobody knows how long they think.
    """
    known: dict[int, tuple[float, CapacityFindings, CapacityState]] = {}
    for run in runs:
        found = run.state(state)
        carried = None if found is None else planned(found.capacity)
        if found is None or not carried:
            continue
        count = up(state, run.replicas)
        if count not in known or carried < known[count][0]:  # several runs: the worst governs
            known[count] = (carried, run, found)
    if not known:
        return None
    most = max(known)
    carried, run, found = known[most]
    rate = demand.rate
    if rate is None:
        if run.think_s is None or demand.users is None:
            return None
        told = [level for level in found.levels if level.counts]
        response = at_rate(told, headroom * carried, response_s)
        rate = demand.users / (response + run.think_s)
    lost = 1 if state == ONE_LOST else 0
    enough = [count for count in sorted(known) if rate <= headroom * known[count][0]]
    count = enough[0] if enough else math.ceil(rate / (headroom * carried / most) - 1e-9)
    per_replica = headroom * known[count][0] / count if enough else headroom * carried / most
    fewer = math.ceil(rate / per_replica - 1e-9)
    count = min(count, fewer)  # fewer replicas than were measured do not carry less each
    return Needed(
        state=state,
        rate=rate,
        replicas=max(1, count) + lost,
        measured=tuple(sorted(known)),
        per_replica=per_replica,
        basis="measured" if count in known else "assumed",
    )
