"""What every LLM provider is to the rest of the system: a call, an answer, a stream, an error."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

ErrorKind = Literal["timeout", "connection", "rate_limited", "server_error", "bad_answer", "bad_request"]


class UpstreamError(Exception):
    """A provider did not answer. `kind` is the reason in one word, for metrics and for the breaker."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def kind_of_status(status: int) -> ErrorKind:
    """The kind of an error answer, by its HTTP status."""
    if status == 429:
        return "rate_limited"
    return "server_error" if status >= 500 else "bad_request"


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One question to a model. `model` is the name the agent asks for, mapped by each provider."""

    tenant: str
    agent: str
    model: str
    system: str
    prompt: str
    temperature: float
    max_tokens: int
    trace_id: str

    def headers(self) -> dict[str, str]:
        """The headers that let a provider tell whose call it is; each with a span id of its own."""
        return {
            "traceparent": f"00-{self.trace_id}-{secrets.token_hex(8)}-01",
            "x-tenant-id": self.tenant,
            "x-agent-id": self.agent,
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens paid for."""

    tokens_in: int = 0
    tokens_out: int = 0


NOTHING_PAID = Usage()


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer. `model` is the provider's model by the name it is priced by."""

    text: str
    provider: str
    model: str
    usage: Usage


class Upstream(Protocol):
    """A provider behind its vendor's SDK. All methods raise UpstreamError and nothing else."""

    name: str

    async def complete(self, call: ModelCall) -> Completion:
        """The whole answer at once."""
        ...

    def stream(self, call: ModelCall) -> AsyncGenerator[str | Usage]:
        """The answer's text in pieces, none of them empty, and the usage last.

        An answer the provider did not finish raises. Closing the generator drops the connection.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
