"""The command line's own part: help, usage errors, and messages instead of tracebacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import content
from harness.cli import cli
from harness.errors import ExitCode


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    return result.exit_code, result.output


def test_help_names_every_command() -> None:
    code, output = run("--help")
    assert code == 0
    for command in (
        "run",
        "plan",
        "report",
        "judge",
        "heal",
        "doctor",
        "tools",
        "worker",
        "compare",
        "gate",
        "baseline",
        "history",
        "init",
        "schema",
    ):
        assert command in output


@pytest.mark.parametrize("arguments", [(), ("run",), ("nonsense",), ("run", "steady", "--scale", "x"), ("report",)])
def test_wrong_usage_is_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == ExitCode.USAGE


def test_a_directory_that_is_no_recording_is_one_message(tmp_path: Path) -> None:
    for command in ("report", "judge"):
        code, output = run(command, str(tmp_path))
        assert (code, "no recording" in output) == (1, True)
        assert "Traceback" not in output


def test_an_existing_out_directory_is_refused(tmp_path: Path) -> None:
    code, output = run("run", "smoke", "--out", str(tmp_path))
    assert code == ExitCode.BAD_PLAN
    assert "exists already" in output


def test_nothing_to_heal_is_said() -> None:
    assert run("heal") == (0, "nothing to heal\n")


def test_doctor_and_tools_look_at_this_machine() -> None:
    code, output = run("doctor")
    assert code in (0, 1)
    assert "toxiproxy" in output
    assert "toxiproxy" in run("tools")[1]


def test_a_short_name_means_the_file_of_that_kind() -> None:
    assert content.find("steady", "scenarios") == content.root() / "scenarios" / "steady.yaml"
    assert content.find("scenarios/steady.yaml", "scenarios") == content.find("steady", "scenarios")
    assert content.find("steady", "chaos") is None
    assert "chaos/demo.yaml" in content.names("chaos")


def test_doctor_names_what_is_broken_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTSTORM_TOXIPROXY", "/nope")
    monkeypatch.setenv("AGENTSTORM_STATE", "/dev/null/x")
    code, output = run("doctor")
    assert code == ExitCode.ERROR
    for words in ("/nope", "journal", "cores"):
        assert words in output
