"""One direction of one connection: from a socket, through the toxics in order, to the other socket.

Without toxics bytes go from socket to socket. Each toxic is a stage; the first one's inlet is then where bytes go. A
socket that cannot take more stops the reading of the other one, through all stages: memory is bounded by what the
stages may hold.

As in Toxiproxy, the end of a direction closes the socket it leads to, both ways: a client that only closes its sending
half gets no answer any more.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from harness.clock import own_ns
from harness.faults.builtin_toxiproxy_stage import Channel, Chunk, Outlet, Stage

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from harness.faults.builtin_toxiproxy_toxics import BuiltinToxic

_BUFFER = memoryview(bytearray(32 * 1024))
"""What a read fills, of whichever socket: it is emptied before the next one begins."""


def _nobody() -> None:
    pass


class Endpoint(asyncio.BufferedProtocol):
    """One of the two sockets: the source of one link, and (as an `Outlet`) where the other leads."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._on_gone: Callable[[], None] = _nobody
        self._early: list[bytes] = []
        self._ended = self._closing = self._holds_back = False
        self.gone = self.full = False
        self.on_room: Callable[[], None] = _nobody
        self._transport: asyncio.Transport

    def lead_into(self, link: Link, on_gone: Callable[[], None]) -> None:
        """Feed what is read, and what was so far, to `link`; `on_gone` is called once the socket is closed."""
        self._link, self._on_gone = link, on_gone
        for data in self._early:
            link.feed(data)
        self._early.clear()
        if self._ended:
            link.end()
        if self.gone:
            on_gone()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class
        self._transport.set_write_buffer_limits(high=0)  # full as soon as the kernel takes no more

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - as asyncio calls it
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(_BUFFER[:nbytes])
        if self._link is None:
            self._early.append(data)
        else:
            self._link.feed(data)

    def eof_received(self) -> bool:
        self._end()
        return True  # what is under way to it still goes there

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - gone is gone
        self.gone, self.full = True, False
        self._end()
        self.on_room()
        self._on_gone()

    def _end(self) -> None:
        self._ended = True
        if self._link is not None:
            self._link.end()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self._closing:
            self._transport.close()
        self.on_room()

    # The links' side.

    def push(self, chunk: Chunk) -> None:
        """Write a chunk."""
        self.write(chunk.data)

    def write(self, data: bytes) -> None:
        """Write; nothing happens when the socket is closed."""
        if not self.gone and not self._closing:
            self._transport.write(data)

    def close(self) -> None:
        """Close the socket once all is written."""
        self._closing = True
        if not self.full:
            self._transport.close()

    def abort(self) -> None:
        """Close the socket now."""
        self._transport.abort()

    def reset_when_closed(self) -> None:
        """Have the socket end with a reset, whenever it ends."""
        plain: socket.socket | None = self._transport.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def hold_back(self, *, wait: bool) -> None:
        """Read no more for now, or go on."""
        if wait is not self._holds_back and not self.gone and not self._transport.is_closing():
            self._holds_back = wait
            if wait:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()


class Link:
    """One direction. The toxics given are on it from the start; `add`, `update` and `remove` change them as it runs."""

    def __init__(self, source: Endpoint, sink: Endpoint, toxics: Sequence[BuiltinToxic], rng: random.Random) -> None:
        self._source, self._sink, self._rng = source, sink, rng
        self._stages: list[Stage] = []
        self._ended = self._over = False
        self._inlet: Channel | None = None  # of the first stage; without stages the sink is written to
        for toxic in toxics:
            self._append(toxic).start()
            if toxic.kind.resets:
                source.reset_when_closed()
                sink.reset_when_closed()
        if not toxics:
            sink.on_room = self._keep_pace

    def feed(self, data: bytes) -> None:
        """Take what the source has read."""
        if self._inlet is None:
            self._sink.write(data)
            if self._sink.full:
                self._source.hold_back(wait=True)
        else:
            self._inlet.push(Chunk(data, own_ns()))
            if self._inlet.full:
                self._source.hold_back(wait=True)

    def end(self) -> None:
        """Take note that nothing more will come from the source; may be called twice."""
        if not self._ended:
            self._ended = True
            if self._inlet is None:
                self._sink.close()
            else:
                self._inlet.close()

    def drop(self) -> None:
        """The sink is gone: nothing that is on its way matters any more."""
        self._over = True
        self._source.hold_back(wait=True)
        for stage in self._stages:
            stage.cancel()

    def _keep_pace(self) -> None:
        outlet: Outlet = self._sink if self._inlet is None else self._inlet
        self._source.hold_back(wait=outlet.full or self._over)

    def _enter_at(self, inlet: Channel | None) -> None:
        """Feed the stage with this inlet from now on; None is the sink."""
        self._inlet = inlet
        (self._sink if inlet is None else inlet).on_room = self._keep_pace
        self._keep_pace()

    def _append(self, toxic: BuiltinToxic) -> Stage:
        channel = Channel(toxic.kind.buffer)
        if self._stages:
            self._stages[-1].lead_to(channel)
        else:
            self._enter_at(channel)
        stage = Stage(toxic, channel, self._sink, self._rng)
        self._stages.append(stage)
        return stage

    async def add(self, toxic: BuiltinToxic) -> None:
        """Put a toxic last."""
        last = self._stages[-1] if self._stages else None
        if last is None:
            if not self._ended and not self._over:
                self._append(toxic).start()
        elif await last.interrupt():
            self._append(toxic).start()
            last.start()

    async def update(self, toxic: BuiltinToxic) -> None:
        """Have a toxic that is on it work as it is now."""
        stage = self._stage(toxic)
        if stage is not None and await stage.interrupt():
            stage.start()

    async def remove(self, toxic: BuiltinToxic) -> None:
        """Take a toxic off; what it held back goes on at once."""
        stage = self._stage(toxic)
        if stage is None or not await stage.interrupt():
            return
        if toxic.kind.ends_when_removed:
            stage.close()
            return
        place = self._stages.index(stage)
        before = self._stages[place - 1] if place else None
        if before is not None:
            await before.interrupt()
        for chunk in stage.inlet.drain():
            stage.outlet.push(chunk)
        if stage.inlet.closed:
            stage.close()
            return
        del self._stages[place]
        if before is not None:
            before.lead_to(stage.outlet)
            before.start()
        else:
            self._enter_at(self._stages[0].inlet if self._stages else None)

    def _stage(self, toxic: BuiltinToxic) -> Stage | None:
        return next((stage for stage in self._stages if stage.toxic is toxic), None)
