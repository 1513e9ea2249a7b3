"""What a gate refuses before it starts anything, and the order of its runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import content, gating
from harness.cli import cli
from harness.gate import turns
from harness.planfile import resolve
from harness.recording import layout
from tests.recordings import RecordingBuilder


def agentstorm(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def record(name: str, number: int, *, lag_ms: float = 2.0) -> None:
    """Write a recording of the smoke scenario; answers of every other one take 10 % longer."""
    plan = resolve("smoke", seed=1, target=str(content.root() / "targets" / "local.yaml"))
    builder = RecordingBuilder(Path("reports") / name, plan)
    builder.phases(steady=0, cooldown=20)
    for i in range(200):
        builder.request(i / 10, 0.3 * 1.1 ** (number % 2) + i / 10000)
    builder.instrument(0, 20, lag_ms=lag_ms)
    builder.close(21)
    manifest = builder.path / layout.MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"run_id": number}))


@pytest.fixture
def baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four recordings of the smoke scenario, named ``main``."""
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        record(f"r{number}", number)
    assert agentstorm("baseline", "set", "main", *(f"reports/r{n}" for n in range(4)))[0] == 0
    return tmp_path


def test_turns_cancel_a_drift() -> None:
    assert list(turns(2, 3)) == [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2)]
    assert list(turns(2, 2, interleave=False)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert list(turns(1, 2)) == [(0, 0), (0, 1)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "say what to judge by"),
        (("--aa", "--baseline-target", "x"), "leave --baseline-target out"),
        (("--baseline", "main", "--interleave"), "cannot be made in turns"),
        (("--aa", "--tolerance", "x"), "no tolerance"),
        (("--aa", "--runs", "0"), "--runs"),
    ],
)
def test_wrong_usage_is_2(options: tuple[str, ...], says: str) -> None:
    code, output = agentstorm("gate", "smoke", *options)
    assert (code, says in output) == (2, True), output


def test_a_baseline_that_is_none_or_of_another_plan_is_refused_before_anything_starts(baseline: Path) -> None:
    for arguments, says in (
        (("smoke", "--baseline", "mian"), "did you mean 'main'"),
        (("demo", "--baseline", "main"), "is a run of another plan"),
        (("smoke", "--baseline", "main", "--scale", "0.5"), "scale: 0.5 and 1.0"),
    ):
        code, output = agentstorm("gate", *arguments)
        assert (code, says in output) == (1, True), output
    assert agentstorm("gate", "nothing", "--aa")[0] == 104
    assert agentstorm("gate", "smoke", "--baseline-target", "targets/none.yaml")[0] == 104
    assert agentstorm("gate", "smoke", "--aa", "--out", "reports")[0] == 104
    assert sorted(p.name for p in Path("reports").iterdir()) == ["baselines.json", "r0", "r1", "r2", "r3"]


def test_a_name_that_no_baseline_can_have_is_refused_before_anything_starts(
    baseline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gating, "make", lambda *_, **__: pytest.fail("a run was made"))
    target = str(content.root() / "targets" / "local.yaml")
    for judged_by in (("--aa",), ("--baseline-target", target)):
        code, output = agentstorm("gate", "smoke", *judged_by, "--baseline", "a/b")
        assert (code, "'a/b' cannot be the name of a baseline" in output) == (1, True), output
    Path("reports/baselines.json").write_text("[]")
    code, output = agentstorm("gate", "smoke", "--aa", "--baseline", "new")
    assert (code, "baselines.json: cannot be read" in output) == (1, True), output


def test_stored_runs_that_can_judge_nothing_are_refused_before_anything_starts(
    baseline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gating, "make", lambda *_, **__: pytest.fail("a run was made"))
    record("late", 4, lag_ms=500.0)
    for runs in (("r0", "late"), ("r0", "r1", "r2", "late")):
        assert agentstorm("baseline", "set", "late", *(f"reports/{name}" for name in runs))[0] == 0
        code, output = agentstorm("gate", "smoke", "--baseline", "late", "--tolerance", "90%")
        assert (code, "reports/late is invalid" in output) == (98, True), output
    code, output = agentstorm("gate", "smoke", "--baseline", "main", "--metric", "recovery_time")
    assert (code, "no run of 'main' has recovery_time" in output) == (1, True), output


def test_two_targets_whose_runs_cannot_be_compared_are_refused_before_anything_starts(
    baseline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gating, "make", lambda *_, **__: pytest.fail("a run was made"))
    code, output = agentstorm("gate", "smoke", "--target", "local", "--baseline-target", "compose")
    assert (code, "kind of target: compose and processes" in output) == (1, True), output


def test_a_tolerance_tighter_than_the_baselines_noise_is_refused(baseline: Path) -> None:
    code, output = agentstorm("gate", "smoke", "--baseline", "main")
    assert code == 1
    assert "differ among themselves by more than the tolerance" in output
    assert "--tolerance response_time.p50=" in output
    assert "--metric throughput" in output
