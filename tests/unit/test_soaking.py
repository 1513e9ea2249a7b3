"""Thresholds on leaks and slopes, and the command: what it says, exits with, and is held against."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.evidence import Case, evidence_for
from harness.history import remember
from harness.judge import judge
from harness.model.findings import Findings
from harness.model.soak import Slope, SoakFindings, SoakSeries
from harness.model.threshold import parse_threshold
from harness.model.verdict import Verdict
from harness.recording import layout
from harness.report import block_soak
from harness.soaking import changes
from tests.recordings import RecordingBuilder, plan
from tests.unit.test_judge import Sample, empty  # noqa: F401 - a fixture

HOLD_S = 1800.0


def series(owner: str = "container:agents", verdict: str = "flat", value: float = 0.0, **more: Any) -> SoakSeries:
    slope = Slope(value=value, low=value - 1, high=value + 1)
    told = {
        "owner": owner, "instrument": False, "what": "memory", "unit": "MiB", "metric": "memory_mib",
        "verdict": verdict, "why": "so", "worse": True if verdict in ("leak", "drift") else None, "level": 100.0,
        "slope": slope, "threshold": 2.0, "detectable": 3.0, "needed_s": None, "n": 120, "independent": 100.0,
        "window_s": 120.0,
    }  # fmt: skip
    return SoakSeries(**(told | more))


def soak(*every: SoakSeries, **more: Any) -> SoakFindings:
    told = {"length_s": 4 * 3600.0, "scale": 1.0, "verdict": "flat", "why": "x", "tested": 1, "left_out_s": 0.0}
    return SoakFindings(**(told | more), series=every)


LEAK, FLAT = series(verdict="leak", value=10), series(owner="container:cache")
UNSURE = series(owner="container:redis", verdict="inconclusive", value=1.5)
OURS = series(owner="process:harness", verdict="leak", value=99, instrument=True)
SLOWER = series(owner="service", verdict="drift", what="response_p95", unit="ms", value=30)


@pytest.mark.parametrize(
    ("found", "name", "text", "verdict"),
    [
        ([LEAK, FLAT], "leak", "count==0", Verdict.FAIL),
        ([FLAT, OURS, SLOWER], "leak", "count==0", Verdict.PASS),
        ([FLAT, UNSURE], "leak", "count==0", Verdict.INCONCLUSIVE),
        ([FLAT, UNSURE], "leak{container:cache}", "count==0", Verdict.PASS),
        ([FLAT, OURS], "leak{process:harness}", "count==0", Verdict.FAIL),
        ([FLAT], "leak{container:typo}", "count==0", Verdict.INCONCLUSIVE),
        ([SLOWER], "drift", "count==0", Verdict.FAIL),
        ([FLAT], "drift", "count==0", Verdict.INCONCLUSIVE),
        ([LEAK, FLAT], "memory_slope", "max<8MiB/h", Verdict.FAIL),
        ([LEAK, FLAT], "memory_slope", "max<10MiB/h", Verdict.INCONCLUSIVE),
        ([LEAK, FLAT], "memory_slope", "max<12MiB/h", Verdict.PASS),
        ([LEAK, FLAT], "memory_slope{container:cache}", "max<8MiB/h", Verdict.PASS),
        ([LEAK], "fds_slope", "max<8/h", Verdict.INCONCLUSIVE),
        ([LEAK, series(owner="process:new", slope=None)], "memory_slope", "max<12MiB/h", Verdict.INCONCLUSIVE),
        (None, "leak", "count==0", Verdict.INCONCLUSIVE),
        (None, "memory_slope", "max<1MiB/h", Verdict.INCONCLUSIVE),
    ],
)
def test_leaks_and_slopes_pass_fail_or_are_inconclusive(
    empty: Findings,  # noqa: F811
    found: list[SoakSeries] | None,
    name: str,
    text: str,
    verdict: Verdict,
) -> None:
    findings = empty.model_copy(update={"soak": None if found is None else soak(*found)})
    (check,) = judge(plan(thresholds={name: [text]}), findings, Sample()).checks
    assert check.verdict is verdict, check.why


def test_a_check_says_which_series_and_which_cannot_be_told() -> None:
    case = Case(parse_threshold("leak", "count==0"), Sample(), (), soak=soak(LEAK, UNSURE))
    assert evidence_for(case).said == (
        "1 of 2 series leak (memory of agents), and of 1 this length cannot tell (memory of redis)"
    )


def test_of_what_is_open_nothing_is_said_twice(empty: Findings) -> None:  # noqa: F811
    findings = empty.model_copy(update={"soak": soak(FLAT, UNSURE)})
    (check,) = judge(plan(thresholds={"leak": ["count==0"]}), findings, Sample()).checks
    assert check.why == "Inconclusive: 0 of 2 series leak, and of 1 this length cannot tell (memory of redis)."


def test_what_is_different_from_an_earlier_run() -> None:
    then = soak(series(value=1), series(owner="container:gone"), SLOWER)
    now = soak(series(value=9), series(owner="container:new"), SLOWER)
    first, second = changes(then, now)
    assert (first.name, first.steeper, first.difference.value) == ("memory of agents", True, 8)
    assert first.difference.low == pytest.approx(8 - 2**0.5)
    assert (second.name, second.steeper) == ("p95 response time", False)


# --- the command -----------------------------------------------------------------------------------------------------


Record = Callable[..., Path]


def agentstorm(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Write half an hour of a system under ``reports/``, whose memory grows by `slope` MiB/h."""
    monkeypatch.chdir(tmp_path)

    def write(night: int, slope: float = 0.0, hold_s: float = HOLD_S) -> Path:
        path = Path("reports") / f"n{night}"
        load = {"kind": "users", "users": 1, "hold": f"{hold_s:g}s"}
        builder = RecordingBuilder(path, plan(load=load, thresholds={"response_time": ["p(50)<3s"]}))
        builder.phases(steady=0, cooldown=hold_s)
        draw = np.random.default_rng(night)
        for second in np.arange(0, hold_s, 5):
            grown = 100 + slope * second / 3600 + draw.normal(0, 0.05)
            builder.sample(second, "container:agents", "anon_mib", grown)
        for due in np.arange(0, hold_s, 2):
            builder.request(due, draw.exponential(0.2))
        builder.instrument(0, hold_s)
        builder.close(hold_s + 1)
        manifest = json.loads((path / layout.MANIFEST).read_text())
        manifest |= {"run_id": night, "clock": {"monotonic_ns": 1, "utc": f"2026-11-{night:02d}T01:00:00+00:00"}}
        (path / layout.MANIFEST).write_text(json.dumps(manifest))
        remember(path, pytest.fail)
        return path

    return write


def test_a_leak_is_held_against_the_last_good_run(record: Record) -> None:
    good, bad = record(3), record(5, slope=40)
    code, text = agentstorm("soak", str(bad))
    assert code == 99, text
    assert "FAIL" in text
    assert f"against {good}" in text
    assert "memory of agents: at the end 100 MiB then, 120 MiB now" in text.replace("\u00a0", " ")
    assert "certainly steeper" in text
    code, text = agentstorm("soak", str(bad), "--json", "--against", str(good))
    told = json.loads(text)
    assert (code, told["verdict"], told["exit_code"], told["against"]) == (99, "fail", 99, str(good))
    assert told["changes"][0]["difference"]["value"] == pytest.approx(40, abs=1)
    assert told["soak"]["series"][0]["verdict"] == "leak"
    code, text = agentstorm("soak", str(good))
    assert "no earlier run" in text
    assert code in (0, 75)
    code, text = agentstorm("soak", str(good), "--against", str(good))
    assert (code, "one and the same run" in text) == (1, True)
    agentstorm("report", str(bad))
    text = (bad / "report.md").read_text()
    assert "**Did anything drift?** Yes: memory of agents" in text.replace("\u00a0", " ")
    assert 'id="soak"' in (bad / "report.html").read_text()


def test_a_short_run_says_why_it_is_not_asked_and_reports_as_before(record: Record) -> None:
    path = record(4, hold_s=20)
    agentstorm("report", str(path))
    code, text = agentstorm("soak", str(path))
    assert code == 75
    assert "loads of 30 min and more are asked" in text
    assert 'id="soak"' not in (path / "report.html").read_text()
    assert "Did anything drift" not in (path / "report.md").read_text()


def test_no_recording_is_said(tmp_path: Path) -> None:
    assert agentstorm("soak", str(tmp_path / "none"))[0] == 1


# --- words -----------------------------------------------------------------------------------------------------------


def said(findings: Findings, found: SoakFindings) -> str:
    return block_soak.said(findings.model_copy(update={"soak": found})).replace("\u00a0", " ")


def test_the_answer(empty: Findings) -> None:  # noqa: F811
    assert said(empty, soak(FLAT, why="none of 1 series moves")) == "No: none of 1 series moves."
    assert said(empty, soak(LEAK, SLOWER)) == (
        "Yes: memory of agents: so, by +10 MiB/h (+9 to +11 MiB/h); 1 more series got worse as well."
    )
    assert said(empty, soak(FLAT, UNSURE.model_copy(update={"needed_s": 7000.0}), scale=0.5)) == (
        "Nothing that is certain: 1 of 2 series cannot be told after 4 h; 1 h 57 min would do. "
        "Durations were scaled by 0.5: this says nothing about the full length."
    )
    assert block_soak.notes(empty.model_copy(update={"soak": soak(LEAK, OURS)}))[0].startswith("None of the system's: ")
