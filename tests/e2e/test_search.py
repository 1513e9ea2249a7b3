"""A search for capacity from the command line, against a server that does one thing of 20 ms at a time: 50 a second."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness.clock import NS_PER_S
from harness.recording.reader import Recording
from harness.traffic import pacer
from tests.calibrate.serving import serving
from tests.e2e.runs import load, recorded

pytestmark = [pytest.mark.real, pytest.mark.slow]

CAPACITY = 50.0
WORKLOAD = """
from locust import FastHttpUser, task
class U(FastHttpUser):
    @task
    def ask(self):
        self.client.get("/work/1/20")
"""
SEED = 3
LOAD = {
    "kind": "capacity", "min": "30/s", "max": "100/s", "warmup": "1s", "hold": "2s", "resolution": "100%",
    "settle": {"shortest": "4s", "longest": "8s"}, "budget": "90s", "arrivals": "constant",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    (folder / "ask.py").write_text(WORKLOAD)
    slo = {"response_time": "300ms", "good_share": 0.9}
    (folder / "search.yaml").write_text(
        json.dumps({"scenario": "search", "workload": "ask.py", "slo": slo, "load": LOAD})
    )
    with serving() as url:
        target = {"target": "t", "system": {"kind": "external"}, "url": url, "health": "/ms/0"}
        (folder / "target.yaml").write_text(json.dumps(target))
        files = str(folder / "search.yaml"), "--target", str(folder / "target.yaml")
        done = recorded(folder / "recording", *files, "--seed", str(SEED))
    (folder / "recording" / "stdout.txt").write_text(done.stdout)
    return folder / "recording"


def told(run: Path, subject: str) -> list[Any]:
    return [e for e in Recording.open(run).events if e.kind == "capacity" and e.subject == subject]


def test_it_finds_the_capacity_and_ends_then(run: Path) -> None:
    ((ended,), levels) = told(run, "state_ended"), told(run, "level_ended")
    found = ended.data
    outcomes = {level.data["rate"]: level.data["outcome"] for level in levels}
    assert outcomes[30] == "meets"
    assert outcomes[60] in ("saturated", "unsettled"), "unsettled on a machine that was too busy to offer it"
    assert 30 <= found["meets"] <= CAPACITY * 1.05
    assert found["misses"] is None or found["misses"] > CAPACITY
    (stopped,) = (e for e in Recording.open(run).events if e.kind == "load" and e.subject == "stopped")
    assert not stopped.data["early"], "what is over is not broken off"
    assert stopped.t_ns - ended.t_ns < 5 * NS_PER_S


def test_levels_come_one_after_the_other_and_are_what_they_say(run: Path) -> None:
    begins, ends, drained = (told(run, subject) for subject in ("level", "level_ended", "drained"))
    assert [e.data["level"] for e in begins] == [e.data["level"] for e in ends] == list(range(1, len(begins) + 1))
    for before, after in pairwise(begins):
        assert any(before.t_ns < e.t_ns <= after.t_ns and e.data["in_flight"] <= 2 for e in drained)
    due = Recording.open(run).requests.column("due_ns").to_numpy()
    for begin, end in zip(begins, ends, strict=True):
        planned = begin.t_ns + pacer.level("constant", begin.data["rate"], 60, SEED, begin.data["level"])
        mine = due[(due >= begin.t_ns) & (due < end.t_ns)]
        assert sorted(mine.tolist()) == planned[planned < end.t_ns].tolist()


def test_too_much_load_is_what_a_search_is_for(run: Path) -> None:
    said = " ".join(load(run, "findings.json")["validity"]["reasons"])
    assert "never sent" not in said
    assert "planned" not in said
    phases = [e.subject for e in Recording.open(run).events if e.kind == "phase"]
    assert phases == ["warmup", "steady", "cooldown"]
    assert "level 2: 60/s, 30/s meets so far" in (run / "stdout.txt").read_text()
