"""The routes of the proxy: where each listens, where it leads, and which faults are on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from harness.faultproxy.effects import Misbehaviour
from harness.faultproxy.relay import Relay

if TYPE_CHECKING:
    from harness.faultproxy.effects import Effect
    from harness.faultproxy.framing import Head

_BACKLOG = 512


class Route:
    """From a port of ours to one upstream, ``host:port``."""

    def __init__(self, name: str, upstream: str, seed: int) -> None:
        self.name, self.upstream, self._seed = name, upstream, seed
        host, _, port = upstream.rpartition(":")
        self.host, self.port = host.strip("[]"), int(port)
        self.listen = ""
        self.relays: set[Relay] = set()
        self._faults: dict[str, Misbehaviour] = {}

    async def open(self, host: str, port: int) -> None:
        """Listen on a port of `host`; 0 is any."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Relay(self), host, port, backlog=_BACKLOG)
        self.listen = f"{host}:{self._server.sockets[0].getsockname()[1]}"

    @property
    def faulty(self) -> bool:
        """Whether any fault is on."""
        return bool(self._faults)

    def effect(self, head: Head) -> tuple[str, Effect | None]:
        """Return the fault that is on a request, with its effect: the first that is, when several could be."""
        for name, fault in self._faults.items():
            if effect := fault.on(head):
                return name, effect
        return "", None

    def has(self, fault: str) -> bool:
        """Return whether a fault is on."""
        return fault in self._faults

    def put(self, name: str, how: dict[str, Any]) -> None:
        """Put a fault on; one of that name that is there already stays as it is. BadEffectError."""
        if name not in self._faults:
            self._faults[name] = Misbehaviour(name, how, self._seed, asyncio.get_running_loop().time)

    def delete(self, name: str) -> None:
        """Take a fault off. What it holds up is closed, for it would never be answered; so is, later, what it would
        have held up (`Relay`)."""
        self._faults.pop(name, None)
        for relay in [relay for relay in self.relays if relay.stalled_by == name]:
            relay.close()

    def told(self) -> dict[str, Any]:
        """Return it for the admin."""
        faults = {name: {"how": fault.how, "met": fault.met} for name, fault in self._faults.items()}
        return {"name": self.name, "upstream": self.upstream, "listen": self.listen, "faults": faults}
