"""A run whose output can no longer be written goes on, and exits with the code it would have had."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli_console import Lasting
from harness.errors import ExitCode

NOTE = "standard output cannot be written any more"
RUN = """
import os
from types import SimpleNamespace
from harness import cli, cli_report, conduct
from harness.errors import ExitCode
from harness.report.live import LiveState, LiveView

def conducted(plan, out, console, metrics, early):
    with LiveView(console) as view:
        for second in range(60):
            view.update(LiveState(second, 60, "steady", messages=("half an emoji: \\ud83d",)))
    code = ExitCode(int(os.environ["ENDED"]))
    return conduct.Ended(out, code, "" if code is ExitCode.PASS else "what was left")

def judged(directory, terminal, **_):
    terminal.print("judged")
    return ExitCode.FAIL

cli._resolve = lambda **_: SimpleNamespace(faults=())
conduct.conduct, cli_report.judge_and_report = conducted, judged
cli.cli(["run", "steady"], prog_name="agentstorm")
"""


def run(ended: ExitCode, stdout: int, stderr: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        stdout=stdout, stderr=stderr, env=os.environ | {"ENDED": str(int(ended))}, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, (done.stderr or b"").decode()


def dead_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


ENDS = [(ExitCode.PASS, ExitCode.FAIL), (ExitCode.HEALING_FAILED, ExitCode.HEALING_FAILED)]


@pytest.mark.parametrize(("ended", "code"), ENDS[:1])
def test_a_full_disk_below_the_log(ended: ExitCode, code: ExitCode) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        exited, said = run(ended, full, subprocess.PIPE)
    finally:
        os.close(full)
    assert (exited, said.count(NOTE), "Traceback" in said) == (code, 1, False)


@pytest.mark.parametrize(("ended", "code", "both"), [(*ENDS[0], False), (*ENDS[1], True)])
def test_the_reader_of_the_pipe_is_gone(ended: ExitCode, code: ExitCode, both: bool) -> None:
    pipe = dead_pipe()
    try:
        exited, said = run(ended, pipe, pipe if both else subprocess.PIPE)
    finally:
        os.close(pipe)
    assert exited == code
    assert both or (said.count(NOTE), "Traceback" in said) == (1, False)


def test_what_can_be_written_is_written_and_what_an_encoding_lacks_is_shown() -> None:
    raw = io.BytesIO()
    stream = Lasting(io.TextIOWrapper(raw, encoding="latin-1"))
    stream.write("caf\u00e9 \ud83d \u2013 so")
    stream.flush()
    assert raw.getvalue() == "caf\u00e9 ? ? so".encode("latin-1")
