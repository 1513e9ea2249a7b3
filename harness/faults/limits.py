"""Faults that leave a service less of the machine than it had: a noisy neighbour, a limit set too low.

Only where the service runs in a container; what it then does (slows down, is killed for want of memory) is the finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from harness.faults.fault import Need
from harness.faults.service import ServiceFault
from harness.model.units import Mebibytes

if TYPE_CHECKING:
    from harness.faults.service import ServiceSeen
    from harness.model.instance import Control

_EXACT = 0.01


class Cpu(ServiceFault):
    """At most `cpus` cores. It bites once the service wanted more than that and was made to wait (CFS throttling)."""

    kind: Literal["cpu"] = "cpu"
    client_sees: ClassVar[str] = "Answers that take longer, then queues, then time-outs"
    needs: ClassVar[frozenset[Need]] = frozenset({"services", "limits"})
    cpus: float = Field(ge=0.01)

    def inject(self, ground: Control, fault_id: str) -> None:  # noqa: ARG002
        """Lower the limit of its copies."""
        ground.limit(self.victims(ground), cpus=self.cpus)

    def bites(self, seen: ServiceSeen, healthy_ns: int) -> bool:  # noqa: ARG002
        """The engine has the limit, and every one of its copies was throttled since."""
        return all(
            copy.cpus is not None and abs(copy.cpus - self.cpus) < _EXACT and copy.throttled > 0
            for copy, _ in seen.hit(self.replicas)
        )


class Memory(ServiceFault):
    """At most `limit` of memory. Below what it uses, a service is made to give up caches, then killed by the kernel; it
    is started again when the fault ends. Engines on cgroup v1 refuse a limit that cannot be met at once."""

    kind: Literal["memory"] = "memory"
    client_sees: ClassVar[str] = "Nothing, or slow answers, or a service that dies"
    needs: ClassVar[frozenset[Need]] = frozenset({"services", "limits"})
    limit: Mebibytes = Field(ge=6)

    def inject(self, ground: Control, fault_id: str) -> None:  # noqa: ARG002
        """Lower the limit of its copies."""
        ground.limit(self.victims(ground), memory_mib=self.limit)

    def bites(self, seen: ServiceSeen, healthy_ns: int) -> bool:  # noqa: ARG002
        """The engine has the limit, or the copy has already died of it."""
        return all(
            copy.state == "stopped" or (copy.memory_mib is not None and abs(copy.memory_mib - self.limit) < 1)
            for copy, _ in seen.hit(self.replicas)
        )
