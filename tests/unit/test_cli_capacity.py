"""The command about capacity, from recordings to tables, JSON and exit codes; and thresholds on capacity."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from harness.analysis import analyse
from harness.cli import cli
from harness.judge import judge
from harness.model.threshold import parse_live, parse_threshold
from harness.model.verdict import Verdict
from harness.recording.reader import Recording
from tests.recordings import RecordingBuilder, plan
from tests.reference_pages import metrics
from tests.searches import Search, System, record

if TYPE_CHECKING:
    from pathlib import Path

THRESHOLDS = {
    "capacity": ["rate>3", "rate>10", "rate>20", "users>5"],
    "capacity{state:healthy}": ["rate>12", "rate>200"],
    "capacity{state:cache_cold}": ["rate>1"],
}


def agentstorm(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    assert "Traceback" not in result.output
    return result.exit_code, result.output.replace("\xa0", " ")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("capacity") / "r"
    lost = System(connections=4, work_s=0.3)
    record(path, Search(), Search("one_replica_lost", (2, 4, 8, 12, 16), lost), replicas=2, thresholds=THRESHOLDS)
    return path


def test_the_states_the_first_limit_and_what_to_configure_are_printed(recording: Path) -> None:
    code, output = agentstorm("capacity", str(recording))
    assert code == 0
    assert "one replica lost" in output
    assert "bedrock pool fills up first" in output
    assert "configure (one replica lost governs, 2 replicas measured):" in output
    assert "No think time is given" in output


def test_a_forecast_is_governed_by_the_state_that_needs_most(recording: Path) -> None:
    code, output = agentstorm("capacity", str(recording), "--rate", "80/s", "--json")
    assert code == 0
    said = json.loads(output)
    each = {one["state"]: one["replicas"] for one in said["forecasts"]}
    assert said["governs"] == "one_replica_lost"
    assert said["replicas"] == max(each.values()) == each["one_replica_lost"]
    assert said["headroom"] == 0.7
    code, output = agentstorm("capacity", str(recording), "--rate", "80/s")
    assert f"{said['replicas']} replicas needed: one replica lost governs." in output


def test_less_headroom_needs_fewer_replicas(recording: Path) -> None:
    outputs = [
        json.loads(agentstorm("capacity", str(recording), "--rate", "80/s", "--headroom", h, "--json")[1])
        for h in ("1", "0.5")
    ]
    assert outputs[0]["replicas"] < outputs[1]["replicas"]


def test_users_need_a_think_time(recording: Path) -> None:
    code, output = agentstorm("capacity", str(recording), "--users", "5000")
    assert code == 1
    assert "--think" in output
    code, output = agentstorm("capacity", str(recording), "--users", "5000", "--think", "30s")
    assert code == 0
    assert "governs." in output


def test_bad_input_is_told(recording: Path, tmp_path: Path) -> None:
    assert agentstorm("capacity")[0] == 2
    assert agentstorm("capacity", str(recording), "--rate", "fast")[0] == 2
    assert agentstorm("capacity", str(recording), "--rate", "1/s", "--users", "1")[0] == 2
    assert agentstorm("capacity", str(recording), "--headroom", "1.5")[0] == 2
    builder = RecordingBuilder(tmp_path / "r", plan())
    builder.close(1)
    code, output = agentstorm("capacity", str(tmp_path / "r"))
    assert code == 1
    assert "has no levels to find a capacity from" in output


def test_an_invalid_recording_is_shown_and_ends_with_its_code(tmp_path: Path) -> None:
    record(tmp_path / "r", Search(rates=(4, 8)), hold_s=20)
    with (tmp_path / "r" / "events.jsonl").open("a") as file:
        event = {"t_ns": 1_010_000_000_000, "kind": "run", "source": "conduct", "subject": "interrupted"}
        file.write(json.dumps(event) + "\n")
    code, output = agentstorm("capacity", str(tmp_path / "r"))
    assert code == 98
    assert "invalid " in output


def test_a_capacity_nobody_knows_is_inconclusive(tmp_path: Path) -> None:
    record(tmp_path / "r", Search(rates=(4,)), hold_s=10, settle_s=2)
    code, output = agentstorm("capacity", str(tmp_path / "r"), "--rate", "8/s")
    assert code == 75
    assert "is not known in every state" in output
    assert "let each hold longer" in output


# --- thresholds ------------------------------------------------------------------------------------------------------


def test_thresholds_on_capacity_have_three_values_and_the_worst_state_governs(recording: Path) -> None:
    findings, measure = analyse(Recording.open(recording))
    checks = {c.threshold: c for c in judge(Recording.open(recording).plan, findings, measure).checks}
    verdicts = {name: check.verdict for name, check in checks.items()}
    assert verdicts["capacity: rate>3"] is Verdict.PASS
    assert verdicts["capacity: rate>20"] is Verdict.FAIL
    assert verdicts["capacity{state:healthy}: rate>12"] is Verdict.PASS
    assert verdicts["capacity{state:healthy}: rate>200"] is Verdict.FAIL
    assert verdicts["capacity: rate>10"] is Verdict.INCONCLUSIVE
    assert "in state one_replica_lost; limit 20" in checks["capacity: rate>20"].why
    assert (checks["capacity: rate>3"].unit, checks["capacity: users>5"].unit) == ("per_s", "count")
    assert checks["capacity: users>5"].verdict is Verdict.INCONCLUSIVE
    assert "nobody knows how long users think" in checks["capacity: users>5"].why.lower()
    assert "no levels in state cache_cold" in checks["capacity{state:cache_cold}: rate>1"].why


@pytest.mark.parametrize(
    ("name", "check", "said"),
    [
        ("capacity", "p(95)>20", "cannot be aggregated by 'p(95)'"),
        ("capacity{agent:architect}", "rate>20", "about states and has no 'agent'"),
        ("response_time{state:healthy}", "p(95)<3s", "is about requests and has no 'state'"),
        ("capacity", "rate>20ms", "unexpected unit 'ms'"),
    ],
)
def test_a_threshold_that_makes_no_sense_is_refused(name: str, check: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_threshold(name, check)


def test_capacity_is_only_known_after_the_run() -> None:
    with pytest.raises(ValueError, match="only known after the run"):
        parse_live("capacity", "rate>20 over 30s")
    (row,) = [line for line in metrics().splitlines() if line.startswith("| `capacity` |")]
    assert row.endswith("| no |"), "the reference says so, too"
