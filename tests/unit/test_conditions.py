"""Conditions on the last seconds: error budgets over two windows, steady states, recovery while it lasts."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.clock import NS_PER_S
from harness.conditions import Conditions, overall, slo_steady, steady_state
from harness.live import Recent
from harness.model.experiment import Experiment
from harness.model.plan import Slo
from harness.model.threshold import parse_abort
from tests.unit.test_live import batch

SLO = Slo()
"""99 % good, where good is answered within 3 s."""


def seconds(folder: Path, bad: dict[range, int], *, of: int = 100, took_s: float = 0.1, until: int = 60) -> Recent:
    """Requests of `until` seconds: each second `of` answers, of which as many failed as `bad` says for it."""
    recent = Recent(keep_s=120)
    for second in range(until):
        failed = next((n for span, n in bad.items() if second in span), 0)
        rows: list[dict[str, object]] = [
            {
                "due_ns": int((second + i / of - took_s) * NS_PER_S),
                "end_ns": int((second + i / of) * NS_PER_S),
                "outcome": "failed" if i < failed else "ok",
            }
            for i in range(of)
        ]
        recent.add((second + 1) * NS_PER_S, [batch(folder / f"{second}", rows)])
    return recent


@pytest.mark.parametrize(
    ("bad", "took_s", "burn"),
    [
        ({range(60): 20}, 0.1, 20.0),  # a fifth fails where a hundredth may
        ({range(60): 10}, 0.1, None),  # 10 times is not 14.4 times
        ({range(50): 24}, 0.1, None),  # over: the last twelfth of the window is good again
        ({range(40, 60): 100}, 0.1, 100 / 3),
        ({range(58, 60): 100}, 0.1, None),  # two seconds are 3.3 times the budget of a minute
        ({}, 4.0, 100.0),  # slower than the SLO allows is as bad as failed
    ],
)
def test_an_error_budget_is_burned_when_both_windows_say_so(
    tmp_path: Path, bad: dict[range, int], took_s: float, burn: float | None
) -> None:
    threshold = parse_abort("error_budget: burn>14.4 over 1m")
    found = Conditions(seconds(tmp_path, bad, took_s=took_s), SLO).met(threshold, 60 * NS_PER_S)
    assert found == (None if burn is None else pytest.approx(burn, rel=0.02))


def test_an_slo_of_everything_leaves_no_budget(tmp_path: Path) -> None:
    recent = seconds(tmp_path, {range(60): 50})
    assert Conditions(recent, Slo(good_share=1)).met(parse_abort("error_budget: burn>1 over 1m"), 60 * NS_PER_S)


@pytest.mark.parametrize(
    ("bad", "took_s", "state"),
    [
        ({}, 0.1, "steady"),
        ({range(60): 3}, 0.1, "sick"),
        ({range(59, 60): 2}, 0.1, "steady"),
        ({}, 3.5, "sick"),
    ],
)
def test_a_system_is_sick_when_that_is_certain(
    tmp_path: Path, bad: dict[range, int], took_s: float, state: str
) -> None:
    found = Conditions(seconds(tmp_path, bad, took_s=took_s), SLO).well(slo_steady(SLO), 60 * NS_PER_S, 30)
    assert overall(found) == state
    assert [f.n for f in found] == [pytest.approx(3000, abs=100)] * 2
    assert all(f.observed is not None for f in found)


def test_one_bad_answer_of_a_few_is_no_sickness_and_none_says_nothing(tmp_path: Path) -> None:
    few = Conditions(seconds(tmp_path, {range(1): 1}, of=2, until=2), SLO)
    assert overall(few.well(slo_steady(SLO), 2 * NS_PER_S, 5)) == "steady"
    nothing = Conditions(Recent(10), SLO).well(slo_steady(SLO), 2 * NS_PER_S, 5)
    assert overall(nothing) == "unknown"
    assert "nothing was observed" in nothing[0].words


def test_silence_is_no_request_a_second_and_says_nothing_else() -> None:
    silent, now = Conditions(Recent(60), SLO), 60 * NS_PER_S
    assert silent.met(parse_abort("requests: rate<1 over 30s"), now) == 0
    for condition in ("request_failed: rate<0.1", "response_time: p(50)<9s", "error_budget: burn<1"):
        assert silent.met(parse_abort(f"{condition} over 30s"), now) is None, condition
    (early,) = silent.well({"requests": ("rate>5",)}, now, 2)
    assert early.state == "unknown", "nothing may have been answered yet"


def test_requests_of_a_steady_state_are_divided_by_the_seconds_looked_at(tmp_path: Path) -> None:
    recent = seconds(tmp_path, {}, of=10)
    recent.add(60 * NS_PER_S, [batch(tmp_path / "hung", [{"due_ns": 0, "end_ns": 59 * NS_PER_S}])])
    (found,) = Conditions(recent, SLO).well({"requests": ("rate>9",)}, 60 * NS_PER_S, 30)
    assert found.state == "steady"
    assert found.observed == found.low == pytest.approx(301 / 30)
    assert found.high == pytest.approx(301 / 29), "a row comes up to a second late"


def test_an_experiment_says_what_its_steady_state_is() -> None:
    faults = [{"kind": "refuse", "at": "1s", "for": "1s", "upstream": "bedrock"}]
    own = {"cache_hit": ["rate>0.2"], "response_time": "p(50)<1s"}
    told = Experiment.model_validate({"experiment": "x", "faults": faults, "steady_state": own})
    assert steady_state(told, SLO) == {"cache_hit": ("rate>0.2",), "response_time": ("p(50)<1s",)}
    silent = Experiment.model_validate({"experiment": "x", "faults": faults})
    assert steady_state(silent, SLO) == {"request_failed": ("rate<=0.01",), "response_time": ("p(95)<=3000ms",)}
    nothing = Experiment.model_validate({"experiment": "x", "faults": faults, "steady_state": {}})
    assert steady_state(nothing, SLO) == {}


def test_service_is_good_again_after_a_whole_good_window(tmp_path: Path) -> None:
    conditions = Conditions(seconds(tmp_path, {range(40): 50}), SLO)
    cleared_ns = 40 * NS_PER_S
    assert not conditions.good_for(cleared_ns, 45 * NS_PER_S), "the window is 10 s"
    assert conditions.good_for(cleared_ns, 51 * NS_PER_S)
    assert not conditions.good_for(30 * NS_PER_S, 45 * NS_PER_S), "half of the window was bad"
    assert not Conditions(Recent(10), SLO).good_for(cleared_ns, 60 * NS_PER_S), "nothing is not good"
