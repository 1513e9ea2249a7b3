"""Faults of the network path to an upstream: refused, swallowed, slow.

They are different outages with numbers of their own: a refused connection fails at once and often costs users nothing,
a hang costs every request a full time-out, and a slow answer may trip no breaker at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from harness.faults.fault import Breakable, ProxyFault, Toxic, to_ms, to_ns
from harness.model.units import Seconds

if TYPE_CHECKING:
    from typing import Self

    from harness.faults.probe_socket import Seen


class Refuse(ProxyFault):
    """Nothing listens: new connections are refused, open ones are closed. What a stopped service looks like."""

    kind: Literal["refuse"] = "refuse"
    blocks: ClassVar[bool] = True
    needs_answer: ClassVar[bool] = False

    def inject(self, ground: Breakable, fault_id: str) -> None:  # noqa: ARG002 - it leaves no toxic to name
        """Switch the proxy off."""
        ground.enable(enabled=False)

    def clear(self, ground: Breakable, fault_id: str) -> None:  # noqa: ARG002
        """Switch the proxy on again, on the same port."""
        ground.enable(enabled=True)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """A connection is refused."""
        return seen.outcome == "refused"


class Blackhole(ProxyFault):
    """Connections are accepted and nothing is ever answered: what a dead route or a hung service looks like.

    Both directions are swallowed. Downstream alone would let questions through, so that the provider works (and
    bills) for answers nobody gets; upstream alone would deliver answers that were on their way. Upstream goes first
    in and last out, so that in the moment between the two no new question reaches the provider either.
    """

    kind: Literal["blackhole"] = "blackhole"
    blocks: ClassVar[bool] = True

    def toxics(self) -> tuple[Toxic, ...]:
        """Time-out 0: data is dropped and the connection held open until the toxic goes, which then closes it."""
        return Toxic("timeout", "upstream", {"timeout": 0}), Toxic("timeout", "downstream", {"timeout": 0})

    def bites(self, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """A question sent over an accepted connection stays without an answer."""
        return seen.outcome == "silent" and seen.connected


class Slow(ProxyFault):
    """Every piece of an answer comes `latency` later, give or take `jitter` (uniform)."""

    kind: Literal["slow"] = "slow"
    latency: Seconds = Field(ge=0.001)
    jitter: Seconds = 0.0

    @model_validator(mode="after")
    def _recognisable(self) -> Self:
        if self.jitter > self.latency / 2:
            raise ValueError(
                f"jitter {self.jitter:g}s is more than half of latency {self.latency:g}s; "
                "it must be at most half, so that every slowed answer can be told from a healthy one"
            )
        return self

    def toxics(self) -> tuple[Toxic, ...]:
        """Latency on the answers."""
        return (Toxic("latency", "downstream", {"latency": to_ms(self.latency), "jitter": to_ms(self.jitter)}),)

    def patience_ns(self, healthy_ns: int) -> int:
        """Wait for the latest answer there can be, and a second more: the answer ends the waiting anyway."""
        return to_ns(self.latency + self.jitter + 1) + super().patience_ns(healthy_ns)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:
        """An answer, but later than a healthy one by 80 % of the least delay."""
        return seen.outcome == "answered" and seen.took_ns >= healthy_ns + 0.8 * to_ns(self.latency - self.jitter)
