"""The command line's own part: help, usage errors, and messages instead of tracebacks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import content
from harness.cli import cli
from harness.doctor import examine
from harness.errors import ExitCode
from harness.generator_process import GeneratorProcess
from harness.report.languages import LANGUAGES
from tests.recordings import Script, plan, storm


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
        "export",
        "init",
        "schema",
    ):
        assert command in output


@pytest.mark.parametrize(
    "arguments",
    [(), ("run",), ("nonsense",), ("run", "steady", "--scale", "x"), ("report",), ("report", ".", "--lang", "fi")],
)
def test_wrong_usage_is_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == ExitCode.USAGE


def test_a_directory_that_is_no_recording_is_one_message(tmp_path: Path) -> None:
    for command in ("report", "judge"):
        code, output = run(command, str(tmp_path))
        assert (code, "no recording" in output) == (1, True)
        assert "Traceback" not in output


def test_a_report_is_written_in_the_language_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the store of runs goes
    path = storm(tmp_path / "run", Script(outages=0, rate=2, canary_rate=1), plan(hold_s=20, warmup_s=5)).path
    code, _ = run("report", str(path), "--lang", "sv")
    page = (path / "report.html").read_text()
    assert code == 0
    assert '<html lang="sv">' in page
    assert "<h1>Otillräckligt underlag</h1>" in page


def test_the_command_line_offers_the_languages_there_are() -> None:
    assert list(LANGUAGES) == ["en", "sv"]  # cli.py names them itself: it imports what it needs when it runs


def test_an_existing_out_directory_is_refused(tmp_path: Path) -> None:
    code, output = run("run", "smoke", "--out", str(tmp_path))
    assert code == ExitCode.BAD_PLAN
    assert "exists already" in output


@pytest.mark.parametrize("command", ["run", "plan"])
def test_of_a_plan_that_is_none_no_process_is_left(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[GeneratorProcess] = []

    def start() -> GeneratorProcess:
        started.append(GeneratorProcess())
        return started[-1]

    monkeypatch.setattr("harness.cli.GeneratorProcess", start)
    assert run(command, "nosuchscenario")[0] == ExitCode.BAD_PLAN
    assert [early.process.returncode for early in started] == [-signal.SIGKILL]
    assert run(command, "nosuchscenario", "--engine", "k6")[0] == ExitCode.BAD_PLAN
    assert len(started) == 1, "k6 is no Locust"


def test_metrics_on_a_port_in_use_end_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, env in ((("--metrics-port", port), {}), ((), {"AGENTSTORM_METRICS_PORT": port})):
            done = CliRunner(env=env).invoke(cli, ["run", "smoke", "--out", str(tmp_path / "r"), *arguments])
            assert done.exit_code == ExitCode.BAD_PLAN
            assert f"cannot listen on 127.0.0.1:{port}" in done.output.replace("\n", " ")
            assert not (tmp_path / "r").exists()


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


def test_doctor_sends_nobody_to_a_strangers_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = {finding.what: finding.advice for finding in examine()}
    assert f"pip install '{content.root()}[reference]'" in here["reference"]
    monkeypatch.setattr(content, "root", lambda: tmp_path)
    installed = {finding.what: finding.advice for finding in examine()}
    for what in ("locust", "reference"):
        assert "PATH/TO/agentstorm" in installed[what]


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness", "plan", "smoke"], stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert done.stderr == b""
