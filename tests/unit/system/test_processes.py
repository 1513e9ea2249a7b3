"""Services that faults start and end while others look at them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import blas, open_files
from harness.errors import SystemFailed
from harness.system.processes import Processes
from tests.contract.small_systems import Noted, plan_of, small_target


@pytest.fixture
def made(tmp_path: Path) -> Processes:
    spec = small_target("processes", tmp_path)
    return Processes(plan_of(spec, tmp_path), run_id=1, logs=tmp_path, journal=Noted())


def test_looking_while_faults_start_services_anew(made: Processes) -> None:
    running: dict[str, Any] = {}

    def ended() -> None:  # a fault's thread, just then
        running[f"another-{len(running)}"] = SimpleNamespace(name="b", process=process, ended=lambda: None)

    process = SimpleNamespace(real_pid=1)
    running["a"] = SimpleNamespace(name="a", process=process, ended=ended)
    made._running = running
    assert made.watch() == []
    assert made.processes() == {"a": 1, "another-1": 1}


def test_services_have_the_open_files_that_we_were_given(made: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not those that we take for ourselves: how many they may have is what a soak holds their leaks against."""
    asked: list[Any] = []

    def start(*_: Any, **how: Any) -> None:
        asked.append(how["files"])
        raise OSError("enough")

    monkeypatch.setattr("harness.leash.start", start)
    made.reserve()
    with pytest.raises(SystemFailed, match="enough"):
        made.up({})
    made.down()
    assert asked == [open_files.GIVEN]


@pytest.mark.usefixtures("one_thread")
def test_services_have_the_environment_that_we_were_given(made: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not what we set for processes of our own."""
    asked: list[dict[str, str]] = []

    def start(*_: Any, **how: Any) -> None:
        asked.append(how["env"])
        raise OSError("enough")

    monkeypatch.setattr("harness.leash.start", start)
    monkeypatch.setitem(os.environ, "GIVEN", "1")
    made.reserve()
    with pytest.raises(SystemFailed, match="enough"):
        made.up({})
    made.down()
    assert [(env["GIVEN"], blas.THREADS in env) for env in asked] == [("1", False)]


def test_one_that_could_not_be_started_again_is_stopped_and_may_be_started(
    made: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(made, "start_again", started.append)
    made.reserve()
    control = made.control("a")
    assert [copy.state for copy in control.look()] == ["stopped"]
    control.kill(["a"])
    control.stop(["a"])
    control.restore(["a"])
    assert started == ["a"]
    made.down()
