"""Reading one HTTP/1.1 answer as its bytes arrive (RFC 9112), so that the canary knows when each byte came.

Pure. A client library costs the canary two to three times the CPU of the whole probe, on cores it shares with the
system under test; of HTTP it only needs to send one request on a connection of its own and read one answer.
"""

from __future__ import annotations

from typing import Literal

_LONGEST_HEAD = 65_536


class BadAnswer(Exception):
    """What arrived is not HTTP."""


class Answering:
    """One answer: `feed` it what arrives; `status`, `headers` (lower-case names) and `body` fill up.

    `headers` is None until the head is whole.
    """

    def __init__(self, *, head_only: bool = False) -> None:
        self.status = 0
        self.headers: dict[str, str] | None = None
        self.body = bytearray()
        self._head_only = head_only
        self._pending = bytearray()
        self._framing: Literal["length", "chunked", "until_close"] = "until_close"
        self._left = 0
        """Bytes left of the body, or of the chunk being read; -1 between chunks, -2 in the trailers."""

    def feed(self, data: bytes) -> bool:
        """Take `data`; return whether the answer is whole now. BadAnswer when it is no HTTP."""
        self._pending += data
        while self.headers is None:
            if not self._take_head():
                return False
        if self._head_only:
            return True
        return self._take_chunks() if self._framing == "chunked" else self._take_plain()

    def closed(self) -> bool:
        """Return whether the answer is whole now that the connection has been closed."""
        return self.headers is not None and self._framing == "until_close"

    def _take_head(self) -> bool:
        end = self._pending.find(b"\r\n\r\n")
        if end < 0:
            if len(self._pending) > _LONGEST_HEAD:
                raise BadAnswer(f"no end of the headers within {_LONGEST_HEAD} bytes")
            return False
        first, *lines = self._pending[:end].decode("latin-1").split("\r\n")
        del self._pending[: end + 4]
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise BadAnswer(f"begins with {first[:40]!r}")
        status = int(rest[:3])
        if 100 <= status < 200:  # interim: the answer itself is still to come
            return True
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise BadAnswer(f"header {line[:40]!r}")
            key, text = name.lower(), value.strip()
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        self.status, self.headers = status, headers
        self._choose_framing(headers)
        return True

    def _choose_framing(self, headers: dict[str, str]) -> None:
        if self.status in (204, 304):
            self._head_only = True
        elif headers.get("transfer-encoding", "").lower().endswith("chunked"):
            self._framing, self._left = "chunked", -1
        elif "content-length" in headers:
            length = headers["content-length"]
            if not length.isdigit():
                raise BadAnswer(f"content-length {length[:40]!r}")
            self._framing, self._left = "length", int(length)

    def _take_plain(self) -> bool:
        if self._framing == "until_close":
            self.body += self._pending
            self._pending.clear()
            return False
        self._take_body()
        return self._left == 0

    def _take_body(self) -> None:
        part = self._pending[: self._left]
        self.body += part
        del self._pending[: len(part)]
        self._left -= len(part)

    def _take_chunks(self) -> bool:
        while True:
            if self._left > 0:
                self._take_body()
                if self._left:
                    return False
            line = self._take_line()
            if line is None:
                return False
            if self._left == -2:
                if not line:
                    return True
            elif self._left == 0:  # the line end after a chunk
                self._left = -1
            else:
                self._left = _chunk_size(line) or -2

    def _take_line(self) -> bytes | None:
        end = self._pending.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(self._pending[:end])
        del self._pending[: end + 2]
        return line


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        return int(digits, 16)
    except ValueError:
        raise BadAnswer(f"chunk size {digits[:40]!r}") from None
