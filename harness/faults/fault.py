"""What a fault must be able to do.

A fault's duties: `inject` and `clear` (both may be called twice, both return once the proxy has acknowledged *and* a
read-back agrees), and `bites`: whether a probe, sent after the injection, shows this fault's own face. A fault that no
probe sees is no fault, and a fault that a probe still sees is not cleared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from pydantic import ConfigDict

from harness.clock import NS_PER_MS, NS_PER_S
from harness.model.experiment import FaultSpec

if TYPE_CHECKING:
    from harness.faults.probe_socket import Seen


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


class ProxyFault(FaultSpec):
    """A fault made of toxics on the proxy in front of one upstream."""

    model_config = ConfigDict(extra="forbid")

    needs_answer: ClassVar[bool] = True
    """Whether it can only be seen on an upstream that answers a question (protocol `http` or `redis`, not `tcp`)."""

    def toxics(self) -> tuple[Toxic, ...]:
        """Return the toxics to add, in that order; they are removed in the reverse order."""
        return ()

    def toxic_names(self, fault_id: str) -> list[str]:
        """Return the names its toxics have on the proxy."""
        return [f"{fault_id}.{toxic.kind}.{toxic.stream}" for toxic in self.toxics()]

    def inject(self, proxy: Breakable, fault_id: str) -> None:
        """Break the proxy. FaultFailed says what was not acknowledged."""
        named = zip(self.toxics(), self.toxic_names(fault_id), strict=True)
        proxy.add(*(replace(toxic, name=name) for toxic, name in named))

    def clear(self, proxy: Breakable, fault_id: str) -> None:
        """Mend the proxy. FaultFailed says what was not acknowledged."""
        proxy.remove(*reversed(self.toxic_names(fault_id)))

    def patience_ns(self, healthy_ns: int) -> int:
        """Return how long a probe waits for its answer; `healthy_ns` is what one takes without the fault."""
        return max(50 * NS_PER_MS, 5 * healthy_ns)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:
        """Return whether what a probe saw is this fault."""
        raise NotImplementedError


def to_ms(seconds: float) -> int:
    """Return whole milliseconds, which is what toxics are set in."""
    return round(seconds * 1000)


def to_ns(seconds: float) -> int:
    """Return nanoseconds."""
    return round(seconds * NS_PER_S)
