"""Where HTTP/1.1 messages begin and end in a stream of bytes (RFC 9112). Nothing here changes a byte."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD_END = b"\r\n\r\n"
MOST_HEAD = 65_536
"""A head that is longer is not looked for any more: what comes is then passed on as it is."""

_REQUEST = re.compile(rb"[!-~]+ [^ \r\n]+ HTTP/1\.[01]")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |$)")
_BODILESS = (204, 304)
_CRLF = b"\r\n"
_CONTINUE, _SWITCHING, _FINAL = 100, 101, 200


class NotHttpError(ValueError):
    """These bytes are no head of an HTTP/1.1 message."""


@dataclass(frozen=True)
class Head:
    """The head of a message: all of it, and what is needed of it. Names of headers are in lower case."""

    raw: bytes
    headers: dict[bytes, bytes]
    method: bytes = b""
    target: bytes = b""
    status: int = 0

    @property
    def interim(self) -> bool:
        """Whether another head follows: 1xx, but for 101, after which it is HTTP no more."""
        return _CONTINUE <= self.status < _FINAL and self.status != _SWITCHING

    @property
    def switches(self) -> bool:
        """Whether what follows is another protocol."""
        return self.status == _SWITCHING


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}


def request_head(raw: bytes) -> Head:
    """Read the head of a request; NotHttpError."""
    first, *lines = raw.rstrip(_CRLF).split(_CRLF)
    if not _REQUEST.fullmatch(first):
        raise NotHttpError(first)
    method, target, _ = first.split(b" ")
    return Head(raw, _headers(lines), method=method, target=target)


def response_head(raw: bytes) -> Head:
    """Read the head of an answer; NotHttpError."""
    first, *lines = raw.rstrip(_CRLF).split(_CRLF)
    match = _STATUS.match(first)
    if match is None:
        raise NotHttpError(first)
    return Head(raw, _headers(lines), status=int(match[1]))


class Body:
    """Counts a body as it passes. `left`: its length in bytes; None for one that ends with its connection."""

    def __init__(self, left: int | None) -> None:
        self._left = left
        self.done = left == 0

    def take(self, data: bytes) -> int:
        """Return how many bytes of `data` belong to it."""
        if self._left is None:
            return len(data)
        taken = min(self._left, len(data))
        self._left -= taken
        self.done = self._left == 0
        return taken


class ChunkedBody(Body):
    """A body in chunks, its trailer included."""

    def __init__(self) -> None:
        super().__init__(None)
        self._data = 0
        """Bytes still to come of a chunk and the line break after it."""
        self._line = b""
        self._trailer = False

    def take(self, data: bytes) -> int:
        """Return how many bytes of `data` belong to it; NotHttpError when it is not in chunks."""
        at, end = 0, len(data)
        while at < end and not self.done:
            if self._data:
                taken = min(self._data, end - at)
                self._data -= taken
                at += taken
                continue
            newline = data.find(b"\n", at)
            stop = end if newline < 0 else newline + 1
            self._line += data[at:stop]
            at = stop
            if newline >= 0:
                self._end_of_line(self._line.strip())
                self._line = b""
            elif len(self._line) > MOST_HEAD:
                raise NotHttpError(self._line[:40])
        return at

    def _end_of_line(self, line: bytes) -> None:
        if self._trailer:
            self.done = not line
            return
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            raise NotHttpError(line[:40]) from None
        self._trailer = size == 0
        self._data = size + 2 if size else 0


def request_body(head: Head) -> Body:
    """Return the body that follows the head of a request; NotHttpError when it cannot be told."""
    return _body(head, otherwise=0)


def response_body(head: Head, method: bytes) -> Body:
    """Return the body that follows the head of an answer to `method`; NotHttpError when it cannot be told."""
    if method == b"HEAD" or head.status in _BODILESS or head.interim:
        return Body(0)
    return _body(head, otherwise=None)


def _body(head: Head, otherwise: int | None) -> Body:
    if b"chunked" in head.headers.get(b"transfer-encoding", b"").lower():
        return ChunkedBody()
    length = head.headers.get(b"content-length")
    if length is None:
        return Body(otherwise)
    if not length.isdigit():
        raise NotHttpError(length)
    return Body(int(length))
