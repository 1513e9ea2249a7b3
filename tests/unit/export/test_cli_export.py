"""The commands: to a file or the terminal, and what was not measured beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import cli
from harness.errors import ExitCode


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["export", *arguments])


@pytest.mark.parametrize("form", ["prometheus-rules", "cloudwatch-alarms", "grafana"])
def test_every_form_can_be_written(form: str, recording: Path, tmp_path: Path) -> None:
    printed = run(form, str(recording))
    assert printed.exit_code == 0, printed.output
    assert "no ScaleOutRequests: it was not measured" in printed.stderr
    out = tmp_path / "out"
    assert "12 alerts" in run(form, str(recording), "--out", str(out)).output
    assert out.read_text() == printed.stdout


def test_options_reach_what_is_written(recording: Path) -> None:
    wide = json.loads(run("grafana", str(recording), "--selector", 'job="x"').stdout)
    assert 'http_requests_total{job="x"}' in wide["panels"][1]["targets"][0]["expr"]
    alarms = run(
        "cloudwatch-alarms", str(recording), "--namespace", "Own", "--dimension", "A=b", "--margin", "2"
    ).stdout
    document = json.loads(alarms)
    assert document["Parameters"]["Namespace"]["Default"] == "Own"
    assert {"Name": "A", "Value": "b"} in document["Resources"]["MetricsGone"]["Properties"]["Dimensions"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--margin", "1"), ExitCode.USAGE, "margin"),
        (("--dimension", "A"), ExitCode.USAGE, "NAME=VALUE"),
    ],
)
def test_wrong_options_are_usage_errors(arguments: tuple[str, ...], code: int, says: str, recording: Path) -> None:
    done = run("cloudwatch-alarms", str(recording), *arguments)
    assert (done.exit_code, says in done.output) == (code, True)


def test_a_directory_that_is_no_recording_is_one_message(tmp_path: Path) -> None:
    done = run("grafana", str(tmp_path))
    assert (done.exit_code, "no recording" in done.output) == (ExitCode.ERROR, True)
