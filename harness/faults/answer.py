"""An upstream's answer to a probe, read as it comes: whether it is complete, and what it says. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD_END = b"\r\n\r\n"
_BODILESS = {204, 304}


@dataclass(frozen=True)
class Answer:
    """As much of an answer as came. `status`, `headers` (names in lower case) and `body` (chunks joined) are HTTP's."""

    complete: bool
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __str__(self) -> str:
        if self.status is None:
            return ""
        kind = self.headers.get("content-type", "no content type")
        return f"HTTP {self.status}, {kind}, {len(self.body)} bytes of body{'' if self.complete else ' so far'}"


class Reader(Protocol):
    """Reads what came of one answer; `ended`: nothing more will, because the connection was closed."""

    def __call__(self, data: bytes, *, ended: bool = False) -> Answer:
        """Return what it says so far."""


def _chunks(data: bytes) -> tuple[bytes, bool]:
    """Return the body of a chunked answer (RFC 9112, 7.1) and whether its last chunk has come."""
    body: list[bytes] = []
    at = 0
    while (line_end := data.find(b"\r\n", at)) >= 0:
        try:
            size = int(data[at:line_end].split(b";")[0], 16)
        except ValueError:
            return b"".join(body), False
        if size == 0:
            return b"".join(body), data.find(b"\r\n", line_end + 2) >= 0
        body.append(data[line_end + 2 : line_end + 2 + size])
        at = line_end + 2 + size + 2
    return b"".join(body), False


def read_http(data: bytes, *, ended: bool = False) -> Answer:
    """Read an answer to GET. What is no HTTP is an answer without a status, complete as it stands."""
    head, found, rest = data.partition(_HEAD_END)
    if not found:
        return Answer(complete=False)
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        return Answer(complete=True)
    status = int(words[1])
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if status in _BODILESS:
        return Answer(True, status, headers)
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body, complete = _chunks(rest)
        return Answer(complete, status, headers, body)
    length = headers.get("content-length", "")
    return Answer(len(rest) >= int(length) if length.isdigit() else ended, status, headers, rest)


def read_redis(data: bytes, *, ended: bool = False) -> Answer:  # noqa: ARG001 - its answers say how long they are
    """Read a simple string, an error or a bulk string."""
    first, found, rest = data.partition(b"\r\n")
    if first.startswith(b"$") and first[1:].isdigit():
        return Answer(len(rest) >= int(first[1:]) + 2)
    return Answer(bool(found))


READERS: dict[str, Reader] = {"http": read_http, "redis": read_redis}
"""By the protocol of the upstream."""
