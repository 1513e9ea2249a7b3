"""A service as faults see it: its copies, and what can be done to them by whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

State = Literal["running", "paused", "stopped"]


@dataclass(frozen=True)
class Instance:
    """A process or a container. Limits are None where there is none."""

    name: str
    state: State
    address: str | None = None
    """``host:port`` where it can be asked something from here, if anywhere."""
    healthy: bool = True
    """What its engine's own health check says of it; True where there is none."""
    cpus: float | None = None
    """Limit, cores."""
    memory_mib: float | None = None
    """Limit, MiB."""
    throttled: int = 0
    """Scheduling periods in which it ran into its CPU limit, since a fault lowered that."""


class Control(Protocol):
    """One service of the system, for faults. Every call may be repeated; FaultFailed says what went wrong."""

    name: str

    def look(self) -> Sequence[Instance]:
        """Return every copy as it is now, in the order of their names."""
        ...

    def kill(self, copies: Collection[str]) -> None:
        """SIGKILL them; returns once they have ended."""
        ...

    def stop(self, copies: Collection[str]) -> None:
        """SIGTERM them; returns at once, while they finish what they are doing."""
        ...

    def pause(self, copies: Collection[str]) -> None:
        """Freeze them where they are."""
        ...

    def limit(self, copies: Collection[str], *, cpus: float | None = None, memory_mib: float | None = None) -> None:
        """Give them less, where the system can (`System.offers`)."""
        ...

    def restore(self, copies: Collection[str]) -> None:
        """Make them as they were before any of the above; returns once they run and can be used."""
        ...
