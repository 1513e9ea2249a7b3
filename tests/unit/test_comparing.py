"""Comparing recordings, from the command line to the verdict: what is compared, refused, said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from harness import comparing
from harness.cli import cli
from harness.model.comparison import Comparison, NoiseFloor
from harness.recording import layout
from harness.runs import Run
from harness.seeds import generator
from tests.recordings import RecordingBuilder, plan

METRICS = ("--metric", "response_time.p50", "--metric", "response_time.p95")
Make = Callable[..., str]


def agentstorm(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a recording of 200 requests, a run of its own, and return its directory."""
    number = 0

    def record(slower: float = 1.0, *, hold: float = 20.0, seed: int = 1, lag_ms: float = 1.0, **edits: Any) -> str:
        nonlocal number
        number += 1
        random = generator(number, "runs")
        path = tmp_path / f"r{number}"
        builder = RecordingBuilder(path, plan(hold_s=hold, seed=seed))
        builder.phases(steady=0, cooldown=hold)
        for at, took in zip(np.arange(0, 20, 0.1), np.exp(0.1 * random.standard_normal(200)) * 0.3, strict=True):
            builder.request(float(at), float(took * slower))
        builder.instrument(0, hold, lag_ms=lag_ms)
        builder.close(hold + 1)
        manifest = json.loads((path / layout.MANIFEST).read_text())
        (path / layout.MANIFEST).write_text(json.dumps(manifest | {"run_id": number}))
        for name, value in edits.items():
            text = (path / layout.PLAN).read_text()
            assert f"{name}: " in text
            lines = [f"{name}: {value}" if line.startswith(f"{name}: ") else line for line in text.split("\n")]
            (path / layout.PLAN).write_text("\n".join(lines))
        return str(path)

    return record


def test_five_equal_runs_pass_and_slower_ones_fail(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    base, same, slow = ([make(slower, seed=i) for i in range(5)] for slower in (1.0, 1.0, 1.2))
    code, output = agentstorm("compare", *base, "--with", *same, *METRICS)
    assert (code, "PASS" in output) == (0, True), output
    one, other = ([Run.open(Path(path)) for path in side] for side in (base, same))
    doubted = comparing.compare(one, other, {}, METRICS[1::2], doubts=["a run of the candidate was sick"])
    assert (doubted.verdict, doubted.warnings) == ("inconclusive", ("a run of the candidate was sick",))
    assert doubted.why.startswith("Inconclusive, because a run that speaks against the candidate was made again.")
    out = tmp_path / "c.md"
    code, output = agentstorm("compare", *base, "--with", *slow, *METRICS, "--json", "--out", str(out))
    assert code == 99
    found = Comparison.model_validate_json(output)
    assert (found.kind, found.verdict, found.exit_code) == ("runs", "fail", 99)
    assert {change.metric for change in found.changes} == {"response_time.p50", "response_time.p95"}
    for change in found.changes:
        assert change.ratio.value == pytest.approx(1.2, rel=0.05)
        assert change.changed == "worse"
    assert "response\\_time.p95" in out.read_text()
    assert out.read_text().startswith("## ✗ Fail: steady")
    assert "## ✓ Pass: steady" in summary.read_text(encoding="utf-8")
    assert summary.read_text(encoding="utf-8").endswith(out.read_text().rstrip() + "\n\n")


def test_runs_with_one_seed_are_matched_in_whatever_order(make: Make) -> None:
    """Each seed's questions take times of their own, so far apart that only who matches them sees a change."""
    weights = [1.0, 1.5, 2.0, 3.0, 4.0]
    base = [make(weight, seed=seed) for seed, weight in enumerate(weights)]
    slow = [make(1.2 * weight, seed=seed) for seed, weight in reversed(list(enumerate(weights)))]
    code, output = agentstorm("compare", *base, "--with", *slow, *METRICS, "--json")
    found = Comparison.model_validate_json(output)
    assert (code, found.matched, found.verdict) == (99, True, "fail")
    assert [run.seed for run in found.base] == [run.seed for run in found.candidate] == [0, 1, 2, 3, 4]
    assert found.changes[0].candidate == pytest.approx([1.2 * value for value in found.changes[0].base], rel=0.08)
    assert found.changes[0].ratio.value == pytest.approx(1.2, rel=0.05)
    assert "are compared two by two" in agentstorm("compare", *base, "--with", *slow, *METRICS)[1]
    others = make(seed=9), make(seed=0)
    for candidate in ([*slow[:4], others[0]], slow[:4], [*slow[1:], others[1], others[0]]):
        found = Comparison.model_validate_json(agentstorm("compare", *base, "--with", *candidate, "--json")[1])
        assert not found.matched, "not every run has its like"


def test_aa_of_matched_runs_measures_what_differs_within_a_match(make: Make) -> None:
    twins = [make(weight, seed=seed) for _ in range(2) for seed, weight in enumerate([1.0, 2.0, 4.0])]
    code, output = agentstorm("compare", *twins, "--aa", "--json", *METRICS)
    found = NoiseFloor.model_validate_json(output)
    assert (code, found.matched, [floor.splits for floor in found.floors]) == (0, True, [4, 4])
    alone = comparing.noise([Run.open(Path(path)) for path in twins], {}, ("response_time.p50",), one_by_one=True)
    assert (alone.matched, alone.verdict) == (False, "fail"), "held against runs with seeds of their own"


def test_fewer_runs_are_inconclusive_and_say_how_many_would_tell(make: Make) -> None:
    code, output = agentstorm("compare", make(), make(), "--with", make(), make(), *METRICS)
    assert code == 75
    assert "runs of each side" in output


def test_all_that_follows_with_is_judged_however_it_is_written(make: Make) -> None:
    base, one, two = make(), make(), make()
    ways = ("--with", one, two), (f"--with={one}", two)
    told = [agentstorm("compare", base, *given, "--json", *METRICS)[1] for given in ways]
    first, second = map(Comparison.model_validate_json, told)
    assert [run.recording for run in second.candidate] == [one, two]
    assert second == first


def test_one_run_against_one_never_passes_but_says_whether_they_agree(make: Make) -> None:
    one, same, other = make(), make(seed=9), make(1.3)
    code, output = agentstorm("compare", one, "--with", same, "--json", *METRICS)
    found = Comparison.model_validate_json(output)
    assert (code, found.kind) == (75, "within-run")
    assert {change.agree for change in found.changes} == {"agree"}
    assert agentstorm("compare", one, "--with", same, "--json", *METRICS)[1] == output, (
        "the same recordings say the same"
    )
    assert "within-run only" in agentstorm("compare", one, "--with", other)[1]
    assert agentstorm("compare", one, "--with", same, "--agree", *METRICS)[0] == 0
    code, output = agentstorm("compare", one, "--with", other, "--agree", *METRICS)
    assert (code, "differ by more than the tolerance" in output) == (99, True)
    assert agentstorm("compare", one, same, "--with", other, "--agree")[0] == 1


def test_engines_and_seeds_may_differ_and_plans_may_not(make: Make) -> None:
    one, k6, longer = make(), make(engine="k6", seed=5), make(hold=25.0)
    code, output = agentstorm("compare", one, "--with", k6)
    assert (code, "engine: locust against k6" in output) == (75, True)
    code, output = agentstorm("compare", one, "--with", longer)
    assert code == 1
    assert "another plan" in output
    assert "hold" in output
    code, output = agentstorm("compare", one, "--with", longer, "--force", "--agree", *METRICS)
    assert (code, "should not be compared" in output) == (75, True)


def test_a_workload_that_was_edited_in_between_is_said(make: Make) -> None:
    one, other = make(), make()
    for path, told in ((one, "aaaa"), (other, "bbbb")):
        manifest = Path(path) / layout.MANIFEST
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"plan_hash": told}))
    assert "workload file (hash of all): aaaa against bbbb" in agentstorm("compare", one, "--with", other)[1]


def test_the_versions_that_are_compared_are_named(make: Make) -> None:
    one, other = make(), make()
    for path, version in ((one, "v1.4"), (other, "v1.5")):
        plan_of = Path(path) / layout.PLAN
        text = plan_of.read_text()
        assert "version: null" in text
        plan_of.write_text(text.replace("version: null", f"version: {version}"))
    assert "version: v1.4 against v1.5" in agentstorm("compare", one, "--with", other)[1]


def test_one_and_the_same_run_is_refused(make: Make) -> None:
    one = make()
    assert agentstorm("compare", one, "--with", one) == (1, f"agentstorm: {one} and {one} are one and the same run\n")


def test_invalid_runs_are_refused_left_out_or_never_pass(make: Make) -> None:
    base, same, late = [make() for _ in range(5)], [make() for _ in range(5)], make(lag_ms=50.0)
    code, output = agentstorm("compare", *base, "--with", *same, late, *METRICS)
    assert (code, late in output.replace("\n", ""), "invalid" in output) == (98, True, True)
    code, output = agentstorm("compare", *base, "--with", *same, late, "--skip-invalid", *METRICS)
    assert (code, "left out" in output) == (0, True)
    code, output = agentstorm("compare", *base, "--with", *same, late, "--force", *METRICS)
    assert (code, "should not be compared" in output) == (75, True)
    assert agentstorm("compare", late, "--with", *same, "--skip-invalid")[0] == 98


def test_aa_refuses_a_tolerance_tighter_than_the_noise(make: Make) -> None:
    runs = [make(slower) for slower in (1.0, 1.02, 0.99, 1.01, 1.0, 0.98)]
    code, output = agentstorm("compare", *runs, "--aa", "--json", *METRICS)
    found = NoiseFloor.model_validate_json(output)
    assert (code, found.verdict) == (0, "pass")
    assert [floor.splits for floor in found.floors] == [10, 10]
    code, output = agentstorm("compare", *runs, "--aa", *METRICS, "--tolerance", "response_time.p50=0.5%")
    assert code == 99
    assert "tighter than the noise" in output
    code, output = agentstorm("compare", *runs[:3], "--aa")
    assert (code, "needs 4" in output) == (1, True)


def test_a_metric_that_no_run_has_is_inconclusive_however_it_is_asked(make: Make) -> None:
    base, same, asked = [make() for _ in range(5)], [make() for _ in range(5)], (*METRICS, "--metric", "recovery_time")
    code, output = agentstorm("compare", *base, "--with", *same, *asked)
    assert (code, "recovery_time cannot be compared: no run has it" in output) == (75, True), output
    code, output = agentstorm("compare", *base, "--aa", *asked, "--tolerance", "20%")
    assert (code, "recovery_time has no noise floor: none of the 5 runs have it" in output) == (75, True), output
    code, output = agentstorm("compare", base[0], "--with", same[0], "--agree", *asked)
    assert (code, "may agree or differ in recovery_time" in output) == (75, True), output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "--with CANDIDATE"),
        (("--with",), "--with"),
        (("--with", "x", "--aa"), "--aa without any"),
        (("--with", "x", "--tolerance", "p95=1%"), "unknown metric 'p95'"),
        (("--with", "x", "--metric", "latency"), "unknown metric 'latency'"),
        (("--with", "x", "--out", "c.pdf"), "must end in one of"),
    ],
)
def test_wrong_usage_is_2_and_says_what_was_allowed(options: tuple[str, ...], says: str) -> None:
    code, output = agentstorm("compare", "nowhere", *options)
    assert (code, says in output) == (2, True), output


def test_what_is_no_recording_is_said(tmp_path: Path, make: Make) -> None:
    code, output = agentstorm("compare", str(tmp_path), "--with", make())
    assert (code, "no recording" in output) == (1, True)


def test_findings_of_another_version_are_made_anew(make: Make) -> None:
    one, other = make(), make()
    agentstorm("compare", one, "--with", other)
    (Path(one) / layout.FINDINGS).write_text('{"schema_version": 0}')
    assert agentstorm("compare", one, "--with", other)[0] == 75
