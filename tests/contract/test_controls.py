"""What every kind of system promises about breaking its services, and every fault on a service, on real ones."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.clock import NS_PER_MS, NS_PER_S, now_ns, sleep
from harness.errors import FaultFailed
from harness.faults import KINDS
from harness.faults.conductor import Conductor
from harness.faults.probe_socket import ProbeSocket
from harness.faults.service import ServiceFault, sites
from harness.faults.timeline import occurrences
from harness.journal import Journal
from harness.model.instance import Control, Instance
from harness.recording.tables import EventLog
from harness.system import System
from tests.contract.small_systems import born, running, small_target
from tests.docker_engine import engine

pytestmark = pytest.mark.real

ON_BOTH = ["processes", pytest.param("compose", marks=[pytest.mark.docker, pytest.mark.slow])]


@pytest.fixture(scope="module", params=ON_BOTH)
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp(request.param)
    with running(small_target(request.param, folder), folder, 0xC0274) as made:
        yield made


@pytest.fixture
def control(system: System) -> Iterator[Control]:
    """Service `a`, well before and after each test."""
    found = system.control("a")
    yield found
    found.restore(names(found))
    assert [copy.state for copy in found.look()] == ["running"]
    assert system.watch() == []


def names(control: Control) -> list[str]:
    return [copy.name for copy in control.look()]


def the_copy(control: Control) -> Instance:
    (copy,) = control.look()
    return copy


def wait_for(control: Control, state: str, within_s: float = 5.0) -> None:
    deadline = now_ns() + int(within_s * NS_PER_S)
    while the_copy(control).state != state:
        assert now_ns() < deadline, f"never {state}"
        sleep(0.02)


def test_a_kill_ends_it_at_once_and_is_no_accident(system: System, control: Control) -> None:
    before = born(the_copy(control).address)
    for _ in range(2):
        control.kill(names(control))
        assert the_copy(control).state == "stopped"
    sleep(1.1)  # longer than a system may take to notice
    assert system.watch() == []
    for _ in range(2):
        control.restore(names(control))
        assert born(the_copy(control).address) > before


def test_a_stop_lets_an_answer_in_flight_finish_and_takes_nothing_new(control: Control) -> None:
    address = the_copy(control).address
    assert address is not None
    answers: list[float] = []
    asking = threading.Thread(target=lambda: answers.append(born(address, "/slow")))
    asking.start()
    sleep(0.3)
    begun = now_ns()
    control.stop(names(control))
    assert now_ns() - begun < NS_PER_S // 2, "it does not wait"
    asking.join()
    assert len(answers) == 1
    wait_for(control, "stopped")
    assert ProbeSocket(address, "http").ask(NS_PER_S).outcome in {"refused", "closed"}
    control.restore(names(control))
    assert born(the_copy(control).address) > answers[0]


def test_a_stop_taken_back_while_it_still_answers_starts_it_anew(control: Control) -> None:
    address = the_copy(control).address
    before = born(address)
    asking = threading.Thread(target=lambda: born(address, "/slow"))
    asking.start()
    sleep(0.3)
    control.stop(names(control))
    control.restore(names(control))
    asking.join()
    assert born(the_copy(control).address) > before


def test_a_paused_one_takes_connections_and_answers_nothing_until_it_goes_on(control: Control) -> None:
    address = the_copy(control).address
    assert address is not None
    before = born(address)
    for _ in range(2):
        control.pause(names(control))
        assert the_copy(control).state == "paused"
    seen = ProbeSocket(address, "http").ask(300 * NS_PER_MS)
    assert (seen.outcome, seen.connected) == ("silent", True)
    control.restore(names(control))
    assert born(the_copy(control).address) == before


def test_restoring_what_is_well_does_nothing(control: Control) -> None:
    before = born(the_copy(control).address)
    control.restore(names(control))
    control.restore([])
    assert born(the_copy(control).address) == before


def test_one_that_dies_by_itself_after_a_fault_is_told(system: System, control: Control) -> None:
    control.kill(names(control))
    control.restore(names(control))
    for pid in system.processes().values():
        os.kill(pid, signal.SIGKILL)
    for container in (id_ for name, id_ in system.containers().items() if name == "a-1"):
        engine().api.kill(container)
    deadline = now_ns() + 5 * NS_PER_S
    while not system.watch():
        assert now_ns() < deadline, "never told"
        sleep(0.05)
    (died,) = system.watch()
    assert (died.service, died.code) == (names(control)[0], 137)
    assert "serving" in died.message, "its last words"
    control.restore(names(control))
    sleep(1.1)  # longer than a system may take to notice


def test_limits(system: System, control: Control) -> None:
    if "limits" not in type(system).offers:
        with pytest.raises(FaultFailed, match="a container can"):
            control.limit(names(control), cpus=0.1)
        return
    before = the_copy(control)
    assert (before.cpus, before.memory_mib) == (0.5, 64)
    control.limit(names(control), cpus=0.1)
    control.limit(names(control), memory_mib=48)
    lowered = the_copy(control)
    assert (lowered.cpus, lowered.memory_mib) == (0.1, 48)
    control.restore(names(control))
    assert the_copy(control) == before


# --- every fault on a service, from its injection to its clearing

SETTINGS: dict[str, dict[str, Any]] = {"cpu": {"cpus": 0.05}, "memory": {"limit": "48MiB"}}
SERVICE_KINDS = sorted(name for name, kind in KINDS.items() if issubclass(kind, ServiceFault))


@pytest.mark.parametrize("kind", SERVICE_KINDS)
def test_every_fault_is_seen_to_bite_and_to_go(system: System, control: Control, tmp_path: Path, kind: str) -> None:
    if "limits" in KINDS[kind].needs - type(system).offers:
        with pytest.raises(FaultFailed):
            control.limit(names(control), cpus=0.1)
        return
    fault = KINDS[kind].model_validate(
        {"kind": kind, "service": "a", "at": "0s", "for": "1500ms", **SETTINGS.get(kind, {})}
    )
    events = EventLog(tmp_path / "events.jsonl")
    journal = Journal(tmp_path, 0xC0274, tmp_path / "state")
    done = threading.Event()
    busy = threading.Thread(target=_burn, args=(control, done))  # or a limit on CPU would hold nobody up
    if kind == "cpu":
        busy.start()
    conductor = Conductor(occurrences([("x", fault)]), {}, sites({"a": control}, {}), events=events, journal=journal)
    try:
        conductor.start(now_ns() + NS_PER_S)
        deadline = now_ns() + 30 * NS_PER_S
        while not conductor.done and now_ns() < deadline:
            sleep(0.05)
        assert conductor.stop() == []
    finally:
        events.close()
        done.set()
        if kind == "cpu":
            busy.join()
    assert conductor.failed == []
    told = [json.loads(line)["data"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [data["state"] for data in told] == ["journalled", "injecting", "effective", "clearing", "cleared"]
    assert told[2]["low_ns"] <= told[2]["high_ns"] <= told[4]["high_ns"]
    assert journal.close(), "nothing is left to heal"


def _burn(control: Control, done: threading.Event) -> None:
    while not done.is_set():
        try:
            born(the_copy(control).address, "/burn")
        except (OSError, ValueError):
            sleep(0.05)


def test_what_is_on_during_a_state_ends_when_it_is_released(system: System, control: Control, tmp_path: Path) -> None:
    fault = KINDS["kill"].model_validate({"kind": "kill", "service": "a", "during": {"state": "down"}, "for": "600s"})
    (occurrence,) = occurrences([("x", fault)])
    events = EventLog(tmp_path / "events.jsonl")
    journal = Journal(tmp_path, 0xC0275, tmp_path / "state")
    conductor = Conductor([occurrence], {}, sites({"a": control}, {}), events=events, journal=journal)
    try:
        conductor.start(now_ns(), now_ns() + 300 * NS_PER_S)  # the load may end before the fault's time is over
        assert conductor.waiting == [occurrence]
        conductor.fire(occurrence, now_ns(), "state down begins")
        until(lambda: bool(conductor.on))
        assert not conductor.done
        conductor.release({"another-1"})
        sleep(0.3)
        assert conductor.on == {"kill-a-1"}
        conductor.release({"kill-a-1"})
        until(lambda: not conductor.on)
        assert conductor.stop() == []
    finally:
        events.close()
    assert conductor.failed == []
    assert journal.close(), "nothing is left to heal"


def until(what: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline = now_ns() + round(within_s * NS_PER_S)
    while not what():
        assert now_ns() < deadline, "did not happen"
        sleep(0.02)
