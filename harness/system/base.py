"""What every kind of system can do, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.model.instance import Control
    from harness.model.plan import Plan


class Journal(Protocol):
    """Where what a later `heal` would have to undo is written down (`harness.journal.Journal` is one). Thread-safe."""

    def process(self, pid: int, what: str) -> int:
        """Note a process of ours, which leads its own group; return the entry's number."""
        ...

    def containers(self, project: str, engine: str) -> int:
        """Note a Compose project of ours in the Docker engine at `engine`; return the entry's number."""
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
    ours: bool = False
    """Whether it is what breaks or carries the system (a fault proxy, the Docker engine), and not the system's own."""


@dataclass(frozen=True)
class Carrier:
    """A Toxiproxy that is part of the system. Addresses are ``host:port`` as reached from here."""

    api: str
    reached: Mapping[str, str]
    """Upstream -> where its proxy is reached; it listens where the target says."""
    side_doors: Mapping[str, tuple[str, str]]
    """Upstream -> where a second proxy, for our own questions, shall listen, and where that is reached."""
    http_admin: str = ""
    """Of the HTTP fault proxy beside it, where that is needed."""
    http_routes: Mapping[str, str] = field(default_factory=dict)
    """Upstream -> where the HTTP fault proxy listens for it, as Toxiproxy sees it."""


class System(Protocol):
    """The system under test: comes up, is watched, goes down. Used from one thread, its controls from others.

    The order is ``reserve``, ``carrier``, ``up``, then ``watch`` as often as wanted, then ``down``. `down` may be
    called at any point and any number of times.
    """

    offers: ClassVar[frozenset[str]]
    """What faults may need: ``services`` of ours, ``limits`` on them (`Control.limit`), ``http``: the
    HTTP fault proxy can stand behind Toxiproxy."""

    def __init__(
        self, plan: Plan, *, run_id: int, logs: Path, journal: Journal, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Start nothing. `logs` is the folder for ``<service>.log``; `say` tells the user why there is a wait."""
        ...

    def reserve(self) -> dict[str, str]:
        """Return each service's address, ``host:port``. SystemFailed when a fixed port is taken, MissingComponent
        when there is nothing to run it with."""
        ...

    def carrier(self, check: Callable[[], None] = lambda: None) -> Carrier | None:
        """Start the system's own Toxiproxy, and what that needs, and return it; None when it has none, so that one of
        ours stands before its upstreams. `check` and SystemFailed as in `up`."""
        ...

    def up(self, upstreams: Mapping[str, str], check: Callable[[], None] = lambda: None) -> None:
        """Start everything and return once it can be used; `upstreams` holds the ``host:port`` of the proxy in front
        of each. `check` is called while waiting and may raise to give up. SystemFailed says which service, what
        happened, and what its log says last. `down` is the caller's."""
        ...

    def watch(self) -> list[Died]:
        """Return the services that have ended since they came up."""
        ...

    def down(self) -> None:
        """End everything and see that it is gone. SystemFailed, once all was tried, for what could not be ended."""
        ...

    def control(self, service: str) -> Control:
        """Return the means to break a service."""
        ...

    def processes(self) -> dict[str, int]:
        """Return the process id of each running service (its own, not its leash's)."""
        ...

    def containers(self) -> dict[str, str]:
        """Return the id of each running container."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return how everything was started, for the manifest (JSON)."""
        ...
