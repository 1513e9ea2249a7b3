"""What a fault must be able to do.

A fault's duties: `inject` and `clear` (both may be called twice, both return once what they act on has acknowledged
*and* a read-back agrees), and `bites`: whether a probe, sent after the injection, shows this fault's own face. A fault
that no probe sees is no fault, and a fault that a probe still sees is not cleared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import ConfigDict

from harness.clock import NS_PER_MS, NS_PER_S, wait_until
from harness.model.experiment import FaultSpec

if TYPE_CHECKING:
    from threading import Event

    from harness.faults.probe_socket import Seen
    from harness.journal import Journal


class Asks(Protocol):
    """Sees what a fault does (`probe_socket.ProbeSocket`, `service.ServiceProbe`)."""

    def ask(self, patience_ns: int, stop: Event | None = None) -> Seen:
        """Ask once and return what happened within `patience_ns`, or until `stop` is set."""

    def healthy_ns(self) -> int:
        """Return how long an answer takes while nothing is broken; FaultFailed when none comes."""


class Site(Protocol):
    """A place where faults can be: an upstream behind its proxy, or a service. One fault at a time."""

    @property
    def name(self) -> str:
        """Name of the upstream or service."""

    @property
    def ground(self) -> Any:
        """What its faults act on: a `Breakable`, or a service's `Control`."""

    @property
    def probe(self) -> Asks:
        """Sees what its faults do."""

    def journal(self, journal: Journal, fault: Fault, fault_id: str) -> int:
        """Write down that `fault` will be injected; return the entry's number."""

    def direct(self) -> Seen | None:
        """Ask what lies behind it past all faults; None when there is no such way."""


class Fault(FaultSpec):
    """What the conductor asks of every kind. `ground` is its site's."""

    model_config = ConfigDict(extra="forbid")

    blocks: ClassVar[bool] = False
    """Whether nothing at all gets to the upstream while it is on, on any connection: what does went past the proxy."""
    grace_s: ClassVar[float] = 20.0
    """How long after its end it may take to be taken back and seen gone; whatever is on for longer was forgotten."""

    def inject(self, ground: Any, fault_id: str) -> None:
        """Break it. FaultFailed says what was not acknowledged."""
        raise NotImplementedError

    def clear(self, ground: Any, fault_id: str) -> None:
        """Mend it. FaultFailed says what was not acknowledged."""
        raise NotImplementedError

    def hold(self, ground: Any, until_ns: int, stop: Event) -> None:  # noqa: ARG002 - for kinds that do something
        """Let it be until its end; it is cleared when this returns, and `stop` is set when it shall end early."""
        wait_until(until_ns, stop)

    def patience_ns(self, healthy_ns: int) -> int:
        """Return how long a probe waits for its answer; `healthy_ns` is what one takes without the fault."""
        return max(50 * NS_PER_MS, 5 * healthy_ns)

    def bites(self, seen: Any, healthy_ns: int) -> bool:
        """Return whether what a probe of its site saw (`Seen`, `service.ServiceSeen`) is this fault."""
        raise NotImplementedError


@dataclass(frozen=True)
class Toxic:
    """One toxic of a proxy; `attributes` as its `kind` has them, times in milliseconds."""

    kind: str
    stream: Literal["upstream", "downstream"]
    """`upstream` works on what the client sends, `downstream` on what it gets back."""
    attributes: dict[str, int] = field(default_factory=dict)
    name: str = ""


class Breakable(Protocol):
    """What a fault needs of a proxy (`toxiproxy.Proxy`). Every call is verified and may be repeated."""

    def add(self, *toxics: Toxic) -> None:
        """Put toxics in, in this order."""

    def remove(self, *names: str) -> None:
        """Take toxics out, in this order; nothing happens for one that is not there."""

    def enable(self, *, enabled: bool) -> None:
        """Listen, or refuse new connections and drop the open ones."""


class ProxyFault(Fault):
    """A fault made of toxics on the proxy in front of one upstream."""

    upstream: str

    needs_answer: ClassVar[bool] = True
    """Whether it can only be seen on an upstream that answers a question (protocol `http` or `redis`, not `tcp`)."""

    def toxics(self) -> tuple[Toxic, ...]:
        """Return the toxics to add, in that order; they are removed in the reverse order."""
        return ()

    def toxic_names(self, fault_id: str) -> list[str]:
        """Return the names its toxics have on the proxy."""
        return [f"{fault_id}.{toxic.kind}.{toxic.stream}" for toxic in self.toxics()]

    def inject(self, ground: Breakable, fault_id: str) -> None:
        """Break the proxy."""
        named = zip(self.toxics(), self.toxic_names(fault_id), strict=True)
        ground.add(*(replace(toxic, name=name) for toxic, name in named))

    def clear(self, ground: Breakable, fault_id: str) -> None:
        """Mend the proxy."""
        ground.remove(*reversed(self.toxic_names(fault_id)))


def to_ms(seconds: float) -> int:
    """Return whole milliseconds, which is what toxics are set in."""
    return round(seconds * 1000)


def to_ns(seconds: float) -> int:
    """Return nanoseconds."""
    return round(seconds * NS_PER_S)
