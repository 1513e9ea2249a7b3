"""Load profiles: how much traffic, by kind. Times count from the start of the load; `warmup` comes first
and is recorded but not judged.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from harness.model.base import Frozen, Name, located
from harness.model.units import PerSecond, PlanPerSecond, PlanSeconds, Seconds, parse_share

MaxInFlight = Annotated[int, Field(gt=0)]
"""Arrivals that find this many requests in flight are written as `dropped`, never silently skipped."""


class _Profile(Frozen):
    warmup: PlanSeconds = 0.0
    drain: Seconds = 35.0
    """How long requests in flight at the end may take before they are written as `lost`, seconds."""

    @property
    def measured_s(self) -> float:
        """Seconds from the end of the warm-up to the end of the load."""
        raise NotImplementedError

    @property
    def total_s(self) -> float:
        """Seconds from the first to the last moment new requests are made."""
        return self.warmup + self.measured_s

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """The planned number of users, from corner to corner in straight lines: (seconds after the start of the load,
        users); empty in an open loop, which has no number of them."""
        return ()

    def users_within(self, begin_s: float, end_s: float) -> float | None:
        """Return how many users are planned on average from `begin_s` to `end_s`, seconds after the start of the load;
        None in an open loop, and of no time at all."""
        corners = self.corners
        if not corners or end_s <= begin_s:
            return None
        total = 0.0
        for (at, level), (after, other) in pairwise((*corners, (math.inf, corners[-1][1]))):
            since, until = max(at, begin_s), min(after, end_s)
            if since < until:
                total += (until - since) * (level + (other - level) * ((since + until) / 2 - at) / (after - at))
        return total / (end_s - begin_s)

    @property
    def mean_users(self) -> float | None:
        """Users of the measured part on average; None in an open loop."""
        return self.users_within(self.warmup, self.total_s)

    @property
    def peak(self) -> float | None:
        """The most users, or requests per second (`open_loop`), there will be; None when only the arrivals know."""
        return None

    def planned(self, at_s: float) -> float:  # noqa: ARG002 - most are at their peak from the start
        """Return the rate planned `at_s` seconds after the start of the load; of open loops only."""
        return self.peak or 0.0

    @property
    def open_loop(self) -> bool:
        """Whether requests are due at times of their own, whatever the answers do."""
        return False

    @property
    def boundaries(self) -> tuple[tuple[float, str, dict[str, Any]], ...]:
        """Return where the load changes, within itself: (seconds after its start, in words, as data)."""
        return ()


class _Held(_Profile):
    hold: PlanSeconds = Field(gt=0)
    """Measured seconds, after the warm-up (for `spike`: after the ramp, which is measured too)."""

    @property
    def measured_s(self) -> float:
        """Seconds from the end of the warm-up to the end of the load."""
        return self.hold


class UsersLoad(_Held):
    """Closed loop: `users` virtual users, each waiting its own think time between requests."""

    kind: Literal["users"]
    users: int = Field(gt=0)
    spawn: PlanPerSecond = Field(default=10.0, gt=0)
    """Users started per second, evenly spread."""

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """From none to all of them, as fast as they spawn."""
        return (0.0, 0.0), (self.users / self.spawn, float(self.users))

    @property
    def peak(self) -> float:
        """All users."""
        return self.users


class RateLoad(_Held):
    """Open loop: one arrival per due time, whatever the answers do."""

    kind: Literal["rate"]
    rate: PerSecond = Field(gt=0)
    arrivals: Literal["constant", "poisson"] = "constant"
    max_in_flight: MaxInFlight = 5000

    @property
    def peak(self) -> float:
        """Its rate."""
        return self.rate

    @property
    def open_loop(self) -> bool:
        """Always."""
        return True


class ReplayLoad(_Profile):
    """Open loop: one arrival at each time that a file gives, to the nanosecond.

    The times count from the start of the load, so the first `warmup` of the file is not judged. `--scale` leaves the
    gaps as they are, as it does a rate: at 0.1 the first tenth of the file is replayed.
    """

    kind: Literal["replay"]
    file: str
    """A CSV beside the scenario: seconds from the start of the load, ascending; one number a line, or a header."""
    column: str | None = None
    """Name of the column that holds the seconds; needed when the file has several."""
    hold: PlanSeconds | None = Field(default=None, gt=0)
    """Measured seconds, after the warm-up; later arrivals are left out. Not given: up to the last arrival."""
    max_in_flight: MaxInFlight = 5000

    @property
    def measured_s(self) -> float:
        """Seconds from the end of the warm-up to the end of the load; known once the file is read (`planfile`)."""
        assert self.hold is not None, "the plan is not resolved"  # noqa: S101
        return self.hold

    @property
    def open_loop(self) -> bool:
        """Always."""
        return True


class SpikeLoad(_Held):
    """Closed loop: from 0 to `users` in `ramp`, then held. The ramp is what is measured."""

    kind: Literal["spike"]
    users: int = Field(gt=0)
    ramp: PlanSeconds = Field(gt=0)

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """None in the warm-up, all of them after the ramp."""
        return (0.0, 0.0), (self.warmup, 0.0), (self.warmup + self.ramp, float(self.users))

    @property
    def peak(self) -> float:
        """All users."""
        return self.users

    @property
    def measured_s(self) -> float:
        """Seconds of ramp and hold."""
        return self.ramp + self.hold


class Step(Frozen):
    """One level of a `steps` load: so many `users`, or such a `rate`."""

    users: int | None = Field(default=None, ge=0)
    rate: PerSecond | None = Field(default=None, ge=0)
    ramp: PlanSeconds = Field(default=0.0, ge=0)
    """How long the change to this level takes, evenly spread; it comes before `hold`. 0: all at once."""
    hold: PlanSeconds = Field(gt=0)

    @model_validator(mode="after")
    def _one_level(self) -> Step:
        if (self.users is None) == (self.rate is None):
            raise ValueError("a step has either 'users' (closed loop) or 'rate' (open loop)")
        return self

    @property
    def level(self) -> float:
        """Users, or requests per second."""
        return self.users if self.users is not None else self.rate or 0.0

    @property
    def length_s(self) -> float:
        """Seconds of ramp and hold."""
        return self.ramp + self.hold

    @property
    def words(self) -> str:
        """Return the level in words."""
        return f"{self.users} users" if self.users is not None else f"{self.rate:.4g} requests/s"


class StepsLoad(_Profile):
    """One level after another, up or down: all of `users` (closed loop), or all of `rate` (open loop).

    The warm-up is at the first level and comes before its `hold`. Users that are too many stop after the request they
    are in, the latest started first.
    """

    kind: Literal["steps"]
    steps: tuple[Step, ...] = Field(min_length=1)
    arrivals: Literal["constant", "poisson"] = "constant"
    """Of rates."""
    max_in_flight: MaxInFlight = 5000
    """Of rates."""

    @model_validator(mode="after")
    def _one_unit(self) -> StepsLoad:
        odd = next((n for n, s in enumerate(self.steps, 1) if (s.rate is None) == self.open_loop), None)
        if odd:
            unit, other = ("rate", "users") if self.open_loop else ("users", "rate")
            raise located(
                "steps", f"step {odd} gives {other!r} and step 1 {unit!r}: all steps need the same of the two"
            )
        if not any(step.level for step in self.steps):
            raise located("steps", "every step is 0: there is no load")
        for name in ("arrivals", "max_in_flight"):
            if not self.open_loop and getattr(self, name) != type(self).model_fields[name].default:
                raise located(name, f"{name!r} is for steps of 'rate'; these are of 'users'")
        return self

    @property
    def peak(self) -> float:
        """The highest level."""
        return max(step.level for step in self.steps)

    def planned(self, at_s: float) -> float:
        """Return the level at `at_s`; on its way from one to the next during a ramp."""
        n = max(i for i, begin in enumerate(self.begins_s) if begin <= max(0.0, at_s))
        step, before = self.steps[n], self.steps[n - 1].level if n else self.steps[n].level
        passed = at_s - self.begins_s[n]
        return step.level if passed >= step.ramp else before + (step.level - before) * passed / step.ramp

    @property
    def measured_s(self) -> float:
        """Seconds of all steps."""
        return sum(step.length_s for step in self.steps)

    @property
    def open_loop(self) -> bool:
        """Whether the levels are rates."""
        return self.steps[0].rate is not None

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """Each level from the end of its ramp on, up to where the next one's begins."""
        if self.open_loop:
            return ()
        found: list[tuple[float, float]] = []
        before = self.steps[0].level
        for at, step in zip(self.begins_s, self.steps, strict=True):
            found += [(at, before), (at + step.ramp, step.level)]
            before = step.level
        return tuple(found)

    @property
    def begins_s(self) -> tuple[float, ...]:
        """Return when each step begins (its ramp), seconds after the start of the load; the first includes the
        warm-up."""
        lengths = [self.warmup + self.steps[0].length_s, *(step.length_s for step in self.steps[1:-1])]
        return (0.0, *accumulate(lengths))[: len(self.steps)]

    @property
    def boundaries(self) -> tuple[tuple[float, str, dict[str, Any]], ...]:
        """Return where each step begins."""
        unit = "rate" if self.open_loop else "users"
        of = len(self.steps)
        return tuple(
            (at, f"step {n} of {of}: {step.words}", {"step": n, "of": of, unit: step.level, "ramp_s": step.ramp})
            for n, (at, step) in enumerate(zip(self.begins_s, self.steps, strict=True), 1)
        )


class Settle(Frozen):
    """How long a level of a `capacity` load is given to settle (`harness.settling`)."""

    shortest: PlanSeconds = Field(default=15.0, gt=0)
    longest: PlanSeconds = Field(default=60.0, gt=0)
    """A level that has not settled by then is no capacity."""

    @model_validator(mode="after")
    def _in_order(self) -> Settle:
        if self.longest < self.shortest:
            raise located("longest", f"'longest' ({self.longest:g} s) is less than 'shortest' ({self.shortest:g} s)")
        return self


class CapacityLoad(_Profile):
    """Open loop: a search for the highest rate that meets the scenario's SLO (`harness.search`).

    The rate grows from `min` until a level misses the SLO, or `max` meets it; then the gap is halved until it is as
    small as `resolution`. The warm-up is at `min`. The search begins anew in each of `states`.
    """

    kind: Literal["capacity"]
    min: PerSecond = Field(gt=0)
    max: PerSecond = Field(gt=0)
    resolution: Annotated[float, BeforeValidator(parse_share)] = Field(default=0.05, ge=0.01, le=1)
    """How far the lowest rate that does not meet the SLO may lie above the highest that does, as a share of that."""
    settle: Settle = Settle()
    hold: PlanSeconds = Field(default=60.0, gt=0)
    """Measured seconds of a level, after it has settled; longer at rates so low that the SLO could not be told
    (`held`)."""
    budget: PlanSeconds = Field(gt=0)
    """The longest that the whole search, of all states, may take; it ends early when there is nothing left to find."""
    states: tuple[Name, ...] = ()
    """Conditions of the system to search in: ``healthy``, and names that faults have as `during: {state: NAME}`. Left
    out: ``healthy``, then those of the plan's faults as they are written (`planfile`)."""
    think: Seconds | None = Field(default=None, ge=0)
    """Seconds a user thinks between two requests: what turns a rate into a number of users."""
    arrivals: Literal["constant", "poisson"] = "poisson"
    """Independent users make Poisson arrivals, and queues are longer for them than for evenly spaced ones."""
    max_in_flight: MaxInFlight = 5000

    @model_validator(mode="after")
    def _in_order(self) -> CapacityLoad:
        if self.max <= self.min:
            raise located("max", f"'max' ({self.max:g}/s) must lie above 'min' ({self.min:g}/s)")
        if twice := next((name for n, name in enumerate(self.states) if name in self.states[:n]), None):
            raise located("states", f"state {twice!r} is named twice")
        return self

    @property
    def measured_s(self) -> float:
        """Seconds that the search may take."""
        return self.budget

    @property
    def open_loop(self) -> bool:
        """Always."""
        return True

    def held(self, rate: float, good_share: float) -> float:
        """Return how many seconds a level of `rate` is held once it has settled.

        So many requests must come that all of them being good shows, at 95 %, that the share of good ones is above
        `good_share`: 3 / (1 - good_share) (rule of three; Hanley and Lippman-Hand, JAMA 1983).
        """
        return max(self.hold, 3 / (1 - good_share) / rate)


Load = Annotated[UsersLoad | RateLoad | ReplayLoad | SpikeLoad | StepsLoad | CapacityLoad, Field(discriminator="kind")]
EVERYDAY = ("users", "rate", "replay")
"""Kinds that are not made to find out where the system gives in: what users felt under those is no everyday's."""
