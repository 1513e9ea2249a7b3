"""Bedrock runtime's Converse on the wire: JSON, and the binary event stream for ConverseStream."""

from __future__ import annotations

import json
from typing import Any

from reference.provider import eventstream
from reference.provider.answers import CHARACTERS_PER_TOKEN
from reference.provider.wire import Answer, BadRequestError, Header, Wanted

_ERROR_TYPES = {
    400: "ValidationException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
    529: "OverloadedException",
}


def read(model: str, body: dict[str, Any], *, stream: bool) -> Wanted:
    """A Converse request. Raises BadRequestError."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("the conversation must have at least one message")
    limit = (body.get("inferenceConfig") or {}).get("maxTokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise BadRequestError(f"inferenceConfig.maxTokens must be a whole number of at least 1, not {limit!r}")
    length = _length(body.get("system") or [])
    for message in messages:
        if not isinstance(message, dict):
            raise BadRequestError(f"a message must be an object, not {type(message).__name__}")
        length += _length(message.get("content") or [])
    return Wanted(model=model, tokens_in=-(-max(1, length) // CHARACTERS_PER_TOKEN), max_tokens=limit, stream=stream)


def _length(blocks: list[Any]) -> int:
    return sum(len(block.get("text", "")) for block in blocks if isinstance(block, dict))


class BedrockFormat:
    """Writes answers the way Bedrock does."""

    stream_type = eventstream.CONTENT_TYPE.encode()

    def plain(self, answer: Answer) -> bytes:
        """A ConverseResponse."""
        message = {"role": "assistant", "content": [{"text": answer.text}]}
        return _encode({"output": {"message": message}, "stopReason": _stop_reason(answer), **_figures(answer)})

    def head(self, answer: Answer) -> bytes:  # noqa: ARG002 - every format gets the answer
        """The messageStart event."""
        return eventstream.event("messageStart", {"role": "assistant"})

    def delta(self, answer: Answer, text: str) -> bytes:  # noqa: ARG002
        """A contentBlockDelta event."""
        return eventstream.event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})

    def tail(self, answer: Answer, wanted: Wanted) -> bytes:  # noqa: ARG002
        """The events contentBlockStop, messageStop and metadata."""
        return (
            eventstream.event("contentBlockStop", {"contentBlockIndex": 0})
            + eventstream.event("messageStop", {"stopReason": _stop_reason(answer)})
            + eventstream.event("metadata", _figures(answer))
        )

    def garbage(self, *, stream: bool) -> bytes:
        """JSON that stops in the middle, or a frame whose checksum is wrong."""
        if not stream:
            return b'{"output":{"message":{"role":"assistant","content":[{"te'
        good = eventstream.event("messageStart", {"role": "assistant"})
        return good[:-1] + bytes([good[-1] ^ 0xFF])

    def error(self, status: int, message: str) -> tuple[list[Header], bytes]:
        """The error's type in a header, its message in the body."""
        kind = _ERROR_TYPES.get(status, "InternalServerException")
        return [(b"x-amzn-errortype", kind.encode())], _encode({"message": message})


def _stop_reason(answer: Answer) -> str:
    return "max_tokens" if answer.truncated else "end_turn"


def _figures(answer: Answer) -> dict[str, dict[str, int]]:
    usage = {
        "inputTokens": answer.tokens_in,
        "outputTokens": answer.tokens_out,
        "totalTokens": answer.tokens_in + answer.tokens_out,
    }
    return {"usage": usage, "metrics": {"latencyMs": answer.latency_ms}}


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
