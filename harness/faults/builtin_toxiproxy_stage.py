"""What a toxic works in: a stage of one connection's one direction, with a channel of chunks before it.

A stage takes chunks from its inlet and puts them to its outlet, the next stage's inlet or the socket. It can be
interrupted, which is how toxics are added, changed and removed while bytes flow. Interrupted, it lets go of what it
holds (nothing is lost) and ends within this turn of the loop, whether or not anybody takes from its outlet: the API
never hangs on a client that has stopped reading.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from harness.clock import NS_PER_S, own_ns

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Any

    from harness.faults.builtin_toxiproxy_toxics import BuiltinToxic


_TURN = 32  # pieces that one stage may hand on before others have a turn


class Interrupted(Exception):
    """The stage is to be restarted or removed: let go of everything and return."""


class Chunk:
    """What was read at once, at most 32 KiB, and when, in ns; toxics that delay move `time_ns` on."""

    __slots__ = ("data", "time_ns")

    def __init__(self, data: bytes, time_ns: int) -> None:
        self.data, self.time_ns = data, time_ns


def _nobody() -> None:
    pass


class Outlet(Protocol):
    """Where chunks go. Push does not block: who pushed waits while it is `full`, until `on_room` is called."""

    on_room: Callable[[], None]

    @property
    def full(self) -> bool:
        """Whether the writer should wait."""
        ...

    def push(self, chunk: Chunk) -> None:
        """Hand it over."""

    def close(self) -> None:
        """Say that no more will come."""


class Channel:
    """Chunks between a writer and a reader; it is full with more than `capacity` of them."""

    __slots__ = ("_capacity", "_chunks", "closed", "on_chunk", "on_room")

    def __init__(self, capacity: int) -> None:
        self._capacity, self.closed = capacity, False
        self._chunks: deque[Chunk] = deque()
        self.on_chunk: Callable[[], None] = _nobody
        self.on_room: Callable[[], None] = _nobody

    def __bool__(self) -> bool:
        return bool(self._chunks)

    @property
    def full(self) -> bool:
        """Whether the writer should wait."""
        return len(self._chunks) > self._capacity

    def push(self, chunk: Chunk) -> None:
        """Add a chunk."""
        self._chunks.append(chunk)
        self.on_chunk()

    def close(self) -> None:
        """Say that no more will come."""
        self.closed = True
        self.on_chunk()

    def pop(self) -> Chunk:
        """Take the oldest chunk."""
        full = self.full
        chunk = self._chunks.popleft()
        if full and not self.full:
            self.on_room()
        return chunk

    def drain(self) -> Iterator[Chunk]:
        """Take all of them, telling the writer nothing."""
        while self._chunks:
            yield self._chunks.popleft()


class Stage:
    """One toxic at work on one direction of one connection."""

    def __init__(self, toxic: BuiltinToxic, inlet: Channel, outlet: Outlet, rng: random.Random) -> None:
        self.toxic, self.inlet, self._rng = toxic, inlet, rng
        self.sent = 0
        """Bytes that passed, for toxics that count."""
        self.closed = False
        """Whether it has ended its outlet: nothing comes after that."""
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._future: asyncio.Future[None] | None = None
        self._waits_for = ""
        self._interrupted = False
        self._turns = 0
        inlet.on_chunk = self._on_chunk
        self.lead_to(outlet)

    def lead_to(self, outlet: Outlet) -> None:
        """Put to `outlet` from now on."""
        self.outlet = outlet
        outlet.on_room = self._on_room

    def start(self) -> None:
        """Work. Whether the toxic has an effect is drawn now, with its toxicity, and stays so until the next start."""
        self._interrupted = False
        self._task = self._loop.create_task(self._run(self.toxic.pipe_for(self._rng.random())))

    async def _run(self, pipe: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
        try:
            await pipe(self)
        except Interrupted:
            pass
        except Exception:
            self.close()  # a connection that goes on without its fault would be a lie
            raise

    async def interrupt(self) -> bool:
        """Have it let go of what it holds and end; return False when there is nothing to restart: it had closed."""
        if self.closed or self._task is None:
            return False
        self._interrupted = True
        if self._future is not None and not self._future.done() and self._waits_for != "end":
            if self._waits_for == "room":
                self._future.set_result(None)
            else:
                self._future.set_exception(Interrupted())
        await asyncio.wait([self._task])
        return not self.closed

    def cancel(self) -> None:
        """Stop without letting go of anything: the connection is gone."""
        self.closed = True
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """End the outlet."""
        if not self.closed:
            self.closed = True
            self.outlet.close()

    # What toxics use.

    def below(self, limit: int) -> int:
        """Draw a whole number from 0 up to but not `limit`."""
        return self._rng.randrange(limit)

    async def take(self) -> Chunk | None:
        """Return the next chunk, None when no more will come, again and again."""
        if self._interrupted:
            raise Interrupted
        while not self.inlet:
            if self.inlet.closed:
                return None
            await self._wait("chunk")
        return self.inlet.pop()

    async def take_within(self, duration_ns: int) -> Chunk | None:
        """Return the next chunk, None when no more will come; TimeoutError after `duration_ns`."""
        until_ns = own_ns() + duration_ns
        while not self.inlet and not self.inlet.closed:
            if (left_ns := until_ns - own_ns()) <= 0:
                raise TimeoutError
            await self._wait("chunk", left_ns)
        return await self.take()

    async def put(self, chunk: Chunk) -> None:
        """Hand a chunk on; return when more may come."""
        self.outlet.push(chunk)
        while self.outlet.full and not self._interrupted and not self.closed:
            await self._wait("room")

    async def sleep(self, duration_ns: int) -> int:
        """Wait that long, never less, not at all when it is not above 0; return how long it was, in ns."""
        return await self._sleep("time", duration_ns)

    async def sleep_through(self, duration_ns: int) -> None:
        """Wait that long, interrupted or not: who interrupts waits as well."""
        await self._sleep("end", duration_ns)

    async def give_way(self) -> int:
        """Let others have a turn now and then; return 0, the ns it should have taken."""
        self._turns += 1
        if self._turns % _TURN == 0:
            await self._wait("time", 0)
        return 0

    async def _sleep(self, what: str, duration_ns: int) -> int:
        start_ns = now = own_ns()
        until_ns = start_ns + duration_ns
        while until_ns > now:
            await self._wait(what, until_ns - now)
            now = own_ns()
        return now - start_ns

    async def _wait(self, what: str, most_ns: int | None = None) -> None:
        if self._interrupted and what != "end":
            raise Interrupted
        future = self._loop.create_future()
        self._future, self._waits_for = future, what
        timer = None if most_ns is None else self._loop.call_later(most_ns / NS_PER_S, self._wake, future)
        try:
            await future
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()

    @staticmethod
    def _wake(future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)

    def _on_chunk(self) -> None:
        if self._future is not None and self._waits_for == "chunk":
            self._wake(self._future)

    def _on_room(self) -> None:
        if self._future is not None and self._waits_for == "room":
            self._wake(self._future)
