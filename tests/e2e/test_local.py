"""The whole path on the local target: real Locust, real Toxiproxy, real SDKs, a real outage."""

from __future__ import annotations

import itertools
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.journal import journals
from harness.model.findings import Findings
from harness.model.verdict import Verdicts
from harness.recording.reader import Recording
from tests.e2e.runs import ROOT, agentstorm, alive, effective, load, recorded, scraping, signal, start

pytestmark = [pytest.mark.real, pytest.mark.slow]

OUTAGES = ("scenarios/demo.yaml", "--chaos", "chaos/demo.yaml")
COLUMNS = {
    *("due_ns", "start_ns", "first_byte_ns", "end_ns", "name", "team", "agent", "tenant", "worker", "request_id"),
    *("outcome", "status", "error", "provider", "cached", "tokens_in", "tokens_out", "bytes_in", "bytes_out"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run with two outages at a third of the demo's length, and its recording."""
    recording = tmp_path_factory.mktemp("run") / "recording"
    with scraping() as (port, pages):
        done = recorded(recording, *OUTAGES, "--scale", "0.4", "--seed", "7", "--metrics-port", str(port))
    (recording / "pages.json").write_text(json.dumps(pages))
    assert str(recording / "report.html") in done.stdout.replace("\n", "")
    (recording / "stdout.txt").write_text(done.stdout)
    return recording


def test_the_recording_is_what_the_contract_says(run: Path) -> None:
    for name in ("plan.yaml", "manifest.json", "events.jsonl", "samples.parquet", "ledger.parquet", "logs"):
        assert (run / name).exists(), name
    for name in ("findings.json", "verdicts.json", "report.html", "report.md", "junit.xml"):
        assert (run / name).stat().st_size > 0, name
    assert list(run.rglob("*.arrows")) == []
    assert list((run / "requests").glob("*.parquet"))
    assert set(Recording.open(run).requests.column_names) >= COLUMNS
    manifest = load(run, "manifest.json")
    assert manifest["schema"] == 1
    assert {"toxiproxy", "locust", "system"} <= set(manifest["components"])
    Findings.model_validate(load(run, "findings.json"))
    Verdicts.model_validate(load(run, "verdicts.json"))


def test_the_runs_own_metrics_tell_what_is_recorded(run: Path) -> None:
    pages = json.loads((run / "pages.json").read_text())
    assert len(pages) > 50
    read = [
        {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }
        for page in pages
    ]
    last, requests = read[-1], Recording.open(run).requests.to_pandas()
    outcomes = {key[1]: value for key, value in last.items() if key[0] == "agentstorm_requests_total" and value}
    assert outcomes == requests.outcome.value_counts().to_dict()
    took = (requests.end_ns - requests.due_ns)[requests.end_ns >= 0] / 1e9
    assert last["agentstorm_response_time_seconds_count",] == len(took)
    assert math.isclose(last["agentstorm_response_time_seconds_sum",], took.sum(), rel_tol=1e-9)
    assert last["agentstorm_response_time_seconds_bucket", "0.5"] == (took <= 0.5).sum()
    assert (last["agentstorm_healed",], last["agentstorm_left",]) == (1, 0)
    counters = [key for key in last if key[0].endswith(("_total", "_bucket", "_count"))]
    for before, after in itertools.pairwise(read):
        assert [key for key in counters if before.get(key, 0) > after.get(key, 0)] == [], "counters never fall"
    for fault in (failover["fault"] for failover in load(run, "findings.json")["failovers"]):
        states = [page[key] for page in read for key in page if key[0] == "agentstorm_fault_active" and fault == key[1]]
        assert (states[0], max(states), states[-1]) == (0, 1, 0)
    phases = {key[1] for page in read for key in page if key[0] == "agentstorm_phase_info"}
    assert phases >= {"warmup", "baseline", "fault", "recovery", "ended"}
    assert max(page.get(("agentstorm_probe_up",), 0) for page in read) == 1


def test_alerts_are_made_of_what_the_reference_system_showed(run: Path) -> None:
    done = agentstorm("export", "prometheus-rules", str(run))
    verdict = load(run, "findings.json")["validity"]
    if not verdict["valid"]:
        assert done.returncode == 98
        return
    assert done.returncode == 0, done.stderr
    for alert in ("ErrorBudgetBurnFast", "LatencySLO", "ProviderShift", "MetricsGone"):
        assert f"alert: {alert}" in done.stdout
    assert "no MemoryNearLimit" in done.stderr, "processes have no limits"


def test_both_outages_bit_were_survived_and_are_timed(run: Path) -> None:
    failovers = load(run, "findings.json")["failovers"]
    assert [f["kind"] for f in failovers] == ["blackhole", "refuse"]
    for failover in failovers:
        assert failover["bit"]
        assert failover["failover_s"] is not None, "another provider answered"
        assert 0 <= failover["failover_s"]["low"] <= failover["failover_s"]["high"]
        assert failover["cleared_ns"] > failover["effective_ns"]
    hang = failovers[0]
    assert 0.5 < hang["recovery_s"]["high"] < 6, "a hang costs a time-out"
    assert hang["detection_s"] is not None, "the breaker's opening was scraped"


def test_every_request_names_the_provider_its_ledger_names(run: Path) -> None:
    attribution = load(run, "findings.json")["attribution"]
    assert attribution["compared"] > 100
    assert attribution["examples"] == []
    assert attribution["agree"] == attribution["compared"]


def test_the_agents_are_seen_at_the_proxy_of_what_they_call(run: Path) -> None:
    samples = Recording.open(run).samples.to_pandas()
    seen = samples[(samples.source == "proxies") & (samples.metric == "connections")]
    at_bedrock = seen[seen.labels == json.dumps({"upstream": "bedrock"})].value
    assert len(at_bedrock) > 20
    assert at_bedrock.median() >= 1, "our own probe is there for moments only"


def test_three_witnesses_agree_on_the_cache(run: Path) -> None:
    cache = load(run, "findings.json")["cache"]
    answers, metrics, ledger = (cache[w] for w in ("answers", "metrics", "ledger"))
    assert answers["n"] > 100
    assert answers["hit_rate"] > 0.05
    assert metrics["hits"] == answers["hits"]
    # A stream that an outage cuts does not come to tell of its lookup.
    assert 0 <= metrics["n"] - answers["n"] <= load(run, "findings.json")["load"]["failed"]
    assert math.isclose(ledger["hit_rate"], answers["hit_rate"], abs_tol=0.01)


def test_the_run_says_that_it_ended_healed(run: Path) -> None:
    ended = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()][-1]
    assert (ended["kind"], ended["subject"], ended["data"]["healed"]) == ("run", "ended", True)


def test_the_pages_are_whole(run: Path) -> None:
    html = (run / "report.html").read_text()
    assert "http-equiv" not in html
    for outside in ('src="http', "url(http", '<link rel="stylesheet" href="http'):
        assert outside not in html
    verdicts = load(run, "verdicts.json")
    cases = ET.parse(run / "junit.xml").getroot().findall(".//testcase")  # noqa: S314 - written by us
    assert len(cases) == 1 + len(verdicts["checks"]), "one for the run's validity, one for each threshold"
    markdown = (run / "report.md").read_text()
    assert verdicts["verdict"] in markdown.splitlines()[0].lower()
    checks, believed, _ = markdown.partition("**Can this run be believed?**")
    assert believed
    assert checks.count("| ✓ pass |") == len([c for c in verdicts["checks"] if c["verdict"] == "pass"])


def test_report_and_judge_need_no_live_system(run: Path) -> None:
    before = load(run, "findings.json")
    for name in ("findings.json", "verdicts.json", "report.html"):
        (run / name).unlink()
    assert agentstorm("report", str(run)).returncode == 0
    assert load(run, "findings.json") == before
    assert agentstorm("judge", str(run)).returncode == load(run, "verdicts.json")["exit_code"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_heals_reports_and_says_so(tmp_path: Path, signum: int) -> None:
    running = start(tmp_path / "r", *OUTAGES, "--scale", "0.4")
    running.wait_for(effective)
    processes = running.descendants()
    code, out, err = running.end(signum)
    assert code == 105, err
    assert "Traceback" not in out + err
    assert alive(processes) == []
    assert journals() == []
    states = [e["data"]["state"] for e in running.events() if e["kind"] == "fault"]
    assert states[-1] == "cleared"
    assert (tmp_path / "r" / "report.html").exists()
    assert load(tmp_path / "r", "verdicts.json")["verdict"] != "pass"


BAD_PLANS = {
    "unknown key": (["--set", "load.usrs=3"], "did you mean"),
    "wrong unit": (["--set", "load.hold=60"], "is no duration"),
    "unknown metric": (["--set", "thresholds={respons_time: p(95)<3s}"], "did you mean 'response_time'"),
    "no such scenario": (["--target", "targets/none.yaml"], "no such file"),
    "workload that does not import": (["--set", "workload=broken.py"], "broken.py"),
}


@pytest.mark.parametrize("case", BAD_PLANS)
def test_a_bad_plan_costs_one_message_and_104_before_anything_starts(tmp_path: Path, case: str) -> None:
    options, says = BAD_PLANS[case]
    scenario = tmp_path / "scenarios" / "mine.yaml"
    scenario.parent.mkdir()
    scenario.write_text((ROOT / "scenarios" / "smoke.yaml").read_text().replace("agents.py", "fine.py"))
    (scenario.parent / "fine.py").write_text((ROOT / "scenarios" / "agents.py").read_text())
    (scenario.parent / "broken.py").write_text("from locust import FastHttpUser\nimport no_such_module\n")
    for command in ("plan", "run"):
        extra = ["--out", str(tmp_path / "r")] if command == "run" else []
        done = agentstorm(command, str(scenario), *options, *extra)
        assert done.returncode == 104, done.stdout + done.stderr
        assert says in done.stderr.replace("\n", " ")
        assert "Traceback" not in done.stderr + done.stdout
        assert not (tmp_path / "r").exists()


def test_a_missing_upstream_is_named(tmp_path: Path) -> None:
    chaos = tmp_path / "c.yaml"
    chaos.write_text("experiment: x\nfaults: [{kind: refuse, upstream: bedrok, at: 1s, for: 1s}]\n")
    done = agentstorm("run", "scenarios/smoke.yaml", "--chaos", str(chaos))
    assert done.returncode == 104
    assert "did you mean 'bedrock'" in done.stderr


def test_open_loop_keeps_its_rate_through_an_outage(tmp_path: Path) -> None:
    chaos = tmp_path / "c.yaml"
    chaos.write_text("experiment: hang\nfaults: [{kind: blackhole, upstream: bedrock, at: 10s, for: 15s}]\n")
    done = agentstorm(
        "run", "scenarios/rate.yaml", "--chaos", str(chaos), "--set", "load.hold=36s", "--set", "load.warmup=2s",
        "--out", str(tmp_path / "r"),
    )  # fmt: skip
    assert (tmp_path / "r" / "verdicts.json").exists(), done.stderr
    load_findings = load(tmp_path / "r", "findings.json")["load"]
    assert load_findings["dropped"] == 0
    assert abs(load_findings["requests"] - 600) <= 1
