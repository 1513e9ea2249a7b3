"""Faults on the services of a system: what they act on, and how they are seen.

They are seen twice: by whoever runs the service (a process that has ended, a container that is paused) and by a socket
that asks it something, where it can be asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.clock import now_ns
from harness.errors import FaultFailed
from harness.faults.fault import PLAIN, Fault, Need, Question
from harness.faults.probe_socket import Outcome, ProbeSocket, Seen, median_ns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from threading import Event

    from harness.journal import Journal
    from harness.model.instance import Control, Instance


@dataclass(frozen=True)
class ServiceSeen(Seen):
    """What one look at a service met. `answered` when every copy runs, is well and answers."""

    copies: tuple[Instance, ...] = ()
    sockets: tuple[Seen | None, ...] = ()
    """What each copy answered; None when it could not be asked."""

    def hit(self, replicas: int | None) -> list[tuple[Instance, Seen | None]]:
        """Return the first `replicas` copies (None: all) with what they answered."""
        return list(zip(self.copies, self.sockets, strict=True))[:replicas]


class ServiceProbe:
    """Looks at a service and asks each running copy of it (a `fault.Asks`). `door` is where a service is asked that has
    no address of its own from here."""

    def __init__(self, control: Control, protocol: str, door: str | None = None) -> None:
        self._control, self._protocol, self._door = control, protocol, door

    def ask(self, patience_ns: int, stop: Event | None = None, question: Question = PLAIN) -> ServiceSeen:
        """Look and ask once. `sent_ns` is when it had looked and began to ask."""
        copies = tuple(self._control.look())
        sent_ns = now_ns()
        sockets = tuple(self._socket(copy, patience_ns, stop, question) for copy in copies)
        said = [_outcome(copy, socket) for copy, socket in zip(copies, sockets, strict=True)]
        odd = [i for i, outcome in enumerate(said) if outcome != "answered"]
        outcome: Outcome = said[odd[0]] if odd else "answered" if copies else "refused"
        detail = ", ".join(f"{c.name} {c.state}{'' if c.healthy else ', unwell'}" for c in copies)
        return ServiceSeen(outcome, sent_ns, now_ns(), bool(copies), detail, copies, sockets)

    def _socket(self, copy: Instance, patience_ns: int, stop: Event | None, question: Question) -> Seen | None:
        address = copy.address or self._door
        if copy.state == "stopped" or address is None:
            return None
        return ProbeSocket(address, self._protocol).ask(patience_ns, stop, question)

    def healthy_ns(self, question: Question = PLAIN) -> int:
        """Return the median time of an answer while nothing is broken; FaultFailed when not all is well."""
        return median_ns(self, question, f"service {self._control.name} is not well before anything is broken")


def _outcome(copy: Instance, socket: Seen | None) -> Outcome:
    if copy.state == "stopped":
        return "refused"
    if copy.state == "paused":
        return "silent"
    if socket is not None:
        return socket.outcome
    return "answered" if copy.healthy else "closed"


@dataclass(frozen=True)
class ServiceSite:
    """A service of the system (a `fault.Site`)."""

    name: str
    ground: Control
    probe: ServiceProbe

    def journal(self, journal: Journal, fault: Fault, fault_id: str) -> int:  # noqa: ARG002
        """Write down that a fault will be on it; it goes with the processes or containers, which are journalled."""
        return journal.fault(fault_id, service=self.name)

    def other_cause(self, fault: Fault, healthy_ns: int) -> str:
        """Look at the copies that the fault was on: once they run and have what they had, as who runs them says, a slow
        or odd answer is their own."""
        copies = tuple(self.ground.look())
        at_ns = now_ns()
        state = ServiceSeen("answered", at_ns, at_ns, connected=True, copies=copies, sockets=(None,) * len(copies))
        hit = [copy for copy, _ in state.hit(fault.replicas if isinstance(fault, ServiceFault) else None)]
        if fault.lingers(state, healthy_ns) or any(copy.state != "running" for copy in hit):
            return ""
        return f"yet what it was on runs again ({', '.join(copy.name for copy in hit)})"


class ServiceFault(Fault):
    """A fault on copies of a service."""

    service: str
    replicas: int | None = Field(default=None, ge=1)
    """How many of its copies; all when left out."""

    needs: ClassVar[frozenset[Need]] = frozenset({"services"})
    grace_s: ClassVar[float] = 300.0
    """Copies are started again, one after the other, a minute each."""

    def victims(self, ground: Control) -> list[str]:
        """Return the names of the copies it is for; FaultFailed when there are not that many."""
        names = [copy.name for copy in ground.look()]
        if not names or len(names) < (self.replicas or 0):
            raise FaultFailed(f"{self.kind} is for {self.replicas or 'the'} copies of {self.service}; found: {names}")
        return names[: self.replicas]

    def clear(self, ground: Control, fault_id: str) -> None:  # noqa: ARG002 - copies are told by name
        """Make its copies as they were."""
        ground.restore(self.victims(ground))


def sites(controls: Mapping[str, Control], doors: Mapping[str, tuple[str, str]]) -> dict[str, ServiceSite]:
    """Return a site for each service; `doors` has (protocol, ``host:port``) of those that are asked through one."""
    found = {}
    for name, control in controls.items():
        protocol, door = doors.get(name, ("http", None))
        found[name] = ServiceSite(name, control, ServiceProbe(control, protocol, door))
    return found
