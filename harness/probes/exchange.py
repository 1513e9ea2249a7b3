"""One request on a connection of its own, with the moment of its first and last byte.

A fresh connection each time keeps the canary clear of two things that are not the system's doing: the stray reset of
a connection the server was just closing, and one probe waiting behind another in a pool.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from harness.clock import now_ns
from harness.model.request import Outcome
from harness.probes.http1 import Answering, BadAnswer

_OURS = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL)
"""No open file or no port is left to us: nothing that the system did."""


@dataclass
class Exchange:
    """What became of one request. Times are monotonic ns, -1 for what did not happen.

    `outcome` is None when an answer arrived whole and is still to be judged.
    """

    start_ns: int
    first_byte_ns: int = -1
    end_ns: int = -1
    outcome: Outcome | None = None
    error: str = ""
    bytes_out: int = 0
    answer: Answering = field(default_factory=Answering)


class _Wire(asyncio.Protocol):
    def __init__(self, request: bytes, exchange: Exchange, done: asyncio.Future[None]) -> None:
        self._request, self._exchange, self._done = request, exchange, done
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(self._request)  # type: ignore[attr-defined] # a Transport, as asyncio promises for TCP

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        t_ns = now_ns()
        if exchange.first_byte_ns < 0:
            exchange.first_byte_ns = t_ns
        try:
            if exchange.answer.feed(data):
                self._end(t_ns)
        except BadAnswer as error:
            self._end(t_ns, f"BadAnswer: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        exchange = self._exchange
        if exchange.answer.closed() and exc is None:
            self._end(now_ns())
        elif exchange.answer.headers is not None:
            self._end(now_ns(), "ReadError: cut in the middle of the answer")
        else:
            self._end(now_ns(), f"ReadError: {why(exc) if exc else 'closed without an answer'}")

    def _end(self, t_ns: int, error: str = "") -> None:
        if self._done.done():
            return
        self._exchange.end_ns = t_ns
        if error:
            self._exchange.outcome, self._exchange.error = Outcome.FAILED, error
        self._done.set_result(None)
        if self._transport is not None:
            self._transport.close()


def why(error: BaseException) -> str:
    """Say in a word or two why a connection failed; the same trouble always in the same words."""
    kinds = ((ConnectionRefusedError, "refused"), (ConnectionResetError, "reset"), (BrokenPipeError, "reset"))
    for kind, word in kinds:
        if isinstance(error, kind):
            return word
    return getattr(error, "strerror", None) or type(error).__name__


class Endpoint:
    """Where requests of one kind go: host, port and TLS, taken from a base URL."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self.host_header = parts.netloc.rpartition("@")[2]
        self.prefix = parts.path.rstrip("/")
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)

    async def exchange(self, request: bytes, exchange: Exchange, timeout_s: float) -> None:
        """Send `request` and fill in `exchange`; nothing is raised but cancellation. What cannot be sent for want of
        files or ports of ours is ``dropped``."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        wire = _Wire(request, exchange, done)
        transport: asyncio.BaseTransport | None = None
        try:
            async with asyncio.timeout(timeout_s):
                transport, _ = await loop.create_connection(lambda: wire, self._host, self._port, ssl=self._tls)
                await done
        except TimeoutError:
            exchange.end_ns, exchange.outcome = now_ns(), Outcome.TIMEOUT
            exchange.error = f"no whole answer within {timeout_s:g} s"
        except OSError as error:
            exchange.end_ns, exchange.outcome = now_ns(), Outcome.FAILED
            exchange.error = f"ConnectError: {why(error)}"
            if error.errno in _OURS:
                exchange.start_ns, exchange.end_ns, exchange.bytes_out = -1, -1, 0
                exchange.outcome, exchange.error = Outcome.DROPPED, f"not sent: {why(error)}"
        finally:
            if transport is not None:
                transport.abort()  # type: ignore[attr-defined] # a Transport, as asyncio promises for TCP
