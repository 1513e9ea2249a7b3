"""How the proxy is told what to do: HTTP on a port of its own.

    GET    /routes/NAME                what it is and which faults are on it
    PUT    /routes/NAME/faults/FAULT   put a fault on; the body is its effect, as `effects.Misbehaviour` has it
    DELETE /routes/NAME/faults/FAULT   take it off; nothing happens for one that is not there

Every answer is the route as it is then, or {"error": ...} with a status of 400 or more.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from harness.faultproxy.effects import BadEffectError
from harness.faultproxy.framing import HEAD_END, NotHttpError, request_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.faultproxy.routes import Route

_MOST_BODY = 65_536


class Admin:
    """Serves the admin interface."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes

    async def open(self, host: str, port: int) -> str:
        """Listen on a port of `host`, 0 is any, and return its address."""
        self._server = await asyncio.start_server(self._serve, host, port)
        return f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, NotHttpError):
            head = request_head(await reader.readuntil(HEAD_END))
            length = int(head.headers.get(b"content-length", b"0"))
            body = await reader.readexactly(min(length, _MOST_BODY))
            status, said = self._do(head.method.decode(), unquote(head.target.decode()), body)
            text = json.dumps(said).encode()
            writer.write(b"HTTP/1.1 %d -\r\ncontent-type: application/json\r\nconnection: close\r\n" % status)
            writer.write(b"content-length: %d\r\n\r\n%s" % (len(text), text))
            await writer.drain()
        writer.close()

    def _do(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        match path.split("/"):
            case ["", "routes", name, *rest] if name in self._routes:
                route = self._routes[name]
            case _:
                return 404, {"error": f"no route here: {path}; there are {', '.join(self._routes)}"}
        match method, rest:
            case "GET", []:
                pass
            case "PUT", ["faults", fault]:
                try:
                    how = json.loads(body)
                    route.put(fault, how if isinstance(how, dict) else {})
                except (BadEffectError, ValueError) as error:
                    return 422, {"error": str(error)}
            case "DELETE", ["faults", fault]:
                route.delete(fault)
            case _:
                return 405, {"error": f"{method} {path} is nothing that can be done"}
        return 200, route.told()
