"""What the vendors' own errors look like on the wire, and answers that none of their clients can read.

Who is meant is read off the request's path. Shapes: Bedrock runtime's API errors (name in ``x-amzn-errortype``),
OpenAI's error object, Google's `google.rpc.Status`, Anthropic's error object. A path of nobody's gets OpenAI's, which
most gateways imitate.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

JSON = b"application/json"
_SSE = b"text/event-stream"
_EVENT_STREAM = b"application/vnd.amazon.eventstream"

_PATHS = (
    ("bedrock", re.compile(rb"^/model/[^?]+/(converse|converse-stream|invoke|invoke-with-response-stream)(\?|$)")),
    ("google", re.compile(rb"^/[^?]*:(generateContent|streamGenerateContent|countTokens)(\?|$)")),
    ("anthropic", re.compile(rb"^(/[^?]*)?/v1/messages")),
)
_STREAMING_PATH = re.compile(rb"(/converse-stream|/invoke-with-response-stream|:streamGenerateContent)(\?|$)")
_STREAMING_BODY = re.compile(rb'"stream"\s*:\s*true')

_MESSAGES = {
    401: "The API key or token has expired.",
    429: "Rate limit reached: too many requests.",
    500: "The server had an error while processing the request.",
    502: "Bad gateway.",
    503: "The service is temporarily unavailable.",
    504: "The upstream did not answer in time.",
    529: "The service is overloaded.",
}
_BEDROCK = {
    401: "ExpiredTokenException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
    529: "ServiceUnavailableException",
}
_OPENAI = {
    401: ("invalid_request_error", "invalid_api_key"),
    429: ("requests", "rate_limit_exceeded"),
}
_GOOGLE = {401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 504: "DEADLINE_EXCEEDED"}
_ANTHROPIC = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
_BEDROCK_STATUS = {401: 403}
"""AWS says 403 of a token that has expired."""


@dataclass(frozen=True)
class Made:
    """An answer that the proxy makes itself."""

    status: int
    content_type: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def vendor_of(target: bytes) -> str:
    """Return whose API a request's target is of."""
    return next((vendor for vendor, path in _PATHS if path.search(target)), "openai")


def wants_stream(target: bytes, body: bytes) -> bool:
    """Return whether a request asks for a stream."""
    return bool(_STREAMING_PATH.search(target) or _STREAMING_BODY.search(body))


def error(target: bytes, status: int, retry_after_s: float | None = None) -> Made:
    """Return the error that the vendor answers with `status`; `retry_after_s` is told in whole seconds, rounded up."""
    vendor, message = vendor_of(target), _MESSAGES.get(status, "Error.")
    headers: list[tuple[bytes, bytes]] = []
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % -(-retry_after_s // 1)))
        if vendor == "openai":  # its SDK looks at this one first
            headers.append((b"retry-after-ms", b"%d" % round(retry_after_s * 1000)))
    if vendor == "bedrock":
        headers.append((b"x-amzn-errortype", _BEDROCK.get(status, "InternalServerException").encode()))
    body = _SHAPES[vendor](status, message)
    told = _BEDROCK_STATUS.get(status, status) if vendor == "bedrock" else status
    return Made(told, JSON, json.dumps(body, separators=(",", ":")).encode(), tuple(headers))


def _openai(status: int, message: str) -> dict[str, object]:
    kind, code = _OPENAI.get(status, ("server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _google(status: int, message: str) -> dict[str, object]:
    return {"error": {"code": status, "message": message, "status": _GOOGLE.get(status, "UNAVAILABLE")}}


def _anthropic(status: int, message: str) -> dict[str, object]:
    return {"type": "error", "error": {"type": _ANTHROPIC.get(status, "api_error"), "message": message}}


_SHAPES = {
    "openai": _openai,
    "bedrock": lambda _, message: {"message": message},
    "google": _google,
    "anthropic": _anthropic,
}


def empty() -> Made:
    """Return success, with nothing in it."""
    return Made(200, JSON, b"")


def garbage(target: bytes, body: bytes) -> Made:
    """Return success, with what nobody can read: JSON that stops in the middle, or a frame that is none."""
    broken = b'{"id":"0","output":{"message":{"role":"assistant","content":[{"te'
    if not wants_stream(target, body):
        return Made(200, JSON, broken)
    if vendor_of(target) == "bedrock":
        return Made(200, _EVENT_STREAM, b"\x00\x00\x00\x30\x00\x00\x00\x10\xde\xad\xbe\xef" + broken[:36])
    return Made(200, _SSE, b"data: " + broken + b"\n\n")
