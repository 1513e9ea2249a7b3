"""The leash, with real processes: whatever happens to whom, nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import psutil
import pytest

from harness import leash
from harness.clock import now_ns, sleep

if TYPE_CHECKING:
    from pathlib import Path

FAMILY = ["sh", "-c", "sleep 300 & echo $!; sleep 300 & echo $!; wait"]
STUBBORN = [sys.executable, "-S", "-c", "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(300)"]


def gone(pid: int, within_s: float = 10.0) -> bool:
    """Wait until `pid` is no running process any more."""
    deadline = now_ns() + int(within_s * 1e9)
    while now_ns() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        sleep(0.02)
    return False


def lines(path: Path, count: int, within_s: float = 10.0) -> list[str]:
    """Wait until `path` has `count` whole lines and return them."""
    deadline = now_ns() + int(within_s * 1e9)
    while now_ns() < deadline:
        if path.exists() and (text := path.read_text()).count("\n") >= count:
            return text.splitlines()
        sleep(0.02)
    raise AssertionError(f"{path} never had {count} lines")


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_exits_with_the_code_of_the_program(script: str, code: int) -> None:
    process = leash.start(["sh", "-c", script])
    assert process.wait(10) == code
    assert leash.stop(process, 1) == code


def test_output_goes_to_the_log_and_stdin_is_empty(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    process = leash.start(
        ["sh", "-c", "cat; echo out; echo err >&2; echo $AB; pwd"],
        log=log,
        env={"AB": "cd", "PATH": os.environ["PATH"]},
        cwd=tmp_path,
    )
    process.wait(10)
    leash.stop(process, 1)
    assert log.read_text().splitlines() == ["out", "err", "cd", str(tmp_path)]


def test_stdout_can_be_a_pipe(tmp_path: Path) -> None:
    process = leash.start(["sh", "-c", "echo out; echo err >&2"], log=tmp_path / "log", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read() == b"out\n"
    process.wait(10)
    leash.stop(process, 1)
    assert (tmp_path / "log").read_text() == "err\n"


def test_real_pid_is_the_programs_own(tmp_path: Path) -> None:
    process = leash.start(["sh", "-c", "echo $$; sleep 300"], log=tmp_path / "log")
    assert lines(tmp_path / "log", 1) == [str(process.real_pid)]
    assert process.real_pid != process.pid
    assert leash.stop(process, 5) == 128 + signal.SIGTERM
    assert gone(process.real_pid)


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program-here"):
        leash.start(["no-such-program-here"])


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a program")
    with pytest.raises(OSError, match=r"notes\.txt"):
        leash.start([str(tmp_path / "notes.txt")])


def test_stop_ends_the_whole_family_and_can_be_repeated(tmp_path: Path) -> None:
    process = leash.start(FAMILY, log=tmp_path / "log")
    family = [int(pid) for pid in lines(tmp_path / "log", 2)]
    assert leash.stop(process, 5) == 143
    assert leash.stop(process, 5) == 143
    assert all(gone(pid) for pid in [process.real_pid, *family])


def test_stop_kills_what_ignores_sigterm() -> None:
    process = leash.start(STUBBORN)
    sleep(0.3)
    assert leash.stop(process, 0.2) == 128 + signal.SIGKILL
    assert gone(process.real_pid)


def test_grandchildren_of_a_program_that_ended_by_itself_go_too(tmp_path: Path) -> None:
    process = leash.start(["sh", "-c", "sleep 300 & echo $!; exit 3"], log=tmp_path / "log")
    (grandchild,) = lines(tmp_path / "log", 1)
    assert process.wait(10) == 3
    assert gone(int(grandchild))
    leash.stop(process, 1)


def test_end_of_stdin_ends_the_family_even_a_stubborn_one(tmp_path: Path) -> None:
    for argv, count in ((FAMILY, 2), (STUBBORN, 0)):
        log = tmp_path / f"{count}.log"
        process = leash.start(argv, log=log)
        family = [int(pid) for pid in lines(log, count)] if count else []
        sleep(0.2)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) in (143, 137)
        assert all(gone(pid) for pid in [process.real_pid, *family])
        leash.stop(process, 1)


def test_sigkill_of_the_harness_leaves_nothing(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from harness import leash
        process = leash.start({FAMILY!r}, log=Path({str(tmp_path / "log")!r}))
        print(process.pid, process.real_pid, flush=True)
        time.sleep(300)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        pids = [int(word) for word in harness.stdout.readline().split()]
        pids += [int(pid) for pid in lines(tmp_path / "log", 2)]
        assert all(psutil.pid_exists(pid) for pid in pids)
        harness.kill()
        harness.wait()
    assert all(gone(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_sigkill_of_the_leash_kills_the_program_and_stop_sweeps_up(tmp_path: Path) -> None:
    process = leash.start(FAMILY, log=tmp_path / "log")
    family = [int(pid) for pid in lines(tmp_path / "log", 2)]
    process.kill()
    process.wait(10)
    assert gone(process.real_pid)
    assert leash.stop(process, 1) == -signal.SIGKILL
    assert all(gone(pid) for pid in family)


def test_command_works_with_any_popen() -> None:
    argv = leash.command(["sh", "-c", "sleep 300"])
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        sleep(0.3)
        (child,) = psutil.Process(process.pid).children()
        process.terminate()
        assert process.wait(10) == 143
    assert gone(child.pid)
