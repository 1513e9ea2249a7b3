"""Runs with several workers, from the command line to the verdict."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from harness.journal import journals
from harness.recording.reader import Recording
from tests.e2e.runs import Running, agentstorm, alive, recorded, start, unsound

pytestmark = [pytest.mark.real, pytest.mark.slow]

SMOKE = ("smoke", "--workers", "2", "--seed", "3")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTSTORM_STATE", str(tmp_path / "state"))


def loaded(running: Running) -> None:
    running.wait_for(lambda e: e["kind"] == "phase" and e["subject"] == "steady")


def test_two_workers_make_one_recording_that_says_who_they_were(tmp_path: Path) -> None:
    recorded(tmp_path / "r", *SMOKE)
    recording = Recording.open(tmp_path / "r")
    assert set(recording.requests.column("worker").to_pylist()) == {"locust-0", "locust-1"}
    sources = set(recording.samples.column("source").to_pylist())
    assert sources >= {"worker:locust-0", "worker:locust-1", "process:locust-0", "process:locust-master"}
    for worker in recording.manifest["components"]["locust"]["workers"]:
        assert worker["clock"] == {"same": True, "offset_ns": 0, "uncertainty_ns": 0}
    assert unsound(tmp_path / "r") == []


def test_a_dead_worker_makes_the_run_invalid_and_is_named(tmp_path: Path) -> None:
    running = start(tmp_path / "r", *SMOKE)
    loaded(running)
    processes = running.descendants()
    (victim,) = [p for p in processes if p.cmdline()[-1] == "locust-1"]
    victim.kill()
    out, err = running.process.communicate(timeout=60)
    assert running.process.returncode == 98, out + err
    assert "Traceback" not in out + err
    assert "locust-1 died (signal 9)" in err
    died = next(e for e in running.events() if e["kind"] == "instrument" and e["subject"] == "died")
    assert "locust-1" in died["data"]["error"]
    rows = Recording.open(tmp_path / "r").requests.column("worker").to_pylist()
    assert set(rows) == {"locust-0", "locust-1"}, "the warm-up's are kept"
    assert alive(processes) == []
    assert journals() == []


def test_no_worker_outlives_a_killed_harness(tmp_path: Path) -> None:
    running = start(tmp_path / "r", *SMOKE)
    loaded(running)
    load_makers = [p for p in running.descendants() if "locust_main" in " ".join(p.cmdline())]
    assert len(load_makers) == 3
    running.end(signal.SIGKILL)
    assert alive(load_makers, 5) == []
    assert agentstorm("heal").returncode == 0
