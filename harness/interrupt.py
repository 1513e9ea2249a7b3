"""Ctrl-C, SIGTERM, a closed terminal: a wish to end in order, noted, never raised into what runs at that moment."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

from harness.errors import AgentstormError, ExitCode

if TYPE_CHECKING:
    from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(AgentstormError):
    """The user asked to end before the load had started."""

    exit_code = ExitCode.INTERRUPTED


class Interrupt:
    """While entered, they only set `wanted`: what is being healed is healed to its end."""

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self.signal = ""
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # `nohup`: the closed terminal is no wish to end
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        self.signal = signal.Signals(number).name
        self.wanted.set()

    def check(self) -> None:
        """Raise Interrupted when an end was asked for."""
        if self.wanted.is_set():
            raise Interrupted(f"interrupted by {self.signal} before the load started; everything is down again")
