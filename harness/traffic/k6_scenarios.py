"""A load profile as a scenario of k6: pure. What k6 cannot make is refused, never approximated.

k6 makes the arrivals of an open loop itself (`constant-arrival-rate`; `ramping-arrival-rate` where rates change). The
users of a closed loop are one VU and one iteration each (`per-vu-iterations`), whatever the profile: each sleeps until
its start and lives until it is to leave, both drawn as Locust's are. k6's own `ramping-vus` starts and ends VUs at
times that only it knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import seeds
from harness.clock import NS_PER_MS, NS_PER_S
from harness.errors import PlanError
from harness.traffic import pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.model.load import Load, RateLoad, SpikeLoad, StepsLoad, UsersLoad
    from harness.model.plan import Plan
    from harness.traffic.pacer import Level, Times

_SHORTEST_S = 1.0
"""k6 takes no shorter duration."""
_MARGIN_S = 0.5
"""Users leave by themselves when the load ends; k6 must not cut them off before, nor the last arrival of all."""
MOST_VUS = 2**16 - 2
"""A request's id has 16 bits for its VU; one is the watch."""
_UNIT_S = 10**6 * 3600
"""k6 takes whole numbers of arrivals in a time: in so long, whatever a plan says per s, min or h is one."""
_LEAD_S, _LEAD = 0.001, 1 - 1e-8
"""k6's first arrival of changing rates is due once the integral of the rate is 1, ours where it is 0. So a moment with
one arrival in it, all but a little, goes before: an arrival that is due just as a step begins is then in that step,
whichever way k6 rounds, and later than planned by the time in which the integral grows by that little."""


@dataclass(frozen=True)
class Shape:
    """What `k6_agentstorm.js` needs to know of a load. Times in the options are k6's texts."""

    scenario: dict[str, Any]
    rate: float = 0.0
    """Arrivals per second, the most there will be; 0 for a closed loop."""
    count: int = 0
    """Arrivals in all."""
    period_ns: int = 0
    """Between two arrivals; 0 where rates change."""
    levels: list[Level] = field(default_factory=list)
    """Of rates that change: what `pacer.ramps` makes of them is due."""
    lead_ms: float = 0.0
    """How long before the load k6's scenario begins."""
    max_in_flight: int = 0
    lives_ms: list[tuple[float, float]] = field(default_factory=list)
    """When each user of a closed loop starts and is to leave, ms after the start of the load."""


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


def _closed(load: Any, start: Times, stop: Times | None = None) -> Shape:
    """Return users that live from `start` to `stop`, -1 (or none given): to the end. ns."""
    if len(start) > MOST_VUS:
        raise PlanError(
            f"{len(start)} users: k6 is given at most {MOST_VUS}",
            where="load.steps" if load.kind == "steps" else "load.users",
            hint="each is a VU of its own, and so is each that comes when others have left",
        )
    end = load.total_s * NS_PER_S
    leave = np.full(len(start), end) if stop is None else np.where(stop < 0, end, stop)
    lives = np.column_stack([start, leave]) / NS_PER_MS
    scenario = {
        "executor": "per-vu-iterations",
        "vus": len(start),
        "iterations": 1,
        "maxDuration": _ms(max(_SHORTEST_S, load.total_s + _MARGIN_S)),
        "gracefulStop": _ms(load.drain),
    }
    return Shape(scenario, lives_ms=lives.round(3).tolist())


def _users(load: UsersLoad, seed: int) -> Shape:
    return _closed(load, pacer.starts(load.users, load.spawn, seeds.generator(seed, "user-starts")))


def _spike(load: SpikeLoad, seed: int) -> Shape:
    offsets = pacer.starts(load.users, load.users / load.ramp, seeds.generator(seed, "user-starts"))
    return _closed(load, offsets + int(load.warmup * NS_PER_S))


def _even(load: RateLoad | StepsLoad) -> None:
    if load.arrivals != "constant":
        raise PlanError(
            f"k6 cannot make {load.arrivals} arrivals",
            where="load.arrivals",
            hint="its arrivals are evenly spaced: write `arrivals: constant`, or leave out --engine k6",
        )


def _rate(load: RateLoad, _: int) -> Shape:
    _even(load)
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
    most = min(load.max_in_flight, MOST_VUS)
    return Shape(scenario, load.rate, count, unit_ns // count, max_in_flight=most)


def _steps(load: StepsLoad, seed: int) -> Shape:
    levels = pacer.levels(((step.level, step.ramp, step.hold) for step in load.steps), load.warmup)
    if not load.open_loop:
        start, stop, _ = pacer.lives(levels, seeds.generator(seed, "user-starts"))
        return _closed(load, start, stop)
    _even(load)
    # From each rate to the next in a straight line, as `pacer.ramps` goes; one that takes no time is a jump.
    stages = [(_LEAD_S, _LEAD / _LEAD_S), (0.0, 0.0)]
    for level in levels:
        stages += [(level.ramp_s, level.level), (level.hold_s, level.level)]
    stages += [(0.0, 0.0), (_MARGIN_S, 0.0)]
    scenario = {
        "executor": "ramping-arrival-rate",
        "startRate": round(stages[0][1] * _UNIT_S),
        "timeUnit": f"{_UNIT_S // 3600}h",
        "stages": [
            {"duration": f"{round(seconds * NS_PER_S)}ns", "target": round(rate * _UNIT_S)} for seconds, rate in stages
        ],
        "gracefulStop": _ms(load.drain),
    }
    most, count = min(load.max_in_flight, MOST_VUS), len(pacer.ramps(levels))
    return Shape(scenario, load.peak, count, levels=levels, lead_ms=_LEAD_S * 1000, max_in_flight=most)


SHAPES: Mapping[str, Callable[[Any, int], Shape]] = {"users": _users, "spike": _spike, "rate": _rate, "steps": _steps}
"""How k6 makes each kind of load (`harness.model.load`). A kind that is not here is refused."""
