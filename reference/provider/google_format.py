"""Google's generateContent on the wire: JSON, and server-sent events for streamGenerateContent."""

from __future__ import annotations

import json
from typing import Any

from reference.provider.answers import CHARACTERS_PER_TOKEN
from reference.provider.wire import Answer, BadRequestError, Header, Wanted

_ERROR_STATUSES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    529: "UNAVAILABLE",
}


def read(model: str, body: dict[str, Any], *, stream: bool) -> Wanted:
    """A GenerateContentRequest. Raises BadRequestError."""
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise BadRequestError("contents is not specified")
    config = body.get("generationConfig") or {}
    limit = config.get("maxOutputTokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise BadRequestError(f"generationConfig.maxOutputTokens must be a whole number of at least 1, not {limit!r}")
    length = sum(_length(content) for content in [body.get("systemInstruction") or {}, *contents])
    return Wanted(
        model=model,
        tokens_in=-(-max(1, length) // CHARACTERS_PER_TOKEN),
        max_tokens=limit,
        stream=stream,
        json=config.get("responseMimeType") == "application/json",
        schema=config.get("responseJsonSchema") or config.get("responseSchema"),
    )


def _length(content: Any) -> int:
    if not isinstance(content, dict):
        raise BadRequestError(f"a content must be an object, not {type(content).__name__}")
    return sum(len(part.get("text", "")) for part in content.get("parts") or [] if isinstance(part, dict))


class GoogleFormat:
    """Writes answers the way Google does."""

    stream_type = b"text/event-stream"

    def plain(self, answer: Answer) -> bytes:
        """A GenerateContentResponse."""
        return _encode(_response(answer, answer.text, finished=True))

    def head(self, answer: Answer) -> bytes:  # noqa: ARG002 - every format gets the answer
        """Nothing: a stream of Google's opens with its first piece of text."""
        return b""

    def delta(self, answer: Answer, text: str) -> bytes:
        """A response that goes on; its usage knows the prompt alone."""
        return _event(_response(answer, text, finished=False))

    def tail(self, answer: Answer, wanted: Wanted) -> bytes:  # noqa: ARG002
        """The response with the reason and the whole usage; no end marker follows."""
        return _event(_response(answer, "", finished=True))

    def garbage(self, *, stream: bool) -> bytes:
        """JSON that stops in the middle."""
        broken = b'{"candidates":[{"content":{"parts":[{"te'
        return b"data: " + broken + b"\r\n\r\n" if stream else broken

    def error(self, status: int, message: str) -> tuple[list[Header], bytes]:
        """Google's error object: the status as a number and as a name."""
        name = _ERROR_STATUSES.get(status, "INTERNAL")
        return [], _encode({"error": {"code": status, "message": message, "status": name}})


def _response(answer: Answer, text: str, *, finished: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    usage = {"promptTokenCount": answer.tokens_in, "totalTokenCount": answer.tokens_in}
    if finished:
        candidate["finishReason"] = "MAX_TOKENS" if answer.truncated else "STOP"
        usage["candidatesTokenCount"] = answer.tokens_out
        usage["totalTokenCount"] += answer.tokens_out
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": answer.model,
        "responseId": f"generation-{answer.number}",
    }


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + _encode(value) + b"\r\n\r\n"


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
