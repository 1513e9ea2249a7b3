"""Breaking a service that is a process: signals, and starting it again."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import FaultFailed, SystemFailed
from harness.model.instance import Instance, State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from harness.system.processes import Processes

_WITHIN_S = 5.0


class ProcessControl:
    """`Control` of one process and its group; its one copy has the service's name."""

    def __init__(self, system: Processes, name: str) -> None:
        self._system, self.name = system, name
        self._told_to_end = False

    def look(self) -> list[Instance]:
        """Return the process as it is now."""
        return [Instance(self.name, self._state(), self._system.address(self.name))]

    def _state(self) -> State:
        running = self._system.running(self.name)
        if running is None or running.ended() is not None:
            return "stopped"
        with suppress(psutil.NoSuchProcess):
            status = psutil.Process(running.process.real_pid).status()
            return "paused" if status == psutil.STATUS_STOPPED else "running"
        return "stopped"

    def _signal(self, number: int) -> None:
        running = self._system.running(self.name)
        if running is not None:
            with suppress(ProcessLookupError):
                os.killpg(running.process.real_pid, number)

    def kill(self, copies: Collection[str]) -> None:
        """SIGKILL it."""
        if copies:
            self._told_to_end = True
            self._system.expect(self.name, broken=True)
            self._signal(signal.SIGKILL)
            self._await(lambda: self._state() == "stopped", "does not end after SIGKILL")

    def stop(self, copies: Collection[str]) -> None:
        """SIGTERM it."""
        if copies:
            self._told_to_end = True
            self._system.expect(self.name, broken=True)
            self._signal(signal.SIGTERM)

    def pause(self, copies: Collection[str]) -> None:
        """SIGSTOP it."""
        if copies:
            self._system.expect(self.name, broken=True)
            self._signal(signal.SIGSTOP)
            self._await(lambda: self._state() == "paused", "does not stop after SIGSTOP")

    def limit(self, copies: Collection[str], *, cpus: float | None = None, memory_mib: float | None = None) -> None:
        """FaultFailed: a process has no limits of its own."""
        raise FaultFailed(f"{self.name}: a process cannot be given less CPU or memory; a container can")

    def restore(self, copies: Collection[str]) -> None:
        """Let it go on, or start it again."""
        if not copies:
            return
        if self._state() == "paused":
            self._signal(signal.SIGCONT)
            self._await(lambda: self._state() != "paused", "does not go on after SIGCONT")
        elif self._told_to_end or self._state() == "stopped":
            try:
                self._system.start_again(self.name)
            except SystemFailed as error:
                raise FaultFailed(f"{self.name} could not be started again: {error}") from error
            self._told_to_end = False
        self._system.expect(self.name, broken=False)

    def _await(self, done: Callable[[], bool], otherwise: str) -> None:
        deadline_ns = now_ns() + int(_WITHIN_S * NS_PER_S)
        while not done():
            if now_ns() > deadline_ns:
                raise FaultFailed(f"{self.name} {otherwise}")
            sleep(0.005)
