"""A run that must not go on, or that would have proved nothing: real runs on the local target, each planted so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from harness.journal import journals
from tests.e2e.runs import ROOT, agentstorm, load

pytestmark = [pytest.mark.real, pytest.mark.slow]

HEALED_NS = 2 * 10**9
"""The promise: so soon after an abort condition is crossed the load has stopped and every fault is seen gone."""


def run(folder: Path, experiment: dict[str, Any], hold_s: int, *more: str, warmup_s: int = 2) -> tuple[int, Path]:
    """Run the demo's load, short, and return exit code and recording."""
    chaos = folder / "chaos.yaml"
    chaos.write_text(json.dumps({"experiment": "x", **experiment}))
    settings = {"load.warmup": f"{warmup_s}s", "load.hold": f"{hold_s}s", "load.spawn": "50/s", "load.users": "30"}
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    done = agentstorm(
        "run", "scenarios/demo.yaml", "--chaos", str(chaos), *sets, *more, "--seed", "5", "--out", str(folder / "r")
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert journals() == []
    assert (folder / "r" / "report.html").exists(), done.stderr
    return done.returncode, folder / "r"


def events(recording: Path, kind: str, subject: str = "", state: str = "") -> list[dict[str, Any]]:
    rows = map(json.loads, (recording / "events.jsonl").read_text().splitlines())
    return [
        e for e in rows if e["kind"] == kind and subject in ("", e["subject"]) and state in ("", e["data"].get("state"))
    ]


def reasons(recording: Path) -> str:
    return "\n".join(load(recording, "findings.json")["validity"]["reasons"])


FAULT = {"kind": "blackhole", "upstream": "bedrock", "at": "3s", "for": "20s"}


@pytest.mark.parametrize(
    ("abort", "more"),
    [
        ("response_time: max>1500ms over 5s", ()),
        ("error_budget: burn>14.4 over 5s", ("--set", "slo.response_time=150ms")),
    ],
    ids=["threshold", "error-budget"],
)
def test_an_abort_condition_stops_load_and_heals(tmp_path: Path, abort: str, more: tuple[str, ...]) -> None:
    code, recording = run(tmp_path, {"faults": [FAULT], "abort": [abort], "steady_state": {}}, 40, *more)
    assert code == 108
    (crossed,) = events(recording, "abort")
    assert crossed["data"]["threshold"] == abort
    (cleared,) = events(recording, "fault", state="cleared")
    healed_ns = cleared["data"]["high_ns"] - crossed["t_ns"]
    assert 0 < healed_ns < HEALED_NS
    last_ns = max(max(pq.read_table(p)["start_ns"].to_pylist()) for p in (recording / "requests").glob("*.parquet"))
    assert last_ns - crossed["t_ns"] < HEALED_NS
    said = reasons(recording)
    assert abort in said
    assert f"observed {crossed['data']['observed']:.3g}" in said
    assert "stopped by its abort condition" in (recording / "report.md").read_text()
    assert load(recording, "verdicts.json")["verdict"] == "invalid"


def test_a_system_that_is_sick_is_not_experimented_on(tmp_path: Path) -> None:
    experiment = {"faults": [{**FAULT, "for": "2s"}], "steady_state": {"response_time": ["max<1ms"]}}
    code, recording = run(tmp_path, experiment, 8)
    assert code == 98
    assert events(recording, "fault", state="injecting") == []
    (look,) = events(recording, "steady")
    assert (look["subject"], look["data"]["state"]) == ("before", "sick")
    assert "sick before the first fault of x, so none was injected: response_time: max<1ms (observed" in reasons(
        recording
    )


def test_traffic_past_the_proxy_is_seen(tmp_path: Path) -> None:
    """Bedrock refuses connections at its proxy, as the probe sees; but the agents call Bedrock itself."""
    text = (ROOT / "targets" / "local.yaml").read_text()
    through = "AWS_ENDPOINT_URL_BEDROCK_RUNTIME: http://${upstreams.bedrock}"
    assert through in text
    for name in ("targets", "reference"):
        (tmp_path / name).symlink_to(ROOT / name) if name == "reference" else (tmp_path / name).mkdir()
    target = tmp_path / "targets" / "past.yaml"
    target.write_text(text.replace(through, through.replace("upstreams", "services")))
    fault = {**FAULT, "kind": "refuse", "for": "3s"}
    code, recording = run(tmp_path, {"faults": [fault]}, 8, "--target", str(target))
    assert code == 98
    assert len(events(recording, "fault", state="effective")) == 1, "the probe saw it bite"
    assert "went past the proxy in front of bedrock: its ledger has" in reasons(recording)


def test_faults_begin_at_their_triggers(tmp_path: Path) -> None:
    faults = [
        {"kind": "refuse", "upstream": "bedrock", "name": "first", "at": {"load": "80%"}, "for": "2s"},
        {"kind": "refuse", "upstream": "openai", "after": {"recovered": "first", "delay": "1s"}, "for": "2s"},
        {
            "kind": "slow", "upstream": "bedrock", "latency": "300ms", "for": "2s",
            "when": {"requests": "rate>0.5 over 5s"},
        },
        {
            "kind": "refuse", "upstream": "openai", "name": "never", "for": "2s",
            "when": {"request_failed": "rate>0.9 over 5s"},
        },
    ]  # fmt: skip
    code, recording = run(tmp_path, {"faults": faults}, 22, "--set", "slo.window=3s")
    fired = {e["subject"]: e["t_ns"] for e in events(recording, "fault", state="triggered")}
    bit = {e["subject"]: e["data"] for e in events(recording, "fault", state="effective")}
    gone = {e["subject"]: e["data"] for e in events(recording, "fault", state="cleared")}
    assert set(fired) == set(bit) == set(gone) == {"first-1", "refuse-openai-1", "slow-bedrock-1"}
    zero_ns = events(recording, "phase", "baseline")[0]["t_ns"]
    assert 0 <= fired["first-1"] - zero_ns < 10**9, "all users were there when the warm-up ended"
    assert fired["refuse-openai-1"] - gone["first-1"]["high_ns"] >= 4 * 10**9, "the window of 3 s, and 1 s more"
    assert fired["slow-bedrock-1"] - zero_ns >= 5 * 10**9
    for name, fired_ns in fired.items():
        assert bit[name]["high_ns"] - fired_ns < 2 * 10**9
    assert code == 98
    said = load(recording, "findings.json")["validity"]["reasons"]
    assert len([reason for reason in said if "Fault" in reason]) == 1
    assert "never-1 (refuse on openai) was never injected: it waited for its trigger" in "\n".join(said)
    assert [e["subject"] for e in events(recording, "steady")] == ["before", "after"]
