"""One process of the Locust engine, seen from the harness: started, told what to do, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from harness.generator_process import GeneratorProcess

if TYPE_CHECKING:
    import queue
    from pathlib import Path

    Inbox = queue.SimpleQueue[tuple[str, dict[str, Any] | None]]

_END_S = 5.0


class Generator:
    """A process of `locust_main`, one that was started `early` or a new one. What it announces comes into `inbox` with
    its name; None when it has gone."""

    def __init__(
        self, name: str, log: Path, inbox: Inbox, *, shared_log: bool = False, early: GeneratorProcess | None = None
    ) -> None:
        self.name, self._log, self._inbox, self._shared_log = name, log, inbox, shared_log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        self._own = early or GeneratorProcess(name)
        self.process = self._own.process
        self.tell("be", name=name, log=str(log))
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
        before = "" if code is None else self._own.complaints()
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        mine: list[str] = []
        with contextlib.suppress(OSError):
            lines = _lines(self._log.read_text(errors="replace"))
            mine = [line for line in lines if f" {self.name} " in line] if self._shared_log else lines
        mine = _lines(before) or mine
        return f"({how}){f': {mine[-1]}' if mine else ''}"

    def terminate(self) -> None:
        """Ask for an end of the load (SIGTERM)."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self, *, leaving: bool = False) -> None:
        """End it now, with all it has started; one that is `leaving` by itself has a few seconds to.

        What it wrote before it was told of its log is put there.
        """
        if leaving:
            self.code()
        if said := self._own.kill():
            with contextlib.suppress(OSError), self._log.open("a") as log:
                log.write(said)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]
