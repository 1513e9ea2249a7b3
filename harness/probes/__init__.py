"""What is watched beside the load, each by a probe of its own that never disturbs the run: what goes wrong with a
probe is an event or a sample, not an exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from harness.probes.callers import Callers
from harness.probes.canary import Canary
from harness.probes.containers import Containers
from harness.probes.health import Health
from harness.probes.ledger import Ledger
from harness.probes.metrics import Metrics
from harness.probes.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping


class Probe(Protocol):
    """Watches in a thread of its own between `start` and `stop`."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """Look a last time, end the thread, write everything down. May be called again, or without `start`."""
        ...


KINDS: Mapping[str, type[Probe]] = {
    "canary": Canary,
    "resources": Resources,
    "containers": Containers,
    "callers": Callers,
    "metrics": Metrics,
    "health": Health,
    "ledger": Ledger,
}
"""Every probe by the name it has as an event's source."""

__all__ = ["KINDS", "Callers", "Canary", "Containers", "Health", "Ledger", "Metrics", "Probe", "Resources"]
