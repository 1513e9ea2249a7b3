"""Where the command line prints to. Only for the modules of the command line."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console


class Lasting:
    """A stream whose end is not ours: what can no longer be written (the disk is full, the reader of a pipe or the
    terminal has gone) is dropped from then on, and `lost` is told why, once. What its encoding lacks is shown as "?".
    """

    def __init__(self, stream: TextIO, lost: Callable[[OSError], None] | None = None) -> None:
        self._stream, self._tell = stream, lost
        self._lost = False

    @property
    def encoding(self) -> str:
        """That of the stream."""
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Its number; OSError when it has none."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write `text`, or drop it; raises nothing."""
        known = text.encode(self.encoding, "replace").decode(self.encoding)
        self._attempt(lambda: self._stream.write(known))
        return len(text)

    def flush(self) -> None:
        """Flush it, if it can still be written; raises nothing."""
        self._attempt(self._stream.flush)

    def _attempt(self, act: Callable[[], object]) -> None:
        if self._lost:
            return
        try:
            act()
        except OSError as error:
            self._lost = True
            self._let_go()
            if self._tell is not None:
                self._tell(error)

    def _let_go(self) -> None:
        """Or Python would fail to write, when it ends, what the stream still holds, and exit with 120."""
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(null, self.fileno())
            finally:
                os.close(null)


def console(*, stderr: bool = False, lasting: bool = False) -> Console:
    """Return the terminal, or plain lines where there is none. With `lasting` printing never raises: a run is worth
    more than what it says meanwhile; without it a broken pipe ends the command."""
    from rich.console import Console  # noqa: PLC0415

    stream = sys.stderr if stderr else sys.stdout
    file = cast("TextIO", Lasting(stream, None if stderr else _stdout_lost)) if lasting else None
    return Console(file=file, stderr=stderr, highlight=False, soft_wrap=not stream.isatty())


def _stdout_lost(error: OSError) -> None:
    complain(f"standard output cannot be written any more ({error.strerror or error}); the run goes on without it")


def complain(message: str) -> None:
    """Say what went wrong. Where that cannot be written either, the exit code is left to say it."""
    console(stderr=True, lasting=True).print(f"agentstorm: {message}", markup=False, style="red")
