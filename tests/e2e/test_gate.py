"""A real gate: runs in turns on the local target, compared, named, written down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.model.comparison import Comparison, NoiseFloor
from harness.recording.reader import Recording
from tests.e2e.runs import agentstorm

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_an_aa_gate_measures_the_noise_and_keeps_its_runs(tmp_path: Path) -> None:
    done = agentstorm(
        "gate", "smoke", "--aa", "--baseline", "main", "--runs", "2", "--scale", "0.3", "--seed", "3", "--spare", "4",
        "--out", "reports/aa", cwd=tmp_path,
    )  # fmt: skip
    folder = tmp_path / "reports" / "aa"
    assert done.returncode in (0, 75, 99), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    noise = NoiseFloor.model_validate_json((folder / "noise.json").read_bytes())
    compared = Comparison.model_validate_json((folder / "comparison.json").read_bytes())
    assert done.returncode == (99 if compared.verdict == "fail" else noise.exit_code)
    assert len(noise.base) == 4
    assert [run.seed for run in compared.base] == [3, 4] == [run.seed for run in compared.candidate]
    assert compared.verdict != "pass", "two runs of each side are too few"
    for one in ("noise", "comparison"):
        assert (folder / f"{one}.md").read_text().startswith("## ")
    runs = [Recording.open(run.recording) for run in (*compared.base, *compared.candidate)]
    order = sorted(runs, key=lambda recording: recording.manifest["clock"]["utc"])
    assert [recording.path.name.split("-")[0] for recording in order] == ["a", "b", "b", "a"]
    assert len(json.loads((tmp_path / "reports" / "baselines.json").read_text())["main"]) == 4
    made = len(list(folder.glob("*/manifest.json")))
    assert 4 <= made <= 8, "those a busy machine spoilt were made again, and are kept"
    assert f"on reference-local: {made} runs" in agentstorm("history", cwd=tmp_path).stdout
