"""Reading audits: what is wrong in one is said with its line, and a recording keeps the one it answered."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner

from harness.analysis.audit_evidence import EVIDENCE, TOGETHER
from harness.auditing import agreed, audit_of, load_audit, open_audit
from harness.cli import cli
from harness.document import read
from harness.errors import AgentstormError, PlanError
from harness.planfile import plan_hash, resolve
from tests.recordings import RecordingBuilder, plan

OWN = """\
audit: ours
title: Our audit
categories:
  - id: speed
    title: Speed
    weight: 1
    heading: 10
    printed: 10
    checks:
      - {id: A-1, title: fast, status: unknown, points: 10, asks: {kind: latency, under: 3s}}
      - {id: A-2, title: documented, status: fail, points: 10, silent: is about documents}
gaps:
  - {id: G-1, title: not loaded, severity: high, category: speed, asks: {kind: together, of: A-1}}
"""
WRONG = [
    ("kind: latency, under: 3s", "kind: latencies, under: 3s", ":10", "did you mean 'latency'?"),
    ("kind: latency, under: 3s", "kind: latency", ":10", "needs 'under'"),
    ("kind: latency, under: 3s", "kind: latency, under: 3s, above: 20%", ":10", "takes no 'above'; it takes: under"),
    ("kind: latency, under: 3s", "kind: latency, under: 3", ":10", "is no duration"),
    ("kind: latency, under: 3s", "kind: carries, under: 3s, hold: 1m, below: 1%", ":10", "either 'users' or 'rate'"),
    ("kind: latency, under: 3s", "kind: cache, above: 120%", ":10", "less than or equal to 1"),
    ("kind: latency, under: 3s", "kind: cache, above: some%", ":10", "is no share"),
    ("of: A-1", "of: A-2", ":13", "there is no such row 'A-2'"),
    ("of: A-1", "of: ''", ":13", "the ids of rows"),
    ("category: speed", "category: sped", ":12", "did you mean 'speed'?"),
    ("id: G-1", "id: A-1", ":1", "given to more than one row"),
    (", silent: is about documents", "", ":11", "exactly one of 'asks', 'needs' and 'silent'"),
    ("silent: is about documents", "silent: x, answers: part", ":11", "'answers' belongs to 'asks'"),
    ("points: 10, asks", "points: 110, asks", ":10", "less than or equal to 100"),
    ("title: fast,", "titel: fast,", ":10", "did you mean 'title'?"),
]


def test_an_audit_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(OWN)
    audit = open_audit(str(tmp_path / "ours.yaml"))
    assert [row.id for row in audit.rows] == ["A-1", "A-2", "G-1"]


@pytest.mark.parametrize(("old", "new", "line", "said"), WRONG)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, line: str, said: str, tmp_path: Path) -> None:
    assert old in OWN
    path = tmp_path / "ours.yaml"
    path.write_text(OWN.replace(old, new, 1))
    with pytest.raises(PlanError) as caught:
        load_audit(read(path))
    assert said in str(caught.value)
    assert f"ours.yaml{line}" in str(caught.value)


def test_a_plan_is_refused_that_names_an_audit_that_is_not_there_or_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="audit: happyoss: no such file") as caught:
        resolve("smoke", overrides=["target.audit=happyoss"])
    assert "audits/happyos.yaml" in str(caught.value)
    (tmp_path / "ours.yaml").write_text(OWN.replace("under: 3s", "under: soon"))
    with pytest.raises(PlanError, match="is no duration"):
        resolve("smoke", overrides=[f"target.audit={tmp_path / 'ours.yaml'}"])


def test_the_audit_is_no_part_of_the_plan_that_runs_are_compared_by() -> None:
    one, other = resolve("smoke", seed=1), resolve("smoke", seed=1, overrides=["target.audit=null"])
    assert (one.target.audit, other.target.audit) == ("happyos", None)
    assert plan_hash(one) == plan_hash(other)


def test_a_recording_keeps_the_audit_it_answered(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(OWN)
    recording = RecordingBuilder(tmp_path / "run", plan(target={"audit": str(path)})).close(1)
    first = audit_of(recording)
    path.unlink()
    assert first is not None
    assert audit_of(recording) == first
    named = agreed([recording], "happyos")
    assert named is not None
    assert named.audit == "happyos"
    (recording.path / "audit.json").write_text("{")
    with pytest.raises(AgentstormError, match="--audit FILE"):
        audit_of(recording)


def test_without_an_audit_there_is_none(tmp_path: Path) -> None:
    assert audit_of(RecordingBuilder(tmp_path / "run").close(1)) is None


def smoke(path: Path, **target: str) -> Path:
    builder = RecordingBuilder(path, plan(load={"kind": "users", "users": 100, "hold": "20s"}, target=target))
    builder.phases(steady=0, cooldown=20)
    for n in range(400):
        builder.request(n / 20, 0.2 + (n % 7) / 100)
    builder.instrument(0, 20)
    return builder.close(21).path


def test_readiness_of_two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [str(smoke(tmp_path / name, audit="happyos")) for name in ("one", "two")]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["readiness", *runs, "--lang", "sv"])
    assert done.exit_code == 0, done.output
    assert "besvaras" in done.output
    assert Path("readiness.md").read_text(encoding="utf-8").startswith("# Beredskap: HappyOS")


def test_readiness_without_an_audit_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["readiness", str(smoke(tmp_path / "one"))])
    assert done.exit_code == 1
    assert "--audit happyos" in done.output


def test_report_writes_readiness_csv_and_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run = smoke(tmp_path / "one")
    done = CliRunner().invoke(cli, ["report", str(run), "--audit", "happyos", "--csv", "run"])
    assert done.exit_code == 0, done.output
    assert (run / "readiness.md").read_text(encoding="utf-8").startswith("# Readiness: HappyOS")
    assert 'id="audit"' in (run / "report.html").read_text(encoding="utf-8")
    assert "### The audit, answered" in summary.read_text(encoding="utf-8")
    assert sorted(p.name for p in (run / "locust").iterdir()) == [
        "run_exceptions.csv", "run_failures.csv", "run_stats.csv", "run_stats_history.csv",
    ]  # fmt: skip
    done = CliRunner().invoke(cli, ["report", str(run)])
    assert done.exit_code == 0
    assert not (run / "readiness.md").exists(), "no audit is named, so none is answered"
    assert 'id="audit"' not in (run / "report.html").read_text(encoding="utf-8")


def test_a_report_is_made_without_the_audit_its_target_names_when_that_is_gone(tmp_path: Path) -> None:
    run = smoke(tmp_path / "one", audit="gone")
    done = CliRunner().invoke(cli, ["report", str(run)])
    assert done.exit_code == 0
    assert "the audit is not answered" in done.output
    assert CliRunner().invoke(cli, ["report", str(run), "--audit", "gone"]).exit_code == 104


def test_the_documents_own_example_is_an_audit_and_names_every_kind(tmp_path: Path) -> None:
    said = (Path(__file__).parents[2] / "docs" / "readiness.md").read_text(encoding="utf-8")
    example = said[said.index("    audit: ours\n") : said.index("| kind |")]
    (tmp_path / "ours.yaml").write_text(dedent(example))
    assert [row.id for row in open_audit(str(tmp_path / "ours.yaml")).rows] == ["A-1", "G-1"]
    table = said[said.index("| kind |") :]
    assert [kind for kind in (*EVIDENCE, TOGETHER) if f"`{kind}`" not in table] == []
