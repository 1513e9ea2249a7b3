"""One client's connection, and the one to the upstream that is made for it: every byte passes, and each exchange is
told apart, so that a fault can be on one exchange and not on the next.

Exchanges are one at a time: a client that sends several requests at once (pipelining) has the later ones passed on when
the earlier are answered. What is no HTTP/1.1, or no longer (101), passes as it is.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

from harness.faultproxy import framing
from harness.faultproxy.effects import MARK, on_the_wire, rewritten

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.faultproxy.effects import Effect
    from harness.faultproxy.framing import Body, Head

_MOST_READ = 65_536
"""Bytes of a swallowed request that are looked at, to see whether it asks for a stream."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Route(Protocol):
    """What a relay needs of its route (`routes.Route`)."""

    host: str
    port: int
    relays: set[Relay]

    @property
    def faulty(self) -> bool:
        """Whether any fault is on."""

    def effect(self, head: Head) -> tuple[str, Effect | None]:
        """Return the fault that is on a request, with its effect."""

    def has(self, fault: str) -> bool:
        """Return whether a fault is on."""


class _Exchange:
    def __init__(self, head: Head, fault: str, effect: Effect | None) -> None:
        self.head, self.fault, self.effect = head, fault, effect
        self.asked: Body = framing.request_body(head)
        self.swallowed = b""
        self.answer_head = b""
        """Of the answer, as far as it came."""
        self.answer: Body | None = None
        self.passed = 0
        """Bytes of the answer's body that went on to the client."""

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return () if self.effect is None else (*self.effect.headers, (MARK, self.fault.encode("latin-1")))


class Relay(asyncio.Protocol):
    """The client's side; `_Upstream` hands the other in."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._loop = asyncio.get_running_loop()
        self._client: asyncio.Transport | None = None
        self._upstream: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[bytes] = []
        """For the upstream, until it is connected."""
        self._inbox = b""
        """From the client, and not handled yet."""
        self._exchange: _Exchange | None = None
        self._late: deque[tuple[float, Callable[[], None]]] = deque()
        self._blind = self._half_closed = False
        self.stalled_by = ""

    # --- the client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client = cast("asyncio.Transport", transport)
        self._route.relays.add(self)
        if not self._route.faulty:  # a fault may answer without the upstream, which then shall not know of it
            self._connect()

    def data_received(self, data: bytes) -> None:
        if self._blind:
            self._up(data)
            return
        self._inbox += data
        try:
            self._pump()
        except framing.NotHttpError:
            self._go_blind()

    def eof_received(self) -> bool:
        self._half_closed = True
        if self._upstream is not None and self._upstream.can_write_eof():
            self._upstream.write_eof()
        return self._exchange is not None or self._blind

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._route.relays.discard(self)
        self._client = None
        self.close()

    def pause_writing(self) -> None:
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume_writing(self) -> None:
        if self._upstream is not None and not self.stalled_by:
            self._upstream.resume_reading()

    def close(self) -> None:
        """End both sides; what was written is still sent."""
        if self._connecting is not None:
            self._connecting.cancel()
        for side in (self._client, self._upstream):
            if side is not None:
                side.close()

    def _pump(self) -> None:
        """Handle what the client sent, as far as it can be by now; NotHttpError."""
        out: list[bytes] = []
        try:
            while self._step(out):
                pass
        finally:
            if data := b"".join(out):
                self._up(data)

    def _step(self, out: list[bytes]) -> bool:
        """Take the next thing out of the inbox, and add to `out` what is for the upstream; return whether to go on."""
        if self._exchange is None:
            raw, found, rest = self._inbox.partition(framing.HEAD_END)
            if not found:
                if len(self._inbox) > framing.MOST_HEAD:
                    raise framing.NotHttpError
                return False
            head = framing.request_head(raw + found)
            self._exchange = _Exchange(head, *self._route.effect(head))
            self._inbox = rest
            out.append(self._begin(self._exchange))
        exchange = self._exchange
        if not exchange.asked.done and self._inbox:
            taken = exchange.asked.take(self._inbox)
            part, self._inbox = self._inbox[:taken], self._inbox[taken:]
            out.append(self._body_of_request(exchange, part))
        return exchange.asked.done and self._answer_ourselves(exchange)

    def _begin(self, exchange: _Exchange) -> bytes:
        if exchange.effect is None or exchange.effect.made is None:
            return exchange.head.raw
        if b"100-continue" in exchange.head.headers.get(b"expect", b"").lower():
            self._down(_CONTINUE)
        return b""

    def _body_of_request(self, exchange: _Exchange, part: bytes) -> bytes:
        if exchange.effect is None or exchange.effect.made is None:
            return part
        exchange.swallowed = (exchange.swallowed + part)[:_MOST_READ]
        return b""

    def _answer_ourselves(self, exchange: _Exchange) -> bool:
        """Answer, when it is for the fault to answer; return whether it was."""
        if exchange.effect is None or exchange.effect.made is None:
            return False
        made = exchange.effect.made(exchange.head, exchange.swallowed)
        self._down(on_the_wire(made, exchange.headers, exchange.head.method))
        self._exchange = None
        if exchange.head.headers.get(b"connection", b"").lower() == b"close":
            self.close()
        return True

    # --- the upstream

    def _connect(self) -> None:
        if self._connecting is None:
            self._connecting = self._loop.create_task(self._dial())

    async def _dial(self) -> None:
        try:
            await self._loop.create_connection(lambda: _Upstream(self), self._route.host, self._route.port)
        except OSError:
            self.close()

    def upstream_made(self, transport: asyncio.Transport) -> None:
        """Take the connection to the upstream, and give it what waited for it."""
        if self._client is None:
            transport.close()
            return
        self._upstream = transport
        if self._waiting:
            transport.write(b"".join(self._waiting))
            self._waiting.clear()
        if self._half_closed:
            transport.write_eof()

    def pause(self, *, paused: bool) -> None:
        """Read no more of the client while the upstream takes no more."""
        if self._client is not None:
            (self._client.pause_reading if paused else self._client.resume_reading)()

    def upstream_received(self, data: bytes) -> None:
        """Pass on what the upstream sent."""
        if self._blind or self._exchange is None:
            self._down(data)
            return
        try:
            self._pass(self._exchange, data)
        except framing.NotHttpError:
            held, self._exchange.answer_head = self._exchange.answer_head, b""
            self._down(held)
            self._go_blind()

    def _pass(self, exchange: _Exchange, data: bytes) -> None:
        raw = b""
        if exchange.answer is None:
            raw, data = self._take_head(exchange, data)
        if exchange.answer is None:
            self._down(raw + data)
            return
        taken = self._take(exchange, exchange.answer, data)
        if exchange.effect is None:
            self._down(raw + data)
        else:
            self._down(raw)
            if taken:
                self._pass_with(exchange, exchange.effect, data[:taken])
        if exchange.answer.done and not self.stalled_by:
            self._then(lambda: self._finish(clean=taken == len(data)), exchange)

    def _take_head(self, exchange: _Exchange, data: bytes) -> tuple[bytes, bytes]:
        """Return what to send of an answer's head, once it is whole, and what came after it."""
        exchange.answer_head += data
        while True:
            head_bytes, found, rest = exchange.answer_head.partition(framing.HEAD_END)
            if not found:
                if len(head_bytes) > framing.MOST_HEAD:
                    raise framing.NotHttpError
                return b"", b""
            head = framing.response_head(head_bytes + found)
            body = framing.response_body(head, exchange.head.method)
            exchange.answer_head = rest
            if not head.interim:
                break
            self._down(head.raw)
        exchange.answer_head = b""
        if head.switches:
            self._go_blind()
            return head.raw, rest
        exchange.answer = body
        return (rewritten(head.raw, exchange.headers) if exchange.headers else head.raw), rest

    def _take(self, exchange: _Exchange, body: Body, data: bytes) -> int:
        """Return how many bytes of `data` are the answer's. One that is not what it says ends with its connection."""
        try:
            return 0 if body.done else body.take(data)
        except framing.NotHttpError:
            exchange.answer = framing.Body(None)
            return len(data)

    def _pass_with(self, exchange: _Exchange, effect: Effect, part: bytes) -> None:
        """Pass on a part of the body under a fault."""
        if effect.after is None:
            self._then(lambda: self._down(part), exchange)
            return
        whole = exchange.answer is not None and exchange.answer.done
        allowed = min(max(0, effect.after - exchange.passed), len(part) - whole)
        exchange.passed += allowed
        self._down(part[:allowed])
        if allowed < len(part):
            self._end(exchange, effect)

    def _end(self, exchange: _Exchange, effect: Effect) -> None:
        """Let an answer go no further. Nobody would end the stall of a fault that was taken off since the request."""
        self.stalled_by = exchange.fault
        if effect.then == "cut" or not self._route.has(exchange.fault):
            self.close()
        elif self._upstream is not None:
            self._upstream.pause_reading()

    def _then(self, action: Callable[[], None], exchange: _Exchange) -> None:
        """Do it now, or when the fault's delay is over; in order."""
        delay_s = exchange.effect.delay_s if exchange.effect is not None else 0.0
        if not delay_s:
            action()
            return
        self._late.append((self._loop.time() + delay_s, action))
        if len(self._late) == 1:
            self._loop.call_later(delay_s, self._on_time)

    def _on_time(self) -> None:
        while self._late and self._late[0][0] <= self._loop.time() + 0.0005:
            self._late.popleft()[1]()
        if self._late:
            self._loop.call_later(max(0.0, self._late[0][0] - self._loop.time()), self._on_time)

    def _finish(self, *, clean: bool) -> None:
        """The answer is complete: the next request may be passed on. `clean`: nothing came after it."""
        self._exchange = None
        if not clean or self._half_closed:
            self._blind = True
        elif self._inbox:
            self.data_received(b"")

    def upstream_lost(self, error: Exception | None) -> None:
        """The upstream has closed its connection: so is the client's, once it has what came."""
        self._upstream = None
        exchange = self._exchange
        if self.stalled_by or self._client is None:
            return
        effect = exchange.effect if exchange is not None else None
        if exchange is None or effect is None:
            self._lose(error)
        elif effect.after is not None and exchange.answer is not None:  # ends with the connection: it does not
            if effect.then != "stall":
                self._client.abort()
            elif self._route.has(exchange.fault):
                self.stalled_by = exchange.fault
            else:
                self._lose(error)
        else:
            self._then(lambda: self._lose(error), exchange)

    def _lose(self, error: Exception | None) -> None:
        if self._client is None:
            return
        if error is not None:  # reset: so is the client's
            raw = self._client.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._client.abort()
        else:
            self._client.close()

    # --- both

    def _go_blind(self) -> None:
        self._blind, self._exchange = True, None
        held, self._inbox = self._inbox, b""
        if held:
            self._up(held)

    def _up(self, data: bytes) -> None:
        if self._upstream is not None:
            self._upstream.write(data)
        else:
            self._waiting.append(data)
            self._connect()

    def _down(self, data: bytes) -> None:
        if data and self._client is not None:
            self._client.write(data)


class _Upstream(asyncio.Protocol):
    """The upstream's side of a relay."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._relay.upstream_made(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self._relay.upstream_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._relay.upstream_lost(exc)

    def pause_writing(self) -> None:
        self._relay.pause(paused=True)

    def resume_writing(self) -> None:
        self._relay.pause(paused=False)
