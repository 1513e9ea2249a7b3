"""A file that only grows and outlives a full disk: what could not be written yet waits in memory, in order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

MOST_WAITING = 64 << 20
"""Bytes that may wait. At 1000 requests/min that is a working day."""


class Sink(Protocol):
    """Where a table's stream goes: a file, or somebody who writes it. Offsets are bytes since the stream began."""

    @property
    def taken(self) -> int:
        """What was handed in."""

    @property
    def written(self) -> int:
        """What is where it belongs."""

    @property
    def error(self) -> str:
        """Why not all of it is; "" when it is."""

    @property
    def full(self) -> bool:
        """Whether so much is waiting that nothing more should be handed in."""

    def write(self, data: bytes) -> int:
        """Take the next bytes."""

    def flush(self) -> None:
        """Do nothing: Arrow asks for it."""

    def drain(self) -> None:
        """Bring on its way what waits."""

    def close(self) -> None:
        """Drain and end. OSError: not everything could be written."""


def opened(out: Path | Sink) -> Sink:
    """Return the sink for a path, or the one that is given."""
    if isinstance(out, Path):
        out.parent.mkdir(parents=True, exist_ok=True)
        return Spool(out)
    return out


class Spool:
    """Appends to a file. `write` only takes; `drain` brings to the kernel, after which it survives our death."""

    closed = False

    def __init__(self, path: Path, *, append: bool = False) -> None:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
        self._fd = os.open(path, flags, 0o644)
        self._path = path
        self._waiting = bytearray()
        self.taken = self.written = 0
        """Bytes since the spool was opened."""
        self.error = ""
        """Why the last `drain` could not write everything; empty once it could."""

    @property
    def full(self) -> bool:
        """Whether so much is waiting that nothing more should be handed in."""
        return len(self._waiting) >= MOST_WAITING

    def write(self, data: bytes) -> int:
        """Take the next bytes."""
        self._waiting += data
        self.taken += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: Arrow asks for it."""

    def drain(self) -> None:
        """Write what waits. What fails, a full disk above all, is kept, said in `error`, and tried again next time."""
        try:
            while self._waiting:
                done = os.write(self._fd, self._waiting)
                self.written += done
                del self._waiting[:done]
            self.error = ""
        except OSError as error:
            self.error = f"{error.strerror.lower() if error.strerror else error}: {self._path}"

    def close(self) -> None:
        """Write what waits and close. OSError: it could not all be written, and the rest is lost."""
        if self.closed:
            return
        self.drain()
        self.closed = True
        os.close(self._fd)
        if self._waiting:
            raise OSError(f"{self.error} ({len(self._waiting)} bytes of it were lost)")


class Nowhere:
    """A sink that forgets."""

    taken = written = 0
    error, full, closed = "", False, False

    def write(self, data: bytes) -> int:
        """Take nothing."""
        return len(data)

    def flush(self) -> None:
        """Do nothing."""

    def drain(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
