"""The pytest plugin with real runs: two workers of xdist that want the machine at once, and Ctrl-C in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.journal import journals

pytestmark = [pytest.mark.real, pytest.mark.slow]
HOME = str(Path.home())


@pytest.fixture
def place(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a place for test files, with our own home: Toxiproxy is in its cache folder."""
    monkeypatch.setenv("HOME", HOME)
    return pytester


TESTS = """
import pytest

# On a busy machine the generator may be late, which makes a run invalid: not what these are about.
SHORT = {"load.users": 5, "load.warmup": "500ms", "load.hold": "3s"}

@pytest.fixture(scope="session")
def shared(agentstorm):
    return agentstorm.run("smoke", seed=1, set=SHORT, scope="session", allow_invalid=True)

def test_one(shared):
    assert shared.findings.load.requests > 0

def test_two(shared):
    assert shared.plan.seed == 1

def test_three(agentstorm):
    assert agentstorm.run("smoke", seed=2, set=SHORT, allow_invalid=True).plan.seed == 2
"""


def span(recording: Path) -> tuple[int, int]:
    """Return when a run began and when it had healed, ns of the clock that all processes share."""
    events = [json.loads(line) for line in (recording / "events.jsonl").read_text().splitlines()]
    (begin,) = (e["t_ns"] for e in events if (e["kind"], e["subject"]) == ("run", "started"))
    (end,) = (e["t_ns"] for e in events if (e["kind"], e["subject"]) == ("run", "ended"))
    return begin, end


def test_runs_of_two_workers_do_not_overlap_and_a_shared_one_is_made_once(place: pytest.Pytester) -> None:
    place.makepyfile(TESTS)
    result = place.runpytest_subprocess("-n2", "-p", "no:asyncio", "--agentstorm-dir=kept", "--junitxml=junit.xml")
    result.assert_outcomes(passed=3)
    recordings = sorted(path.parent for path in place.path.glob("kept/*/*/manifest.json"))
    assert len(recordings) == 2, "one shared, one of its own"
    (_, first), (second, _) = sorted(span(recording) for recording in recordings)
    assert first < second, "the second began after the first had healed"
    for recording in recordings:
        assert (recording / "report.html").exists()
    assert (
        str(recordings[0].relative_to(place.path)) in result.stdout.str()
    )  # of the other nothing but the plan was asked
    assert journals() == []


def test_ctrl_c_heals_the_run_before_pytest_ends(place: pytest.Pytester) -> None:
    place.makepyfile('def test_it(agentstorm): agentstorm.run("smoke", seed=1)')
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:asyncio", "--agentstorm-dir=kept"],
        cwd=place.path, stdout=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any('"warmup"' in path.read_text() for path in place.path.glob("kept/*/*/events.jsonl")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, out
    (recording,) = (path.parent for path in place.path.glob("kept/*/*/manifest.json"))
    begin, end = span(recording)
    assert end > begin
    assert "interrupted" in (recording / "events.jsonl").read_text()
    assert journals() == []
