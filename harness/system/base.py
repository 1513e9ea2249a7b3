"""What every kind of system can do, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.model.target import Target


class Journal(Protocol):
    """Where what a later `heal` would have to undo is written down (`harness.journal.Journal` is one). Thread-safe."""

    def process(self, pid: int, what: str) -> int:
        """Note a process of ours, which leads its own group; return the entry's number."""
        ...

    def healed(self, entry: int) -> None:
        """Note that what `entry` stands for is gone, verified."""
        ...


@dataclass(frozen=True)
class Died:
    """A service that ended while it was needed. `code` as a shell gives it: 128 + N after signal N."""

    service: str
    code: int
    message: str
    """What happened, the last lines of its log, and where the log is."""


class System(Protocol):
    """The system under test: comes up, is watched, goes down. Used from one thread.

    The order is ``reserve``, ``up``, then ``watch`` as often as wanted, then ``down``. `down` may be called at any
    point and any number of times.
    """

    def __init__(self, target: Target, *, directory: Path, logs: Path, journal: Journal) -> None:
        """Start nothing. `directory` is where commands run, `logs` the folder for ``<service>.log``."""
        ...

    def reserve(self) -> dict[str, str]:
        """Return each service's address, ``host:port``. SystemFailed when a fixed port is taken."""
        ...

    def up(self, upstreams: Mapping[str, str]) -> None:
        """Start everything and return once it can be used; `upstreams` holds the ``host:port`` of the proxy in front
        of each. SystemFailed says which service, what happened, and what its log says last; then nothing runs."""
        ...

    def watch(self) -> list[Died]:
        """Return the services that have ended since they came up."""
        ...

    def down(self) -> None:
        """End everything and see that it is gone. SystemFailed, once all was tried, for what could not be ended."""
        ...

    def processes(self) -> dict[str, int]:
        """Return the process id of each running service (its own, not its leash's)."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return how everything was started, for the manifest (JSON)."""
        ...
