"""The process between the harness and a program it started; run as a script, see `harness.leash`.

    python -I -S leash_holder.py [--report FD] [--files N] [--room N] -- COMMAND ARG...

Standard library only, and little of it, because every run pays for its start several times. It

- runs the command in a process group of its own, with stdin from /dev/null;
- passes SIGTERM, SIGINT and SIGHUP on to that group;
- ends the group when its own stdin ends, which is when the harness is gone, however it went;
- once the command has ended, kills what is left of its group, so that no grandchild stays;
- exits with the command's code; 128 + N when signal N ended it; 127 or 126 when it could not be started, as shells do.

Should the holder itself be SIGKILLed, Linux kills the command too (PR_SET_PDEATHSIG); other systems cannot.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress

GRACE_S = 2.0
"""Seconds between SIGTERM and SIGKILL once the harness is gone: nobody is left who could wait longer."""
_TICK_S = 0.05
_NOT_FOUND, _NOT_RUNNABLE, _BY_SIGNAL = 127, 126, 128
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _die_with_parent() -> None:
    """Ask Linux to SIGKILL this process when its parent dies; elsewhere there is no such thing."""
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 - exists on Linux for certain, and is only needed there

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _become(argv: list[str], holder: int, report: int, room: int) -> None:
    """Turn the forked child into the command; never returns."""
    code = _NOT_RUNNABLE
    try:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        if report >= 0:
            os.write(report, f"{os.getpid()}\n".encode())
        _die_with_parent()
        if os.getppid() != holder:  # it died before the request above could count
            os._exit(_BY_SIGNAL + signal.SIGKILL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        if room:
            _make_room(room)
        os.execvp(argv[0], argv)  # noqa: S606 - this is the job
    except OSError as error:
        code = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_RUNNABLE
        text = f"{argv[0]}: {error.strerror}\n".encode()
        os.write(2, text)
        if report >= 0:
            os.write(report, text)
    finally:
        os._exit(code)


def _allow(files: int) -> None:
    """Let this process, and with it the command, have so many open files."""
    import resource  # noqa: PLC0415 - few ask for it

    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def _make_room(files: int) -> None:
    """Have this process's table of open files made for so many: a copy has room for what is open, `exec` keeps it."""
    import fcntl  # noqa: PLC0415 - as above
    import resource  # noqa: PLC0415

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY:
        _allow(max(soft, files))
    with suppress(OSError):
        os.close(fcntl.fcntl(0, fcntl.F_DUPFD, files - 1))


def _signal_group(group: int, number: int) -> None:
    # macOS says EPERM of a group that only has zombies left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _ended(child: int) -> int | None:
    """Return the exit code of `child`, None while it runs."""
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid == 0:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _BY_SIGNAL - code


def _hold(child: int, wake: int) -> int:
    """Wait for `child`, or for the end of stdin; return its exit code."""
    ticks_left = -1  # counted once stdin has ended
    while (code := _ended(child)) is None:
        if ticks_left == 0:
            _signal_group(child, signal.SIGKILL)
        watched = [0, wake] if ticks_left < 0 else [wake]
        readable, _, _ = select.select(watched, [], [], None if ticks_left < 0 else _TICK_S)
        if wake in readable:
            os.read(wake, 512)
        if 0 in readable and not os.read(0, 4096):
            _signal_group(child, signal.SIGTERM)
            ticks_left = int(GRACE_S / _TICK_S)
        elif ticks_left > 0:
            ticks_left -= 1
    return code


def main(args: list[str]) -> int:
    """Hold the command in `args` and return the code to exit with."""
    cut = args.index("--")
    options, argv = dict(zip(args[:cut:2], args[1:cut:2], strict=True)), args[cut + 1 :]
    report = int(options.get("--report", -1))
    if "--files" in options:
        _allow(int(options["--files"]))
    if report >= 0:
        os.set_inheritable(report, False)  # closed by a successful exec: that is how the other side knows

    wake, alarm = os.pipe()
    os.set_blocking(alarm, False)
    holder = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # until there is a group to pass them on to
    child = os.fork()
    if child == 0:
        _become(argv, holder, report, int(options.get("--room", 0)))
    # Also here, so that the group exists whichever of the two runs first; too late when it is the command already.
    with suppress(PermissionError, ProcessLookupError):
        os.setpgid(child, child)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in _PASSED_ON:
        signal.signal(number, lambda n, _: _signal_group(child, n))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    if report >= 0:
        os.close(report)
    code = _hold(child, wake)
    _signal_group(child, signal.SIGKILL)
    return code


if __name__ == "__main__":
    # No clean-up of an interpreter that has nothing to clean.
    os._exit(main(sys.argv[1:]))
