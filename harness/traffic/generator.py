"""One process of the Locust engine, seen from the harness: started, told what to do, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import queue

    Inbox = queue.SimpleQueue[tuple[str, dict[str, Any] | None]]

_MAIN = Path(__file__).with_name("locust_main.py")
_END_S = 5.0


class Generator:
    """A process of `locust_main`. What it announces comes into `inbox` with its name; None when it has gone."""

    def __init__(self, name: str, log: Path, inbox: Inbox, *, shared_log: bool = False) -> None:
        self.name, self._log, self._inbox, self._shared_log = name, log, inbox, shared_log
        log.parent.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            # -P: the folder of the script is no place to import from.
            [sys.executable, "-P", str(_MAIN), str(log), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(ValueError, OSError):  # closed by kill()
            for line in self.process.stdout:
                self._inbox.put((self.name, json.loads(line)))
        self._inbox.put((self.name, None))

    def tell(self, do: str, **data: Any) -> None:
        """Give a command. A process that has gone does not hear it; the inbox says that it has."""
        if self.process.stdin is None:
            return
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps({"do": do, **data}).encode() + b"\n")
            self.process.stdin.flush()

    def code(self) -> int | None:
        """Return the exit code of a process that is leaving; None when it does not leave."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(_END_S)
        return None

    def last_words(self) -> str:
        """Return how it ended, and its last line in the log."""
        code = self.code()
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        tail = ""
        with contextlib.suppress(OSError):
            lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
            mine = [line for line in lines if f" {self.name} " in line] if self._shared_log else lines
            tail = mine[-1] if mine else ""
        return f"({how}){f': {tail}' if tail else ''}"

    def terminate(self) -> None:
        """Ask for an end of the load (SIGTERM)."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self, *, leaving: bool = False) -> None:
        """End it now, with all it has started; one that is `leaving` by itself has a few seconds to."""
        if leaving:
            self.code()
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
