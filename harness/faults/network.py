"""Faults of the network path to an upstream: refused, reset, swallowed, slow, thin, cut.

They are different outages with numbers of their own: a refused connection fails at once and often costs users nothing,
a hang costs every request a full time-out, and a slow answer may trip no breaker at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from harness.faults.fault import Breakable, PartialFault, ProxyFault, Question, Toxic, to_ms, to_ns
from harness.model.units import Bytes, BytesPerSecond, Seconds

if TYPE_CHECKING:
    from typing import Self

    from harness.faults.probe_socket import Seen


_LEAST_ANSWER = 100
"""Bytes that the smallest answer to a probe has: a status line and the headers that every server sends."""
_LEAST_DELAY_S = 0.02
"""A fault that delays an answer by less cannot be told from an answer that is late by itself."""


class Refuse(ProxyFault):
    """Nothing listens: new connections are refused, open ones are closed. What a stopped service looks like."""

    kind: Literal["refuse"] = "refuse"
    client_sees: ClassVar[str] = "An error at once; often the mildest outage, because nobody waits"
    needs_answer: ClassVar[bool] = False

    @property
    def blocks(self) -> bool:
        """Nobody gets through."""
        return True

    def inject(self, ground: Breakable, fault_id: str) -> None:  # noqa: ARG002 - it leaves no toxic to name
        """Switch the proxy off."""
        ground.enable(enabled=False)

    def clear(self, ground: Breakable, fault_id: str) -> None:  # noqa: ARG002
        """Switch the proxy on again, on the same port."""
        ground.enable(enabled=True)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """A connection is refused."""
        return seen.outcome == "refused"


class Reset(PartialFault):
    """Connections are accepted and, `after` a question came, reset: what a crashed service or a firewall looks like.

    Nothing of the question reaches the upstream. A connection that was open before is closed instead of reset:
    Toxiproxy can only say so when it opens one.
    """

    kind: Literal["reset"] = "reset"
    client_sees: ClassVar[str] = "An error as soon as it has asked; open connections are closed"
    delay: Seconds = Field(default=0.0, ge=0)

    def toxic(self) -> Toxic:
        """Reset on the first data that the client sends."""
        return Toxic("reset_peer", "upstream", {"timeout": to_ms(self.delay)})

    def patience_ns(self, healthy_ns: int) -> int:
        """Wait for the reset, and a second more."""
        return to_ns(self.delay + 1) + super().patience_ns(healthy_ns)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """An accepted connection is reset, not sooner than it should be. Behind a port forwarder of a container engine
        that looks like a service that is not there, except that it was connected."""
        met = seen.outcome == "reset" or (seen.outcome == "refused" and seen.connected)
        return met and seen.took_ns >= 0.8 * to_ns(self.delay)


class Blackhole(PartialFault):
    """Connections are accepted and nothing is ever answered: what a dead route or a hung service looks like.

    Both directions are swallowed. Downstream alone would let questions through, so that the provider works (and
    bills) for answers nobody gets; upstream alone would deliver answers that were on their way. Upstream goes first
    in and last out, so that in the moment between the two no new question reaches the provider either.

    On a `share` of connections only upstream is, because Toxiproxy would draw for each direction anew: answers that
    were on their way still come.
    """

    kind: Literal["blackhole"] = "blackhole"
    client_sees: ClassVar[str] = "Nothing, until its own time-out; users wait for that until a breaker opens"

    @property
    def blocks(self) -> bool:
        """Nothing gets through on the connections it is for."""
        return self.share == 1

    def toxic(self) -> Toxic:
        """Time-out 0: data is dropped and the connection held open until the toxic goes, which then closes it."""
        return Toxic("timeout", "upstream", {"timeout": 0})

    def toxics(self) -> tuple[Toxic, ...]:
        """Both directions, when it is for all connections."""
        return (*super().toxics(), Toxic("timeout", "downstream", {"timeout": 0}))[: 2 if self.share == 1 else 1]

    def bites(self, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """A question sent over an accepted connection stays without an answer."""
        return seen.outcome == "silent" and seen.connected


class Slow(PartialFault):
    """Every piece of an answer comes `latency` later, give or take `jitter` (uniform): by at least 20 ms, because less
    cannot be told from an answer that is late by itself."""

    kind: Literal["slow"] = "slow"
    client_sees: ClassVar[str] = "Late answers and no errors; it may trip no breaker at all, which may be right"
    latency: Seconds = Field(ge=_LEAST_DELAY_S)
    jitter: Seconds = 0.0

    @model_validator(mode="after")
    def _recognisable(self) -> Self:
        if to_ns(self.latency - self.jitter) < to_ns(_LEAST_DELAY_S):
            raise ValueError(
                f"some answers would be only {1000 * (self.latency - self.jitter):.3g} ms late (latency - jitter); "
                f"make it at least {1000 * _LEAST_DELAY_S:g} ms, so that they can be told from healthy ones"
            )
        if self.jitter > self.latency / 2:
            raise ValueError(
                f"jitter {self.jitter:g}s is more than half of latency {self.latency:g}s; "
                "it must be at most half, so that every slowed answer can be told from a healthy one; "
                "for answers that are late by anything from nothing upwards use `kind: jitter`"
            )
        return self

    def toxic(self) -> Toxic:
        """Latency on the answers."""
        return Toxic("latency", "downstream", {"latency": to_ms(self.latency), "jitter": to_ms(self.jitter)})

    def patience_ns(self, healthy_ns: int) -> int:
        """Wait for the latest answer there can be, and a second more: the answer ends the waiting anyway."""
        return to_ns(self.latency + self.jitter + 1) + super().patience_ns(healthy_ns)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:
        """An answer, but later than a healthy one by 80 % of the least delay."""
        return seen.outcome == "answered" and seen.took_ns >= healthy_ns + 0.8 * to_ns(self.latency - self.jitter)


class Jitter(PartialFault):
    """Every piece of an answer comes late by anything from nothing to `most` (uniform): an unsteady line."""

    kind: Literal["jitter"] = "jitter"
    client_sees: ClassVar[str] = "Answers at odd times; streams stutter"
    most: Seconds = Field(ge=2 * _LEAST_DELAY_S)

    def toxic(self) -> Toxic:
        """Latency half of it, give or take as much."""
        half = to_ms(self.most / 2)
        return Toxic("latency", "downstream", {"latency": half, "jitter": half})

    def met_by(self) -> float:
        """Half of the answers are late by at least half of it."""
        return self.share / 2

    def patience_ns(self, healthy_ns: int) -> int:
        """Wait for the latest answer there can be, and a second more."""
        return to_ns(self.most + 1) + super().patience_ns(healthy_ns)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:
        """An answer, but later than a healthy one by at least half of `most`, less a little."""
        return seen.outcome == "answered" and seen.took_ns >= healthy_ns + 0.45 * to_ns(self.most)


class Bandwidth(ProxyFault):
    """Both directions pass `rate` and no more: a congested or throttled line. Long answers and streams suffer most."""

    kind: Literal["bandwidth"] = "bandwidth"
    client_sees: ClassVar[str] = "Short answers a little late, long answers and streams very"
    rate: BytesPerSecond = Field(ge=1000, le=100_000)

    def toxics(self) -> tuple[Toxic, ...]:
        """Bandwidth, which is set in whole kB/s."""
        rate = {"rate": round(self.rate / 1000)}
        return Toxic("bandwidth", "upstream", rate), Toxic("bandwidth", "downstream", rate)

    def question(self) -> Question:
        """A question so long that sending it takes at least 40 ms."""
        return Question(pad=min(4096, max(256, self.rate // 5)))

    def _least_ns(self) -> int:
        return to_ns(self.question().pad / (1000 * round(self.rate / 1000)))

    def patience_ns(self, healthy_ns: int) -> int:
        """Wait twice as long as the question takes, and a second more."""
        return 2 * self._least_ns() + to_ns(1) + super().patience_ns(healthy_ns)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:
        """An answer, but later than a healthy one by 80 % of what its question takes on such a line."""
        return seen.outcome == "answered" and seen.took_ns >= healthy_ns + 0.8 * self._least_ns()


class SlowClose(PartialFault):
    """Answers come as ever, but connections are closed `delay` later: whoever waits for the end, or has few, waits."""

    kind: Literal["slow_close"] = "slow_close"
    client_sees: ClassVar[str] = "Answers on time; connections that are not kept pile up until pools or ports run out"
    delay: Seconds = Field(ge=_LEAST_DELAY_S)

    def toxic(self) -> Toxic:
        """Slow close, towards the client."""
        return Toxic("slow_close", "downstream", {"delay": to_ms(self.delay)})

    def question(self) -> Question:
        """Read until the connection is closed."""
        return Question(until="end")

    def patience_ns(self, healthy_ns: int) -> int:
        """Wait for the end of the connection, and a second more."""
        return to_ns(self.delay + 1) + super().patience_ns(healthy_ns)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:
        """A whole answer whose connection is closed later than a healthy one by 80 % of the delay."""
        return seen.outcome == "answered" and seen.took_ns >= healthy_ns + 0.8 * to_ns(self.delay)


class Sliced(PartialFault):
    """Answers come in pieces of about `size`, each `delay` after the one before: a line that dribbles."""

    kind: Literal["sliced"] = "sliced"
    client_sees: ClassVar[str] = "The first byte on time, the last one late; time-outs between bytes never fire"
    size: Bytes = Field(ge=1)
    delay: Seconds = Field(ge=0.001)

    @model_validator(mode="after")
    def _recognisable(self) -> Self:
        if self._late_s(_LEAST_ANSWER) < _LEAST_DELAY_S:
            raise ValueError(
                f"an answer of {_LEAST_ANSWER} bytes, as a probe may get, in pieces of {self.size} bytes every "
                f"{self.delay:g}s, would be only {1000 * self._late_s(_LEAST_ANSWER):.3g} ms late; "
                f"make it at least {1000 * _LEAST_DELAY_S:g} ms with smaller pieces or a longer delay"
            )
        return self

    def _late_s(self, answer: int) -> float:
        return (answer / self.size - 1) * self.delay

    def toxic(self) -> Toxic:
        """Slicer, whose delay is in microseconds."""
        attributes = {"average_size": self.size, "size_variation": self.size // 4, "delay": round(self.delay * 1e6)}
        return Toxic("slicer", "downstream", attributes)

    def question(self) -> Question:
        """Read the whole answer; Redis repeats what a question carries."""
        return Question(until="whole", pad=_LEAST_ANSWER)

    def patience_ns(self, healthy_ns: int) -> int:
        """Wait for an answer ten times as long as the least, and a second more."""
        return to_ns(self._late_s(10 * _LEAST_ANSWER) + 1) + super().patience_ns(healthy_ns)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:
        """A whole answer, but later than a healthy one by half of what its pieces should take."""
        late_ns = 0.5 * to_ns(self._late_s(max(seen.size, _LEAST_ANSWER)))
        return seen.outcome == "answered" and seen.took_ns >= healthy_ns + late_ns


class Cut(PartialFault):
    """Connections are closed after `after_bytes` of answers, in the middle of one or between two."""

    kind: Literal["cut"] = "cut"
    client_sees: ClassVar[str] = "Answers that end in the middle, and pooled connections that die between two"
    after_bytes: Bytes = Field(ge=1, le=16_384)

    def toxic(self) -> Toxic:
        """Limit of data towards the client."""
        return Toxic("limit_data", "downstream", {"bytes": self.after_bytes})

    def question(self) -> Question:
        """Ask on one connection until more than that came."""
        return Question(until="whole", least=self.after_bytes + 1)

    def patience_ns(self, healthy_ns: int) -> int:
        """Healthy is all of the asking; a second more."""
        return to_ns(1) + super().patience_ns(healthy_ns)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """A connection ends after some bytes, and no more than these."""
        return seen.outcome in {"cut", "closed", "reset", "refused"} and 0 < seen.size <= self.after_bytes
