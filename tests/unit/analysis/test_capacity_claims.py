"""What a capacity may not claim: more than was searched, decided, paid for, or measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.analysis import analyse
from harness.analysis.capacity import in_requests
from harness.analysis.capacity_limits import saturated
from harness.analysis.capacity_plan import forecast, with_headroom
from harness.analysis.capacity_slo import Bracket
from harness.capacities import answer
from harness.judge import judge
from harness.model.capacity import CapacityFindings, Level, Limit
from harness.model.cost import CostFindings
from harness.model.verdict import Verdict
from harness.report import block_capacity
from tests.recordings import RecordingBuilder, experiment, plan
from tests.searches import Search, System, record

if TYPE_CHECKING:
    from pathlib import Path

    from harness.model.findings import Findings
    from harness.model.verdict import Check
    from harness.recording.reader import Recording

STATES = ("healthy", "primary_down", "cache_cold")
SEARCH = {"kind": "capacity", "min": "4/s", "max": "40/s", "budget": "20m", "states": list(STATES)}
THRESHOLDS = {"capacity": ["rate>12", "rate>200"], "capacity{state:healthy}": "rate>12"}


def judged(recording: Recording) -> tuple[Findings, dict[str, Check]]:
    findings, measure = analyse(recording)
    return findings, {check.threshold: check for check in judge(recording.plan, findings, measure).checks}


def found(recording: Recording) -> CapacityFindings:
    capacity = analyse(recording)[0].capacity
    assert capacity is not None
    return capacity


def level(load: float, achieved: float, half: float | None = 0.5, **more: Any) -> Level:
    """Return a level of so many requests per second, or `users`, and what it achieved, give or take `half`."""
    low, high = (None, None) if half is None else (achieved - half, achieved + half)
    rate = {"value": achieved, "low": low, "high": high, "n": 1000}
    one = {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1000}
    about: dict[str, Any] = {
        "level": 1, "rate": load, "users": None, "begin_s": 0, "end_s": 60, "settled": True, "counts": True,
        "requests": 1000, "dropped": 0, "offered": load, "achieved": rate, "in_flight": 3, "response_mean_ms": one,
        "response_ms": {"p50": one, "p95": one, "p99": one}, "good_share": one, "slo": "meets", "why": "",
        "little": {"in_flight": 3, "expected": 3, "off": 0, "holds": True},
    }  # fmt: skip
    return Level.model_validate(about | more)


def closed(users: int, achieved: float, half: float | None = 0.5) -> Level:
    return level(achieved, achieved, half, rate=None, users=users)


# --- states that nobody knows ----------------------------------------------------------------------------------------


def test_a_state_that_was_not_searched_may_be_the_worst(tmp_path: Path) -> None:
    """`primary_down` ended before its first level; the load was over before `cache_cold` began."""
    searches = Search(), Search("primary_down", rates=())
    recording = record(tmp_path / "r", *searches, load=SEARCH, thresholds=THRESHOLDS)
    findings, checks = judged(recording)
    capacity = findings.capacity
    assert capacity is not None
    assert tuple(state.state for state in capacity.states) == STATES
    for state in capacity.states[1:]:
        assert (state.capacity.state, state.levels, state.advice) == ("undecided", (), None)
        assert state.notes[0].startswith("No level was run in this state")
    assert capacity.worst is None
    assert checks["capacity{state:healthy}: rate>12"].verdict is Verdict.PASS
    assert checks["capacity: rate>12"].verdict is Verdict.INCONCLUSIVE
    assert "no level of state primary_down" in checks["capacity: rate>12"].why
    assert checks["capacity: rate>200"].verdict is Verdict.FAIL, "the worst carries no more than the healthy one"
    assert "in state healthy" in checks["capacity: rate>200"].why
    said = answer([recording.path], rate=1.0, users=None, think_s=None, headroom=0.7)
    assert (said.replicas, said.governs) == (None, None)


def test_what_is_said_where_the_worst_is_not_known_claims_no_more(tmp_path: Path) -> None:
    """A minute at 1/s does not show 99 %."""
    recording = record(tmp_path / "r", Search(), Search("primary_down", rates=(1,)), thresholds=THRESHOLDS)
    findings, checks = judged(recording)
    assert findings.capacity is not None
    assert findings.capacity.worst is None
    assert [check.verdict for check in checks.values()] == [Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.PASS]
    said = block_capacity.said(findings)
    assert said.startswith("In state healthy the system carries ")
    assert said.endswith(
        " No level shows whether it is met in state primary down: the capacity in the worst state is not known."
    )
    assert "Plan with" not in said
    block = block_capacity.capacity(findings)
    assert block is not None
    assert block["advice"] == []
    assert [governs for _, governs, _ in block["rows"]] == [False, False]


# --- what a state costs ----------------------------------------------------------------------------------------------


def priced(path: Path, outages: tuple[tuple[float, float], ...], *, searched: bool) -> Findings:
    """Four levels of 100 s, during which OpenAI takes over at ten times the price while Bedrock is gone."""
    models = {"cheap": {"input": 0.001, "output": 0.001}, "dear": {"input": 0.01, "output": 0.01}}
    steps = [{"rate": "2/s", "hold": "100s"}] * 4
    the_plan = plan(
        load={"kind": "steps", "steps": steps}, target={"prices": {"models": models}}, experiments=[experiment()]
    )
    builder = RecordingBuilder(path, the_plan)
    builder.phases(steady=0, cooldown=400)
    for number in range(1, 5):
        begin = 100.0 * (number - 1)
        if searched:
            about = {"state": "healthy" if number < 4 else "primary_down", "level": number}
            builder.event(begin, "capacity", "level", rate=2.0, **about)
            builder.event(begin + 100, "capacity", "level_ended", rate=2.0, settled_ns=None, outcome="meets", **about)
        else:
            builder.event(begin, "load", "step", step=number, of=4, rate=2.0, ramp_s=0.0)
    for number, (begin, end) in enumerate(outages, 1):
        builder.fault(f"bedrock-blackhole#{number}", begin, end)
    for at in np.arange(0, 400, 0.5).tolist():
        out = any(begin <= at < end for begin, end in outages)
        request = builder.request(at, 0.2, ledger=False)
        upstream, model = ("openai", "dear") if out else ("bedrock", "cheap")
        builder.call(upstream, at + 0.01, at + 0.19, request, model=model)
    builder.instrument(0, 400)
    return analyse(builder.close(401))[0]


def test_the_healthy_state_costs_what_it_does_while_nothing_is_broken(tmp_path: Path) -> None:
    """A fault of 30 s in a step of 100 s leaves it healthy, and is no part of what that costs."""
    for name, searched, of in (("steps", False, "bedrock blackhole"), ("search", True, "primary_down")):
        findings = priced(tmp_path / name, ((230.0, 260.0), (301.0, 399.0)), searched=searched)
        assert isinstance(findings.cost, CostFindings)
        assert findings.capacity is not None
        cost = {state.state: state.cost_per_1k for state in findings.capacity.states}
        paid = {state: spend.per_1k_requests for state, spend in findings.cost.by_state.items()}
        assert cost == {"healthy": paid["healthy"], of: paid["bedrock blackhole"]}
        assert paid["healthy"] == pytest.approx(0.3), "300 tokens at 0.001 for a thousand of them"


# --- whether throughput grew no more ---------------------------------------------------------------------------------


def test_a_level_that_was_cut_while_it_settled_is_no_saturation(tmp_path: Path) -> None:
    system = System(connections=400)
    notes = found(record(tmp_path / "r", Search(rates=(4, 8), system=system), unsettled=(2,))).states[0].notes
    assert not any("grew no more" in note for note in notes)
    assert "Nothing that was watched came near its limit." in notes


def test_a_cold_lowest_level_leaves_what_would_fill_up(tmp_path: Path) -> None:
    system = System(connections=400, cpu_per_request=0.02)
    searched = Search(rates=(4, 8, 12, 16, 20), system=system)
    first = found(record(tmp_path / "r", searched, unsettled=(1,), hold_s=30, settle_s=5)).states[0].limits[0]
    assert (first.resource, first.extrapolated) == ("gateway cpu", True)


@pytest.mark.parametrize(
    ("levels", "grew_no_more"),
    [
        ([level(8, 8), level(30, 26, settled=False, slo="misses")], True),
        ([level(8, 8), level(30, 20, settled=False)], False),  # cut: the rest was still under way, and came in time
        ([level(8, 8), level(30, 30, settled=False, slo="misses")], False),
        ([level(8, 8), level(30, 26, None, settled=False, slo="misses")], False),
        ([level(8, 8), level(30, 26, settled=False, slo="misses", counts=False)], False),
        ([closed(10, 20), closed(20, 19.8)], True),
        ([closed(20, 19.8), closed(10, 20)], True),
        ([closed(10, 20), closed(20, 24)], False),
        ([closed(10, 20, 2.0), closed(11, 19.9, 2.0)], False),  # chance
        ([closed(10, 20), closed(10, 18)], False),
        ([], False),
    ],
)
def test_throughput_grew_no_more_where_levels_show_it(levels: list[Level], grew_no_more: bool) -> None:
    assert saturated(levels) is grew_no_more


# --- a closed loop in requests ---------------------------------------------------------------------------------------

ENDED = (28, 12, 24, 30, 14, 16, 27, 11, 25, 29, 13, 15)
"""Requests per second, for five seconds each: 20.3 on average."""


def test_the_throughput_of_a_level_is_known_no_better_than_its_interval(tmp_path: Path) -> None:
    steps = {"kind": "steps", "steps": [{"users": 10, "hold": "80s"}]}
    builder = RecordingBuilder(tmp_path / "r", plan(load=steps, thresholds={"capacity": ["rate>20", "rate>5"]}))
    builder.phases(steady=0, cooldown=80)
    builder.event(0, "load", "step", step=1, of=1, users=10, ramp_s=0.0)
    for number, rate in enumerate((20, 20, 20, 20, *ENDED)):
        for at in np.arange(5 * number, 5 * (number + 1), 1 / rate).tolist():
            builder.request(at, 0.2)
    builder.instrument(0, 80)
    findings, checks = judged(builder.close(81))
    assert findings.capacity is not None
    (state,) = findings.capacity.states
    achieved = state.levels[0].achieved
    assert achieved.value == pytest.approx(20.3, abs=0.2)
    assert (state.capacity.state, state.capacity.rate.low) == ("at_least", achieved.low)
    assert checks["capacity: rate>20"].verdict is Verdict.INCONCLUSIVE
    assert checks["capacity: rate>5"].verdict is Verdict.PASS


def test_the_ends_in_requests_hold_those_of_all_levels_between() -> None:
    """Throughput is highest between the two levels that decide."""
    levels = [closed(5, 9), closed(10, 16), closed(12, 17), closed(15, 13), closed(20, 30)]
    said = in_requests(Bracket("bracketed", 10.0, 15.0, 12.0), levels)
    assert (said.value, said.low, said.high) == (17.0, 12.5, 17.5)
    least = in_requests(Bracket("at_least", 20.0, None, None), levels)
    assert (least.value, least.low, least.high) == (None, 29.5, None)
    below = in_requests(Bracket("below", None, 10.0, None), levels)
    assert (below.value, below.low, below.high) == (None, None, 16.5)


def _of_users(carried: float) -> CapacityFindings:
    """Users who wait a second or so between requests: 100 of them make `carried` requests per second in 1 ms each."""
    rate = {"value": carried, "low": carried - 1, "high": carried + 1, "n": 3}
    users = {"value": 100.0, "low": 90.0, "high": 110.0, "n": 3}
    levels = [closed(users, rate) for users, rate in ((10, carried / 10), (100, carried), (200, carried + 1))]
    state = {"state": "healthy", "levels": levels, "usl": None, "limits": [], "advice": None, "cost_per_1k": 1.0,
             "capacity": {"state": "bracketed", "rate": rate, "users": users}}  # fmt: skip
    return CapacityFindings.model_validate(
        {"open_loop": False, "slo_response_s": 3, "slo_good_share": 0.99, "think_s": None, "headroom": 0.7,
         "replicas": 1, "states": [state], "worst": "healthy"}
    )  # fmt: skip


def test_a_closed_loop_is_planned_for_no_more_users_than_make_what_a_full_resource_leaves() -> None:
    """Throughput grows less than users do: 40 % of those at the capacity make more than 40 % of it."""
    of = _of_users(50.0)
    about = {"resource": "gateway cpu", "kind": "cpu", "of": "one core", "full_at": 0.8, "highest": 0.9, "rate": 20.0,
             "extrapolated": False, "evidence": "seen"}  # fmt: skip
    levels = (closed(10, 20), closed(100, 50), closed(200, 51))
    state = of.states[0].model_copy(update={"levels": levels, "limits": (Limit.model_validate(about),)})
    advice = with_headroom(of.model_copy(update={"states": (state,)}), 0.7, None).states[0].advice
    assert advice is not None
    assert (advice.rate, advice.users, advice.limited_by) == (20, 10, "gateway cpu")


def test_a_closed_loop_can_be_planned_for_users_who_think_longer() -> None:
    there = with_headroom(_of_users(50.0), 0.7, None)
    assert there.states[0].advice is not None
    assert there.states[0].advice.users == 70
    assert there.states[0].capacity.users == _of_users(50.0).states[0].capacity.users
    needed = forecast([there], "healthy", rate=None, users=5000)
    assert needed is not None
    assert needed.rate == pytest.approx(2500), "each makes half a request a second"
    patient = with_headroom(_of_users(50.0), 0.7, 30.0)
    (state,) = patient.states
    assert state.advice is not None
    assert state.advice.users == pytest.approx(35 * 30.001)
    assert state.capacity.users is not None
    assert state.capacity.users.value == pytest.approx(50 * 30.001)
    assert state.cost_per_user_hour == pytest.approx(3.6 / 30.001)
    needed = forecast([patient], "healthy", rate=None, users=5000)
    assert needed is not None
    assert needed.rate == pytest.approx(5000 / 30.001)


# --- levels that tell nothing ----------------------------------------------------------------------------------------


def _stairs(path: Path, *steps: tuple[float, float, str]) -> Findings:
    """A load of steps of 40 s: requests per second, how late they leave (s), how they end."""
    load = {"kind": "steps", "steps": [{"rate": f"{rate}/s", "hold": "40s"} for rate, _, _ in steps]}
    builder = RecordingBuilder(path, plan(load=load))
    builder.phases(steady=0, cooldown=40 * len(steps))
    for number, (rate, late_s, outcome) in enumerate(steps, 1):
        begin = 40.0 * (number - 1)
        builder.event(begin, "load", "step", step=number, of=len(steps), rate=rate, ramp_s=0.0)
        for count, at in enumerate(np.arange(begin, begin + 40, 1 / rate).tolist()):
            good = outcome == "ok" or (outcome == "some" and count % 90)
            builder.request(at, 0.1, late_s=late_s, outcome="ok" if good else "failed", ledger=False)
    builder.instrument(0, 40 * len(steps))
    return analyse(builder.close(40 * len(steps) + 1))[0]


@pytest.mark.parametrize(
    ("top", "untold"),
    [((40.0, 0.0, "some"), 1), ((40.0, 0.2, "ok"), 1), (None, 0)],
    ids=["undecided", "late", "nothing above"],
)
def test_at_least_is_the_highest_load_shown_to_meet_whatever_was_tried_above(
    tmp_path: Path, top: tuple[float, float, str] | None, untold: int
) -> None:
    findings = _stairs(tmp_path / "r", (10.0, 0.0, "ok"), (20.0, 0.0, "ok"), *([top] if top else []))
    assert findings.capacity is not None
    (state,) = findings.capacity.states
    assert (state.capacity.state, state.capacity.rate.low, state.capacity.untold) == ("at_least", 20.0, untold)
    said, note = block_capacity.said(findings).replace("\xa0", " "), " ".join(state.notes)
    assert "meets its SLO at 20 requests/s" in said
    assert ("the highest load tested" in said) is (untold == 0)
    assert ("; 1 higher level does not tell" in said) is bool(untold)
    assert ("lies beyond the tested range" in note.partition("scalability")[0]) is (untold == 0)
    assert ("1 level above the highest shown to meet it does not tell" in note) is bool(untold)


def test_below_is_the_lowest_load_shown_to_miss_whatever_was_tried_below(tmp_path: Path) -> None:
    findings = _stairs(tmp_path / "r", (1.0, 0.0, "ok"), (20.0, 0.0, "failed"))
    assert findings.capacity is not None
    (state,) = findings.capacity.states
    assert (state.capacity.state, state.capacity.rate.high, state.capacity.untold) == ("below", 20.0, 1)
    said = block_capacity.said(findings).replace("\xa0", " ")
    assert said.startswith("The system does not meet its SLO at 20 requests/s; 1 lower level does not tell")
    assert "1 level below the lowest shown to miss it does not tell" in " ".join(state.notes)


def test_too_few_requests_for_an_interval_leave_the_end_open() -> None:
    levels = [closed(5, 9, None), closed(10, 16), closed(20, 15, None)]
    said = in_requests(Bracket("bracketed", 10.0, 20.0, 15.0), levels)
    assert (said.low, said.high) == (15.5, None)
    assert in_requests(Bracket("below", None, 10.0, None), levels).high == 16.5
    assert in_requests(Bracket("undecided", None, None, None), []).low is None
