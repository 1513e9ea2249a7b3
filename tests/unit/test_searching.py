"""A whole search on a simulated system, in simulated time: one server, a known service time, faults that slow it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.clock import NS_PER_S
from harness.faults.timeline import occurrences
from harness.model.event import Event
from harness.model.experiment import FaultSpec
from harness.model.plan import Scenario
from harness.recording.tables import EventLog
from harness.searching import Searching
from harness.traffic import Pulse, Pulses, pacer

TICK_NS, SEED, NOTICE_NS = NS_PER_S // 4, 11, NS_PER_S // 10
DOWN = {"kind": "blackhole", "upstream": "bedrock", "during": {"state": "down"}}
LOAD = {
    "kind": "capacity", "min": "5/s", "max": "400/s", "budget": "40m", "hold": "30s", "resolution": "5%",
    "settle": {"shortest": "10s", "longest": "40s"}, "arrivals": "constant", "states": ["healthy"],
}  # fmt: skip


class System:
    """One server that takes `service_s` for each request: the engine and the conductor of faults at once."""

    def __init__(self, path: Path, service_s: float, load: dict[str, Any], faults: tuple[dict[str, Any], ...]) -> None:
        spec = {"scenario": "s", "workload": "w", "load": {**LOAD, **load}, "slo": {"response_time": "1s"}}
        scenario = Scenario.model_validate(spec)
        self.load, self.service_s, self.slow, self.path = scenario.load, service_s, 3.0, path
        self.occurrences = occurrences([("x", FaultSpec.model_validate(fault)) for fault in faults])
        self.pulses, self.log = Pulses(5), EventLog(self.path)
        plan: Any = SimpleNamespace(scenario=scenario, seed=SEED)
        self.search = Searching(plan, self, self.log, self.pulses, NOTICE_NS)  # type: ignore[arg-type]
        self.due: list[int] = []
        self.ends: list[int] = []
        self.told = 0
        self.free_ns = 0
        self.lateness_ms: Callable[[float], float] = lambda _: 0.0
        self.rate = 0.0
        self.on: frozenset[str] = frozenset()
        self.had: set[str] = set()
        self.objections: list[str | None] = []
        """What was said when a fault was to be injected."""
        self.failed: list[str] = []
        self.bites = True

    def change(self, number: int, at_ns: int, rate: float, seconds: float) -> None:
        keep = [due for due in self.due if due < at_ns]
        self.due = keep + (at_ns + pacer.level("constant", rate, seconds, SEED, number)).tolist()
        self.rate = rate or self.rate

    def release(self, fault_ids: Collection[str]) -> None:
        self.on = self.on - frozenset(fault_ids)

    def faults(self) -> None:
        for o in self.occurrences:
            if self.search.state and o.spec.during and o.spec.during.state == self.search.state:
                if self.bites and o.fault_id not in self.had:
                    self.objections.append(self.search.objection())
                    self.on = self.on | {o.fault_id}
                    self.had.add(o.fault_id)
                elif not self.bites and not self.failed:
                    self.failed.append(f"{o.fault_id}: nobody was hit")

    def serve(self, now: int) -> None:
        takes = round(self.service_s * NS_PER_S * (self.slow if self.on else 1))
        while len(self.ends) < len(self.due) and (due := self.due[len(self.ends)]) <= now:
            self.free_ns = max(self.free_ns, due) + takes
            self.ends.append(self.free_ns)

    def speak(self, now: int) -> None:
        over = int(np.searchsorted(self.ends, now, "right"))
        rows = slice(self.told, over)
        due, end = self.due[rows], self.ends[rows]
        columns = [
            pa.array(due, pa.int64()),
            pa.array(end, pa.int64()),
            pa.array(["ok"] * len(due)).dictionary_encode(),
        ]
        self.search.add([pa.RecordBatch.from_arrays(columns, ["due_ns", "end_ns", "outcome"])])
        self.told = over
        late = self.lateness_ms(self.rate)
        pulse = Pulse("w", now, 1, len(self.ends) - over, (0.0,), 0.0, late, 0.1, 1.0, over, 0, 0)
        self.pulses.add(pulse)
        self.search.pulse(pulse)

    def run(self, until_s: float | None = None) -> None:
        now, end_ns = 0, round((until_s or self.load.measured_s) * NS_PER_S)
        self.search.begin(0, round(self.load.measured_s * NS_PER_S))
        self.speak(0)
        while not self.search.over and now < end_ns:
            now += TICK_NS
            self.serve(now)
            if now % NS_PER_S == 0:
                self.speak(now)
            self.faults()
            self.search.step(now, self, self.occurrences)  # type: ignore[arg-type]
        self.search.close(now)
        self.now_s = now / NS_PER_S

    def events(self) -> list[Any]:
        return [Event.model_validate_json(line) for line in self.path.read_text().splitlines()]

    def told_of(self, subject: str) -> list[Any]:
        return [e for e in self.events() if e.subject == subject]


@pytest.fixture
def system(tmp_path: Path) -> Callable[..., System]:
    def make(service_s: float, *faults: dict[str, Any], **load: Any) -> System:
        return System(tmp_path / f"{service_s:.4f}.jsonl", service_s, load, faults)

    return make


def test_finds_what_one_server_can_do(system: Callable[..., System]) -> None:
    run = system(1 / 37)
    run.run()
    ((ended,), levels) = run.told_of("state_ended"), run.told_of("level_ended")
    assert ended.data["reason"] == "bracketed"
    assert ended.data["meets"] <= 37.0 * 1.01, "constant arrivals meet the SLO up to the server's own rate"
    assert ended.data["misses"] <= ended.data["meets"] * 1.05
    assert ended.data["misses"] > 37.0 * 0.99
    assert all(e.data["outcome"] == "meets" for e in levels if e.data["rate"] < 36.9)
    assert {e.data["outcome"] for e in levels if e.data["rate"] > 39} == {"saturated"}
    assert run.now_s < 20 * 60, "it ends when there is nothing left to find"


def test_levels_are_told_as_they_happen(system: Callable[..., System]) -> None:
    run = system(1 / 37)
    run.run()
    begins, ends = run.told_of("level"), run.told_of("level_ended")
    assert [e.data["level"] for e in begins] == list(range(1, len(begins) + 1)) == [e.data["level"] for e in ends]
    for end in ends:
        if end.data["outcome"] in ("meets", "misses"):
            held_s = (end.t_ns - end.data["settled_ns"]) / NS_PER_S
            assert held_s == pytest.approx(max(30, 300 / end.data["rate"]), abs=0.3), "long enough to tell 99 %"
    for (before, after), drained in zip(pairwise(begins), run.told_of("drained"), strict=False):
        assert before.t_ns < drained.t_ns < after.t_ns
        assert drained.data["whole"]
        assert drained.data["in_flight"] <= max(1, 0.05 * before.data["rate"])
    most = max(e.data["rate"] for e in ends)
    waiting = np.arange(1, len(run.due) + 1) - np.searchsorted(run.ends, run.due)
    assert waiting.max() < 4 * most, "no queue is let grow much beyond what the SLO allows"


def test_a_state_is_searched_while_its_fault_is_on(system: Callable[..., System]) -> None:
    run = system(1 / 90, DOWN, states=["healthy", "down"])
    run.run()
    states, ends = run.told_of("state"), run.told_of("state_ended")
    assert [e.data["state"] for e in states] == [e.data["state"] for e in ends] == ["healthy", "down"]
    for ended, capacity in zip(ends, (90, 30), strict=True):
        assert ended.data["meets"] == pytest.approx(capacity, rel=0.06)
    levels = {
        state: [e.data["rate"] for e in run.told_of("level") if e.data["state"] == state]
        for state in ("healthy", "down")
    }
    assert levels["down"][0] == ends[0].data["meets"], "it begins where the capacity was"
    assert not run.on, "the fault ends with its state"


def test_a_fault_that_does_not_bite_costs_its_state_only(system: Callable[..., System]) -> None:
    run = system(1 / 90, DOWN, states=["down", "healthy"])
    run.bites = False
    run.run()
    down, healthy = run.told_of("state_ended")
    assert (down.data["meets"], down.data["why"]) == (None, "blackhole-bedrock-1 did not bite")
    assert healthy.data["meets"] == pytest.approx(90, rel=0.06)


def test_the_budget_is_kept_and_shared(system: Callable[..., System]) -> None:
    run = system(1 / 90, DOWN, states=["healthy", "down"], budget="300s", min="20/s")
    run.run()
    healthy, down = run.told_of("state_ended")
    assert {healthy.data["reason"], down.data["reason"]} == {"budget"}
    assert run.now_s <= 300
    assert healthy.t_ns <= 150 * NS_PER_S
    assert healthy.data["meets"]


def test_a_load_that_is_stopped_says_what_it_knows(system: Callable[..., System]) -> None:
    run = system(1 / 90)
    run.run(until_s=100)
    (ended,) = run.told_of("state_ended")
    assert ended.data["reason"] == "budget"
    last = run.told_of("level_ended")[-1].data
    assert (last["outcome"], last["why"]) == ("unsettled", "the load ended before the level did")
    assert last["rate"] != ended.data["misses"], "what was not seen to its end says nothing"


def test_a_late_generator_is_no_capacity(system: Callable[..., System]) -> None:
    run = system(1 / 300)
    run.lateness_ms = lambda rate: 80.0 if rate > 50 else 1.0
    run.run()
    (ended,) = run.told_of("state_ended")
    assert (ended.data["misses"], ended.data["reason"]) == (None, "max_reached")
    assert 45 < ended.data["meets"] <= 50
    assert "the load generator" in ended.data["why"]
    limited = [e.data for e in run.told_of("level_ended") if e.data["by_generator"]]
    assert {level["outcome"] for level in limited} == {"unsettled"}
    assert min(level["rate"] for level in limited) > 50


def test_faults_wait_for_a_system_that_was_well(system: Callable[..., System]) -> None:
    run = system(1 / 90)
    assert run.search.objection() is None, "nobody knows yet"
    run.run(until_s=0.5)
    well = system(1 / 60, DOWN, states=["healthy", "down"], min="20/s")
    well.run()
    assert well.objections == [""]
    hopeless = system(2.0, DOWN, states=["healthy", "down"], min="20/s")
    hopeless.run()
    assert hopeless.told_of("state_ended")[0].data["reason"] == "min_misses"
    assert hopeless.objections == ["the system did not meet its SLO at any rate before"]
