"""Failovers of a scripted system behind the real Toxiproxy, under real Locust load: do we see what really happened?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.recording.reader import Recording
from tests.e2e.runs import ROOT, agentstorm, load

pytestmark = [pytest.mark.real, pytest.mark.slow]

DELAY_S = 0.4
OUTAGES = 20
RATE = 200

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
faults: [{kind: %(kind)s, upstream: primary, at: 3s, for: 800ms, repeat: %(outages)d, every: 2s}]
"""


@dataclass
class Truth:
    """What the scripted system wrote down, and what we made of it."""

    turns: list[dict[str, int]]
    findings: dict[str, Any]
    recording: Path

    @property
    def failovers(self) -> list[dict[str, Any]]:
        return list(self.findings["failovers"])

    def errors_ms(self, key: str, truth: str, since: str = "effective_ns") -> np.ndarray[Any, Any]:
        """Return how far the middle of each interval lies from the scripted truth, ms."""
        times = [turn[truth] for turn in self.turns if truth in turn]
        errors = []
        for failover, time_ns in zip(self.failovers, times, strict=True):
            middle_s = (failover[key]["low"] + failover[key]["high"]) / 2
            errors.append((failover[since] + middle_s * 1e9 - time_ns) / 1e6)
        return np.array(errors)


@pytest.fixture(scope="module", params=["refuse", "blackhole"])
def truth(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    folder = tmp_path_factory.mktemp(f"scripted-{request.param}")
    log = folder / "truth.jsonl"
    values = {
        "script": ROOT / "tests" / "calibrate" / "scripted_agents.py",
        "log": log,
        "delay": DELAY_S,
        "patience": 0.1,
        "rate": RATE,
        "hold": 3 + 2 * OUTAGES + 1,
        "kind": request.param,
        "outages": OUTAGES,
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
    return Truth(turns, load(recording, "findings.json"), recording)


def test_every_outage_bit_and_was_seen(truth: Truth) -> None:
    assert len(truth.failovers) == OUTAGES
    assert all(f["bit"] and not f["censored"] for f in truth.failovers)
    assert len([t for t in truth.turns if "switch_ns" in t]) == OUTAGES


def test_failover_times_lie_within_10_ms_of_the_truth(truth: Truth) -> None:
    errors = np.abs(truth.errors_ms("failover_s", "switch_ns"))
    assert np.percentile(errors, 95) <= 10, errors.round(1)


def test_failover_intervals_hold_the_truth(truth: Truth) -> None:
    switches = [t["switch_ns"] for t in truth.turns if "switch_ns" in t]
    held = 0
    for failover, switch in zip(truth.failovers, switches, strict=True):
        seconds = (switch - failover["effective_ns"]) / 1e9
        held += failover["failover_s"]["low"] - 0.005 <= seconds <= failover["failover_s"]["high"] + 0.005
    assert held >= 0.9 * OUTAGES


def test_detection_comes_within_a_scrape_of_the_truth(truth: Truth) -> None:
    noticed = [t["noticed_ns"] for t in truth.turns if "noticed_ns" in t]
    for failover, time_ns in zip(truth.failovers, noticed, strict=True):
        seconds = (time_ns - failover["effective_ns"]) / 1e9
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
    assert truth.findings["load"]["requests"] == RATE * (3 + 2 * OUTAGES + 1)
    assert truth.findings["load"]["dropped"] == 0
