"""The Locust subprocess: run as a script by `harness.generator_process`, never imported by the harness.

JSON lines. The first command gives it a name and a log, the second says what this process is (`ROLES`): the only
generator, one of several workers, or their master, which makes no load.

    Commands on stdin:                                    Announcements on stdout:
    {"do": "be", "name", "log"}
    {"do": "prepare", ...}  (`engine`)  the only one      {"say": "ready", ...} | {"say": "refused", where, what, hint}
    {"do": "join", "master", ...}       a worker          {"say": "flushed", "worker", "batches", "pulse"}  every second
    {"do": "lead", ...}                 the master        {"say": "ended", "worker", "batches", "lost"}  its last line
    {"do": "begin", "start_ns", "url"}                    {"say": "broken", "what"}   the workload; it ends
                                                          {"say": "asked", "reason"}  to stop, and not by a command
    {"do": "change", "number", "at_ns", "rate", "seconds"}         a level of a search; at_ns from the load's start
    {"do": "stop", "reason", "at_once"}
    {"do": "leave"}                     to the master

The master announces what its workers do (`locust_master`); a worker hears commands from it (`messages`) and announces
here only whether it was taken (`locust_worker`).

The workload cannot disturb them: its stdin, stdout and stderr are replaced before it is imported (the latter two by
the log; before there is one, by the file that our stderr is). When stdin ends the harness is gone, and so are we,
whatever the workload is doing.
"""

# ruff: noqa: E402 - gevent patches the process when Locust is imported; our own doors are kept from before that.

from __future__ import annotations

import _thread
import os
import sys

_COMMANDS, _ANNOUNCE = os.dup(0), os.dup(1)
_start_thread, _lock = _thread.start_new_thread, _thread.allocate_lock


def _open(path: str, flags: int, *numbers: int) -> None:
    """Let the numbers stand for a file."""
    opened = os.open(path, flags, 0o644)
    for number in numbers:
        os.dup2(opened, number)
    os.close(opened)


def _log_to(path: str) -> None:
    """Write into a log from now on, and what was written so far."""
    size = os.lseek(2, 0, os.SEEK_CUR)
    before = os.pread(2, size, 0)
    os.ftruncate(2, 0)
    _open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 1, 2)
    os.write(2, before)


_open(os.devnull, os.O_RDONLY, 0)
os.dup2(2, 1)
sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # what a workload prints outlives a kill

import locust  # noqa: F401  # isort: skip
import contextlib
import importlib
import json
import logging
import signal
from typing import TYPE_CHECKING, Any

import gevent
import gevent.os
from gevent.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_GRACE_S = 2.0
logger = logging.getLogger("agentstorm")


class Commands:
    """Commands as they come. A system thread reads them, because a workload that is busy lets no greenlet run."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self.queue: Queue = Queue()
        self._wake = gevent.get_hub().loop.async_()
        self._wake.start(self._deliver)
        _start_thread(self._listen, ())

    def _deliver(self) -> None:
        lines, self._lines = self._lines, []
        for line in lines:
            self.queue.put(json.loads(line))

    def _say(self, *lines: bytes) -> None:
        self._lines.extend(lines)
        self._wake.send()

    def _listen(self) -> None:
        rest = bytearray()
        while chunk := os.read(_COMMANDS, 65536):
            rest += chunk
            if b"\n" in chunk:  # a schedule may be megabytes long
                *lines, rest = rest.split(b"\n")
                self._say(*map(bytes, lines))
        self._say(b'{"do": "stop", "reason": "the harness is gone", "at_once": true}')
        grace = _lock()
        grace.acquire()
        grace.acquire(timeout=_GRACE_S)
        os._exit(1)


def announce(say: str, **data: Any) -> None:
    """Tell the harness, if it is still there; a slow reader holds up this greenlet, not the loop."""
    line = (json.dumps({"say": say, **data}) + "\n").encode()
    with contextlib.suppress(BrokenPipeError):
        while line:
            line = line[gevent.os.nb_write(_ANNOUNCE, line) :]


def _asked(commands: Queue) -> None:
    announce("asked", reason="SIGTERM")
    commands.put({"do": "stop", "reason": "SIGTERM", "at_once": False})


def _alone(order: dict[str, Any], commands: Queue) -> int:
    from harness.traffic.locust_alone import generate  # noqa: PLC0415 - each role imports what it needs

    return generate(order, commands, announce)


def _work(order: dict[str, Any], commands: Queue) -> int:
    from harness.traffic.locust_worker import work  # noqa: PLC0415

    return work(order, commands, announce)


def _lead(order: dict[str, Any], commands: Queue) -> int:
    from harness.traffic.locust_master import lead  # noqa: PLC0415

    return lead(order, commands, announce)


ROLES: Mapping[str, Callable[[dict[str, Any], Queue], int]] = {"prepare": _alone, "join": _work, "lead": _lead}
"""What this process can be, by its first command."""


def main() -> int:
    """Serve one load; the exit code is 0 unless we failed ourselves (the log has the traceback)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's to answer
    gevent.os.make_nonblocking(_ANNOUNCE)
    try:
        commands = Commands().queue
        # What every role begins with, while nobody asks for anything yet. No more: on another host a worker first makes
        # `clock.now_ns` another clock (`locust_worker`).
        importlib.import_module("harness.traffic")
        told = commands.get()
        if told["do"] != "be":
            return 0
        _log_to(told["log"])
        name = told["name"]
        logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {name} %(levelname)s %(name)s: %(message)s")
        gevent.signal_handler(signal.SIGTERM, _asked, commands)
        order = commands.get()
        return ROLES[order["do"]](order, commands) if order["do"] in ROLES else 0
    except Exception as error:
        logger.exception("the load generator failed")
        logger.error("%s: %s", type(error).__name__, error)  # noqa: TRY400 - one line, for who asks what it died of
        return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # greenlets of the workload may still hang in a read
