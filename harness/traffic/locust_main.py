"""The Locust subprocess: run as a script by `harness.traffic.engine`, never imported by the harness.

JSON lines. Commands on stdin:                       Announcements on stdout:
    {"do": "prepare", ...}  (`engine._order`)            {"say": "ready", ...} | {"say": "refused", where, what, hint}
    {"do": "begin", "start_ns", "url"}                   {"say": "flushed", "batches", "pulse"}   every second
    {"do": "stop", "reason", "at_once"}                  {"say": "broken", "what"}                the workload is
                                                         {"say": "ended", "batches", "lost"}      the last line

The workload cannot disturb them: its stdin, stdout and stderr are replaced before it is imported (the latter two by
the log). When stdin ends the harness is gone, and so are we, whatever the workload is doing.
"""

# ruff: noqa: E402 - gevent patches the process when Locust is imported; our own doors are kept from before that.

from __future__ import annotations

import _thread
import os
import sys

_COMMANDS, _ANNOUNCE = os.dup(0), os.dup(1)
_start_thread, _lock = _thread.start_new_thread, _thread.allocate_lock


def _redirect(log: str) -> None:
    sink, null = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), os.open(os.devnull, os.O_RDONLY)
    for number, fd in ((0, null), (1, sink), (2, sink)):
        os.dup2(fd, number)
    os.close(sink)
    os.close(null)


_redirect(sys.argv[1])

import locust  # isort: skip
import contextlib
import gc
import json
import logging
import resource
import signal
from typing import Any

import gevent
import gevent.os
from gevent.queue import Queue

from harness.traffic.locust_run import Run
from harness.traffic.locust_workload import WorkloadError

_GRACE_S = 2.0
_NICE = -5
_FILES = 65536
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


def _privileges() -> int:
    """Ask for what helps a generator, take what is given, and return the nice value that came of it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        files = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    return os.getpriority(os.PRIO_PROCESS, 0)


def _serve() -> None:
    commands = Commands()
    gevent.signal_handler(signal.SIGTERM, commands.queue.put, {"do": "stop", "reason": "SIGTERM", "at_once": False})
    order = commands.queue.get()
    if order["do"] != "prepare":
        return
    try:
        run = Run(order, announce)
    except WorkloadError as error:
        announce("refused", where=error.where, what=error.what, hint=error.hint)
        return
    nice = _privileges()
    gc.collect()
    gc.freeze()  # a full collection of all that Locust imports would stop the load for 0.1 s
    announce("ready", pid=os.getpid(), nice=nice, locust=locust.__version__, user_classes=run.user_classes)
    load = None
    while load is None or not load.dead:
        command = commands.queue.get()
        if command["do"] == "begin":
            load = gevent.spawn(run.run, command["start_ns"], command["url"])
            load.link(lambda _: commands.queue.put({"do": "leave"}))
        elif command["do"] == "stop":
            logger.warning("stop: %s", command["reason"])
            if load is None:
                return
            run.stop(at_once=command["at_once"])
    load.get()


def main() -> int:
    """Serve one load; the exit code is 0 unless we failed ourselves (the log has the traceback)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's to answer
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    gevent.os.make_nonblocking(_ANNOUNCE)
    try:
        _serve()
    except Exception:
        logger.exception("the load generator failed")
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # greenlets of the workload may still hang in a read
