"""The process between the harness and k6: run as a script by `k6_engine`, never imported by the harness.

It speaks as the Locust subprocess does (`locust_main`), JSON lines on stdin and stdout, and adds one word of its own:
``{"say": "failed", "what"}``, k6 died. It is a process of its own so that reading what k6 writes, some kilobytes a
request, disturbs neither probes nor faults. When stdin ends the harness is gone; k6 is on a leash and goes with us.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import tempfile
import traceback
from pathlib import Path
from typing import Any

from harness.clock import NS_PER_S, now_ns
from harness.errors import TrafficFailed
from harness.traffic import privileges
from harness.traffic.k6_run import Run

_COMMANDS, _ANNOUNCE = 0, 1
_FLUSH_NS = NS_PER_S
_WAIT_S = 0.05


def announce(say: str, **data: Any) -> None:
    """Tell the harness, if it is still there."""
    with contextlib.suppress(BrokenPipeError):
        os.write(_ANNOUNCE, (json.dumps({"say": say, **data}) + "\n").encode())


class Commands:
    """Commands as they come. `gone` once the harness is."""

    def __init__(self) -> None:
        self._rest = b""
        self.gone = False

    def read(self) -> list[dict[str, Any]]:
        """Return the commands that have come; call when there is something to read."""
        chunk = os.read(_COMMANDS, 65536)
        self.gone = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]


class Server:
    """Serves one load."""

    def __init__(self, commands: Commands, run: Run, given: dict[str, int | str]) -> None:
        self._commands, self._run, self._given = commands, run, given
        self._ready = self._begun = False
        self._flush_ns = 0
        self.on = {
            "begin": lambda command: self._begin(command["start_ns"], command["url"]),
            "stop": lambda command: run.stop(command["reason"], at_once=command["at_once"]),
        }

    def _begin(self, start_ns: int, url: str) -> None:
        self._run.begin(start_ns, url)
        self._begun, self._flush_ns = True, start_ns + _FLUSH_NS

    def serve(self) -> None:
        """Work until k6 has closed its output."""
        while True:
            doors = [self._run.output] if self._commands.gone else [_COMMANDS, self._run.output]
            readable, _, _ = select.select(doors, [], [], _WAIT_S)
            if self._run.output in readable:
                chunk = os.read(self._run.output, 1 << 20)
                if not chunk:
                    return
                self._run.feed(chunk)
            if _COMMANDS in readable:
                for command in self._commands.read():
                    self.on[command["do"]](command)
                if self._commands.gone:
                    self._run.stop("the harness is gone", at_once=True)
            self._by_the_clock()

    def _by_the_clock(self) -> None:
        about = self._run.control.about
        if about is not None and not self._ready:
            self._ready = True
            announce("ready", pid=self._run.pid, about=about, uncertainty_ns=self._run.uncertainty_ns, **self._given)
        if self._begun and now_ns() >= self._flush_ns:
            self._flush_ns = max(self._flush_ns + _FLUSH_NS, now_ns())
            self._run.flush()
        self._run.step()


def _asked(run: Run) -> None:
    announce("asked", reason="SIGTERM")
    run.stop("SIGTERM", at_once=False)


def main() -> int:
    """Serve one load; the exit code is 0 unless it failed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's to answer
    commands = Commands()
    orders: list[dict[str, Any]] = []
    while not orders and not commands.gone:  # the times of many users are longer than what is read at once
        orders = commands.read()
    if not orders or orders[0]["do"] != "prepare":
        return 1
    given = privileges.ask()  # k6 has threads for every processor
    with tempfile.TemporaryDirectory(prefix="agentstorm-k6-") as folder:
        run = Run(orders[0], Path(folder), announce)
        signal.signal(signal.SIGTERM, lambda *_: _asked(run))
        problem = ""
        for work in (Server(commands, run, given).serve, run.close):  # whatever happened, what is known is written
            try:
                work()
            except TrafficFailed as error:
                problem = problem or str(error)
            except OSError as error:  # a full disk
                problem = problem or f"its recording cannot be written: {error}"
            except Exception as error:  # noqa: BLE001 - a mistake of ours: what is known is written even so
                traceback.print_exc()
                problem = problem or f"its keeper failed: {type(error).__name__}: {error}"
        if problem:
            announce("failed", what=problem)
    return 1 if problem or commands.gone else 0


if __name__ == "__main__":
    raise SystemExit(main())
