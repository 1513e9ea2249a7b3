"""Faults that speak HTTP: what LLM providers answer when they fail, put on by the HTTP fault proxy.

Errors look like the vendor's own (`harness.faultproxy.vendors`), so that the SDKs of the system under test do with them
what they would do in earnest. Every answer that the proxy had its hands on carries a header with the fault's name, and
a probe believes nothing else: an upstream that answers 500 by itself is no fault of ours.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from harness.faultproxy.effects import MARK
from harness.faults.fault import Misbehaving, Need, Question, UpstreamFault, to_ns
from harness.model.units import Bytes, Seconds

if TYPE_CHECKING:
    from harness.faults.answer import Answer
    from harness.faults.probe_socket import Seen


class HttpFault(UpstreamFault):
    """A fault of the answers of one upstream."""

    needs: ClassVar[frozenset[Need]] = frozenset({"http"})

    @property
    def needs_http(self) -> bool:
        """All of them do."""
        return True

    def effect(self) -> dict[str, Any]:
        """Return its effect, as `faultproxy.effects.Misbehaviour` has it."""
        raise NotImplementedError

    def inject(self, ground: Misbehaving, fault_id: str) -> None:
        """Put it on."""
        ground.misbehave(fault_id, self.effect())

    def clear(self, ground: Misbehaving, fault_id: str) -> None:
        """Take it off."""
        ground.behave(fault_id)

    def question(self) -> Question:
        """The whole answer counts."""
        return Question(until="whole")

    def bites(self, seen: Seen, healthy_ns: int) -> bool:
        """An answer that the proxy says it has touched, with the face of this fault."""
        answer = seen.answer
        return answer is not None and MARK.decode() in answer.headers and self.shows(answer, seen, healthy_ns)

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:
        """Return whether an answer that was touched has its face."""
        raise NotImplementedError


class PartialHttpFault(HttpFault):
    """A fault of the answers that can be put on a share of the requests, which the plan's seed draws."""

    share: float = Field(default=1.0, ge=0.05, le=1.0)
    """Share of requests that it is on, 0.05 to 1: to see that one on fewer is gone takes too many probes."""

    def inject(self, ground: Misbehaving, fault_id: str) -> None:
        """Put it on its share."""
        ground.misbehave(fault_id, {**self.effect(), "share": self.share})

    def met_by(self) -> float:
        """Every probe is a request."""
        return self.share


class RateLimited(PartialHttpFault):
    """429, with the vendor's error and a Retry-After: too many requests, whoever sent them."""

    kind: Literal["rate_limited"] = "rate_limited"
    client_sees: ClassVar[str] = "HTTP 429 at once; a client that tries again at once makes it worse"
    retry_after: Seconds = Field(default=1.0, ge=0)

    def effect(self) -> dict[str, Any]:
        """An error of the proxy's own; the upstream is not asked."""
        return {"answer": {"what": "error", "status": 429, "retry_after_s": self.retry_after}}

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """429, and when to come again."""
        return answer.status == 429 and "retry-after" in answer.headers


class HttpError(PartialHttpFault):
    """An error status with the vendor's error: 500 broken, 502 and 504 its gateway, 503 down, 529 overloaded."""

    kind: Literal["http_error"] = "http_error"
    client_sees: ClassVar[str] = "That status at once, with an error its SDK knows"
    status: Literal[500, 502, 503, 504, 529] = 503

    def effect(self) -> dict[str, Any]:
        """An error of the proxy's own; the upstream is not asked."""
        return {"answer": {"what": "error", "status": self.status}}

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """That status."""
        return answer.status == self.status


class Unauthorized(PartialHttpFault):
    """401 (from AWS 403): the key or token has expired. To try again does not help."""

    kind: Literal["unauthorized"] = "unauthorized"
    client_sees: ClassVar[str] = "HTTP 401 at once; most clients do not try again"

    def effect(self) -> dict[str, Any]:
        """An error of the proxy's own; the upstream is not asked."""
        return {"answer": {"what": "error", "status": 401}}

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """401 or 403."""
        return answer.status in {401, 403}


class Quota(HttpFault):
    """`requests` in every window of `per` pass, the others get 429 until the next begins. The answers tell what is left
    (``x-ratelimit-*``), which is how probes, that take nothing of it, see it."""

    kind: Literal["quota"] = "quota"
    client_sees: ClassVar[str] = "Answers and 429 in turns"
    requests: int = Field(ge=1)
    per: Seconds = Field(ge=0.1)

    def effect(self) -> dict[str, Any]:
        """Counted by the proxy, from the moment it is put on."""
        return {"quota": {"requests": self.requests, "per_s": self.per}}

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """Its limit in the answer."""
        return answer.headers.get("x-ratelimit-limit-requests") == str(self.requests)


class Garbage(PartialHttpFault):
    """200, and JSON that stops in the middle (for a stream: an event that does): nobody can read it."""

    kind: Literal["garbage"] = "garbage"
    client_sees: ClassVar[str] = "Success by status, and an error when it reads the body"

    def effect(self) -> dict[str, Any]:
        """An answer of the proxy's own; the upstream is not asked."""
        return {"answer": {"what": "garbage"}}

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """Success, with a body that says it is JSON and is not."""
        with suppress(ValueError):
            json.loads(answer.body)
            return False
        broken = answer.status == 200 and answer.complete and bool(answer.body)
        return broken and answer.headers.get("content-type") == "application/json"


class Empty(PartialHttpFault):
    """200, and nothing in it."""

    kind: Literal["empty"] = "empty"
    client_sees: ClassVar[str] = "Success by status, and nothing to read"

    def effect(self) -> dict[str, Any]:
        """An answer of the proxy's own; the upstream is not asked."""
        return {"answer": {"what": "empty"}}

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """Success without a body."""
        return answer.status == 200 and answer.complete and not answer.body


class WrongContentType(PartialHttpFault):
    """The right answer under the wrong content type, as gateways and captive portals send it."""

    kind: Literal["wrong_content_type"] = "wrong_content_type"
    client_sees: ClassVar[str] = "The answer, or an error, or text where it expected an object: as its SDK takes it"
    content_type: str = Field(default="text/html", pattern=r"^[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w-]+)?$")

    def effect(self) -> dict[str, Any]:
        """The upstream's answer, with another header."""
        return {"content_type": self.content_type}

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """That content type."""
        return answer.headers.get("content-type") == self.content_type


class SlowFirstToken(PartialHttpFault):
    """The head of an answer comes at once, its body `latency` later and then at its own pace: the provider queues."""

    kind: Literal["slow_first_token"] = "slow_first_token"
    client_sees: ClassVar[str] = "Status and headers on time, then nothing for a while"
    latency: Seconds = Field(ge=0.02)

    def effect(self) -> dict[str, Any]:
        """The upstream's answer, its body late."""
        return {"delay_s": self.latency}

    def patience_ns(self, healthy_ns: int) -> int:
        """Wait for the latest answer there can be, and a second more."""
        return to_ns(self.latency + 1) + super().patience_ns(healthy_ns)

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """A whole answer, but later than a healthy one by 80 % of the delay."""
        return seen.outcome == "answered" and seen.took_ns >= healthy_ns + 0.8 * to_ns(self.latency)


class StreamStall(PartialHttpFault):
    """An answer begins and stops after `after_bytes` of its body, or before its last byte; the connection stays
    open. Only a time-out between tokens notices. Stalled answers are cut when the fault ends."""

    kind: Literal["stream_stall"] = "stream_stall"
    client_sees: ClassVar[str] = "The beginning of an answer, and then nothing until its own time-out"
    after_bytes: Bytes = Field(default=200, ge=0)

    def effect(self) -> dict[str, Any]:
        """The upstream's answer, as far as that."""
        return {"after": self.after_bytes, "then": "stall"}

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """The beginning of an answer, and then nothing."""
        return seen.outcome == "stalled" and not answer.complete


class StreamCut(PartialHttpFault):
    """An answer begins and its connection is closed after `after_bytes` of its body, or before its last byte: status
    200, and no end."""

    kind: Literal["stream_cut"] = "stream_cut"
    client_sees: ClassVar[str] = "The beginning of an answer, and then an error, or what it takes for the end"
    after_bytes: Bytes = Field(default=200, ge=0)

    def effect(self) -> dict[str, Any]:
        """The upstream's answer, as far as that."""
        return {"after": self.after_bytes, "then": "cut"}

    def shows(self, answer: Answer, seen: Seen, healthy_ns: int) -> bool:  # noqa: ARG002
        """The beginning of an answer, and then the end of the connection."""
        return seen.outcome == "cut" and not answer.complete
