"""SIGKILL at random moments, of every process that a run is made of: whatever it hits, nothing stays broken.

One of each in the suite, in the middle of an outage; ``AGENTSTORM_KILLS=100`` by hand makes as many, at moments drawn
from ``AGENTSTORM_KILLS_SEED``: from the first tenth of a second to the last.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from harness.errors import RecordingError
from harness.faults.toxiproxy import Toxiproxy
from harness.journal import journals, read
from tests.e2e.runs import Running, agentstorm, alive, effective, load, start

pytestmark = [pytest.mark.real, pytest.mark.slow]

KILLS = int(os.environ.get("AGENTSTORM_KILLS", "5"))
SEED = os.environ.get("AGENTSTORM_KILLS_SEED", "11")
HEALED_S = 5.0
"""The promise, from the kill to the last fault gone; processes end as soon as they can, which takes them longer."""
ENDED_S = 30.0

VICTIMS = {
    "harness": "bin/agentstorm",
    "toxiproxy": "toxiproxy",
    "locust": "locust_main",
    "guardian": "guardian_watch",
    "agents": "reference.gateway",
}
"""By a word of their command lines."""
LOAD_S, FAULT = 10, {"kind": "blackhole", "upstream": "bedrock", "at": "2s", "for": "5s"}


def begin(folder: Path) -> Running:
    folder.mkdir(exist_ok=True)
    (folder / "chaos.yaml").write_text(json.dumps({"experiment": "x", "faults": [FAULT]}))
    sets = {"load.warmup": "2s", "load.hold": f"{LOAD_S - 2}s", "load.users": "20", "load.spawn": "20/s"}
    options = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    return start(folder / "r", "scenarios/demo.yaml", "--chaos", str(folder / "chaos.yaml"), *options)


def find(running: Running, victim: str) -> psutil.Process | None:
    """Return the process of that name, if the run has it (yet, still); the leash has the program's words, too."""
    if victim == "harness":
        return psutil.Process(running.process.pid)
    for process in running.descendants():
        try:
            said = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if VICTIMS[victim] in said and "leash_holder" not in said:
            return process
    return None


def faults_on() -> bool:
    """Tell whether any journal knows of a fault that is, or may be, on: it goes with its Toxiproxy, too."""
    for path in journals():
        with suppress(FileNotFoundError, RecordingError):
            if any(Toxiproxy(e.data["api"]).listening() for e in read(path).still_open if e.kind == "fault"):
                return True
    return False


def until(what: Callable[[], bool], within_s: float) -> float:
    """Return after how many seconds `what` held; fails when it does not."""
    since = time.monotonic()
    while not what():
        assert time.monotonic() - since < within_s, f"not within {within_s} s"
        time.sleep(0.02)
    return time.monotonic() - since


def kill(running: Running, victim: str) -> tuple[bool, float, float]:
    """Kill it and wait for the end of all; return whether it was there, and the seconds until the last fault was gone
    and until everything of the run was."""
    processes = [psutil.Process(running.process.pid), *running.descendants()]
    found = find(running, victim)
    if found is None:
        running.end(15)
        return False, 0.0, 0.0
    found.kill()
    since = time.monotonic()
    # With no guardian the run itself takes its fault back, at its time.
    healed_s = until(lambda: not faults_on(), HEALED_S if victim != "guardian" else LOAD_S + HEALED_S)
    out, err = running.process.communicate(timeout=60)
    assert "Traceback" not in out + err, out + err
    assert alive(processes, ENDED_S) == []
    until(lambda: journals() == [], ENDED_S)
    return True, healed_s, time.monotonic() - since


def check(running: Running, victim: str, *, in_mid_outage: bool) -> None:
    """What must hold of the recording of a run that was hit."""
    recording = running.recording
    if not in_mid_outage and not (recording / "manifest.json").exists():
        return  # killed before there was one
    reported = agentstorm("report", str(recording))
    assert "Traceback" not in reported.stderr + reported.stdout, reported.stderr
    if in_mid_outage:
        assert reported.returncode == 0, reported.stderr
        assert load(recording, "findings.json")["load"]["requests"] > 0
    if (recording / "verdicts.json").exists():
        ended = any(e["kind"] == "run" and e["subject"] == "ended" for e in running.events())
        # One that dies after the recording's last line was needed no more.
        assert load(recording, "verdicts.json")["verdict"] == "invalid" or (ended and not in_mid_outage)
    assert agentstorm("heal").stdout == "nothing to heal\n"


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_in_mid_outage(tmp_path: Path, victim: str) -> None:
    running = begin(tmp_path)
    running.wait_for(effective)
    there, healed_s, _ = kill(running, victim)
    assert there
    assert victim == "guardian" or healed_s < HEALED_S
    check(running, victim, in_mid_outage=True)
    codes = {"harness": {-9}, "toxiproxy": {70, 98}}.get(victim, {98})
    assert running.process.returncode in codes


@pytest.mark.skipif("AGENTSTORM_KILLS" not in os.environ, reason="by hand: AGENTSTORM_KILLS=100")
def test_killed_at_any_moment(tmp_path: Path) -> None:
    moments, figures = random.Random(SEED), []
    for number in range(KILLS):
        victim, after_s = list(VICTIMS)[number % len(VICTIMS)], moments.uniform(0.1, LOAD_S + 3)
        running = begin(tmp_path / str(number))
        time.sleep(after_s)
        if running.process.poll() is not None:
            running.process.communicate()
            continue
        there, healed_s, ended_s = kill(running, victim)
        figures.append((victim, after_s, there, healed_s, ended_s))
        sys.stdout.write(
            f"{victim:<10} killed={there!s:<5} after {after_s:5.1f} s: healed {healed_s:.2f} s, gone {ended_s:.1f} s\n"
        )
        check(running, victim, in_mid_outage=False)
    hit = [healed for victim, _, there, healed, _ in figures if there and victim != "guardian"]
    sys.stdout.write(
        f"{len(figures)} runs, {sum(f[2] for f in figures)} hit; healed within {max(hit, default=0):.2f} s at most\n"
    )
