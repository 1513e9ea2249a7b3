"""One HTTP exchange over ASGI: read the request, notice when the client goes away, write the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference.provider.wire import Header

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON_TYPE = b"application/json"


class Connection:
    """The exchange. Not answering to the end makes the server close the connection: a cut answer."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def read_body(self) -> bytes | None:
        """The request body, or None when the client left before it was complete."""
        parts = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)

    async def gone_within(self, seconds: float) -> bool:
        """Wait; True as soon as the client has left, False when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return False
        return True

    async def start(self, status: int, content_type: bytes, headers: list[Header]) -> None:
        """Send the status and the headers."""
        all_headers = [(b"content-type", content_type), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a part of the body; `more=False` completes the answer."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(
        self, status: int, body: bytes, headers: list[Header] | None = None, content_type: bytes = JSON_TYPE
    ) -> None:
        """Send a whole answer."""
        await self.start(status, content_type, [(b"content-length", b"%d" % len(body)), *(headers or [])])
        await self.write(body, more=False)
