"""One GET, for the side channels of a run (readiness, health, metrics, ledgers): small, blocking, standard library.

A client library costs several times as much for each request and shares its two cores with the system under test.
The user's proxy settings are ignored: these requests never leave the hosts the plan names.
"""

from __future__ import annotations

import io
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.clock import NS_PER_S, now_ns

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer

_MOST_BYTES = 64 << 20
_PIECE = 1 << 16


class _Until(io.RawIOBase):
    """What a socket receives up to a moment; after it TimeoutError, however many bytes are still trickling in."""

    def __init__(self, plug: socket.socket, deadline_ns: int) -> None:
        super().__init__()
        self._plug, self._deadline_ns = plug, deadline_ns
        self._raw: Any = plug.makefile("rb", buffering=0)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """Return itself as what HTTPResponse asks its socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        left_ns = self._deadline_ns - now_ns()
        if left_ns <= 0:
            raise TimeoutError
        self._plug.settimeout(left_ns / NS_PER_S)
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


def get(url: str, timeout_s: float) -> tuple[int, bytes]:
    """Return the status and the body of ``GET url``; OSError says in words why there is no whole answer.

    `timeout_s` bounds the whole, 64 MiB the body.
    """
    deadline_ns = now_ns() + round(timeout_s * NS_PER_S)
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        with closing(HTTPResponse(_Until(connection.sock, deadline_ns), method="GET")) as answer:  # type: ignore[arg-type]
            answer.begin()
            return answer.status, _body(answer)
    except OSError as error:
        raise type(error)(reason(error, timeout_s)) from None
    except HTTPException as error:
        raise OSError(f"no HTTP answer ({type(error).__name__})") from error
    finally:
        connection.close()


def _body(answer: HTTPResponse) -> bytes:
    body = bytearray()
    while piece := answer.read(_PIECE):
        body += piece
        if len(body) > _MOST_BYTES:
            raise OSError(f"more than {_MOST_BYTES >> 20} MiB")
    if answer.length:
        raise IncompleteRead(bytes(body), answer.length)
    return bytes(body)


def reason(error: OSError, timeout_s: float) -> str:
    """Say in two or three words what went wrong."""
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    return error.strerror or str(error)
