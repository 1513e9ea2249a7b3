"""A load profile as a scenario of k6: pure. What k6 cannot make is refused, never approximated.

k6 makes the arrivals of an open loop itself (`constant-arrival-rate`). The users of a closed loop are one VU and one
iteration each (`per-vu-iterations`), whatever the profile: each sleeps until its start, drawn as Locust's are, and
lives until the load ends. k6's own `ramping-vus` starts whole VUs at times that only it knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness import seeds
from harness.clock import NS_PER_MS, NS_PER_S
from harness.errors import PlanError
from harness.traffic import pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.model.load import Load, RateLoad, SpikeLoad, UsersLoad
    from harness.model.plan import Plan
    from harness.traffic.pacer import Times

_SHORTEST_S = 1.0
"""k6 takes no shorter duration."""
_MARGIN_S = 0.5
"""Users leave by themselves when the load ends; k6 must not cut them off before."""
MOST_VUS = 2**16 - 2
"""A request's id has 16 bits for its VU; one is the watch."""


@dataclass(frozen=True)
class Shape:
    """What `k6_agentstorm.js` needs to know of a load. Times in the options are k6's texts."""

    scenario: dict[str, Any]
    rate: float = 0.0
    """Arrivals per second; 0 for a closed loop."""
    count: int = 0
    """Arrivals in all."""
    period_ns: int = 0
    max_in_flight: int = 0
    offsets_ms: list[float] = field(default_factory=list)
    """Start of each user of a closed loop, ms after the load's."""


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def shape(load: Load, seed: int) -> Shape:
    """Return the k6 scenario for a profile; PlanError when k6 cannot make it."""
    make = SHAPES.get(load.kind)
    if make is None:
        raise PlanError(
            f"k6 cannot make a load of kind {load.kind!r}",
            where="load.kind",
            hint=f"k6 makes {', '.join(SHAPES)}; or leave out --engine k6",
        )
    return make(load, seed)


def check(plan: Plan) -> None:
    """Raise PlanError when k6 cannot run `plan`."""
    if plan.workers != 1 or plan.remote_workers:
        raise PlanError(
            f"k6 runs in one process, not in {plan.workers + plan.remote_workers} workers",
            where="--workers",
            hint="it uses every core of this machine as it is; leave out --workers",
        )
    shape(plan.scenario.load, plan.seed)


def _closed(load: Any, offsets: Times) -> Shape:
    if len(offsets) > MOST_VUS:
        raise PlanError(f"{len(offsets)} users: k6 is given at most {MOST_VUS}", where="load.users")
    scenario = {
        "executor": "per-vu-iterations",
        "vus": len(offsets),
        "iterations": 1,
        "maxDuration": _ms(max(_SHORTEST_S, load.total_s + _MARGIN_S)),
        "gracefulStop": _ms(load.drain),
    }
    return Shape(scenario, offsets_ms=(offsets / NS_PER_MS).round(3).tolist())


def _users(load: UsersLoad, seed: int) -> Shape:
    return _closed(load, pacer.starts(load.users, load.spawn, seeds.generator(seed, "user-starts")))


def _spike(load: SpikeLoad, seed: int) -> Shape:
    offsets = pacer.starts(load.users, load.users / load.ramp, seeds.generator(seed, "user-starts"))
    return _closed(load, offsets + int(load.warmup * NS_PER_S))


def _rate(load: RateLoad, _: int) -> Shape:
    if load.arrivals != "constant":
        raise PlanError(
            f"k6 cannot make {load.arrivals} arrivals",
            where="load.arrivals",
            hint="its arrivals are evenly spaced: write `arrivals: constant`, or leave out --engine k6",
        )
    count = len(pacer.constant(load.rate, load.total_s))
    unit_ns = round(count / load.rate * NS_PER_S)
    scenario = {
        "executor": "constant-arrival-rate",
        "rate": count,  # as many as there are in all: k6 takes whole numbers, and its period is cut to whole ns
        "timeUnit": f"{unit_ns}ns",
        # It ends between the last arrival and the one that would be next.
        "duration": _ms(max(_SHORTEST_S, (count - 0.5) / load.rate)),
        "gracefulStop": _ms(load.drain),
    }
    return Shape(scenario, load.rate, count, unit_ns // count, min(load.max_in_flight, MOST_VUS))


SHAPES: Mapping[str, Callable[[Any, int], Shape]] = {"users": _users, "spike": _spike, "rate": _rate}
"""How k6 makes each kind of load (`harness.model.load`). A kind that is not here is refused."""
