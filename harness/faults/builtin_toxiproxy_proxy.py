"""A proxy: a listening socket, the connections that came through it, and the toxics that are on all of them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.faults.builtin_toxiproxy_address import listen, resolved, target
from harness.faults.builtin_toxiproxy_json import ApiError
from harness.faults.builtin_toxiproxy_link import Endpoint, Link

if TYPE_CHECKING:
    import random
    import socket
    from collections.abc import Awaitable, Callable

    from harness.faults.builtin_toxiproxy_toxics import BuiltinToxic

_log = logging.getLogger("toxiproxy")
_AGAIN_S = 0.1  # after an accept that failed: too many files are open, say
STREAMS = ("upstream", "downstream")
"""The directions, in the order in which the API lists their toxics."""


@dataclass(eq=False)
class _Connection:
    client: Endpoint
    upstream: Endpoint
    links: dict[str, Link]


class BuiltinProxy:
    """A proxy as the API has it. Whoever changes it holds `lock`."""

    def __init__(self, name: str, listen_at: str, upstream: str, rng: random.Random) -> None:
        self.name, self.listen, self.upstream = name, listen_at, upstream
        self.enabled = False
        self.lock = asyncio.Lock()
        self.chains: dict[str, list[BuiltinToxic]] = {stream: [] for stream in STREAMS}
        self._rng = rng
        self._connections: set[_Connection] = set()
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._server: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        shown = {"name": self.name, "listen": self.listen, "upstream": self.upstream, "enabled": self.enabled}
        return {**shown, "Logger": {}, "toxics": [toxic.as_json() for toxic in self.toxics()]}

    def toxics(self) -> list[BuiltinToxic]:
        """Return the toxics on it, in the API's order."""
        return [toxic for chain in self.chains.values() for toxic in chain]

    def toxic(self, name: str) -> BuiltinToxic:
        """Return the toxic of that name; ApiError (404) when there is none."""
        for toxic in self.toxics():
            if toxic.name == name:
                return toxic
        raise ApiError("toxic not found", 404)

    # Listening.

    def start(self) -> None:
        """Listen, unless it does; ApiError (500) when it cannot."""
        if not self.enabled:
            self._server, self.listen = listen(self.listen)
            self._accepting = asyncio.get_running_loop().create_task(self._accept(self._server))
            self.enabled = True

    async def stop(self) -> None:
        """Refuse new connections and close the open ones, at once and whatever is under way."""
        if not self.enabled:
            return
        self.enabled = False
        assert self._server is not None and self._accepting is not None  # noqa: S101, PT018 - it is enabled
        self._accepting.cancel()
        await asyncio.wait([self._accepting])
        self._server.close()
        for connection in list(self._connections):
            connection.client.abort()
            connection.upstream.abort()
        await self._none_left.wait()

    def differs(self, listen_at: str, upstream: str) -> bool:
        """Tell whether it listens or leads elsewhere than that; ApiError (500) when `listen_at` is no address."""
        return self.listen != resolved(listen_at) or self.upstream != upstream

    async def update(self, listen_at: str, upstream: str, *, enabled: bool) -> None:
        """Have it listen and lead there; connections end when that changes anything."""
        if self.differs(listen_at, upstream):
            await self.stop()
            self.listen, self.upstream = listen_at, upstream
        if enabled:
            self.start()
        else:
            await self.stop()

    async def _accept(self, server: socket.socket) -> None:
        """Take one connection after the other, as Toxiproxy does: the next is taken once the upstream has answered."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(server)
            except OSError as error:
                _log.warning("proxy %s: a connection cannot be accepted: %s", self.name, error)
                await asyncio.sleep(_AGAIN_S)
                continue
            try:
                await self._connect(client)
            except (OSError, ApiError, ValueError, OverflowError) as error:
                _log.warning("proxy %s: no connection to %s: %s", self.name, self.upstream, error)
                client.close()
            except BaseException:
                client.close()
                raise

    async def _connect(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(Endpoint, *target(self.upstream))
        try:
            _, downstream = await loop.connect_accepted_socket(Endpoint, client)
        except BaseException:
            upstream.abort()
            raise
        self._link(downstream, upstream)

    def _link(self, client: Endpoint, upstream: Endpoint) -> None:
        links = {
            "upstream": Link(client, upstream, self.chains["upstream"], self._rng),
            "downstream": Link(upstream, client, self.chains["downstream"], self._rng),
        }
        connection = _Connection(client, upstream, links)
        self._connections.add(connection)
        self._none_left.clear()

        def client_gone() -> None:
            links["downstream"].drop()
            if upstream.gone:
                self._forget(connection)

        def upstream_gone() -> None:
            links["upstream"].drop()
            if client.gone:
                self._forget(connection)

        client.lead_into(links["upstream"], client_gone)
        upstream.lead_into(links["downstream"], upstream_gone)

    def _forget(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._none_left.set()

    # Toxics.

    async def add(self, toxic: BuiltinToxic) -> None:
        """Put a toxic last in its direction, on open connections too."""
        self.chains[toxic.stream.lower()].append(toxic)
        await self._each_link(toxic, lambda link: link.add(toxic))

    async def change(self, toxic: BuiltinToxic, toxicity: float, attributes: dict[str, int]) -> None:
        """Have a toxic work in another way, on open connections too."""
        toxic.toxicity = toxicity
        toxic.attributes |= attributes
        await self._each_link(toxic, lambda link: link.update(toxic))

    async def remove(self, toxic: BuiltinToxic) -> None:
        """Take a toxic off, from open connections too."""
        self.chains[toxic.stream.lower()].remove(toxic)
        await self._each_link(toxic, lambda link: link.remove(toxic))

    async def _each_link(self, toxic: BuiltinToxic, act: Callable[[Link], Awaitable[None]]) -> None:
        links = [connection.links[toxic.stream.lower()] for connection in self._connections]
        await asyncio.gather(*(act(link) for link in links))
