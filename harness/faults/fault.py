"""What a fault must be able to do.

A fault's duties: `inject` and `clear` (both may be called twice, both return once what they act on has acknowledged
*and* a read-back agrees), and `bites`: whether a probe, sent after the injection, shows this fault's own face. A fault
that no probe sees is no fault, and a fault that a probe still sees is not cleared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import ConfigDict, Field

from harness.clock import NS_PER_MS, NS_PER_S, wait_until
from harness.model.experiment import FaultSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from threading import Event

    from harness.faults.probe_socket import Seen
    from harness.journal import Journal


@dataclass(frozen=True)
class Question:
    """What a probe asks, so that the face of a fault can be seen in the answer."""

    until: Literal["first", "whole", "end"] = "first"
    """How far the answer is read: to its first byte, to its last, or until the connection is closed after it."""
    least: int = 0
    """Ask again, on the same connection, until this many bytes came."""
    pad: int = 0
    """Bytes that a question carries beside what it asks."""


PLAIN = Question()

Need = Literal["services", "limits", "http"]
"""Services of ours; services that can be given less of the machine; room for the HTTP fault proxy."""


class Asks(Protocol):
    """Sees what a fault does (`probe_socket.ProbeSocket`, `service.ServiceProbe`)."""

    def ask(self, patience_ns: int, stop: Event | None = None, question: Question = PLAIN) -> Seen:
        """Ask once and return what happened within `patience_ns`, or until `stop` is set."""

    def healthy_ns(self, question: Question = PLAIN) -> int:
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

    def other_cause(self, fault: Fault, healthy_ns: int) -> str:
        """Return what shows, when it does not answer as before although `fault` was taken back, that this is not the
        fault's doing any more; "" when nothing does. FaultFailed when it cannot be looked at."""


class Fault(FaultSpec):
    """What the conductor asks of every kind. `ground` is its site's."""

    model_config = ConfigDict(extra="forbid")

    client_sees: ClassVar[str]
    """What somebody who asks what it is on meets, in a line."""
    needs: ClassVar[frozenset[Need]] = frozenset()
    """What a target must have, beside an upstream."""
    grace_s: ClassVar[float] = 20.0
    """How long after its end it may take to be taken back and seen gone; whatever is on for longer was forgotten."""

    @property
    def blocks(self) -> bool:
        """Whether nothing gets to the upstream while it is on, on any connection: what does went past the proxy."""
        return False

    def inject(self, ground: Any, fault_id: str) -> None:
        """Break it. FaultFailed says what was not acknowledged."""
        raise NotImplementedError

    def clear(self, ground: Any, fault_id: str) -> None:
        """Mend it. FaultFailed says what was not acknowledged."""
        raise NotImplementedError

    def hold(self, ground: Any, fault_id: str, until_ns: int, stop: Event) -> Iterator[str]:  # noqa: ARG002 - for kinds that do something
        """Let it be until its end, and yield a word for what is done to it meanwhile; it is cleared when this is
        exhausted, and `stop` is set when it shall end early."""
        wait_until(until_ns, stop)
        yield from ()

    def question(self) -> Question:
        """Return what a probe must ask to see it."""
        return PLAIN

    def met_by(self) -> float:
        """Return the least share of probes that meet it while it is on, above 0: below 1 one that is served proves
        nothing."""
        return 1.0

    def patience_ns(self, healthy_ns: int) -> int:
        """Return how long a probe waits for its answer; `healthy_ns` is what one takes without the fault."""
        return max(50 * NS_PER_MS, 5 * healthy_ns)

    def bites(self, seen: Any, healthy_ns: int) -> bool:
        """Return whether what a probe of its site saw (`Seen`, `service.ServiceSeen`) is this fault."""
        raise NotImplementedError

    def lingers(self, seen: Any, healthy_ns: int) -> bool:
        """Return whether what a probe saw after the clearing shows that any of it is left."""
        return self.bites(seen, healthy_ns)


@dataclass(frozen=True)
class Toxic:
    """One toxic of a proxy; `attributes` as its `kind` has them, times in milliseconds."""

    kind: str
    stream: Literal["upstream", "downstream"]
    """`upstream` works on what the client sends, `downstream` on what it gets back."""
    attributes: dict[str, int] = field(default_factory=dict)
    name: str = ""
    toxicity: float = 1.0
    """Share of connections that it works on; drawn by Toxiproxy, once for each connection."""


class Breakable(Protocol):
    """What a fault needs of a proxy (`toxiproxy.Proxy`). Every call is verified and may be repeated."""

    def add(self, *toxics: Toxic) -> None:
        """Put toxics in, in this order."""

    def remove(self, *names: str) -> None:
        """Take toxics out, in this order; nothing happens for one that is not there."""

    def enable(self, *, enabled: bool) -> None:
        """Listen, or refuse new connections and drop the open ones."""


class Misbehaving(Protocol):
    """What a fault needs of the HTTP fault proxy (`http_proxy.HttpRoute`). Every call is verified and may be
    repeated."""

    def misbehave(self, name: str, how: Mapping[str, Any]) -> None:
        """Put an effect on the exchanges that pass; see `harness.faultproxy.effects.Misbehaviour`."""

    def behave(self, name: str) -> None:
        """Take it off; nothing happens for one that is not there."""


class UpstreamFault(Fault):
    """A fault on the way to one upstream."""

    upstream: str

    needs_answer: ClassVar[bool] = True
    """Whether it can only be seen on an upstream that answers a question (protocol `http` or `redis`, not `tcp`)."""

    def toxic_names(self, fault_id: str) -> list[str]:  # noqa: ARG002 - for kinds that have some
        """Return the names its toxics have on the proxy."""
        return []


class ProxyFault(UpstreamFault):
    """A fault made of toxics on the proxy in front of one upstream."""

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


class PartialFault(ProxyFault):
    """A fault of one toxic, which can be put on a share of the connections. Toxiproxy draws once for each connection
    and toxic, so with two toxics the share would not be what was asked for."""

    share: float = Field(default=1.0, ge=0.05, le=1.0)
    """Share of connections that it is on, 0.05 to 1: to see that one on fewer is gone takes too many probes."""

    def toxic(self) -> Toxic:
        """Return the toxic; on how many connections is added."""
        raise NotImplementedError

    def toxics(self) -> tuple[Toxic, ...]:
        """Return it, for its share of connections."""
        return (replace(self.toxic(), toxicity=self.share),)

    def met_by(self) -> float:
        """Every probe is a connection of its own."""
        return self.share


def to_ms(seconds: float) -> int:
    """Return whole milliseconds, which is what toxics are set in."""
    return round(seconds * 1000)


def to_ns(seconds: float) -> int:
    """Return nanoseconds."""
    return round(seconds * NS_PER_S)
