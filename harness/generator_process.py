"""A process of the Locust engine, before it has anything to do: started by whoever needs one, and for a run before its
plan is read. To import Locust takes as long as that does, so both are done side by side. Imports the standard library
alone, or it would be no use."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import Self

_MAIN = Path(__file__).with_name("traffic") / "locust_main.py"


class GeneratorProcess:
    """`traffic.locust_main`: reads no file of the user's before it is told to, and ends when its stdin does."""

    def __init__(self, name: str = "") -> None:
        """`name`, if it has one yet, is for whoever lists processes: it is told its name by its first command."""
        self._complaints = TemporaryFile()  # noqa: SIM115 - as long as the process
        self._said = ""
        self.process = subprocess.Popen(
            # -P: the folder of the script is no place to import from.
            [sys.executable, "-P", str(_MAIN), *filter(None, [name])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )

    def complaints(self) -> str:
        """Return, of one that ended before it was told of a log, what it wrote; it puts that there itself otherwise."""
        if not self._complaints.closed:
            self._complaints.seek(0)
            self._said = self._complaints.read().decode(errors="replace")
        return self._said

    def kill(self) -> str:
        """End it now, with all it has started, and return its complaints; "" when called again."""
        end_now(self.process)
        if self._complaints.closed:
            return ""
        said = self.complaints()
        self._complaints.close()
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def end_now(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with its whole group, which it leads, and close our ends of its pipes. May be called again."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
