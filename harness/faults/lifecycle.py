"""Faults of a service's life: killed, stopped, frozen, restarted.

A graceful stop lets answers in flight finish; a kill cuts them. A frozen service accepts connections (its kernel does)
and never answers: what a dead lock, a long collection or a host that swaps looks like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from harness.clock import NS_PER_S, now_ns, wait_until
from harness.errors import FaultFailed
from harness.faults.service import ServiceFault
from harness.model.units import Seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from harness.faults.probe_socket import Seen
    from harness.faults.service import ServiceSeen
    from harness.model.instance import Control, Instance


def _gone(copy: Instance, socket: Seen | None) -> bool:
    return copy.state == "stopped" or (socket is not None and socket.outcome in {"refused", "closed", "reset"})


class Kill(ServiceFault):
    """SIGKILL: the service is gone at once, answers in flight are cut. Started again when the fault ends."""

    kind: Literal["kill"] = "kill"
    client_sees: ClassVar[str] = "Answers in flight cut; new requests refused, or answered by another copy"

    def inject(self, ground: Control, fault_id: str) -> None:  # noqa: ARG002
        """Kill its copies."""
        ground.kill(self.victims(ground))

    def bites(self, seen: ServiceSeen, healthy_ns: int) -> bool:  # noqa: ARG002
        """Every one of its copies has ended."""
        return all(copy.state == "stopped" for copy, _ in seen.hit(self.replicas))


class Stop(ServiceFault):
    """SIGTERM: the service takes nothing new, finishes what it has, and ends. Started again when the fault ends."""

    kind: Literal["stop"] = "stop"
    client_sees: ClassVar[str] = "No new connections; what is in flight is finished, if the service does it well"

    def inject(self, ground: Control, fault_id: str) -> None:  # noqa: ARG002
        """Tell its copies to stop."""
        ground.stop(self.victims(ground))

    def bites(self, seen: ServiceSeen, healthy_ns: int) -> bool:  # noqa: ARG002
        """Every one of its copies has ended, or takes nothing new."""
        return all(_gone(copy, socket) for copy, socket in seen.hit(self.replicas))


class Restart(ServiceFault):
    """A rolling restart: one copy after the other is stopped gracefully and started again, each `settle` after its
    predecessor could be used: load balancers look now and then. It ends when the last one can be used; `for` is the
    time it may take, after which the rest is left out."""

    kind: Literal["restart"] = "restart"
    client_sees: ClassVar[str] = "An outage as long as a start; nothing with several copies that stop gracefully"
    settle: Seconds = 3.0

    def inject(self, ground: Control, fault_id: str) -> None:  # noqa: ARG002
        """Tell the first copy to stop."""
        ground.stop(self.victims(ground)[:1])

    def hold(self, ground: Control, fault_id: str, until_ns: int, stop: Event) -> Iterator[str]:  # noqa: ARG002
        """Start it again, then restart the others in turn."""
        victims = self.victims(ground)
        ground.restore(victims[:1])
        for done, name in enumerate(victims[1:], 1):
            if not wait_until(now_ns() + round(self.settle * NS_PER_S), stop):
                return
            if now_ns() >= until_ns:
                raise FaultFailed(
                    f"{len(victims) - done} of {len(victims)} copies were not restarted: no time was left"
                )
            ground.stop([name])
            ground.restore([name])
            yield f"restarted {name}"

    def bites(self, seen: ServiceSeen, healthy_ns: int) -> bool:  # noqa: ARG002
        """The first copy has ended, or takes nothing new."""
        return all(_gone(copy, socket) for copy, socket in seen.hit(1))


class Pause(ServiceFault):
    """Frozen: connections are accepted, nothing is answered, and all goes on where it was when the fault ends."""

    kind: Literal["pause"] = "pause"
    client_sees: ClassVar[str] = "Connections accepted, and then nothing; what waits is answered when it goes on"

    def inject(self, ground: Control, fault_id: str) -> None:  # noqa: ARG002
        """Freeze its copies."""
        ground.pause(self.victims(ground))

    def bites(self, seen: ServiceSeen, healthy_ns: int) -> bool:  # noqa: ARG002
        """Every one of its copies is frozen, and answers nothing where it can be asked."""
        return all(
            copy.state == "paused" and (socket is None or socket.outcome == "silent")
            for copy, socket in seen.hit(self.replicas)
        )
