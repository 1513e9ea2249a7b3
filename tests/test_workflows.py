"""The workflows of `.github/workflows` call commands that exist, with options that parse, on files that are there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from harness.baselines import Baselines
from harness.cli import cli
from harness.errors import RecordingError
from harness.planfile import resolve

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ASSIGNED = re.compile(r'^\s*(\w+)="?([^"\n]*)"?\s*$', re.MULTILINE)
Step = tuple[str, str]
"""Workflow, and a `run` as a shell would see it."""


def read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(path)
    return loaded


def filled(text: str, values: dict[str, str]) -> str:
    """Return a script with its variables filled in: those known, any word for the rest."""
    text = re.sub(r"\$\(\(.*?\)\)|\$\([^)]*\)", "20260101T000000Z", text)
    text = re.sub(r'"?\$\{\w+\[@\](:[\d:]+)?\}"?', "one two", text)
    return re.sub(r"\$\{?(\w+)\}?", lambda match: values.get(match[1], "something"), text)


def scripts(path: Path) -> Iterator[str]:
    workflow = read(path)
    # ${{ inputs.name || 'default' }}: what it is where nobody gave anything.
    values = {
        name: re.sub(r"\$\{\{.*\|\| '(.*)' \}\}", r"\1", value) for name, value in workflow.get("env", {}).items()
    }
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            if "run" in step:
                script = step["run"].replace("\\\n", " ")
                local = {name: filled(value, values) for name, value in ASSIGNED.findall(script)}
                yield filled(script, values | local)


def commands(path: Path) -> Iterator[list[str]]:
    """Yield every simple command of a workflow as words."""
    for script in scripts(path):
        for line in script.splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>()")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set(";&|<>()") or word in ("then", "do", "else", "if"):
                    if words:
                        yield words
                    words = []
                else:
                    words.append(word)


def of(program: str) -> list[tuple[str, tuple[str, ...]]]:
    return sorted(
        {(path.stem, tuple(words[1:])) for path in WORKFLOWS for words in commands(path) if words[0] == program}
    )


def parsed(arguments: tuple[str, ...]) -> click.Context:
    """Have click parse a command line without running anything."""
    command: click.Command = cli
    context, rest = click.Context(cli, info_name="agentstorm"), list(arguments)
    while isinstance(command, click.Group):
        _, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        if not isinstance(command, click.Group):
            context = command.make_context(command.name, rest, parent=context)
    return context


def test_there_are_workflows() -> None:
    assert {path.stem for path in WORKFLOWS} >= {"ci", "nightly", "weekly", "gate"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_asks_for_little_and_ends(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 360
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            if "uses" in step:
                assert re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"]), "official actions, by major version"
            # What somebody types into a form must not become part of a script.
            assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_commands_put_into_the_summary_is_not_put_there_again(path: Path) -> None:
    for job in read(path)["jobs"].values():
        for script in (step.get("run", "") for step in job["steps"]):
            assert not re.search(r"cat .*GITHUB_STEP_SUMMARY", script)
            if "agentstorm report" in script:  # of runs whose comparison is there
                assert script.startswith("unset GITHUB_STEP_SUMMARY")


def test_nights_of_another_plan_do_not_come_between() -> None:
    """Runs of another scenario, target or scale cannot be compared: one dispatch would end it for ten nights."""
    steps = [step.get("with", {}) for step in read(ROOT / ".github/workflows/nightly.yml")["jobs"]["soak"]["steps"]]
    keys = [inputs[name] for inputs in steps for name in ("key", "restore-keys") if name in inputs]
    assert len(keys) == 3, "fetched and kept"
    for key in keys:
        assert key.startswith("nightly-${{ env.SCENARIO }}-${{ env.TARGET }}-${{ env.SCALE }}-")


def test_every_gate_judges_by_the_tolerance_that_was_asked_for() -> None:
    gates = [arguments for workflow, arguments in of("agentstorm") if (workflow, arguments[0]) == ("gate", "gate")]
    assert len(gates) == 3
    for arguments in gates:
        assert parsed(arguments).params["tolerance_texts"] == ("10%",)


def test_a_run_that_kept_nothing_hides_no_baseline_and_a_name_is_not_the_beginning_of_another() -> None:
    steps = read(ROOT / ".github/workflows/gate.yml")["jobs"]["gate"]["steps"]
    (save,) = [step for step in steps if step.get("uses", "").startswith("actions/cache/save@")]
    (fetch,) = [step for step in steps if step.get("uses", "").startswith("actions/cache/restore@")]
    assert save["if"].endswith("inputs.keep && hashFiles('reports/baselines.json') != ''")
    prefix = fetch["with"]["restore-keys"]
    assert save["with"]["key"].removeprefix(prefix) == "${{ github.run_id }}-${{ github.run_attempt }}"
    with pytest.raises(RecordingError):  # a name that goes on where the prefix ends
        Baselines().check(prefix.replace("${{ env.BASELINE }}", "main"))


@pytest.mark.parametrize(
    ("codes", "ends", "runs"), [("0", 0, 1), ("1 0", 0, 2), ("1 1", 2, 2), ("2 0", 2, 1), ("3 0", 2, 1)]
)
def test_only_tests_that_failed_are_tried_again(tmp_path: Path, codes: str, ends: int, runs: int) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    for path, text in (
        (tmp_path / "pyproject.toml", ""), (tmp_path / "codes", codes.replace(" ", "\n") + "\n"),
        (python, '#!/bin/sh\necho "$@" >> told\nexit $(sed -n "$(wc -l < told)p" codes)\n'),
        (tmp_path / ".venv" / ".installed", ""),
    ):  # fmt: skip
        path.write_text(text)
    python.chmod(0o755)
    command = ["make", "-f", str(ROOT / "Makefile"), "test-docker"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    told = (tmp_path / "told").read_text().splitlines()
    assert (done.returncode, len(told)) == (ends, runs), done
    assert ["--last-failed" in line for line in told] == [False, True][:runs]


@pytest.mark.parametrize("code", [0, 99, 75, 98, 1])
def test_what_drifted_is_in_the_summary_and_fails_no_night_twice(tmp_path: Path, code: int) -> None:
    steps = read(ROOT / ".github/workflows/nightly.yml")["jobs"]["soak"]["steps"]
    (step,) = [step for step in steps if "agentstorm soak" in step.get("run", "")]
    assert step["if"] == "always() && steps.run.outputs.night != ''"
    (tmp_path / "agentstorm").write_text(f'#!/bin/sh\n[ {code} = 1 ] || echo "$@ drifts"\nexit {code}\n')
    (tmp_path / "agentstorm").chmod(0o755)
    summary = tmp_path / "summary"
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "NIGHT": "a night", "GITHUB_STEP_SUMMARY": str(summary)}
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    if code == 1:  # there is no recording
        assert "::warning::" in done.stdout
        assert not summary.exists()
    else:
        assert summary.read_text() == "```\nsoak a night drifts\n```\n"
        assert done.stdout == ""


def test_the_documented_commands_are_typed_for_real_every_week() -> None:
    workflow = read(ROOT / ".github/workflows/weekly.yml")
    assert workflow["on"].keys() == {"schedule", "workflow_dispatch"}
    (step,) = [step for step in workflow["jobs"]["docs"]["steps"] if "pytest" in step.get("run", "")]
    tests = (ROOT / "tests" / "test_docs.py").read_text()
    (switch,) = step["env"]
    assert f'"{switch}" not in os.environ' in tests
    assert step["run"].split()[-3:-1] == ["tests/test_docs.py", "-k"]
    (chosen,) = re.findall(rf"def (test_\w*{step['run'].split()[-1]}\w*)", tests)
    assert chosen == "test_the_tutorial_to_the_letter"


GUIDE = (ROOT / "docs" / "how-to" / "ci-gate.md").read_text()


@pytest.mark.parametrize(
    ("codes", "ends", "runs"), [("0", 0, 1), ("99", 99, 1), ("75", 0, 1), ("98 98 0", 0, 3), ("98 98 98 0", 98, 3)]
)
def test_the_guides_step_runs_again_what_is_invalid(tmp_path: Path, codes: str, ends: int, runs: int) -> None:
    assert guided(tmp_path, codes) == (ends, runs)


def test_the_guides_step_does_not_run_again_what_died(tmp_path: Path) -> None:
    assert guided(tmp_path, "98 0", "The fault did not bite.") == (0, 2)
    assert guided(tmp_path, "98 0", "gateway died during the run: see logs/ for its last words.") == (98, 1)


def test_the_guide_installs_what_its_commands_need() -> None:
    assert "targets/local.yaml" in GUIDE
    assert re.search(r'pip install "PATH/TO/agentstorm\[reference\]"\n', GUIDE)


def guided(tmp_path: Path, codes: str, reason: str = "") -> tuple[int, int]:
    """Return the exit code of the guide's step, and how many runs it made, where these have the exit codes `codes`."""
    step = re.search(r"run: \|\n( +for try.*? esac)$", GUIDE, re.MULTILINE | re.DOTALL)
    assert step
    shutil.rmtree(tmp_path)
    (tmp_path / "reports" / "ci" / "1").mkdir(parents=True)
    (tmp_path / "reports" / "ci" / "1" / "findings.json").write_text(json.dumps({"validity": {"reasons": [reason]}}))
    (tmp_path / "agentstorm").write_text('#!/bin/sh\necho "$@" >> told\nexit $(sed -n "$(wc -l < told)p" codes)\n')
    (tmp_path / "agentstorm").chmod(0o755)
    (tmp_path / "codes").write_text(codes.replace(" ", "\n") + "\n")
    found = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-e", "-c", step[1]], cwd=tmp_path, env=found, capture_output=True, check=False)
    told = (tmp_path / "told").read_text().splitlines()
    assert [line.rsplit("/", 1)[-1] for line in told] == [str(n + 1) for n in range(len(told))]
    return done.returncode, len(told)


@pytest.mark.parametrize(("workflow", "arguments"), of("agentstorm"))
def test_every_command_of_ours_parses(workflow: str, arguments: tuple[str, ...]) -> None:
    context = parsed(arguments)
    if context.info_name in ("run", "gate"):
        for name in ("target", "baseline_target"):
            if value := context.params.get(name):
                assert (ROOT / value.removeprefix("base/")).is_file(), "the other version's files are in base/"
        target = context.params["target"]
        resolve(
            context.params["scenario"],
            context.params["chaos"],
            str(ROOT / target),
            scale=context.params["scale"],
            seed=1,
        )


SHOWN = re.findall(r"^    agentstorm (.*)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_in_the_docs_parses(line: str) -> None:
    assert len(SHOWN) >= 4
    parsed(tuple(shlex.split(line)))


@pytest.mark.parametrize(("workflow", "targets"), of("make"))
def test_every_target_of_make_is_there(workflow: str, targets: tuple[str, ...]) -> None:
    done = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_commands_are_really_found() -> None:
    found = {arguments[0] for _, arguments in of("agentstorm")}
    assert found >= {"run", "gate", "compare", "history", "soak", "heal", "doctor", "report"}
    assert {word for _, targets in of("make") for word in targets} >= {"lint", "types", "test", "test-docker"}


def test_a_wrong_option_would_be_seen() -> None:
    with pytest.raises(click.UsageError, match="no-such"):
        parsed(("run", "soak", "--no-such"))
    with pytest.raises(click.UsageError, match="nonsense"):
        parsed(("nonsense",))


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not on PATH")
def test_actionlint_has_no_objection() -> None:
    done = subprocess.run(["actionlint", *map(str, WORKFLOWS)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
