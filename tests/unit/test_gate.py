"""What a gate refuses before it starts anything, and the order of its runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import content
from harness.cli import cli
from harness.gate import turns
from harness.planfile import resolve
from harness.recording import layout
from tests.recordings import RecordingBuilder


def agentstorm(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.fixture
def baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four recordings of the smoke scenario, 10 % apart, named ``main``."""
    monkeypatch.chdir(tmp_path)
    plan = resolve("smoke", seed=1, target=str(content.root() / "targets" / "local.yaml"))
    for number in range(4):
        builder = RecordingBuilder(Path("reports") / f"r{number}", plan)
        builder.phases(steady=0, cooldown=20)
        for i in range(200):
            builder.request(i / 10, 0.3 * 1.1 ** (number % 2) + i / 10000)
        builder.instrument(0, 20)
        builder.close(21)
        manifest = builder.path / layout.MANIFEST
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"run_id": number}))
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


def test_a_tolerance_tighter_than_the_baselines_noise_is_refused(baseline: Path) -> None:
    code, output = agentstorm("gate", "smoke", "--baseline", "main")
    assert code == 1
    assert "differ among themselves by more than the tolerance" in output
    assert "--tolerance response_time.p50=" in output
    assert "--metric throughput" in output
