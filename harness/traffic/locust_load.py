"""The load of each kind of profile: who does what when. Only for the Locust subprocess.

A load is given the whole schedule and the `numbers` of it that are its own. What a user or an arrival is (its class,
its random stream) depends on its number in the whole and nothing else, so it is the same however many workers there
are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import seeds
from harness.clock import NS_PER_S
from harness.traffic import pacer
from harness.traffic.locust_closed import ClosedLoad, Users
from harness.traffic.locust_levels import LevelsLoad
from harness.traffic.locust_open import OpenLoad

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from locust.env import Environment

    from harness.traffic.locust_record import Recorder
    from harness.traffic.pacer import Times

AnyLoad = ClosedLoad | OpenLoad


@dataclass(frozen=True)
class Part:
    """What a load is made for: the process it runs in, and which share of the schedule is its own."""

    environment: Environment
    recorder: Recorder
    seed: int
    worker: int = 0
    """Number of this worker, from 0, of `workers`."""
    workers: int = 1

    def closed(self, users: Users) -> ClosedLoad:
        """Return the load of `users`, of whom every `workers`-th is ours."""
        return ClosedLoad(self.environment, self.recorder, self.seed, users, self._numbers(users.start))

    def open(self, due: Times, max_in_flight: int) -> OpenLoad:
        """Return the load of arrivals at `due`, of which every `workers`-th is ours, as of the limit."""
        limit = len(range(self.worker, max_in_flight, self.workers))
        return OpenLoad(self.environment, self.recorder, self.seed, due, limit, self._numbers(due))

    def levels(self, first: Times, max_in_flight: int, arrivals: str) -> LevelsLoad:
        """Return the load that begins with arrivals at `first` and goes on as it is told, of which every `workers`-th
        is ours, as of the limit."""
        limit = len(range(self.worker, max_in_flight, self.workers))
        share = self.worker, self.workers
        return LevelsLoad(self.environment, self.recorder, self.seed, first, limit, share, arrivals)

    def _numbers(self, times: Times) -> Times:
        return pacer.share(np.arange(len(times)), self.worker, self.workers)


def make(part: Part, load: dict[str, Any]) -> AnyLoad:
    """Return the load for a profile of `harness.model.load`, with durations in seconds and rates per second."""
    return LOADS[load["kind"]](part, load)


def _users(part: Part, load: dict[str, Any]) -> ClosedLoad:
    starts = pacer.starts(load["users"], load["spawn"], seeds.generator(part.seed, "user-starts"))
    return part.closed(Users.staying(starts))


def _spike(part: Part, load: dict[str, Any]) -> ClosedLoad:
    spawn = load["users"] / load["ramp"]
    offsets = pacer.starts(load["users"], spawn, seeds.generator(part.seed, "user-starts"))
    return part.closed(Users.staying(offsets + int(load["warmup"] * NS_PER_S)))


def _rate(part: Part, load: dict[str, Any]) -> OpenLoad:
    seconds = load["warmup"] + load["hold"]
    return part.open(ARRIVALS[load["arrivals"]](load["rate"], seconds, part.seed), load["max_in_flight"])


def _replay(part: Part, load: dict[str, Any]) -> OpenLoad:
    return part.open(np.array(load["due_ns"], np.int64), load["max_in_flight"])


def _steps(part: Part, load: dict[str, Any]) -> AnyLoad:
    steps = ((s["users"] or s["rate"] or 0, s["ramp"], s["hold"]) for s in load["steps"])
    levels = pacer.levels(steps, load["warmup"])
    if load["steps"][0]["rate"] is None:
        return part.closed(Users(*pacer.lives(levels, seeds.generator(part.seed, "user-starts"))))
    random = seeds.generator(part.seed, "arrivals") if load["arrivals"] == "poisson" else None
    return part.open(pacer.ramps(levels, random), load["max_in_flight"])


def _capacity(part: Part, load: dict[str, Any]) -> LevelsLoad:
    """The warm-up is level 0; what comes after it is searched for."""
    warm_up = pacer.level(load["arrivals"], load["min"], load["warmup"], part.seed, 0)
    return part.levels(warm_up, load["max_in_flight"], load["arrivals"])


ARRIVALS: Mapping[str, Callable[[float, float, int], Times]] = {
    "constant": lambda rate, seconds, _: pacer.constant(rate, seconds),
    "poisson": lambda rate, seconds, seed: pacer.poisson(rate, seconds, seeds.generator(seed, "arrivals")),
}
LOADS: Mapping[str, Callable[[Part, dict[str, Any]], AnyLoad]] = {
    "users": _users,
    "spike": _spike,
    "rate": _rate,
    "replay": _replay,
    "steps": _steps,
    "capacity": _capacity,
}
