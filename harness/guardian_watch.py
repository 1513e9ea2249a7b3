"""The process that outlives the harness to undo its faults; a program of its own, see `harness.guardian`.

    python -S -m harness.guardian_watch JOURNAL HEAL...

Standard library only (and our clock), so that it is small and up at once. It follows the run's journal and

- ends when its stdin says that the run has ended and left nothing;
- runs ``HEAL...`` when its stdin ends without that, because the harness is gone however it went, or has left something:
  again and again, ever more seldom, until the journal is gone;
- runs ``HEAL... --expired`` when a fault outlives its time, and writes the fault's id to stdout, once; for one that its
  run still holds on to, again, ever more seldom.

It changes nothing itself: whatever is undone, `harness.heal` undoes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.clock import NS_PER_S, now_ns, sleep

ENDED = b"ended\n"
"""What the harness says when nothing is left to be undone."""
_TICK_S = 0.2
_RETRY_NS, _SELDOM_NS = 5 * NS_PER_S, 320 * NS_PER_S
"""Between one try to take back what has expired and the next: twice as long each time, from the first to the second."""
_PAUSES_S = (0.1, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 240)
"""Between one try to heal after the run and the next: something may be in its way for a while."""
_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)
"""Meant for the harness. This one ends when there is nothing left to guard."""


class Expiries:
    """The faults of a journal that are on, and until when each may be. Reads only what was added since."""

    def __init__(self, journal: Path) -> None:
        self._journal, self._read = journal, 0
        self._faults: dict[int, str] = {}
        self._until: dict[int, int] = {}

    def expired(self, now: int) -> list[str]:
        """Return the ids of the faults that have outlived their time."""
        self._follow()
        return [self._faults[entry] for entry, until in self._until.items() if until < now]

    def _follow(self) -> None:
        with suppress(FileNotFoundError), self._journal.open("rb") as journal:
            journal.seek(self._read)
            whole, newline, _ = journal.read().rpartition(b"\n")  # the last line may be half written
            self._read += len(whole) + len(newline)
            for line in whole.splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    self._take(json.loads(line))

    def _take(self, row: dict[str, Any]) -> None:
        if row["kind"] == "fault":
            self._faults[row["entry"]] = row["fault_id"]
        elif row["kind"] == "expires" and row["of"] in self._faults:
            self._until[row["of"]] = row["expires_ns"]
        elif row["kind"] == "healed":
            self._faults.pop(row["of"], None)
            self._until.pop(row["of"], None)


class Turns:
    """When to take back what has expired, and what to tell of it."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._pause_ns = self._next_ns = 0

    def due(self, late: list[str], now: int) -> list[str] | None:
        """Return those of the faults that are `late` which were not told of yet, when it is time to heal; else None."""
        new = [fault for fault in late if fault not in self._told]
        if not late or (not new and now < self._next_ns):
            return None
        self._told.update(new)
        self._pause_ns = _RETRY_NS if new else min(2 * self._pause_ns, _SELDOM_NS)
        self._next_ns = now + self._pause_ns
        return new


def _run(command: list[str]) -> None:
    sys.stderr.write(f"runs agentstorm {' '.join(command[3:])}\n")
    sys.stderr.flush()
    with suppress(OSError):
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)


def _guard(journal: Path, heal: list[str]) -> bool:
    """Return, when the harness has ended or is gone, whether it said that nothing is left."""
    expiries, turns, said = Expiries(journal), Turns(), b""
    while True:
        readable, _, _ = select.select([0], [], [], _TICK_S)
        if readable:
            piece = os.read(0, 64)
            said += piece
            if not piece:
                return said.endswith(ENDED)
        new = turns.due(expiries.expired(now_ns()), now_ns())
        if new is not None:
            with suppress(OSError):  # first, so that a harness that goes on meanwhile knows
                os.write(1, "".join(f"{fault}\n" for fault in new).encode())
            _run([*heal, "--expired"])


def main(journal: Path, heal: list[str]) -> int:
    """Guard the run that writes `journal`; return 0 once nothing of it is left."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if _guard(journal, heal):
        return 0
    for pause_s in _PAUSES_S:
        if not journal.exists():
            return 0
        _run(heal)
        sleep(pause_s if journal.exists() else 0)
    return 0 if not journal.exists() else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
