"""A dead-man's switch: a small process beside the harness that undoes a run's faults when the harness cannot.

The leash ends every program of ours with us; what is not ours (a system's own Toxiproxy, containers, a system that runs
behind our proxies) is what the guardian is for. It knows what the journal knows, and heals as `agentstorm heal` does.

    with Guardian(journal.path, logs / "guardian.log") as guardian:
        ... guardian.news() now and then ...
        journal.close()
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harness.guardian_watch import ENDED

if TYPE_CHECKING:
    from types import TracebackType

_END_S = 5.0
_MOST_REPLACED = 3
"""A machine on which guardians keep dying is none to break things on."""
_ROOT = Path(__file__).resolve().parent.parent
_HEAL = [sys.executable, "-c", "from harness.cli import main; main()", "heal", "--run"]


@dataclass(frozen=True)
class News:
    """Something happened to the guardian, or by it. `subject`: ``died`` or a fault's id."""

    state: str
    """``replaced`` or ``lost`` (it died), ``took_back`` (a fault outlived its time)."""
    subject: str
    message: str


class Guardian:
    """Guards the run that writes `journal` (`journal.Journal.path`); what it does is told in `log`. OSError when it
    cannot be started."""

    def __init__(self, journal: Path, log: Path) -> None:
        self._journal, self._log = journal.resolve(), log
        self._replaced = 0
        self._lost = False
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        paths = [str(_ROOT), *(str(Path(part).resolve()) for part in sys.path if part)]
        env = os.environ | {
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
            "AGENTSTORM_STATE": str(self._journal.parent.parent),
        }
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-S", "-m", "harness.guardian_watch", str(self._journal), *_HEAL, self._journal.stem],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=env, cwd=_ROOT,
                start_new_session=True,
            )  # fmt: skip
        assert process.stdout is not None  # noqa: S101 - it was asked for
        os.set_blocking(process.stdout.fileno(), False)
        return process

    @property
    def pid(self) -> int:
        """Of the process that guards now."""
        return self._process.pid

    @property
    def lost(self) -> bool:
        """Whether nobody guards the run any more."""
        return self._lost

    def news(self) -> list[News]:
        """Return what has happened since the last call. One that died is replaced: the next one reads the same journal
        and knows as much."""
        if self._lost:
            return []
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        said = (self._process.stdout.read() or b"").decode(errors="replace").split()
        found = [
            News("took_back", fault, f"{fault} was still on long after its end; the guardian took it back")
            for fault in dict.fromkeys(said)
        ]
        if self._process.poll() is not None:
            found.append(self._replace())
        return found

    def _replace(self) -> News:
        code = self._process.returncode
        self._leave()
        self._replaced += 1
        why = f"the guardian ended (exit code {code})"
        if self._replaced <= _MOST_REPLACED:
            try:
                self._process = self._start()
            except OSError as error:
                why += f" and another could not be started: {error}"
            else:
                return News("replaced", "died", f"{why}; another took its place")
        self._lost = True
        return News("lost", "died", f"{why}; nobody would heal if this run died too, so it is ended")

    def _leave(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Let it go. When the journal is still there, something is left, and it goes on trying to undo that."""
        ended = not self._journal.exists()
        if ended and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(ENDED)
        self._leave()
        if ended:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
