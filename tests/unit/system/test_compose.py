"""What a Compose system makes of an engine's answers, and of its silence."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError

from harness.clock import NS_PER_S, now_ns
from harness.errors import FaultFailed, SystemFailed
from harness.model.target import Target
from harness.system import compose
from harness.system.compose import Compose
from harness.system.compose_control import ContainerControl, listens
from harness.system.compose_project import ComposeProject
from tests.contract.small_systems import Noted, plan_of

GIB = 1 << 30
SPEC = {"kind": "compose", "file": "compose.yml", "publish": {"toxiproxy": 8474}}
TARGET = Target.model_validate({"target": "t", "system": SPEC, "url": "http://127.0.0.1:1"})


class Engine:
    """An engine with one container, which updates limits as the real one does: 0 and -1 leave one as it is."""

    api_version, base_url = "1.41", "http://engine"

    def __init__(self, **limits: int) -> None:
        self.limits = {"NanoCpus": 0, "Memory": 0, "MemorySwap": 0, **limits}
        self.trouble: Exception | None = None
        self.deaf = self.refuses = False
        self.state = "running"
        self.looks = 0
        self.api = self

    def info(self) -> dict[str, int]:
        return {"NCPU": 8, "MemTotal": 16 * GIB}

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble
        labels = {f"com.docker.compose.{key}": value for key, value in (("service", "a"), ("container-number", "1"))}
        return [{"Id": "c1", "Labels": labels, "State": self.state, "Status": "Exited (3)"}]

    def inspect_container(self, _: str) -> dict[str, Any]:
        state = {"Running": self.state == "running", "ExitCode": 3}
        ports: dict[str, Any] = {"Ports": {}}
        return {"Id": "c1", "State": state, "HostConfig": self.limits, "NetworkSettings": ports, "Config": {}}

    def post(self, _: str, json: dict[str, int]) -> Any:
        if not self.deaf and not self.refuses:
            self.limits = self.limits | {key: value for key, value in json.items() if value > 0}
        return SimpleNamespace(ok=not self.refuses, text="NanoCPUs can not be set")

    def stats(self, _: str, **__: Any) -> dict[str, Any]:
        return {"cpu_stats": {}}


# --- what is on, and what stays when it ends


def control_of(engine: Engine) -> ContainerControl:
    project: Any = SimpleNamespace(client=engine, ids=lambda *_: {"a": "c1"}, address=lambda *_: None)
    return ContainerControl(project, "a", 1.0, lambda _name, _broken: None)


@pytest.mark.parametrize(
    ("had", "again"),
    [
        ({}, {"Memory": 16 * GIB, "MemorySwap": 32 * GIB}),
        ({"Memory": GIB, "MemorySwap": 2 * GIB}, {"Memory": GIB, "MemorySwap": 2 * GIB}),
        ({"Memory": GIB, "MemorySwap": -1}, {"Memory": GIB, "MemorySwap": 32 * GIB}),
    ],
    ids=["unlimited", "limited", "limited but for swap"],
)
def test_a_limit_on_memory_goes(had: dict[str, int], again: dict[str, int]) -> None:
    engine = Engine(**had)
    control = control_of(engine)
    control.limit(["a"], memory_mib=64)
    assert engine.limits["Memory"] == 64 << 20
    control.restore(["a"])
    assert engine.limits == {"NanoCpus": 0, **again}


def test_a_limit_on_cores_goes_where_there_was_none() -> None:
    engine = Engine()
    control = control_of(engine)
    control.limit(["a"], cpus=0.1)
    control.restore(["a"])
    assert engine.limits["NanoCpus"] == 8 * 10**9


def test_a_limit_that_the_engine_keeps_is_tried_again() -> None:
    engine = Engine()
    control = control_of(engine)
    control.limit(["a"], memory_mib=64)
    engine.deaf = True
    with pytest.raises(FaultFailed, match="took no new Memory"):
        control.restore(["a"])
    engine.deaf = False
    control.restore(["a"])
    assert engine.limits["Memory"] == 16 * GIB


def test_a_limit_that_was_refused_leaves_nothing_to_take_back() -> None:
    engine = Engine()
    engine.refuses = True
    control = control_of(engine)
    with pytest.raises(FaultFailed, match="refused the limit"):
        control.limit(["a"], cpus=0.1)
    control.restore(["a"])
    engine.refuses = False
    control.limit(["a"], cpus=0.1)
    assert engine.limits["NanoCpus"] == 10**8
    control.restore(["a"])
    assert engine.limits["NanoCpus"] == 8 * 10**9


# --- who is there


@pytest.mark.parametrize(
    ("first_word", "there"), [(b"", True), (b"hello", True), (None, False)], ids=["waits", "greets", "closes at once"]
)
def test_what_speaks_no_http_listens_unless_it_closes_at_once(first_word: bytes | None, there: bool) -> None:
    def serve(listening: socket.socket) -> None:
        with suppress(OSError):  # the test is over
            while True:
                connection, _ = listening.accept()
                with connection, suppress(ConnectionError):
                    if first_word is not None:
                        connection.sendall(first_word)
                        connection.settimeout(2)
                        connection.recv(4)  # as a database does: what it does not understand, or the end

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        try:
            assert listens(f"127.0.0.1:{listening.getsockname()[1]}") is there
        finally:
            listening.shutdown(socket.SHUT_RDWR)


# --- coming up


@pytest.fixture
def coming(tmp_path: Path) -> Any:
    """Return a system that Compose says is up, in an engine with one container."""
    made: Any = Compose(plan_of(TARGET, tmp_path), run_id=1, logs=tmp_path, journal=Noted())
    made._engine, made._client, made._check = "unix:///mine.sock", Engine(), lambda: None
    made._project = ComposeProject(made._client, made._name, made._system)
    made._follower = SimpleNamespace(tail=lambda _: ": no such file")
    made._deadline_ns = now_ns() + 10 * NS_PER_S
    return made


def test_what_came_up_in_another_engine_is_not_up(coming: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coming._client, "containers", lambda **_: [])
    with pytest.raises(SystemFailed, match=r"engine at unix:///mine\.sock has no container of it"):
        coming._await_healthy()
    with pytest.raises(SystemFailed, match=r"toxiproxy of agentstorm-\w+ is up, but"):
        coming._await_answer("http://127.0.0.1:1/version", "toxiproxy")


def test_a_container_that_has_ended_is_waited_for_no_longer(coming: Any) -> None:
    coming._client.state = "exited"
    with pytest.raises(SystemFailed, match=r"container a is not healthy: Exited \(3\)(?s:.)*no such file"):
        coming._await_answer("http://127.0.0.1:1/version", "a")


def test_the_project_is_written_down_before_any_image_is_built(coming: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        assert list(coming._journal.open.values()) == [(0, "agentstorm-0000000000000001 at unix:///mine.sock")]
        raise SystemFailed("no network")

    monkeypatch.setattr(compose, "get_images", fails)
    coming._compose = None
    with pytest.raises(SystemFailed, match="no network"):
        coming.up({})


# --- an engine that does not answer


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a system that is up, its engine, and a clock that stands still until it is moved."""
    clock = SimpleNamespace(s=100.0)
    monkeypatch.setattr(compose, "now_ns", lambda: round(clock.s * NS_PER_S))
    made: Any = Compose(plan_of(TARGET, tmp_path), run_id=1, logs=tmp_path, journal=Noted())
    engine = Engine()
    made._entry, made._watcher, made._client = 1, engine, None
    made._follower = SimpleNamespace(tail=lambda _: "")
    return SimpleNamespace(made=made, engine=engine, clock=clock)


def seen(watched: Any, seconds: int) -> list[list[str]]:
    """Look 4 times in each of these seconds, as a run does; return what was dead at the end of each."""
    found = []
    for _ in range(seconds):
        for _ in range(4):
            watched.clock.s += 0.25
            died = watched.made.watch()
        found.append([one.service for one in died])
    return found


@pytest.mark.parametrize("trouble", [APIError("500"), ConnectionRefusedError(), TimeoutError()])
def test_an_engine_in_trouble_for_a_moment_is_not_dead(watched: Any, trouble: Exception) -> None:
    assert seen(watched, 3) == [[]] * 3
    for _ in range(3):
        watched.engine.trouble = trouble
        assert seen(watched, 8) == [[]] * 8
        watched.engine.trouble = None
        assert seen(watched, 1) == [[]]
    assert watched.engine.looks == 30, "once a second"


def test_an_engine_that_stays_silent_is_dead(watched: Any) -> None:
    watched.engine.trouble = ConnectionRefusedError("refused")
    found = seen(watched, 13)
    assert found[:10] == [[]] * 10
    assert found[-1] == ["docker"]
    (died,) = watched.made.watch()
    assert ("does not answer" in died.message, died.ours) == (True, True)


@pytest.mark.parametrize("toxiproxy", ["toxiproxy", "a"])
def test_the_fault_proxy_that_ends_is_none_of_the_systems_own(watched: Any, toxiproxy: str) -> None:
    watched.made._system = watched.made._system.model_copy(update={"toxiproxy": toxiproxy})
    watched.engine.state = "exited"
    seen(watched, 1)
    assert [one.ours for one in watched.made.watch()] == [toxiproxy == "a"]


def test_a_container_that_ends_is_told_after_a_trouble_too(watched: Any) -> None:
    watched.engine.trouble = APIError("500")
    seen(watched, 5)
    watched.engine.trouble, watched.engine.state = None, "exited"
    assert seen(watched, 1) == [["a"]]
