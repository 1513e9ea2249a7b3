"""Starting programs that cannot outlive the harness, even when it is SIGKILLed.

Between the harness and each program sits a small process (`harness.leash_holder`) that ends the program when its
own stdin ends, and the kernel ends that when the harness is gone. Works on every POSIX system.

    process = start(["redis-server", "--port", "6379"], log=logs / "redis.log")
    ...
    code = stop(process, within_s=5)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HOLDER = str(Path(__file__).with_name("leash_holder.py"))
_SWEEP_S = 5.0


def command(argv: Sequence[str], *, report: int | None = None, files: int | None = None, room: int = 0) -> list[str]:
    """Return the command that runs `argv` on a leash: to be started with ``stdin=PIPE`` by whoever holds it.

    Its exit code is that of `argv`, as a shell gives it: 128 + N after signal N, 127 when there is no such program.
    SIGTERM and SIGINT sent to it reach `argv`'s whole process group; closing its stdin ends that group. It has
    `argv`'s stdout and stderr; `argv`'s stdin is /dev/null. With `report`, an inherited file descriptor, it writes
    the real process's id there, then (on the next line) the reason if that could not be started. With `files`, that is
    how many open files `argv` is allowed, and not what we are. With `room`, it is allowed at least so many, and the
    table for them is made before it starts (`open_files.make_room` says why).
    """
    options = [] if report is None else ["--report", str(report)]
    options += [] if files is None else ["--files", str(files)]
    options += ["--room", str(room)] if room else []
    return [sys.executable, "-I", "-S", _HOLDER, *options, "--", *argv]


class Leashed(subprocess.Popen[bytes]):
    """A program on a leash. `pid` is the leash's, `real_pid` the program's own, which is also its process group."""

    real_pid: int = -1


def start(
    argv: Sequence[str],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: int | None = None,
    files: int | None = None,
    room: int = 0,
) -> Leashed:
    """Start `argv` on a leash and return it running, in a session of its own (Ctrl-C at the terminal is ours alone).

    stdout and stderr are appended to `log`; with `stdout` (``subprocess.PIPE``) only stderr is; with neither they
    are dropped. `files` and `room` as in `command`. FileNotFoundError (no such program) or OSError names the program
    that cannot be started.
    """
    read, write = os.pipe()
    try:
        with contextlib.ExitStack() as stack:
            sink: IO[bytes] | int = subprocess.DEVNULL
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                sink = stack.enter_context(log.open("ab"))
            process = Leashed(
                command(argv, report=write, files=files, room=room),
                stdin=subprocess.PIPE,
                stdout=sink if stdout is None else stdout,
                stderr=sink,
                env=env,
                cwd=cwd,
                pass_fds=(write,),
                start_new_session=True,
            )
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    with os.fdopen(read, "rb") as report:
        pid, _, problem = report.read().decode(errors="replace").partition("\n")
    if pid.isdigit():
        process.real_pid = int(pid)
    if problem or process.real_pid < 0:
        failure = FileNotFoundError if process.wait() == 127 else OSError
        stop(process, 0)
        raise failure(problem.strip() or f"{argv[0]}: cannot be started")
    return process


def _kill_group(process: Leashed) -> None:
    if process.real_pid > 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.real_pid, signal.SIGKILL)


def stop(process: Leashed, within_s: float) -> int:
    """End the program (SIGTERM; SIGKILL to its whole group after `within_s` seconds) and return its exit code.

    Safe to call again, and on a program that has already ended.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            try:
                process.wait(_SWEEP_S)
            except subprocess.TimeoutExpired:
                process.kill()  # a stopped (SIGSTOP) leash cannot react
                process.wait()
    if process.returncode < 0:  # the leash itself was killed, so nobody swept up after the program
        _kill_group(process)
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    if process.stdout is not None:
        process.stdout.close()
    return process.returncode
