"""The whole path on the local target with k6 as the load generator: a real outage, found in the same recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.recording.reader import Recording
from tests.e2e.runs import ROOT, agentstorm, load, recorded, unsound
from tests.having_k6 import k6_or_skip

pytestmark = [pytest.mark.real, pytest.mark.slow]

OUTAGES = ("scenarios/demo.yaml", "--chaos", "chaos/demo.yaml", "--engine", "k6")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo at a third of its length."""
    k6_or_skip()
    recording = tmp_path_factory.mktemp("run") / "recording"
    recorded(recording, *OUTAGES, "--scale", "0.4", "--seed", "7")
    return recording


def test_outages_and_answers_are_seen_through_k6_too(run: Path) -> None:
    findings = load(run, "findings.json")
    assert unsound(run) == []
    assert [f["kind"] for f in findings["failovers"]] == ["blackhole", "refuse"]
    assert all(f["bit"] and f["failover_s"] is not None for f in findings["failovers"])
    attribution = findings["attribution"]
    assert attribution["compared"] > 100
    assert attribution["agree"] == attribution["compared"]
    table = Recording.open(run).requests.to_pandas()
    assert {"meetmind", "agentsvea", "feliciasfi"} == set(table.team)
    answered = table[table.outcome.isin(["ok", "degraded"])]
    assert (answered.tokens_in > 0).any()
    assert (answered.cached >= 0).mean() > 0.8


def test_the_manifest_tells_which_k6_it_was(run: Path) -> None:
    k6 = load(run, "manifest.json")["components"]["k6"]
    assert k6["versions"]["k6"]
    assert k6["vus"] == 50
    assert k6["workload"].endswith("agents.js")
    assert 0 <= k6["clock_uncertainty_us"] < 1000
    instrument = load(run, "findings.json")["validity"]["instrument"]
    assert instrument["lag_p99_ms"] is not None
    assert instrument["cpu_median"] is not None


def test_what_keeps_k6_from_running_is_said_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTSTORM_K6", "/nowhere/k6")
    done = agentstorm("run", "smoke", "--engine", "k6", "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "AGENTSTORM_K6=/nowhere/k6: no such program" in done.stderr
    assert not (tmp_path / "out").exists()
    poisson = agentstorm("plan", "rate", "--engine", "k6", "--set", "load.arrivals=poisson", cwd=ROOT)
    assert poisson.returncode == 104
    assert "k6 cannot make poisson arrivals" in poisson.stderr
