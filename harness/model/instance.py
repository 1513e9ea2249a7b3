"""One copy of a service, as whoever runs it sees it now: what faults on services are told by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
