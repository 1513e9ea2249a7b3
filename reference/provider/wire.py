"""What the wire formats have in common: the request they are read into, the answer they write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

Header = tuple[bytes, bytes]


class BadRequestError(ValueError):
    """The request is not one the real provider would accept; answered with 400."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A generation request, whatever its wire format. Lengths in tokens."""

    model: str
    tokens_in: int
    max_tokens: int | None
    stream: bool
    json: bool = False
    schema: dict[str, Any] | None = None
    usage_chunk: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says. `pieces` joined are `text`; `number` is the call's number since the start."""

    number: int
    model: str
    text: str
    pieces: list[str]
    tokens_in: int
    tokens_out: int
    truncated: bool
    latency_ms: int


class WireFormat(Protocol):
    """How one vendor puts an answer on the wire."""

    stream_type: bytes

    def plain(self, answer: Answer) -> bytes:
        """The whole answer as one JSON document."""
        ...

    def head(self, answer: Answer) -> bytes:
        """What a stream opens with."""
        ...

    def delta(self, answer: Answer, text: str) -> bytes:
        """One piece of a stream."""
        ...

    def tail(self, answer: Answer, wanted: Wanted) -> bytes:
        """What a complete stream ends with."""
        ...

    def garbage(self, *, stream: bool) -> bytes:
        """Bytes no client of this format can read."""
        ...

    def error(self, status: int, message: str) -> tuple[list[Header], bytes]:
        """Extra headers and the body of an error answer."""
        ...
