"""Around every request: its id and response time in the headers, one count and one log line.

Plain ASGI, because the framework's own middleware class costs more than the rest of a cached answer.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from reference.gateway.metrics import Metrics

# Watchers ask for these many times a minute; they are counted but not logged.
_QUIET = frozenset({"/health", "/ready", "/metrics"})


class Observed:
    """ASGI application that observes another one. Handlers find and add to `scope["facts"]`."""

    def __init__(self, app: ASGIApp, metrics: Metrics, log: Any) -> None:
        self._app = app
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 499  # what it stays at when the user leaves before there is an answer
        facts = scope["facts"] = {"request_id": uuid.uuid4().hex}

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                took = f"{(time.perf_counter() - started) * 1000:.2f}"
                own = [(b"x-request-id", facts["request_id"].encode()), (b"x-response-time", took.encode())]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        finally:
            endpoint = getattr(scope.get("route"), "path", "unknown")
            self._metrics.http_requests.labels(scope["method"], endpoint, str(status)).inc()
            if endpoint not in _QUIET:
                took_ms = round((time.perf_counter() - started) * 1000, 2)
                self._log.info("request", endpoint=endpoint, status=status, ms=took_ms, **facts)
