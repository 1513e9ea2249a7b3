"""Capacity: which levels there are, what they say together, what to plan with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis import analyse
from harness.analysis.capacity_plan import forecast, with_headroom
from harness.analysis.capacity_slo import Trial, bad_share, bracket
from harness.analysis.usl import LEAST, Points, fit
from tests.recordings import RecordingBuilder, experiment, plan
from tests.searches import Search, System, record

if TYPE_CHECKING:
    from pathlib import Path

    from harness.model.capacity import CapacityFindings
    from harness.recording.reader import Recording


def found(recording: Recording) -> CapacityFindings:
    findings, _ = analyse(recording)
    assert findings.capacity is not None
    return findings.capacity


# --- the SLO ---------------------------------------------------------------------------------------------------------


def test_the_capacity_lies_between_the_highest_that_meets_and_the_lowest_that_misses() -> None:
    said = bracket([Trial(10, 0, 1000), Trial(20, 2, 1000), Trial(30, 100, 1000), Trial(40, 900, 1000)], 0.01)
    assert (said.state, said.low, said.high) == ("bracketed", 20, 30)
    assert said.value is not None
    assert 20 < said.value < 30


def test_what_one_level_cannot_show_several_can() -> None:
    """A level of 200 good requests does not show 99 %; two of them, of which the higher is good as well, do."""
    short = Trial(10, 0, 200)
    assert bad_share([short])[1] > 0.01
    assert bracket([short, Trial(20, 500, 1000)], 0.01).state == "below"
    assert bracket([short, Trial(12, 0, 200), Trial(20, 500, 1000)], 0.01).low == 10


def test_without_a_level_that_misses_the_capacity_lies_beyond_the_tested_range() -> None:
    said = bracket([Trial(10, 0, 1000), Trial(20, 0, 1000)], 0.01)
    assert (said.state, said.low, said.high, said.value) == ("at_least", 20, None, None)


def test_no_data_is_undecided() -> None:
    assert bracket([], 0.01).state == "undecided"
    assert bracket([Trial(10, 0, 20), Trial(20, 1, 20)], 0.01).state == "undecided"


def test_requests_that_could_have_been_either_leave_it_open() -> None:
    assert bracket([Trial(10, 0, 1000, unknown=100)], 0.01).state == "undecided"


def test_levels_that_contradict_each_other_are_told() -> None:
    said = bracket([Trial(10, 0, 1000), Trial(20, 500, 1000), Trial(30, 0, 9000)], 0.01)
    assert said.contradicted
    assert (said.low, said.high) == (10, 20)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 500), st.integers(0, 50)), min_size=1, max_size=8))
def test_a_bracket_is_in_order_whatever_came(rows: list[tuple[int, int, int]]) -> None:
    said = bracket([Trial(load, min(bad, 500), 500, unknown) for load, bad, unknown in rows], 0.01)
    if said.low is not None and said.high is not None:
        assert said.value is not None
        assert said.low <= said.value <= said.high
        assert said.low < said.high


# --- the law ---------------------------------------------------------------------------------------------------------


def law_of(rate: Any, n: Any) -> Any:
    n = np.array(n, float)
    return fit(Points(n, np.array([rate(x) for x in n]), np.full(len(n), 10_000)), np.random.default_rng(1))


def test_a_law_without_noise_is_found_exactly() -> None:
    law = law_of(lambda n: 5 * n / (1 + 0.03 * (n - 1) + 0.001 * n * (n - 1)), [1, 2, 4, 8, 16, 32, 64])
    assert (law.lambda_.value, law.sigma.value, law.kappa.value) == (
        pytest.approx(5), pytest.approx(0.03), pytest.approx(0.001)
    )  # fmt: skip
    assert law.peak_in_flight.value == pytest.approx(np.sqrt(0.97 / 0.001))
    assert law.fits


def test_a_corner_is_no_curve() -> None:
    """A pool of 8: throughput rises in a straight line and stays."""
    assert not law_of(lambda n: 5 * min(n, 8), [1, 2, 4, 8, 16, 32, 64, 128]).fits


def test_a_straight_line_has_no_knee() -> None:
    law = law_of(lambda n: 5 * n, [1, 2, 4, 8, 16])
    assert law.kappa.value == 0
    assert (law.peak_in_flight.value, law.past_knee) == (None, False)


def test_too_few_levels_have_no_law() -> None:
    assert law_of(lambda n: 5 * n, range(1, LEAST)) is None
    assert law_of(lambda n: 5 * n, [1, 2, 3, 3, 3, 3]) is None


# --- recordings ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> CapacityFindings:
    lost = System(connections=4, work_s=0.3)
    searches = (Search(), Search("one_replica_lost", (2, 4, 8, 12, 16), lost))
    return found(record(tmp_path_factory.mktemp("search") / "r", *searches, replicas=2))


def test_every_state_has_its_levels_and_the_worst_governs(searched: CapacityFindings) -> None:
    assert [state.state for state in searched.states] == ["healthy", "one_replica_lost"]
    assert [level.rate for level in searched.states[1].levels] == [2, 4, 8, 12, 16]
    assert searched.worst == "one_replica_lost"
    level = searched.states[0].levels[0]
    assert (level.begin_s, level.end_s) == (10, 50)  # from when it had settled


def test_the_levels_of_a_steps_load_are_its_steps(tmp_path: Path) -> None:
    said = found(record(tmp_path / "r", Search(rates=(4, 16, 30)), events=False, hold_s=20, settle_s=5, gap_s=15))
    levels = said.states[0].levels
    assert [(level.level, level.rate) for level in levels] == [(1, 4), (2, 16), (3, 30)]
    assert (levels[1].begin_s, levels[1].end_s) == (50, 80)  # without the first quarter of its 40 s


def test_a_step_while_a_fault_was_on_is_a_state_of_its_own(tmp_path: Path) -> None:
    steps = [{"rate": "10/s", "hold": "20s"}, {"rate": "20/s", "hold": "20s"}]
    builder = RecordingBuilder(tmp_path / "r", plan(load={"kind": "steps", "steps": steps}, experiments=[experiment()]))
    builder.phases(steady=0, cooldown=40)
    for number in (1, 2):
        builder.event(20.0 * (number - 1), "load", "step", step=number, of=2, rate=10.0 * number, ramp_s=0.0)
    builder.fault("bedrock-blackhole#1", 20.0, 39.0)
    for at in np.arange(0, 40, 0.1):
        builder.request(float(at), 0.2)
    builder.instrument(0, 40)
    assert [state.state for state in found(builder.close(41)).states] == ["healthy", "bedrock blackhole"]


def test_a_load_without_levels_has_no_capacity(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path / "r", plan())
    builder.phases(steady=0, cooldown=10)
    builder.request(1, 0.2)
    assert analyse(builder.close(11))[0].capacity is None


def test_a_run_that_was_killed_reports_the_levels_it_finished(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path / "r", plan(load={"kind": "steps", "steps": [{"rate": "5/s", "hold": "60s"}]}))
    builder.event(0, "load", "started")
    builder.event(0, "phase", "steady")
    builder.event(0, "capacity", "level", state="healthy", level=1, rate=5.0)
    builder.event(10, "capacity", "level_ended", state="healthy", level=1, rate=5.0, settled_ns=None, outcome="meets")
    builder.event(10, "capacity", "level", state="healthy", level=2, rate=10.0)
    for at in np.arange(0, 15, 0.2):
        builder.request(float(at), 0.1)
    levels = found(builder.close()).states[0].levels
    assert [(level.level, level.settled) for level in levels] == [(1, False)]


def test_levels_without_a_request_or_a_decision_say_so(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path / "r", plan(load={"kind": "steps", "steps": [{"rate": "5/s", "hold": "20s"}]}))
    builder.phases(steady=0, cooldown=20)
    builder.event(0, "load", "step", step=1, of=1, rate=5.0, ramp_s=0.0)
    builder.request(1, 0.1)
    said = found(builder.close(21))
    level = said.states[0].levels[0]
    assert (level.counts, level.why) == (False, "no request was due")
    assert said.worst is None
    assert said.states[0].advice is None


# --- planning --------------------------------------------------------------------------------------------------------


def test_the_advice_is_the_capacity_times_headroom_per_replica(searched: CapacityFindings) -> None:
    state = searched.states[0]
    assert state.advice is not None
    assert state.capacity.rate.value is not None
    assert state.advice.rate == pytest.approx(0.7 * state.capacity.rate.value)
    assert state.advice.rate_per_replica == pytest.approx(state.advice.rate / 2)
    lost = searched.states[1].advice
    assert lost is not None
    assert lost.rate_per_replica == pytest.approx(lost.rate)  # one of two was left


def test_users_are_what_the_rate_makes_with_their_think_time(searched: CapacityFindings) -> None:
    assert searched.states[0].advice is not None
    assert searched.states[0].advice.users is None
    advice = with_headroom(searched, 0.5, 9.5).states[0].advice
    assert advice is not None
    assert advice.rate == pytest.approx(searched.states[0].advice.rate * 5 / 7)
    assert advice.users == pytest.approx(advice.rate * (9.5 + 0.3), rel=0.02)


def test_what_the_plan_costs_goes_with_its_rate_and_its_users(searched: CapacityFindings) -> None:
    states = (searched.states[0].model_copy(update={"cost_per_1k": 2.0}),)
    priced = searched.model_copy(update={"states": states})
    whole, half = (with_headroom(priced, share, 6.0).states[0] for share in (0.7, 0.35))
    assert whole.advice is not None
    assert whole.cost_per_hour == pytest.approx(2.0 / 1000 * whole.advice.rate * 3600)
    assert half.cost_per_hour == pytest.approx((whole.cost_per_hour or 0) / 2)
    patient = with_headroom(with_headroom(priced, 0.7, 6.0), 0.7, 30.0).states[0]
    assert patient.cost_per_hour == whole.cost_per_hour
    assert patient.cost_per_user_hour == pytest.approx((whole.cost_per_user_hour or 0) * 6.3 / 30.3, rel=0.02)


def test_another_think_time_makes_other_users_of_the_same_capacity(searched: CapacityFindings) -> None:
    assert any("No think time is given" in note for note in searched.states[0].notes)
    told = with_headroom(with_headroom(searched, 0.7, 6.0), 0.7, 30.0).states[0]
    assert told.capacity.users is not None
    for side in ("value", "low", "high"):
        rate, users = getattr(told.capacity.rate, side), getattr(told.capacity.users, side)
        assert rate * 30.3 < users <= rate * (30 + 2.0), "the response time lies between that of no load and the SLO's"
    assert not any("No think time is given" in note for note in told.notes)


def test_a_forecast_counts_the_replica_that_may_be_lost(searched: CapacityFindings) -> None:
    healthy, lost = (forecast([searched], s.state, rate=80.0, users=None) for s in searched.states)
    assert healthy is not None
    assert lost is not None
    assert healthy.replicas == int(np.ceil(80 / healthy.per_replica))
    assert lost.replicas == int(np.ceil(80 / lost.per_replica)) + 1
    assert healthy.basis == lost.basis == "assumed"
    assert forecast([searched], "healthy", rate=healthy.per_replica * 1.5, users=None).basis == "measured"  # type: ignore[union-attr]


def test_a_forecast_of_users_needs_their_think_time(searched: CapacityFindings) -> None:
    assert forecast([searched], "healthy", rate=None, users=500) is None
    said = forecast([with_headroom(searched, 0.7, 9.5)], "healthy", rate=None, users=500)
    assert said is not None
    assert said.rate == pytest.approx(500 / (9.5 + 0.3), rel=0.02)


def scaled(base: CapacityFindings, replicas: int, rate: float) -> CapacityFindings:
    """Return findings of a run with so many replicas that is planned to carry `rate`."""
    state = base.states[0]
    assert state.advice is not None
    state = state.model_copy(update={"advice": state.advice.model_copy(update={"rate": rate})})
    return base.model_copy(update={"states": (state,), "replicas": replicas})


def test_replicas_that_cost_each_other_are_planned_by_the_law_through_them(searched: CapacityFindings) -> None:
    def carries(n: float) -> float:
        return 10 * n / (1 + 0.05 * (n - 1) + 0.005 * n * (n - 1))

    runs = [scaled(searched, n, carries(n)) for n in (1, 2, 4, 6)]
    said = forecast(runs, "healthy", rate=carries(8) - 0.01, users=None)
    assert said is not None
    assert (said.replicas, said.basis, said.measured) == (8, "law", (1, 2, 4, 6))
    most = forecast(runs, "healthy", rate=carries(14) + 1, users=None)  # sqrt(0.95 / 0.005) = 13.8 carry most
    assert most is not None
    assert most.replicas is None
    assert "No number of replicas carries it" in most.notes[0]


def test_with_few_numbers_of_replicas_each_is_taken_to_carry_what_it_did_among_most(searched: CapacityFindings) -> None:
    said = forecast([scaled(searched, 1, 10), scaled(searched, 4, 32)], "healthy", rate=50.0, users=None)
    assert said is not None
    assert (said.replicas, said.per_replica, said.basis) == (7, 8, "assumed")
    assert said.notes == ("At most 4 replicas were measured.",)
