"""OpenAI's chat completions on the wire: JSON, and server-sent events for streams."""

from __future__ import annotations

import json
import time
from typing import Any

from reference.provider.answers import CHARACTERS_PER_TOKEN
from reference.provider.wire import Answer, BadRequestError, Header, Wanted

_ERROR_KINDS: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    404: ("invalid_request_error", "not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", "internal_error"),
    503: ("server_error", "service_unavailable"),
    529: ("server_error", "overloaded"),
}


def read(body: dict[str, Any]) -> Wanted:
    """A chat completion request. Raises BadRequestError."""
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str) or not model:
        raise BadRequestError("you must provide a model parameter")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("'messages' must be a list with at least one message")
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise BadRequestError(f"'max_tokens' must be a whole number of at least 1, not {limit!r}")
    wanted_format = body.get("response_format") or {}
    return Wanted(
        model=model,
        tokens_in=-(-max(1, sum(_length(message) for message in messages)) // CHARACTERS_PER_TOKEN),
        max_tokens=limit,
        stream=bool(body.get("stream")),
        json=wanted_format.get("type") in ("json_object", "json_schema"),
        schema=(wanted_format.get("json_schema") or {}).get("schema"),
        usage_chunk=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def _length(message: Any) -> int:
    if not isinstance(message, dict):
        raise BadRequestError(f"a message must be an object, not {type(message).__name__}")
    content = message.get("content")
    if isinstance(content, str):
        return len(content)
    return sum(len(part.get("text", "")) for part in content or [] if isinstance(part, dict))


class OpenAIFormat:
    """Writes answers the way OpenAI does."""

    stream_type = b"text/event-stream; charset=utf-8"

    def plain(self, answer: Answer) -> bytes:
        """A `chat.completion` object."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
        return _encode({**_common(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer)})

    def head(self, answer: Answer) -> bytes:
        """The role-only first chunk."""
        return _chunk(answer, {"role": "assistant", "content": "", "refusal": None}, None)

    def delta(self, answer: Answer, text: str) -> bytes:
        """A content chunk."""
        return _chunk(answer, {"content": text}, None)

    def tail(self, answer: Answer, wanted: Wanted) -> bytes:
        """The finish chunk, the usage chunk when asked for, and the end marker."""
        end = _chunk(answer, {}, _finish(answer))
        if wanted.usage_chunk:
            usage = {**_common(answer, "chat.completion.chunk"), "choices": [], "usage": _usage(answer)}
            end += b"data: " + _encode(usage) + b"\n\n"
        return end + b"data: [DONE]\n\n"

    def garbage(self, *, stream: bool) -> bytes:
        """JSON that stops in the middle."""
        broken = b'{"id":"chatcmpl-0","object":"chat.completion","choices":[{"index":0,"mess'
        return b"data: " + broken + b"\n\n" if stream else broken

    def error(self, status: int, message: str) -> tuple[list[Header], bytes]:
        """OpenAI's error object."""
        kind, code = _ERROR_KINDS.get(status, ("server_error", None))
        return [], _encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def models(names: list[str]) -> bytes:
    """The body of `GET /v1/models`."""
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "simulator"} for name in names]
    return _encode({"object": "list", "data": rows})


def _common(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.number}",
        "object": kind,
        "created": int(time.time()),
        "model": answer.model,
        "system_fingerprint": "fp_simulator",
    }


def _chunk(answer: Answer, delta: dict[str, Any], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return b"data: " + _encode({**_common(answer, "chat.completion.chunk"), "choices": [choice]}) + b"\n\n"


def _finish(answer: Answer) -> str:
    return "length" if answer.truncated else "stop"


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.tokens_in,
        "completion_tokens": answer.tokens_out,
        "total_tokens": answer.tokens_in + answer.tokens_out,
    }


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
