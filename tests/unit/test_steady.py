"""Whether a system is well enough to be broken: asked once, and told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.clock import NS_PER_S, now_ns
from harness.conditions import Conditions
from harness.live import Recent
from harness.model.plan import Slo
from harness.recording.tables import EventLog
from harness.steady import SteadyState
from tests.unit.test_live import batch

Make = Callable[..., SteadyState]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    events = EventLog(tmp_path / "events.jsonl")

    def steady(
        failed: int = 0, answered: int = 200, in_flight: int = 0, since_s: float = 20, **own: Any
    ) -> SteadyState:
        now, recent = now_ns(), Recent(60)
        rows: list[dict[str, object]] = [
            {"due_ns": now - NS_PER_S, "end_ns": now - NS_PER_S + i, "outcome": "failed" if i < failed else "ok"}
            for i in range(answered)
        ]
        if rows:
            recent.add(now, [batch(tmp_path / "rows", rows)])
        experiment = SimpleNamespace(experiment="x", steady_state=own.get("steady_state"))
        plan: Any = SimpleNamespace(experiments=[experiment], scenario=SimpleNamespace(slo=Slo()))
        found = SteadyState(plan, Conditions(recent, Slo()), events, lambda: in_flight)
        found.begin_ns = found.zero_ns = now - round(since_s * NS_PER_S)
        return found

    yield steady
    events.close()


def told(tmp_path: Path) -> list[tuple[str, str]]:
    rows = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    return [(row["subject"], row["data"]["state"]) for row in rows]


def test_a_system_that_is_well_may_be_broken_and_is_asked_once(make: Make, tmp_path: Path) -> None:
    steady = make()
    assert (steady.objection(None), steady.objection(None)) == ("", "")
    assert told(tmp_path) == [("before", "steady")]


def test_a_sick_one_may_not_and_why_is_said(make: Make, tmp_path: Path) -> None:
    steady = make(failed=30)
    assert "request_failed: rate<=0.01 (observed 0.15 of 200 requests)" in steady.objection(None)
    steady.after(now_ns(), now_ns() - 60 * NS_PER_S)
    assert told(tmp_path) == [("before", "sick")], "no fault was injected, so there is no after"


def test_silence_is_a_sickness_once_it_has_lasted(make: Make, tmp_path: Path) -> None:
    assert make(answered=0, in_flight=20, since_s=3).objection(None) == ""
    assert "requests: count>0 over 20s (observed 0 of 20 requests)" in make(answered=0, in_flight=20).objection(None)
    assert make(answered=0, in_flight=0).objection(None) == "", "nobody asked"
    assert told(tmp_path) == [("before", "unknown"), ("before", "sick"), ("before", "unknown")]


def test_silence_after_the_last_fault_is_no_longer_than_what_was_looked_at(make: Make, tmp_path: Path) -> None:
    steady = make(answered=0, in_flight=20, since_s=3)
    assert steady.objection(None) == ""
    steady.begin_ns -= 600 * NS_PER_S
    steady.after(now_ns(), now_ns() - 25 * NS_PER_S)
    assert told(tmp_path)[-1] == ("after", "sick")
    assert "requests: count>0 over 15s" in (tmp_path / "events.jsonl").read_text()


def test_nothing_is_asked_of_an_empty_steady_state(make: Make) -> None:
    assert make(failed=200, steady_state={}).objection(None) == ""


@pytest.mark.parametrize(("ago_s", "asked"), [(None, False), (5, False), (25, True)])
def test_after_the_last_fault_it_is_given_time_to_recover(
    make: Make, tmp_path: Path, ago_s: float | None, asked: bool
) -> None:
    steady = make()
    steady.objection(None)
    steady.after(now_ns(), None if ago_s is None else now_ns() - round(ago_s * NS_PER_S))
    assert told(tmp_path)[1:] == ([("after", "steady")] if asked else [])
