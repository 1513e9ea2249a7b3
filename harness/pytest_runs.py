"""Runs for tests: each in a process of its own, one at a time on this machine, whoever asks.

A run is ``python -m harness run ...`` on a leash, in a session of its own (decision 37): Locust, signal handlers and
the guardian are as they are on a command line, whatever the test process has imported, patched or forked. A lock on a
file, held from before a run starts until it has healed, keeps those of xdist's workers and of other sessions apart.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import signal
import sys
from contextlib import contextmanager, suppress
from itertools import count
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Any, Literal

from harness import leash
from harness.errors import AgentstormError, ExitCode
from harness.journal import state_dir
from harness.pytest_result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.pytest_plugin import Notes

_HEALING_S = 60.0
"""How long a run that was interrupted may take to heal, before it is left to its guardian."""
_JUDGED = (ExitCode.PASS, ExitCode.FAIL, ExitCode.INCONCLUSIVE, ExitCode.INVALID)


class RunFailed(AgentstormError):
    """A run that did not go to its end: its plan is wrong, it was aborted or interrupted, something did not come up."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class Agentstorm:
    """What the fixture `agentstorm` is. Paths count from pytest's root directory."""

    def __init__(self, root: Path, folder: Path, notes: Notes) -> None:
        self._root, self.folder, self._notes = root, folder, notes
        self._opened: dict[Path, Result] = {}

    def run(  # noqa: PLR0913 - the options of the command line
        self,
        scenario: str,
        *,
        chaos: str | Sequence[str] = (),
        target: str | None = None,
        scale: float | None = None,
        seed: int | None = None,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - as on the command line
        options: Sequence[str] = (),
        scope: Literal["function", "session"] = "function",
        allow_invalid: bool = False,
    ) -> Result:
        """Make a run and return what it found; the arguments are those of ``agentstorm run``, and `options` any others
        of it (``["--workers", "2"]``).

        With `scope` "session" the same request is run once in a test session, whichever test or worker of xdist asks
        first. InvalidRun: the run says nothing, unless `allow_invalid`. RunFailed: it did not go to its end.
        """
        __tracebackhide__ = True
        asked = ["run", scenario]
        for name in [chaos] if isinstance(chaos, str) else chaos:
            asked += ["--chaos", name]
        for option, value in (("--target", target), ("--scale", scale), ("--seed", seed)):
            asked += [] if value is None else [option, f"{value}"]
        for key, value in (set or {}).items():
            asked += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
        asked += options
        name = (
            f"shared-{_word(scenario)}-{_hash(json.dumps(asked))}" if scope == "session" else _word(self._notes.nodeid)
        )
        with _alone():
            self.folder.mkdir(parents=True, exist_ok=True)
            done = next(self.folder.glob(f"{name}*.exit"), None) if scope == "session" else None
            folder = done.with_suffix("") if done else self._free(name)
            code = int(done.read_text(encoding="utf-8")) if done else self._make(asked, folder)
        if code not in _JUDGED:
            raise self._failed(folder, code)
        return self._open(folder, code, allow_invalid=allow_invalid)

    def open(self, recording: str | Path, *, allow_invalid: bool = False) -> Result:
        """Return what an existing recording says. RecordingError: it is none. InvalidRun: as for `run`."""
        __tracebackhide__ = True
        return self._open(self._root / recording, None, allow_invalid=allow_invalid)

    def _open(self, folder: Path, code: int | None, *, allow_invalid: bool) -> Result:
        __tracebackhide__ = True
        if folder not in self._opened:
            self._opened[folder] = Result(folder, self._root, self._notes, code)
        result = self._opened[folder]
        result.note()
        if not allow_invalid:
            result.assert_valid()
        return result

    def _free(self, name: str) -> Path:
        """Return a folder that is not there yet; nobody else makes one while the lock is held."""
        places = (self.folder / (name if number == 1 else f"{name}_{number}") for number in count(1))
        return next(path for path in places if not path.exists() and not _beside(path, "log").exists())

    def _make(self, asked: Sequence[str], folder: Path) -> int:
        argv = [sys.executable, "-P", "-m", "harness", *asked, "--out", str(folder)]
        process = leash.start(argv, log=_beside(folder, "log"), cwd=self._root)
        try:
            code = process.wait()
        except BaseException:  # Ctrl-C, or a time-out of the test: the run ends in order and heals first
            process.send_signal(signal.SIGINT)
            with suppress(TimeoutExpired):
                process.wait(_HEALING_S)
            raise
        finally:
            if process.stdin:
                process.stdin.close()
        _beside(folder, "exit").write_text(f"{code}\n", encoding="utf-8")  # it went to its end, whatever that is
        return code

    def _failed(self, folder: Path, code: int) -> RunFailed:
        log = _beside(folder, "log")
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-15:]
        known = code in list(ExitCode)
        what = f"the run ended with {code}" + (f" ({ExitCode(code).name.lower().replace('_', ' ')})" if known else "")
        text = "\n  ".join([f"{what}; nothing is judged", *said, f"log: {log}"])
        return RunFailed(text, ExitCode(code) if known else ExitCode.ERROR)


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f"{folder.name}.{what}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _word(text: str) -> str:
    """Return `text` as a part of a file's name; what is cut off a long one stays in a hash."""
    word = re.sub(r"[^\w.+-]+", "-", text.replace(".py::", "-").removesuffix(".yaml")).strip("-.")
    return word if len(word) <= 100 else f"{word[:90]}-{_hash(text)}"


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other test of this user makes a run, and keep others waiting meanwhile."""
    path = state_dir() / "pytest.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
