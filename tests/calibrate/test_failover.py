"""Failovers of a scripted system behind the real Toxiproxy, under real Locust load: do we see what really happened?"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.recording.reader import Recording
from tests.e2e.runs import ROOT, agentstorm, load

pytestmark = [pytest.mark.real, pytest.mark.slow]

DELAY_S = 0.4
RATE = 200
LEAD_S = 3.0


@dataclass(frozen=True)
class Planted:
    """Outages of one kind: the settings of the fault, how often, how long each, and how far apart."""

    kind: str
    outages: int
    lasts_s: float
    every_s: float
    settings: str = ""
    comes_back: int = 0
    """Times it lets the primary answer in between."""
    by_recovery: bool = False
    """Whether they are spaced by recovery; `every_s` is more than that takes."""

    def __str__(self) -> str:
        return self.kind + ("-by-recovery" if self.by_recovery else "")

    @property
    def hold_s(self) -> int:
        return math.ceil(LEAD_S + self.outages * self.every_s + 1)

    @property
    def spacing(self) -> str:
        return "spaced_by: recovery" if self.by_recovery else f"every: {self.every_s}s"


OUTAGES = int(os.environ.get("AGENTSTORM_OUTAGES", "40"))
"""In all; `AGENTSTORM_OUTAGES=100` takes two minutes longer."""
# While it flaps the primary is there for 0.6 s, gone for 0.6 s: gone, there, gone, there, gone.
PLANTED = (
    Planted("refuse", OUTAGES * 3 // 10, 0.8, 1.6),
    Planted("blackhole", OUTAGES * 3 // 10, 0.8, 1.6),
    Planted("rate_limited", OUTAGES // 5, 0.8, 1.6),
    Planted("rate_limited", OUTAGES // 10, 0.8, 7.0, by_recovery=True),
    Planted("flapping", OUTAGES // 10, 3.0, 4.5, ", period: 1.2s, fault: {kind: refuse}", comes_back=2),
)

TARGET = """\
target: scripted
system:
  kind: processes
  services:
    primary:
      command: ["${python}", -m, reference.provider, --name, primary, --host, 127.0.0.1, --port, "${port}"]
      ready: /healthz
      env: &quick {PROVIDER_LATENCY_MEDIAN_S: "0.003", PROVIDER_LATENCY_SIGMA: "0.01"}
    secondary:
      command: ["${python}", -m, reference.provider, --name, secondary, --host, 127.0.0.1, --port, "${port}"]
      ready: /healthz
      env: *quick
    agents:
      command: ["${python}", %(script)s, --port, "${port}", --primary, "${upstreams.primary}",
                --secondary, "${upstreams.secondary}", --delay, "%(delay)s", --patience, "%(patience)s", --log, %(log)s]
      ready: /ready
url: http://${services.agents}
upstreams:
  primary: {address: "${services.primary}", ledger: "http://${services.primary}/ledger"}
  secondary: {address: "${services.secondary}", ledger: "http://${services.secondary}/ledger"}
observe:
  provider: header:x-provider
  cached: {from: header:x-cache, map: {hit: true, miss: false}}
  answer: json:$.answer
metrics: {url: /metrics, every: 100ms, breaker: "breaker_state{provider}", cache_hits: cache_hits_total,
          cache_misses: cache_misses_total}
"""
WORKLOAD = """\
from locust import FastHttpUser, task

class Asker(FastHttpUser):
    @task
    def ask(self):
        self.client.get("/ask", name="ask", context={"team": "t", "agent": "a", "tenant": "x"})
"""
SCENARIO = """\
scenario: scripted
workload: ask.py
load: {kind: rate, rate: %(rate)d/s, warmup: 2s, hold: %(hold)ds}
slo: {window: 0.2s, good_share: 0.99, p95_within: 20}
thresholds:
  failover_time: ["max<2s"]
"""
CHAOS = """\
experiment: scripted
faults: [{kind: %(kind)s, upstream: primary, at: %(at)ss, for: %(lasts)ss, repeat: %(outages)d,
          %(spacing)s%(settings)s}]
"""


@dataclass
class Truth:
    """What the scripted system wrote down, and what we made of it."""

    planted: Planted
    turns: list[dict[str, int]]
    findings: dict[str, Any]
    recording: Path

    @property
    def failovers(self) -> list[dict[str, Any]]:
        return list(self.findings["failovers"])

    def first_answer_s(self, failover: dict[str, Any]) -> tuple[float, float]:
        """Return when the secondary made its first answer of an outage, which lies between the system's asking for it
        and having it, s after the fault was effective."""
        between = (self.within(failover, moment)[0] for moment in ("asked_ns", "served_ns"))
        asked, served = ((t_ns - failover["effective_ns"]) / 1e9 for t_ns in between)
        return asked, served

    def within(self, failover: dict[str, Any], truth: str) -> list[int]:
        """Return when the scripted system did something in one outage, from its injection to the next one's."""
        begin = failover["injecting_ns"]
        later = [other["injecting_ns"] for other in self.failovers if other["injecting_ns"] > begin]
        end = min([begin + self.planted.every_s * 1e9, *later]) - 2e8
        return [turn[truth] for turn in self.turns if begin <= turn.get(truth, 0) < end]


@pytest.fixture(scope="module", params=PLANTED, ids=str)
def truth(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    planted: Planted = request.param
    folder = tmp_path_factory.mktemp(f"scripted-{planted}")
    log = folder / "truth.jsonl"
    values = {
        "script": ROOT / "tests" / "calibrate" / "scripted_agents.py",
        "log": log,
        "delay": DELAY_S,
        "patience": 0.1,
        "rate": RATE,
        "hold": planted.hold_s,
        "kind": planted.kind,
        "at": LEAD_S,
        "lasts": planted.lasts_s,
        "spacing": planted.spacing,
        "settings": planted.settings,
        "outages": planted.outages,
    }
    # Beside the reference system, which the target's commands import.
    files = {
        "targets/t.yaml": TARGET,
        "scenarios/s.yaml": SCENARIO,
        "scenarios/ask.py": WORKLOAD,
        "chaos/c.yaml": CHAOS,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text if name.endswith(".py") else text % values)
    (folder / "reference").symlink_to(ROOT / "reference")
    recording = folder / "recording"
    done = agentstorm(
        "run", str(folder / "scenarios/s.yaml"), "--chaos", str(folder / "chaos/c.yaml"),
        "--target", str(folder / "targets/t.yaml"), "--out", str(recording), "--seed", "1",
    )  # fmt: skip
    assert (recording / "findings.json").exists(), done.stdout + done.stderr
    turns = [json.loads(line) for line in log.read_text().splitlines()]
    return Truth(planted, turns, load(recording, "findings.json"), recording)


def test_every_outage_bit_and_was_seen(truth: Truth) -> None:
    assert len(truth.failovers) == truth.planted.outages
    assert all(f["bit"] and not f["censored"] for f in truth.failovers)
    assert [len(truth.within(f, "switch_ns")) for f in truth.failovers] == [
        1 + truth.planted.comes_back for _ in truth.failovers
    ]


def test_every_flap_is_counted(truth: Truth) -> None:
    """Back to the primary and away again is two; the last time back is the failback."""
    for failover in truth.failovers:
        assert failover["flaps"] == 2 * (len(truth.within(failover, "back_ns")) - 1)
    assert (
        sum(failover["flaps"] for failover in truth.failovers) == 2 * truth.planted.comes_back * truth.planted.outages
    )


def test_failover_times_lie_within_10_ms_of_the_truth(truth: Truth) -> None:
    """95 % of them."""
    errors = []
    for failover in truth.failovers:
        asked, served = truth.first_answer_s(failover)
        middle = (failover["failover_s"]["low"] + failover["failover_s"]["high"]) / 2
        errors.append(1000 * max(asked - middle, middle - served, 0))
    assert np.percentile(errors, 95) <= 10, np.round(errors, 1)


def test_failover_intervals_hold_the_truth(truth: Truth) -> None:
    for failover in truth.failovers:
        asked, served = truth.first_answer_s(failover)
        over = failover["failover_s"]
        assert over["low"] <= served, (over, asked, served)
        assert asked <= over["high"], (over, asked, served)


def test_detection_comes_within_a_scrape_of_the_truth(truth: Truth) -> None:
    for failover in truth.failovers:
        seconds = (truth.within(failover, "noticed_ns")[0] - failover["effective_ns"]) / 1e9
        low, high = failover["detection_s"]["low"], failover["detection_s"]["high"]
        assert low - 0.02 <= seconds <= high + 0.02, (low, seconds, high)


def test_the_cache_is_hit_exactly_as_often_as_scripted(truth: Truth) -> None:
    cache = truth.findings["cache"]
    for witness in ("answers", "metrics"):
        assert abs(cache[witness]["hits"] - cache[witness]["n"] / 4) < 1, cache
    assert cache["answers"] == cache["metrics"]


def test_every_request_names_its_ledgers_provider(truth: Truth) -> None:
    attribution = truth.findings["attribution"]
    assert attribution["agree"] == attribution["compared"] > 1000, attribution["examples"]


def test_percentiles_are_numpys_on_the_raw_nanoseconds(truth: Truth) -> None:
    events = [json.loads(line) for line in (truth.recording / "events.jsonl").read_text().splitlines()]
    start = next(e["t_ns"] for e in events if e["kind"] == "phase" and e["subject"] == "baseline")
    end = next(e["t_ns"] for e in events if e["kind"] == "phase" and e["subject"] == "cooldown")
    rows = Recording.open(truth.recording).requests.to_pandas()
    rows = rows[(rows.due_ns >= start) & (rows.due_ns < end) & (rows.end_ns >= 0)]
    expected = np.percentile((rows.end_ns - rows.due_ns).to_numpy(), (50, 95, 99)) / 1e6
    found = [truth.findings["load"]["response_ms"][p]["value"] for p in ("p50", "p95", "p99")]
    assert found == pytest.approx(expected, rel=1e-12)


def test_open_loop_sent_exactly_what_was_due(truth: Truth) -> None:
    assert truth.findings["load"]["requests"] == RATE * truth.planted.hold_s
    assert truth.findings["load"]["dropped"] == 0
