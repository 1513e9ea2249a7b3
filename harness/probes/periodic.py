"""The thread under every probe that looks at something again and again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from threading import Event, Thread
from typing import TYPE_CHECKING

from harness.clock import NS_PER_S, now_ns, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.recording.tables import EventLog


class Periodic(ABC):
    """Calls `look` at ``start + k * every``. A look that takes longer makes the next ones be left out, not pile up.

    What `look` raises becomes one event (kind `probe`, subject ``error``); the same trouble again is not repeated,
    its end is told (subject ``recovered``).
    """

    def __init__(self, name: str, every_s: float, events: EventLog) -> None:
        self._name, self._every_ns, self._events = name, round(every_s * NS_PER_S), events
        self._stop = Event()
        self._thread: Thread | None = None
        self._trouble = ""

    @abstractmethod
    def look(self) -> None:
        """Look once and write down what was seen."""

    def last_look(self) -> None:
        """Look for the last time, after the thread has ended."""
        self.look()

    def start(self) -> None:
        """Begin looking, at once and then every `every`."""
        self._stop.clear()
        self._thread = Thread(target=self._run, name=f"probe-{self._name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look a last time and end."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stop.set()
        thread.join()
        self._guarded(self.last_look)

    def _run(self) -> None:
        due_ns = now_ns()
        while wait_until(due_ns, self._stop):
            self._guarded(self.look)
            due_ns += self._every_ns * max(1, -((due_ns - now_ns()) // self._every_ns))

    def _guarded(self, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the run: it is written down
            trouble = f"{type(error).__name__}: {error}"
        else:
            trouble = ""
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble:
                self._events.emit("probe", self._name, "error", error=trouble)
            else:
                self._events.emit("probe", self._name, "recovered")
