"""What a gate refuses before it starts anything, the order of its runs, and what becomes of those that are invalid."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness import content, gate, gating
from harness.cli import cli
from harness.conduct import Ended
from harness.errors import ExitCode, GateStopped, PlanError
from harness.gate import turns
from harness.model.comparison import Comparison
from harness.planfile import resolve
from harness.recording import layout
from harness.store import Store
from tests.recordings import RecordingBuilder


def agentstorm(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    assert "Traceback" not in result.output
    return result.exit_code, result.output


Story = Callable[[RecordingBuilder], object]
LOCAL = str(content.root() / "targets" / "local.yaml")


def record(name: str, number: int, *, lag_ms: float = 2.0, story: Story = lambda _: None, seed: int = 1) -> None:
    """Write a recording of the smoke scenario; answers of every other one take 10 % longer."""
    plan = resolve("smoke", seed=seed, target=LOCAL)
    builder = RecordingBuilder(Path("reports") / name, plan)
    story(builder)
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


@pytest.mark.parametrize("twice", [False, True])
def test_runs_against_stored_ones_are_made_with_their_seeds(
    baseline: Path, monkeypatch: pytest.MonkeyPatch, *, twice: bool
) -> None:
    """Every other seed's answers take 10 % longer, which is no noise: both sides are asked the same."""
    asked: list[list[int]] = []

    def made(_: object, seeds: Sequence[int], *__: object, **___: object) -> None:
        asked.append(list(seeds))
        raise GateStopped("enough", ExitCode.ABORTED)

    monkeypatch.setattr(gating, "make", made)
    every = range(8 if twice else 4)
    for number in every:
        record(f"s{number}", 8 * number + number % 4, seed=50 + number % 4)
    assert agentstorm("baseline", "set", "seeds", *(f"reports/s{number}" for number in every))[0] == 0
    ask = ("gate", "smoke", "--baseline", "seeds", "--tolerance", "3%", "--runs")
    for options in (("4",), ("4", "--seed", "50")):
        assert agentstorm(*ask, *options)[1].endswith("enough\n")
    assert asked == [[50, 51, 52, 53]] * 2
    for options in (("5",), ("4", "--seed", "51")):
        code, output = agentstorm(*ask, *options)
        assert (code, "differ among themselves" in output) == (1, True), "held one by one against other questions"


def test_a_tolerance_tighter_than_the_baselines_noise_is_refused(baseline: Path) -> None:
    code, output = agentstorm("gate", "smoke", "--baseline", "main")
    assert code == 1
    assert "differ among themselves by more than the tolerance" in output
    assert "--tolerance response_time.p50=" in output
    assert "--metric throughput" in output


# --- runs that are invalid


def died(service: str, *, ours: bool = False) -> Story:
    said = {"state": "died", "code": 1, "ours": ours, "message": f"{service} ended with code 1"}
    return lambda builder: builder.event(9, "system", service, **said)


def sick(builder: RecordingBuilder) -> None:
    check = {
        "threshold": "request_failed: rate<0.05",
        "observed": 0.4,
        "low": 0.3,
        "high": 0.5,
        "n": 100,
        "holds": False,
    }
    builder.event(9, "steady", "before", experiment="x", state="sick", checks=[{**check, "state": "sick"}])


Made = Callable[..., tuple[int, str]]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Make a gate whose runs are recordings that tell a story, by their names."""
    monkeypatch.chdir(tmp_path)
    stories: dict[str, Story] = {}
    number = 0

    def conduct(_plan: object, folder: Path, _console: object) -> Ended:
        nonlocal number
        number += 2
        record(str(folder.relative_to("reports")), number, story=stories.get(folder.name, lambda _: None))
        return Ended(folder.resolve(), ExitCode.PASS)

    def run(*options: str, **told: Any) -> tuple[int, str]:
        stories.update({name.replace("_", "-"): story for name, story in told.items()})
        options = options or ("--baseline-target", LOCAL, "--runs", "1")
        return agentstorm("gate", "smoke", "--target", LOCAL, "--out", "reports/gate", "--seed", "1", *options)

    monkeypatch.setattr(gate, "conduct", conduct)
    monkeypatch.setattr(gate, "write_all", lambda *_: None)
    return run


def test_a_candidate_that_dies_fails_and_is_not_run_until_it_survives(made: Made) -> None:
    code, output = made(candidate_1=died("gateway"))
    assert (code, "reports/gate/candidate-1: gateway died during the run" in output) == (99, True), output
    assert "gateway ended with code 1" in output
    assert not Path("reports/gate/candidate-1-try2").exists()


@pytest.mark.parametrize(("name", "options"), [("base_1", ()), ("a_1", ("--aa", "--runs", "1"))])
def test_a_system_that_dies_and_is_not_judged_leaves_nothing_to_judge_by(
    made: Made, name: str, options: tuple[str, ...]
) -> None:
    code, output = made(*options, **{name: died("gateway")})
    assert (code, "gateway died during the run, and with it what there was to judge by" in output) == (98, True), output


def test_a_run_whose_fault_proxy_died_is_made_again_and_listed(made: Made) -> None:
    code, output = made(candidate_1=died("toxiproxy", ours=True))
    assert code == 75, output
    found = Comparison.model_validate_json(Path("reports/gate/comparison.json").read_bytes())
    (left,) = found.left_out
    assert left.recording.endswith("candidate-1")
    assert left.reason.startswith("made again: toxiproxy died during the run")
    assert found.warnings == ()
    assert "left out" in output


def test_a_candidate_that_was_sick_is_made_again_and_warned_of(made: Made) -> None:
    code, output = made(base_1=sick, candidate_1=sick)
    assert code == 75, output
    found = Comparison.model_validate_json(Path("reports/gate/comparison.json").read_bytes())
    assert [left.recording.rsplit("/", 1)[1] for left in found.left_out] == ["base-1", "candidate-1"]
    (warning,) = found.warnings
    assert "candidate-1: nothing was wrong but the system: The system was sick" in warning


def test_a_gate_says_where_its_runs_are_from_here(made: Made, tmp_path: Path) -> None:
    code, output = made("--baseline-target", LOCAL, "--runs", "1", candidate_1=sick)
    assert code == 75, output
    assert "candidate    1 run: reports/gate/candidate-1-try2" in output
    assert "left out     reports/gate/candidate-1: made again" in output
    assert "warning      reports/gate/candidate-1: nothing was wrong" in output
    assert str(tmp_path) not in output
    assert str(tmp_path) not in Path("reports/gate/comparison.md").read_text()
    found = Comparison.model_validate_json(Path("reports/gate/comparison.json").read_bytes())
    assert found.base[0].recording == str(tmp_path / "reports/gate/base-1"), "data lead there from everywhere"
    for lists in (("baseline", "set", "far", str(tmp_path / "reports/gate/base-1")), ("baseline", "list")):
        assert str(tmp_path) not in agentstorm(*lists)[1]


def test_a_gate_of_two_targets_says_once_that_history_leaves_it_out_and_why(made: Made) -> None:
    said = (
        "kept out of `agentstorm history`: they are of two targets, and those of one could pass for nights of the other"
    )
    output = made()[1]
    assert output.count(said) == 1
    assert said not in made("--aa", "--runs", "1", "--out", "reports/aa")[1]
    _, output = made("--baseline-target", LOCAL, "--runs", "1", "--out", "reports/died", candidate_1=died("gateway"))
    assert output.count(said) == 1, "what was recorded stays, and stays out"


def test_runs_of_two_systems_are_nights_of_neither(made: Made) -> None:
    assert made()[0] == 75
    assert Store().nights() == []
    assert "0 runs" in agentstorm("history", "--rebuild")[1]
    assert made("--aa", "--runs", "1", "--out", "reports/aa")[0] == 75
    assert [night.recording for night in Store().nights()] == ["aa/a-1", "aa/b-1"]


@pytest.mark.parametrize("options", [("--baseline-target", LOCAL), ("--aa",)])
@pytest.mark.parametrize("error", [PlanError("no such task"), GateStopped("no", ExitCode.ERROR), KeyboardInterrupt()])
def test_a_gate_that_made_no_run_leaves_no_folder(
    made: Made, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], error: BaseException
) -> None:
    def refuse(_plan: object, folder: Path, _console: object) -> Ended:
        folder.mkdir(parents=True)
        folder.rmdir()
        raise error

    monkeypatch.setattr(gate, "conduct", refuse)
    assert made(*options)[0] in (1, 104, 105)
    assert not Path("reports/gate").exists()
