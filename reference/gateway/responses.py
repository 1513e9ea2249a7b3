"""How replies and errors look on the wire: bodies and headers, and streams of server-sent events."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from reference.gateway.upstream import UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import Receive, Scope, Send

    from reference.gateway.guarded import TokenStream
    from reference.gateway.llm import LLM, Question, Reply

DONE = b"data: [DONE]\n\n"


class ApiError(Exception):
    """A request that is answered with an error; `details` go into the error object."""

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message, **details}}


class Json(Response):
    """A JSON document, encoded once and compactly."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """See Response."""
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def usage_and_cost(reply: Reply) -> dict[str, Any]:
    """The body fields of what was paid."""
    return {
        "usage": {"input": reply.usage.tokens_in, "output": reply.usage.tokens_out},
        "cost_usd": round(reply.cost_usd, 8),
    }


def headers(reply: Reply) -> dict[str, str]:
    """The headers of a whole reply."""
    return {
        **_how_answered(reply.provider, reply.lookups, reply.hits, degraded=reply.degraded),
        "x-tokens-in": str(reply.usage.tokens_in),
        "x-tokens-out": str(reply.usage.tokens_out),
        "x-cost-usd": f"{reply.cost_usd:.8f}",
    }


def stream_headers(provider: str, *, degraded: bool) -> dict[str, str]:
    """The headers of a stream, whose tokens are not known yet and which the cache has no part in."""
    return {**_how_answered(provider, 0, 0, degraded=degraded), "cache-control": "no-cache"}


def _how_answered(provider: str, lookups: int, hits: int, *, degraded: bool) -> dict[str, str]:
    return {
        "x-llm-provider": provider,
        "x-cache": "bypass" if lookups == 0 else "hit" if hits == lookups else "miss",
        "x-cache-lookups": str(lookups),
        "x-cache-hits": str(hits),
        "x-degraded": "true" if degraded else "false",
    }


def event(body: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def done_event(reply: Reply) -> bytes:
    """The last events of a complete stream."""
    last = {"done": True, "provider": reply.provider, "model": reply.model, "degraded": reply.degraded}
    return event({**last, **usage_and_cost(reply)}) + DONE


class StreamedReply(Response):
    """A provider's stream passed on as it comes.

    When the provider dies in the middle the user gets an error event and no end marker; when the user
    leaves, the provider's connection is dropped.
    """

    media_type = "text/event-stream"

    def __init__(self, llm: LLM, question: Question, stream: TokenStream) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(stream_headers(stream.provider, degraded=False))
        self._llm = llm
        self._question = question
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Write the stream until it ends or the user leaves."""
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            writing.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)
            await self._stream.close()
        if not writing.cancelled() and (error := writing.exception()) is not None:
            raise error

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for part in self._events():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncIterator[bytes]:
        try:
            async for text in self._stream.texts():
                yield event({"delta": text})
        except UpstreamError as error:
            code = f"provider_{error.kind}"
            yield event({"error": {"code": code, "message": str(error), "provider": self._stream.provider}})
            return
        yield done_event(self._llm.stream_paid(self._question, self._stream))


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
