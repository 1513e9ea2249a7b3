"""Asking on a connection, and the answer with its times. Only for the Locust subprocess.

`ask` sends a request in one call and reads an answer that is plain (`answer_head`) without a parser. Any other answer,
and any error, it hands back as what `HTTPClient.request` would have returned or raised, for Locust to deal with.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from gevent import socket as sockets
from geventhttpclient.client import IDEMPOTENT_METHODS
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError, HTTPResponse, HTTPSocketPoolResponse
from greenlet import GreenletExit

from harness.clock import now_ns
from harness.tokens import Arrivals
from harness.traffic import answer_head

if TYPE_CHECKING:
    from geventhttpclient.client import HTTPClient

    from harness.traffic.answer_head import Head
    from harness.traffic.locust_record import Exchange

Handed = Callable[[Any], HTTPSocketPoolResponse]
"""Given the request, returns or raises what `HTTPClient.request` would have."""
_BROKEN = (errno.ECONNRESET, errno.EPIPE)
_BLOCK, _MOST = 16384, 1 << 18
_Plain: Any = vars(sockets)["socket"]
_EMPTY_LINE = b"\r\n\r\n"


class TimedResponse(HTTPSocketPoolResponse):
    """An answer that notes when its bytes were read. `first_byte_ns` is the body's; of an empty one, the headers'."""

    broken: BaseException | None = None
    """What reading on raised, when somebody else did: raised once more, by the next read."""

    def __init__(self, sock: Any, pool: Any, *, heard_ns: int = -1, **kwargs: Any) -> None:
        self._heard_ns = heard_ns  # when what is read already came
        self._now_ns = -1
        self.first_byte_ns = self.last_byte_ns = self.end_ns = -1
        self.received = 0
        self.exchange: Exchange | None = None
        kept = pool.taken is sock
        try:
            super().__init__(sock, pool, **kwargs)
        except HTTPConnectionClosed as error:
            error.kept = kept  # type: ignore[attr-defined]
            raise

    def feed(self, data: str | bytes) -> None:
        """Take what was just read."""
        self._now_ns, self._heard_ns = self._heard_ns if self._heard_ns >= 0 else now_ns(), -1
        super().feed(data)

    def _on_body(self, buf: bytearray) -> None:
        self.last_byte_ns = self._now_ns
        if not self.received:
            self.first_byte_ns = self.last_byte_ns
        self.received += len(buf)
        if self.exchange is not None:
            self.exchange.bytes_in = self.received
            if self.exchange.first_byte_ns < 0:
                self.exchange.first_byte_ns = self.first_byte_ns
            self.exchange.last_byte_ns = self.last_byte_ns
            self.exchange.feed(bytes(buf), self.last_byte_ns)
        super()._on_body(buf)

    def _on_message_complete(self) -> None:
        self.end_ns = self._now_ns
        if not self.received:
            self.first_byte_ns = self.end_ns
        super()._on_message_complete()
        if self.exchange is not None:
            exchange, self.exchange = self.exchange, None
            exchange.ended(self.end_ns)

    def follow(self, exchange: Exchange) -> None:
        """Report a body to `exchange` piece by piece, as it is read."""
        exchange.bytes_in, exchange.first_byte_ns = self.received, self.first_byte_ns
        exchange.last_byte_ns = self.last_byte_ns
        exchange.body = bytes(self._body_buffer)
        exchange.arrivals = Arrivals()
        if self.received:  # with the headers, in one read from the connection
            exchange.arrivals.add(self.received, self.first_byte_ns)
        if self.message_complete:
            exchange.end_ns = self.end_ns
        else:
            exchange.open_stream = True
            self.exchange = exchange

    def _broke(self, error: BaseException) -> None:
        if self.exchange is not None:
            exchange, self.exchange = self.exchange, None
            exchange.ended(now_ns(), error)

    def read(self, length: int | None = None) -> bytes:
        """Read as usual; an error ends the request."""
        try:
            if (error := self.broken) is not None:
                self.broken = None
                self.release()
                raise error  # noqa: TRY301 - so that it is noted like any other
            return super().read(length)
        except BaseException as error:
            self._broke(error)
            raise

    def readline(self, sep: bytes = b"\r\n") -> bytes:
        """Read a line as usual; an error ends the request."""
        try:
            return super().readline(sep)
        except BaseException as error:
            self._broke(error)
            raise


class ReadResponse(HTTPSocketPoolResponse):
    """An answer that was read without a parser, as the parser shows it: its body gone, because it was read."""

    def __init__(self, data: bytes, method: str, client: HTTPClient) -> None:
        HTTPResponse.__init__(self, method=method, headers_type=client.headers_type)
        self._sock = self._pool = None
        self.block_size = client.block_size
        self.feed(data)
        self._body_buffer.clear()


class Reply(NamedTuple):
    """A plain answer, whole."""

    head: Head
    raw_head: bytes
    body: bytes
    head_ns: int
    first_byte_ns: int
    """Of the body; of an empty one, the head's."""
    end_ns: int


def _raises(error: BaseException) -> Handed:
    if isinstance(error, GreenletExit):
        raise error

    def handed(_: Any) -> NoReturn:
        raise error

    return handed


class Asking:
    """One request, on one connection; on another one if that closes without an answer and the method allows it."""

    def __init__(self, client: HTTPClient, method: str, request: bytes, wanted: Callable[[Head], bool]) -> None:
        self._client, self._method, self._request, self._wanted = client, method, request, wanted
        self._pool = client._connection_pool  # noqa: SLF001
        self._left = self._pool.size + 1 if method in IDEMPOTENT_METHODS else 0

    def ask(self) -> Reply | Handed:
        """Send it and return its answer if that is plain and wanted; otherwise what is to be made of it.

        GreenletExit passes through.
        """
        pool, request = self._pool, self._request
        try:
            sock = pool.get_socket()
        except GreenletExit:
            raise
        except BaseException as error:  # noqa: BLE001 - Locust decides, here and below
            return _raises(error)
        kept = pool.taken is sock  # type: ignore[attr-defined]
        try:
            if (sent := sock.send(request)) < len(request):
                sock.sendall(memoryview(request)[sent:])
        except BaseException as error:  # noqa: BLE001
            return self._not_sent(sock, error)
        try:
            data = _read(sock, _BLOCK)
        except BaseException as error:  # noqa: BLE001
            return self._closed(sock, kept=kept) if _is(error, errno.ECONNRESET) else self._over(sock, error)
        return self._heard(sock, data, now_ns()) if data else self._closed(sock, kept=kept)

    def _heard(self, sock: Any, data: bytes, heard_ns: int) -> Reply | Handed:
        """Make what can be made of the beginning of an answer."""
        at = data.find(_EMPTY_LINE)
        head = answer_head.read(data[:at]) if at > 0 else None
        if head is None or not self._wanted(head):
            return self._parsed(sock, data, heard_ns)
        body = data[at + 4 :]
        missing = head.length - len(body)
        if missing < 0:
            return self._parsed(sock, data, heard_ns)
        if missing:
            return self._rest(sock, head, data, at, heard_ns)
        self._pool.return_socket(sock)
        return Reply(head, data[:at], body, heard_ns, heard_ns, heard_ns)

    def _rest(self, sock: Any, head: Head, data: bytes, at: int, heard_ns: int) -> Reply | Handed:
        """Read the rest of a body."""
        pieces, missing = [data], head.length + at + 4 - len(data)
        first_ns = end_ns = heard_ns
        while missing:
            error = None
            try:
                piece = _read(sock, min(missing, _MOST))
            except BaseException as raised:  # noqa: BLE001
                if isinstance(raised, GreenletExit):
                    return self._over(sock, raised)
                piece, error = b"", raised
            if not piece:
                return self._parsed(sock, b"".join(pieces), first_ns, error)
            end_ns = now_ns()
            if len(data) == at + 4 and len(pieces) == 1:
                first_ns = end_ns
            pieces.append(piece)
            missing -= len(piece)
        self._pool.return_socket(sock)
        return Reply(head, data[:at], b"".join(pieces)[at + 4 :], heard_ns, first_ns, end_ns)

    def _over(self, sock: Any, error: BaseException) -> Handed:
        """Give the connection up."""
        self._pool.release_socket(sock)
        return _raises(error)

    def _closed(self, sock: Any, *, kept: bool) -> Reply | Handed:
        self._pool.release_socket(sock)
        closed = HTTPConnectionClosed("connection closed.")
        closed.kept = kept  # type: ignore[attr-defined]
        return self._ask_again(closed)

    def _ask_again(self, error: BaseException) -> Reply | Handed:
        if not self._left:
            return _raises(error)
        self._left -= 1
        return self.ask()

    def _not_sent(self, sock: Any, error: BaseException) -> Reply | Handed:
        """A server may have answered (401, 413) and closed before it had the whole request: look for that answer."""
        if not any(_is(error, number) for number in _BROKEN):
            return self._over(sock, error)
        try:
            response = self._parsed(sock)(None)
        except (OSError, HTTPParseError) as nothing:
            return self._ask_again(nothing)
        return lambda _: response

    def _parsed(self, sock: Any, data: bytes = b"", heard_ns: int = -1, broken: BaseException | None = None) -> Handed:
        """Leave an answer to the parser: `data` of it is read; reading on raises `broken` if it did here."""

        def handed(_: Any) -> TimedResponse:
            client = self._client
            response = TimedResponse(
                sock,
                self._pool,
                block_size=client.block_size,
                method=self._method,
                headers_type=client.headers_type,
                pre_buffered=data,
                heard_ns=heard_ns,
            )
            response.broken = broken
            response._sent_request = self._request.partition(_EMPTY_LINE)[0].decode("latin-1") + "\r\n\r\n"  # noqa: SLF001
            return response

        return handed


def _is(error: BaseException, number: int) -> bool:
    return isinstance(error, OSError) and error.errno == number


def _read(sock: Any, most: int) -> bytes:
    """Read what is there, or what comes: at the first read of an answer there is nothing, so wait first."""
    if sock.__class__ is not _Plain:
        return bytes(sock.recv(most))
    while True:
        sock._wait(sock._read_event)  # noqa: SLF001
        try:
            return bytes(sock._sock.recv(most))  # noqa: SLF001
        except BlockingIOError:
            continue
