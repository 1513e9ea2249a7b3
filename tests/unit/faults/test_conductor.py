"""What the conductor does about faults that do not bite, that are not cleared at once, that leave a service broken.

On sites in memory, which can be in the way; on real ones: tests/contract/test_faults.py and test_controls.py.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import TypeAdapter

from harness.clock import NS_PER_MS, NS_PER_S, now_ns, sleep
from harness.errors import FaultFailed
from harness.faults.conductor import Conductor, Uncleared
from harness.faults.fault import PLAIN, Fault, Question, Site, Toxic
from harness.faults.lifecycle import Kill
from harness.faults.network import Refuse, Reset, Slow
from harness.faults.probe_socket import Seen
from harness.faults.proxies import Proxied
from harness.faults.service import sites
from harness.faults.timeline import Breakables, occurrences
from harness.journal import Journal
from harness.model.instance import Instance, State
from harness.model.load import Load
from harness.recording.tables import EventLog
from harness.triggers import Triggers

RUN_ID = 0xC0D


class Door:
    """An upstream behind a proxy (a `fault.Site`, its own ground and probe)."""

    def __init__(self) -> None:
        self.name = "bedrock"
        self.open, self.jammed = True, False
        self.injected = self.looked = 0
        self.duds: Collection[int] = ()
        """Injections, by number, that do nothing."""
        self.sick: Collection[int] = ()
        """Looks before a fault, by number, that find it unwell."""
        self.takes_ms = 0
        self.reset_from_ns: int | None = None
        """From when on a probe is reset, while a toxic is on."""
        self.toxics: set[str] = set()
        self.late_ns = 0
        """What an answer takes longer, whatever is on."""
        self.server = SimpleNamespace(address="")

    @property
    def ground(self) -> Any:
        return self

    @property
    def probe(self) -> Door:
        return self

    def journal(self, journal: Journal, fault: Fault, fault_id: str) -> int:
        return journal.fault(fault_id, api="", proxy="", toxics=[])

    def other_cause(self, fault: Fault, healthy_ns: int) -> str:
        return ""

    def enable(self, *, enabled: bool) -> None:
        if enabled and self.jammed:
            raise FaultFailed("its port is taken")
        self.injected += not enabled
        self.open = enabled or self.injected in self.duds

    def add(self, *toxics: Toxic) -> None:
        self.toxics |= {toxic.name for toxic in toxics}

    def remove(self, *names: str) -> None:
        self.toxics -= set(names)

    def ask(self, patience_ns: int, stop: threading.Event | None = None, question: Question = PLAIN) -> Seen:
        sent_ns = now_ns()
        sleep(0.001)
        sleep(self.late_ns / NS_PER_S)
        hit = bool(self.toxics) and self.reset_from_ns is not None and sent_ns >= self.reset_from_ns
        return Seen("refused" if not self.open else "reset" if hit else "answered", sent_ns, now_ns(), self.open)

    def healthy_ns(self, question: Question = PLAIN) -> int:
        self.looked += 1
        if self.looked in self.sick:
            raise FaultFailed("it does not answer before anything is broken")
        return self.takes_ms * NS_PER_MS


class Copies:
    """A service of one copy that cannot be asked from here (a `Control`)."""

    def __init__(self) -> None:
        self.name = "agents"
        self.state: State = "running"
        self.healthy = True
        self.well_again = self.comes_up = True
        """Of what is started again."""
        self.busy_after = self.busy = 0
        """Looks that fail once it was started again."""
        self.restored = 0

    def look(self) -> list[Instance]:
        if self.busy:
            self.busy -= 1
            raise FaultFailed("the engine is busy")
        return [Instance("agents-1", self.state, healthy=self.healthy)]

    def kill(self, copies: Collection[str]) -> None:
        if copies:
            self.state = "stopped"

    def stop(self, copies: Collection[str]) -> None:
        self.kill(copies)

    def pause(self, copies: Collection[str]) -> None:
        raise NotImplementedError

    def limit(self, copies: Collection[str], *, cpus: float | None = None, memory_mib: float | None = None) -> None:
        raise NotImplementedError

    def restore(self, copies: Collection[str]) -> None:
        self.restored += 1
        if not self.comes_up:
            raise FaultFailed("it does not come up")
        self.state, self.healthy, self.busy = "running", self.well_again, self.busy_after


@dataclass
class Rig:
    """What a conductor needs, and what it tells."""

    path: Path
    journal: Journal
    events: EventLog
    door: Door = field(default_factory=Door)
    copies: Copies = field(default_factory=Copies)
    bit: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def conductor(
        self,
        *specs: Fault,
        deadline_s: float = 0.3,
        triggers: Triggers | None = None,
        site: Site | None = None,
        there: Breakables | None = None,
    ) -> Conductor:
        def gone(fault: Any, t_ns: int) -> None:
            self.gone.append(fault.fault_id)
            if triggers:
                triggers.gone(fault, t_ns)

        return Conductor(
            occurrences([("storm", spec) for spec in specs], there),
            {"bedrock": site or self.door},
            sites({"agents": self.copies}, {}),
            events=self.events,
            journal=self.journal,
            on_effective=lambda fault, _: self.bit.append(fault.fault_id),
            on_cleared=lambda fault, _: self.cleared.append(fault.fault_id),
            on_gone=gone,
            deadline_s=deadline_s,
        )

    def told(self, fault_id: str) -> dict[str, Any]:
        """Return the events of a fault by state; each was told once."""
        found = [e for e in map(json.loads, self.path.read_text().splitlines()) if e["subject"] == fault_id]
        by_state = {e["data"]["state"]: e for e in found}
        assert len(by_state) == len(found)
        return by_state


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr("harness.faults.conductor._RETRY_NS", NS_PER_S // 20)
    path = tmp_path / "events.jsonl"
    with closing(Journal(tmp_path, RUN_ID, tmp_path / "state")) as journal, closing(EventLog(path)) as events:
        yield Rig(path, journal, events)


def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline_ns = now_ns() + round(within_s * NS_PER_S)
    while not true():
        assert now_ns() < deadline_ns, "did not happen"
        sleep(0.005)


def refuse(**settings: Any) -> Refuse:
    return Refuse.model_validate({"kind": "refuse", "upstream": "bedrock", "at": "0s", "for": "50ms", **settings})


def kill(**settings: Any) -> Kill:
    return Kill.model_validate({"kind": "kill", "service": "agents", "at": "0s", "for": "50ms", **settings})


def reset(for_: str) -> Reset:
    return Reset.model_validate({"kind": "reset", "upstream": "bedrock", "at": "0s", "for": for_, "share": 0.05})


def test_one_that_was_cleared_late_leaves_its_place_to_the_next(rig: Rig) -> None:
    rig.door.jammed = True
    conductor = rig.conductor(refuse(repeat=3, every="700ms"))
    conductor.start(now_ns())
    until(lambda: bool(conductor.failed))
    rig.door.jammed = False
    until(lambda: conductor.done)
    assert conductor.failed == ["refuse-bedrock-1 could not be cleared: its port is taken"]
    assert rig.bit == rig.cleared == rig.gone == [f"refuse-bedrock-{n}" for n in (1, 2, 3)]
    told = rig.told("refuse-bedrock-1")
    assert list(told) == ["journalled", "injecting", "effective", "clearing", "failed", "cleared"]
    assert told["cleared"]["data"]["low_ns"] == told["clearing"]["t_ns"], "it may have gone at the first try"
    assert conductor.stop() == []
    assert rig.journal.still_open() == []


def test_it_is_tried_as_long_as_the_load_lasts_and_told_once(rig: Rig) -> None:
    rig.door.jammed = True
    conductor = rig.conductor(refuse(), deadline_s=0.2)
    conductor.start(now_ns())
    until(lambda: bool(conductor.failed))
    sleep(0.4)
    assert not conductor.done
    assert conductor.stuck == [], "its upstream is not all there is to measure"
    (left,) = conductor.stop()
    assert left == Uncleared("refuse-bedrock-1 could not be cleared: its port is taken", on_service=False)
    assert len(conductor.failed) == 1
    assert list(rig.told("refuse-bedrock-1"))[-2:] == ["clearing", "failed"]
    assert rig.gone == []


def test_one_that_does_not_bite_does_not_end_a_series_spaced_by_recovery(rig: Rig) -> None:
    spec = refuse(repeat=4, spaced_by="recovery")
    load = TypeAdapter(Load).validate_python({"kind": "users", "users": 1, "hold": "60s"})
    plan: Any = SimpleNamespace(scenario=SimpleNamespace(load=load), faults=[("storm", spec)])
    conditions: Any = SimpleNamespace(good_for=lambda *_: True, served=lambda *_: 0.5)
    triggers, zero_ns = Triggers(plan, conditions), now_ns()
    rig.door.sick, rig.door.duds = {2}, {2}  # the second is not injected, the third does nothing
    conductor = rig.conductor(spec, triggers=triggers)
    conductor.start(zero_ns)

    def over() -> bool:
        for fault in conductor.waiting:
            if come := triggers.come(fault, start_ns=zero_ns, zero_ns=zero_ns, now=now_ns(), users=1):
                conductor.fire(fault, now_ns(), come)
        return conductor.done

    until(over)
    assert rig.gone == [f"refuse-bedrock-{n}" for n in (1, 2, 3, 4)]
    assert rig.bit == rig.cleared == ["refuse-bedrock-1", "refuse-bedrock-4"]
    assert len(conductor.failed) == 2
    assert conductor.stop() == []


def test_one_on_a_small_share_has_time_to_be_met(rig: Rig) -> None:
    rig.door.takes_ms = 20
    conductor = rig.conductor(reset("3s"), deadline_s=0.01)
    rig.door.reset_from_ns = now_ns() + NS_PER_S // 2
    conductor.start(now_ns())
    until(lambda: bool(conductor.on))
    assert conductor.stop() == []
    assert conductor.failed == []
    assert "135 probes in a row" in rig.told("reset-bedrock-1")["cleared"]["data"]["evidence"]


def test_one_on_a_small_share_stays_on_no_longer_for_that(rig: Rig) -> None:
    rig.door.takes_ms = 20  # six seconds of probes
    conductor = rig.conductor(reset("200ms"), deadline_s=0.01)
    conductor.start(now_ns())
    until(lambda: conductor.done)
    told = rig.told("reset-bedrock-1")
    assert (told["clearing"]["t_ns"] - told["injecting"]["t_ns"]) / NS_PER_S < 3
    assert "no probe saw it bite" in told["failed"]["data"]["evidence"]
    assert conductor.stop() == []


def test_a_service_that_runs_again_and_is_not_as_before_is_broken_by_nobody(rig: Rig) -> None:
    rig.copies.well_again = False
    conductor = rig.conductor(kill())
    conductor.start(now_ns())
    until(lambda: conductor.done)
    (failed,) = conductor.failed
    assert "does not answer as before" in failed
    assert failed.endswith("yet what it was on runs again (agents-1)")
    told = rig.told("kill-agents-1")
    assert told["failed"]["data"]["healed"] is True
    assert "cleared" not in told, "so that the run is invalid"
    assert rig.bit == rig.cleared == rig.gone == ["kill-agents-1"]
    assert conductor.stuck == []
    assert conductor.stop() == []
    assert rig.journal.close(), "nothing is left for the guardian"


def test_an_upstream_that_is_late_by_itself_is_broken_by_nobody(rig: Rig) -> None:
    past, site = Door(), Proxied("bedrock", cast("Any", rig.door), cast("Any", rig.door), cast("Any", rig.door), {})
    slow = Slow.model_validate({"kind": "slow", "upstream": "bedrock", "at": "0s", "for": "50ms", "latency": "200ms"})
    assert site.other_cause(slow, 0) == ""
    site = replace(site, past=cast("Any", past))
    rig.door.late_ns = past.late_ns = 250 * NS_PER_MS
    conductor = rig.conductor(slow, deadline_s=0.05, site=site)
    conductor.start(now_ns())
    until(lambda: conductor.done)
    (failed,) = conductor.failed
    assert "nor does the upstream when asked without the proxy: answered after" in failed
    told = rig.told("slow-bedrock-1")
    assert told["failed"]["data"]["healed"] is True
    assert "cleared" not in told, "so that the run is invalid"
    assert rig.bit == rig.cleared == rig.gone == ["slow-bedrock-1"]
    assert conductor.stop() == []
    assert rig.journal.close(), "nothing is left for the guardian"


def test_the_guardian_takes_back_nothing_that_is_off_by_its_read_back(rig: Rig) -> None:
    rig.door.late_ns = 250 * NS_PER_MS  # of the proxy itself, as it seems: nobody knows
    slow = Slow.model_validate({"kind": "slow", "upstream": "bedrock", "at": "0s", "for": "50ms", "latency": "200ms"})
    conductor = rig.conductor(slow, deadline_s=0.05)
    conductor.start(now_ns())
    until(lambda: bool(conductor.failed))
    rows = [json.loads(line) for line in rig.journal.path.read_text().splitlines()]
    first, *later = [row["expires_ns"] for row in rows if row["kind"] == "expires"]
    assert later[0] > first
    rig.door.late_ns = 0
    assert conductor.stop() == []


@pytest.mark.parametrize("begin_s", [0.3, 0.7])
def test_an_upstream_and_the_service_that_it_is_have_one_fault_at_a_time(rig: Rig, begin_s: float) -> None:
    there = Breakables({}, {"agents": 1}, {"bedrock": "agents"})
    load_80 = kill(at={"load": "80%"}, **{"for": "200ms"})
    conductor = rig.conductor(refuse(**{"for": "500ms"}), load_80, there=there)
    zero_ns = now_ns()
    conductor.start(zero_ns)
    (waiting,) = conductor.waiting
    until(lambda: now_ns() > zero_ns + begin_s * NS_PER_S)
    conductor.fire(waiting, now_ns(), "its load")
    until(lambda: conductor.done)
    assert conductor.failed == ([] if begin_s > 0.5 else ["kill-agents-1: left out: refuse-bedrock-1 is still on"])
    assert conductor.stop() == []


def test_by_the_clock_the_next_one_on_a_place_waits_for_the_end_of_the_last(rig: Rig) -> None:
    there = Breakables({}, {"agents": 1}, {"bedrock": "agents"})
    rig.door.late_ns = 30 * NS_PER_MS
    conductor = rig.conductor(refuse(at="500ms"), kill(at="550ms"), there=there)
    conductor.start(now_ns())
    until(lambda: conductor.done)
    assert conductor.failed == []
    assert rig.told("kill-agents-1")["injecting"]["t_ns"] > rig.told("refuse-bedrock-1")["cleared"]["t_ns"]
    assert conductor.stop() == []


def test_one_that_breaks_off_after_it_bit_says_so(rig: Rig) -> None:
    class Breaks(Refuse):
        def hold(self, *_: Any) -> Iterator[str]:
            yield "off"
            raise FaultFailed("its second turn was refused")

    conductor = rig.conductor(Breaks.model_validate({"kind": "refuse", "upstream": "bedrock", "at": "0s", "for": "1s"}))
    conductor.start(now_ns())
    until(lambda: conductor.done)
    told = rig.told("refuse-bedrock-1")
    assert list(told) == ["journalled", "injecting", "effective", "off", "failed", "clearing", "cleared"]
    assert told["failed"]["data"]["cut_short"] is told["failed"]["data"]["bit"] is True
    assert conductor.failed == ["refuse-bedrock-1: its second turn was refused"]
    assert conductor.stop() == []


def test_an_engine_that_was_busy_for_a_moment_leaves_no_doubt(rig: Rig) -> None:
    rig.copies.busy_after = 3
    conductor = rig.conductor(kill(), deadline_s=5.0)
    conductor.start(now_ns())
    until(lambda: conductor.done)
    assert conductor.failed == []
    assert rig.cleared == ["kill-agents-1"]
    assert conductor.stop() == []


def test_a_service_that_does_not_come_back_is_given_up_and_told(rig: Rig) -> None:
    rig.copies.comes_up = False
    conductor = rig.conductor(kill(), deadline_s=0.1)
    conductor.start(now_ns())
    until(lambda: bool(conductor.stuck))
    assert conductor.stuck == ["kill-agents-1 could not be cleared: it does not come up"]
    until(lambda: conductor.done)
    tried = rig.copies.restored
    assert conductor.stop() == conductor.stop() == [Uncleared(conductor.stuck[0], on_service=True)]
    assert rig.copies.restored == tried, "each try may take a minute, and it goes with its service"
    assert rig.told("kill-agents-1")["failed"]["data"]["healed"] is False
    assert [e.data for e in rig.journal.still_open()] == [{"fault_id": "kill-agents-1", "service": "agents"}]


def test_a_service_that_comes_back_at_the_second_try_is_not_given_up(rig: Rig) -> None:
    rig.copies.comes_up = False
    conductor = rig.conductor(kill(), deadline_s=0.5)
    conductor.start(now_ns())
    until(lambda: bool(conductor.failed))
    rig.copies.comes_up = True
    until(lambda: conductor.done)
    assert conductor.stuck == []
    assert rig.cleared == ["kill-agents-1"]
    assert conductor.stop() == []
