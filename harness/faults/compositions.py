"""Faults made of other faults: one that comes and goes, and one that is slow and fails now and then.

The same fault on several upstreams needs no kind of its own: `upstream: [bedrock, openai]`, or the name of one of the
target's `groups`, stands for one fault on each of them.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_serializer, model_validator

from harness.clock import now_ns, wait_until
from harness.errors import FaultFailed
from harness.faultproxy.effects import MARK
from harness.faults.fault import Question, Toxic, UpstreamFault, to_ms, to_ns
from harness.faults.http import (
    Empty,
    Garbage,
    HttpError,
    HttpFault,
    RateLimited,
    SlowFirstToken,
    StreamCut,
    StreamStall,
    Unauthorized,
    WrongContentType,
)
from harness.faults.network import Bandwidth, Blackhole, Cut, Jitter, Refuse, Reset, Sliced, Slow, SlowClose
from harness.model.base import located
from harness.model.units import PlanSeconds, Seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event
    from typing import Self

    from harness.faults.answer import Answer
    from harness.faults.probe_socket import Seen

SHORTEST_PERIOD_S = 0.2
"""Of a flapping fault, scaled or not: each turn is read back."""
_OF_THE_WHOLE = ("name", "upstream", "at", "after", "when", "during", "for", "repeat", "every", "spaced_by")
_SHARED = ("upstream", "at", "after", "when", "during", "for")
"""Where and when the fault within is on is where and when the whole is."""

Inner = Annotated[
    Refuse | Reset | Blackhole | Slow | Jitter | Bandwidth | Sliced | Cut | SlowClose
    | RateLimited | HttpError | Unauthorized | Garbage | Empty | WrongContentType
    | SlowFirstToken | StreamStall | StreamCut,
    Field(discriminator="kind"),
]  # fmt: skip
"""What may come and go."""


class Flapping(UpstreamFault):
    """Another fault, on for `duty` of every `period` and off for the rest: an upstream that comes back and fails again.

    It is one outage. Breakers that close too early, and failback that trusts the first good answer, pay at every turn.
    """

    kind: Literal["flapping"] = "flapping"
    client_sees: ClassVar[str] = "What the fault within shows, in turns with good answers"
    fault: Inner
    period: PlanSeconds = Field(ge=SHORTEST_PERIOD_S)
    duty: float = Field(default=0.5, ge=0.05, le=0.95)

    @model_validator(mode="before")
    @classmethod
    def _place(cls, data: Any) -> Any:
        """The fault within is on the same upstream at the same time."""
        if not isinstance(data, dict) or not isinstance(data.get("fault"), dict):
            return data
        for key in _OF_THE_WHOLE:
            if key in data["fault"]:
                raise located("fault", f"{key!r} belongs to the flapping, not to the fault that it turns on and off")
        return {**data, "fault": {**data["fault"], **{k: data[k] for k in _SHARED if k in data}}}

    @model_validator(mode="after")
    def _comes_back(self) -> Self:
        if self.for_s and self.for_s <= self.period:
            raise ValueError(
                f"for {self.for_s:g}s is no longer than its period {self.period:g}s, so it would never come back; "
                "give it at least two periods"
            )
        return self

    @field_serializer("fault")
    def _without_its_place(self, fault: UpstreamFault) -> dict[str, Any]:
        return {k: v for k, v in fault.model_dump(mode="json", by_alias=True).items() if k not in _OF_THE_WHOLE}

    @property
    def needs_http(self) -> bool:
        """As the fault within."""
        return self.fault.needs_http

    def toxic_names(self, fault_id: str) -> list[str]:
        """As the fault within."""
        return self.fault.toxic_names(fault_id)

    def inject(self, ground: Any, fault_id: str) -> None:
        """Turn it on."""
        self.fault.inject(ground, fault_id)

    def clear(self, ground: Any, fault_id: str) -> None:
        """Turn it off."""
        self.fault.clear(ground, fault_id)

    def hold(self, ground: Any, fault_id: str, until_ns: int, stop: Event) -> Iterator[str]:
        """Turn it off and on again in turn; each turn is read back."""
        turns = cycle(((self.duty, self.clear, "off"), (1 - self.duty, self.inject, "on")))
        due_ns = now_ns()
        for share, turn, state in turns:
            due_ns += to_ns(share * self.period)
            if due_ns >= until_ns:
                wait_until(until_ns, stop)
                return
            if not wait_until(due_ns, stop):
                return
            turn(ground, fault_id)
            if now_ns() > due_ns + to_ns(self.period):
                raise FaultFailed(f"turning {self.fault.kind} {state} took longer than a period of {self.period:g} s")
            yield state

    def question(self) -> Question:
        """As the fault within."""
        return self.fault.question()

    def met_by(self) -> float:
        """As the fault within, which is on when it is looked for."""
        return self.fault.met_by()

    def patience_ns(self, healthy_ns: int) -> int:
        """As the fault within."""
        return self.fault.patience_ns(healthy_ns)

    def bites(self, seen: Seen, healthy_ns: int) -> bool:
        """The face of the fault within."""
        return self.fault.bites(seen, healthy_ns)


class Brownout(HttpFault):
    """Answers come `latency` late and a share of them, `errors`, are errors: an upstream at its limit, not down.

    The hardest to decide on: a breaker that counts errors may never open, one that counts slow answers may.
    """

    kind: Literal["brownout"] = "brownout"
    client_sees: ClassVar[str] = "Late answers, and late errors among them"
    latency: Seconds = Field(ge=0.02)
    errors: float = Field(ge=0.05, le=1.0)
    status: Literal[500, 502, 503, 504, 529] = 503

    def toxic_names(self, fault_id: str) -> list[str]:
        """Return the name of its toxic."""
        return [f"{fault_id}.latency.downstream"]

    def effect(self) -> dict[str, Any]:
        """Errors, for a share of the requests."""
        return {"answer": {"what": "error", "status": self.status}, "share": self.errors}

    def inject(self, ground: Any, fault_id: str) -> None:
        """Slow, then errors."""
        (name,) = self.toxic_names(fault_id)
        ground.add(Toxic("latency", "downstream", {"latency": to_ms(self.latency), "jitter": 0}, name))
        super().inject(ground, fault_id)

    def clear(self, ground: Any, fault_id: str) -> None:
        """No errors, then no longer slow."""
        super().clear(ground, fault_id)
        ground.remove(*self.toxic_names(fault_id))

    def met_by(self) -> float:
        """Errors are as late as answers, so that share of probes meets both."""
        return self.errors

    def patience_ns(self, healthy_ns: int) -> int:
        """Wait for the latest answer there can be, and a second more."""
        return to_ns(self.latency + 1) + super().patience_ns(healthy_ns)

    def _late(self, seen: Seen, healthy_ns: int) -> bool:
        return seen.took_ns >= healthy_ns + 0.8 * to_ns(self.latency)

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:
        """An error, and late."""
        return answer.status == self.status and self._late(seen, healthy_ns)

    def lingers(self, seen: Seen, healthy_ns: int) -> bool:
        """Either of them is enough; an error that the proxy has not made is the upstream's own."""
        answer = seen.answer
        made = answer is not None and MARK.decode() in answer.headers and answer.status == self.status
        return made or self._late(seen, healthy_ns)
