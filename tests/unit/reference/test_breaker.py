"""The circuit breaker, against its rules and under random histories."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.gateway.breaker import Admission, Breaker, BreakerSettings, State

SETTINGS = BreakerSettings(failures=3, open_s=2.0, open_cap_s=5.0, jitter=0.0, half_open_calls=1)


class Clock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make(settings: BreakerSettings = SETTINGS) -> tuple[Breaker, Clock, list[tuple[State, State]]]:
    clock, changes = Clock(), list[tuple[State, State]]()
    return Breaker(settings, clock, random.Random(1), lambda old, new: changes.append((old, new))), clock, changes


def state_of(breaker: Breaker) -> str:
    """The state; a function because it changes between two looks, which a type checker does not expect."""
    return breaker.state


def admitted(breaker: Breaker) -> Admission:
    admission = breaker.admit()
    assert admission is not None
    return admission


def fail(breaker: Breaker, times: int = 3) -> None:
    for _ in range(times):
        breaker.fail(admitted(breaker))


def test_opens_after_failures_in_a_row_only() -> None:
    breaker, _, changes = make()
    fail(breaker, 2)
    breaker.succeed(admitted(breaker))
    fail(breaker, 2)
    assert state_of(breaker) == "closed"
    fail(breaker, 1)
    assert state_of(breaker) == "open"
    assert breaker.admit() is None
    assert changes == [("closed", "open")]


def test_half_opens_by_itself_admits_one_trial_and_closes() -> None:
    breaker, clock, changes = make()
    fail(breaker)
    clock.now += 1.99
    assert state_of(breaker) == "open"
    clock.now += 0.01
    assert state_of(breaker) == "half_open", "before any call has been made"
    trial = admitted(breaker)
    assert breaker.admit() is None
    breaker.succeed(trial)
    assert state_of(breaker) == "closed"
    assert changes == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


def test_open_time_doubles_up_to_the_cap_and_starts_over_after_closing() -> None:
    breaker, clock, _ = make()
    fail(breaker)
    for seconds in (2.0, 4.0, 5.0, 5.0):
        clock.now += seconds - 0.001
        assert state_of(breaker) == "open"
        clock.now += 0.001
        breaker.fail(admitted(breaker))
    clock.now += 5.0
    breaker.succeed(admitted(breaker))
    fail(breaker)
    clock.now += 2.0
    assert state_of(breaker) == "half_open"


def test_jitter_stays_within_its_bounds() -> None:
    lengths: list[float] = []
    for seed in range(200):
        clock = Clock()
        breaker = Breaker(replace(SETTINGS, jitter=0.1), clock, random.Random(seed))
        fail(breaker)
        clock.now += 1.8 - 1e-9
        assert state_of(breaker) == "open"
        while state_of(breaker) == "open":
            clock.now += 0.01
        lengths.append(clock.now - 100.0)
    assert min(lengths) < 1.85
    assert max(lengths) > 2.15
    assert max(lengths) <= 2.21


@pytest.mark.parametrize("late", ["fail", "succeed", "abandon"])
def test_results_of_calls_from_an_earlier_period_change_nothing(late: str) -> None:
    breaker, clock, changes = make()
    hung = [admitted(breaker) for _ in range(10)]
    fail(breaker)
    getattr(breaker, late)(hung.pop())
    assert state_of(breaker) == "open"
    clock.now += 2.0
    trial = admitted(breaker)
    getattr(breaker, late)(hung.pop())
    assert breaker.admit() is None, "the trial's place is still taken"
    breaker.succeed(trial)
    for admission in hung:
        getattr(breaker, late)(admission)
    assert state_of(breaker) == "closed"
    assert len(changes) == 3


def test_an_abandoned_trial_gives_its_place_back() -> None:
    breaker, clock, _ = make()
    fail(breaker)
    clock.now += 2.0
    breaker.abandon(admitted(breaker))
    assert state_of(breaker) == "half_open"
    assert breaker.admit() is not None


def test_several_half_open_calls_must_all_pass() -> None:
    breaker, clock, _ = make(replace(SETTINGS, half_open_calls=2))
    fail(breaker)
    clock.now += 2.0
    first, second = admitted(breaker), admitted(breaker)
    assert breaker.admit() is None
    breaker.succeed(first)
    assert state_of(breaker) == "half_open"
    breaker.fail(second)
    assert state_of(breaker) == "open"


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["admit", "succeed", "fail", "abandon"]),
            st.floats(0.01, 6.0),
        ),
        max_size=80,
    ),
    st.integers(1, 3),
)
def test_no_history_gets_it_stuck(history: list[str | float], half_open_calls: int) -> None:
    breaker, clock, changes = make(replace(SETTINGS, half_open_calls=half_open_calls))
    out: list[Admission] = []
    for step in history:
        if isinstance(step, float):
            clock.now += step
        elif step == "admit":
            state = state_of(breaker)
            if (admission := breaker.admit()) is not None:
                assert state != "open"
                out.append(admission)
            else:
                assert state != "closed"
        elif out:
            getattr(breaker, step)(out.pop(0))
    allowed = {("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("half_open", "closed")}
    assert set(changes) <= allowed
    # Whatever happened: with all calls over and the provider well, it closes within the longest open time.
    for admission in out:
        breaker.abandon(admission)
    clock.now += SETTINGS.open_cap_s
    for _ in range(half_open_calls):
        breaker.succeed(admitted(breaker))
    assert state_of(breaker) == "closed"
