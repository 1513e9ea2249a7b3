"""A circuit breaker: pure, with its clock and its randomness handed in.

closed -> open after `failures` failures in a row -> half-open once the open time is over ->
closed after `half_open_calls` successful trials, or open again, for twice as long, after a failed one.

Each state period is a *generation*. A call carries the generation it was admitted in, and a result
from an earlier one is ignored: the last time-outs of an outage must not re-open a breaker that has
closed since, nor may a lucky late answer close one that is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

State = Literal["closed", "half_open", "open"]


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """Times in seconds; `jitter` is the greatest relative deviation of the open time, either way."""

    failures: int
    open_s: float
    open_cap_s: float
    jitter: float
    half_open_calls: int


@dataclass(frozen=True, slots=True)
class Admission:
    """The right to make one call; to be given back by exactly one of succeed, fail and abandon."""

    generation: int


class Breaker:
    """Decides whether a call may be made. `on_change(old, new)` is told of every transition."""

    def __init__(
        self,
        settings: BreakerSettings,
        clock: Callable[[], float],
        rng: random.Random,
        on_change: Callable[[State, State], None] = lambda _old, _new: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._state: State = "closed"
        self._generation = 0
        self._failures = 0
        self._openings = 0
        self._open_until = 0.0
        self._trials = 0
        self._trials_passed = 0

    @property
    def state(self) -> State:
        """The state a call would meet now: half_open as soon as the open time is over."""
        if self._state == "open" and self._clock() >= self._open_until:
            return "half_open"
        return self._state

    def admit(self) -> Admission | None:
        """The right to make a call, or None when it must not be made."""
        if self._state == "open" and self.state == "half_open":
            self._enter("half_open")
        if self._state == "open":
            return None
        if self._state == "half_open":
            if self._trials >= self._settings.half_open_calls:
                return None
            self._trials += 1
        return Admission(self._generation)

    def succeed(self, admission: Admission) -> None:
        """The call was answered."""
        if admission.generation != self._generation:
            return
        if self._state == "closed":
            self._failures = 0
            return
        self._trials -= 1
        self._trials_passed += 1
        if self._trials_passed >= self._settings.half_open_calls:
            self._openings = 0
            self._enter("closed")

    def fail(self, admission: Admission) -> None:
        """The call failed, and the other side is to blame."""
        if admission.generation != self._generation:
            return
        self._failures += 1
        if self._state == "half_open" or self._failures >= self._settings.failures:
            self._open()

    def abandon(self, admission: Admission) -> None:
        """The call ended without saying anything about the other side."""
        if admission.generation == self._generation and self._state == "half_open":
            self._trials -= 1

    def _open(self) -> None:
        settings = self._settings
        # The exponent is bounded because a float overflows long before the cap stops mattering.
        seconds = min(settings.open_cap_s, settings.open_s * 2.0 ** min(self._openings, 30))
        seconds *= 1.0 + settings.jitter * self._rng.uniform(-1.0, 1.0)
        self._open_until = self._clock() + seconds
        self._openings += 1
        self._enter("open")

    def _enter(self, state: State) -> None:
        old, self._state = self._state, state
        self._generation += 1
        self._failures = self._trials = self._trials_passed = 0
        self._on_change(old, state)
