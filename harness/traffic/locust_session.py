"""Measuring what Locust's clients do, from inside them. Only for the Locust subprocess.

`install` puts subclasses where `FastHttpUser` and `HttpUser` look their session up, so that any plain locustfile is
measured unchanged. Two clocks would be wrong: Locust's own event is fired before a stream is read, and never when a
with-block is left by an exception. So times are stamped where bytes arrive (`TimedResponse`), and the row is written
when the request is over (`locust_record.Exchange`). Listeners of ``events.request`` see exactly what Locust fires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import geventhttpclient.client
import requests
from geventhttpclient.connectionpool import ConnectionPool
from geventhttpclient.response import HTTPConnectionClosed, HTTPSocketPoolResponse
from greenlet import GreenletExit
from locust import clients
from locust.contrib import fasthttp
from locust.exception import StopUser
from locust.user import users

from harness.clock import NS_PER_MS, now_ns
from harness.model.request import traceparent
from harness.tokens import Arrivals
from harness.traffic.locust_client import (
    LazyCookieJar,
    TemplateClient,
    is_alive,
    known_url,
    uses_chunks,
    waits_for_continue,
)
from harness.traffic.locust_record import Exchange, Recorder
from harness.traffic.locust_turn import is_due, take_due, take_leave

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from locust.env import Environment

    from harness.traffic.locust_stats import Statistics

_TRACE = "traceparent"
_KNOWN = frozenset(("payload", "headers"))
_OUR_LISTENERS = 1


class Measuring:
    """What the sessions of this process share: class attributes, because Locust makes the sessions."""

    recorder: Recorder
    statistics: Statistics
    run_id: int
    stopping = False
    """Once set, only a request that was due before is sent, however late; the user that tries another is stopped."""


def _open(session: Any, name: str, context: Mapping[str, Any] | None) -> Exchange:
    if (Measuring.stopping and not is_due()) or take_leave():
        raise StopUser
    user = session.user
    whole = {**user.context(), **context} if user and context else (user.context() if user else context)
    return Exchange(Measuring.recorder, name, whole or {})


def _traced(
    headers: Mapping[str, Any] | None, defaults: Mapping[str, Any] | None, exchange: Exchange
) -> dict[str, Any]:
    """Return the headers with the request's trace id, unless the workload or its session sets one.

    `defaults` finds its keys in any case.
    """
    found = dict(headers) if headers else {}
    for key in found:
        if len(key) == len(_TRACE) and key.lower() == _TRACE:
            return found
    if not defaults or _TRACE not in defaults:
        found[_TRACE] = traceparent(Measuring.run_id, exchange.request_id)
    return found


def _lowered(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return an answer's headers by their names in lower case; of one that comes twice, all values."""
    found: dict[str, str] = {}
    for key, value in headers:
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


_used: WeakSet[Any] = WeakSet()


class TimedResponse(HTTPSocketPoolResponse):
    """An answer that notes when its bytes were read. `first_byte_ns` is the body's; of an empty one, the headers'."""

    def __init__(self, sock: Any, pool: Any, **kwargs: Any) -> None:
        self.first_byte_ns = self.last_byte_ns = self.end_ns = -1
        self.received = 0
        self.exchange: Exchange | None = None
        reused = sock in _used
        if not reused:
            _used.add(sock)
        try:
            super().__init__(sock, pool, **kwargs)
        except HTTPConnectionClosed as error:
            error.reused = reused  # type: ignore[attr-defined]
            raise

    def _on_body(self, buf: bytearray) -> None:
        self.last_byte_ns = now_ns()
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
        self.end_ns = now_ns()
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


class _Reporting:
    """Stands before ``events.request`` for one session: what Locust reports is noted, then passed on."""

    def __init__(self, event: Any) -> None:
        self._event = event

    def fire(self, **meta: Any) -> None:
        _report(meta)
        if len(self._event._handlers) > _OUR_LISTENERS:  # noqa: SLF001 - to call nobody costs as much as to call one
            self._event.fire(**meta)


def _report(meta: dict[str, Any]) -> None:
    """Take what Locust says about a finished request (for a stream: one whose headers came)."""
    response = meta["response"]
    exchange: Exchange = response.exchange
    exchange.reported = True
    exchange.name, exchange.context = meta["name"], meta["context"]
    error = meta["exception"]
    # A bad status is read off the answer, like every other fact about it.
    judged = isinstance(error, fasthttp.LocustBadStatusCode | requests.exceptions.HTTPError)
    if exchange.exception is None and not judged:
        exchange.exception = error
    Measuring.statistics.add(meta["request_type"], exchange.name, meta["response_time"], meta["response_length"], error)
    if not exchange.open_stream:
        exchange.write()


class _Context:
    """A with-block whose end is the request's end, however it is left."""

    exchange: Exchange
    _manual_result: Any

    def _report_request(self) -> Any:
        self.exchange.forgiven = self._manual_result is True
        super()._report_request()  # type: ignore[misc]

    def __exit__(self, *raised: Any) -> Any:  # noqa: PYI036
        handled = super().__exit__(*raised)  # type: ignore[misc]
        exchange, error = self.exchange, raised[1]
        if not exchange.reported and exchange.exception is None and not isinstance(error, GreenletExit | StopUser):
            exchange.exception = error  # a check of the workload's own that raised, which Locust reports nowhere
        exchange.write()
        return handled


class FastContext(_Context, fasthttp.ResponseContextManager):
    """What `FastHttpUser` gets with ``catch_response``."""


class SlowContext(_Context, clients.ResponseContextManager):  # type: ignore[misc] # untyped there
    """What `HttpUser` gets always."""


class FastSession(fasthttp.FastHttpSession):
    """`FastHttpUser`'s session, measured."""

    def __init__(self, base_url: str | None, request_event: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(base_url, _Reporting(request_event), user, **kwargs)

    def request(  # noqa: PLR0913, PLR0917 - Locust's signature
        self,
        method: str,
        url: str,
        name: str | None = None,
        data: Any = None,
        catch_response: bool = False,
        stream: bool = False,
        headers: Any = None,
        auth: Any = None,
        json: Any = None,
        allow_redirects: bool = True,
        context: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Send a request as Locust would."""
        exchange = _open(self, name or self.request_name or url, context or {})
        headers = _traced(headers, self.client.default_headers, exchange)
        try:
            return super().request(
                method, url, name, data, catch_response, stream, headers, auth, json, allow_redirects,
                dict(exchange.context), exchange=exchange, stream_body=stream, **kwargs,
            )  # fmt: skip
        except BaseException as error:
            exchange.ended(now_ns(), error)
            exchange.write()
            raise

    def _send_request_safe_mode(self, method: str, url: str, **kwargs: Any) -> Any:
        exchange: Exchange = kwargs.pop("exchange")
        stream = kwargs.pop("stream_body")
        Measuring.recorder.begin(exchange, _size(kwargs.get("payload")))
        where: Any = url if kwargs.keys() - _KNOWN else known_url(url)  # others become parameters of the URL
        response: Any = super()._send_request_safe_mode(method, where, **kwargs)
        response.exchange = exchange
        answer: TimedResponse | None = response._response  # noqa: SLF001 - nothing else has the times
        if answer is None:
            exchange.end_ns = now_ns()
            return response
        exchange.status, exchange.headers = answer.status_code, _lowered(response.headers.iterlower())
        if stream:
            answer.follow(exchange)
            exchange.body = getattr(response, "_cached_content", exchange.body)  # Locust has read bad answers already
        elif Measuring.recorder.hears(answer):
            answer.follow(exchange)  # its tokens are read off the bytes that came, whatever Locust makes of them
            _read_whole(response, answer, exchange)
        else:
            exchange.body = _read_whole(response, answer, exchange)
        return response


def _size(payload: Any) -> int:
    if isinstance(payload, str):
        return len(payload.encode())
    return len(payload) if isinstance(payload, bytes | bytearray) else 0


def _read_whole(response: Any, answer: TimedResponse, exchange: Exchange) -> bytes:
    """Read the body; an error here meets Locust again when it asks for the content, and is reported by it."""
    body = b""
    try:
        body = response.content or b""
        exchange.end_ns = answer.end_ns
    except fasthttp.FAILURE_EXCEPTIONS as error:
        response.error = error
        exchange.end_ns = now_ns()
    exchange.bytes_in, exchange.first_byte_ns = answer.received, answer.first_byte_ns
    return body


class SlowSession(clients.HttpSession):
    """`HttpUser`'s session (requests), measured. A stream's time ends where Locust's does: when its headers came."""

    def __init__(self, base_url: Any, request_event: Any, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(base_url, _Reporting(request_event), user, *args, **kwargs)

    def request(  # type: ignore[override] # as Locust's own does
        self,
        method: Any,
        url: Any,
        name: str | None = None,
        catch_response: bool = False,
        context: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Send a request as Locust would."""
        exchange = _open(self, name or self.request_name or str(url), context or {})
        kwargs |= {"headers": _traced(kwargs.get("headers"), self.headers, exchange), "exchange": exchange}
        try:
            return super().request(method, url, name, catch_response, dict(exchange.context), **kwargs)
        except BaseException as error:
            exchange.ended(now_ns(), error)
            exchange.write()
            raise

    def _send_request_safe_mode(self, method: Any, url: Any, **kwargs: Any) -> Any:
        exchange: Exchange = kwargs.pop("exchange")
        Measuring.recorder.begin(exchange, _size(kwargs.get("data")))
        response: Any = super()._send_request_safe_mode(method, url, **kwargs)
        exchange.end_ns = now_ns()
        response.exchange = exchange
        if response.status_code:
            exchange.status = response.status_code
            exchange.headers = _lowered((key.lower(), value) for key, value in response.headers.items())
            exchange.first_byte_ns = exchange.start_ns + int(response.elapsed.total_seconds() * 1e9)
            if not kwargs.get("stream"):
                exchange.body = response.content
                exchange.bytes_in = len(exchange.body)
        return response


def _on_other_client(
    *,
    request_type: str,
    name: str,
    response_time: float,
    response_length: int,
    context: Any,
    exception: Exception | None = None,
    **meta: Any,
) -> None:
    """Record a request of a client we do not know, from the event it fires when the request is over."""
    if hasattr(meta.get("response"), "exchange"):
        return
    Measuring.statistics.add(request_type, name, response_time, response_length, exception)
    end_ns = now_ns()
    start_ns = end_ns - int((response_time or 0) * NS_PER_MS)
    due_ns = take_due()
    exchange = Exchange(Measuring.recorder, str(name), context or {})
    exchange.due_ns = start_ns if due_ns < 0 else due_ns
    exchange.start_ns, exchange.end_ns, exchange.bytes_in = start_ns, end_ns, int(response_length or 0)
    exchange.exception, exchange.forgiven = exception, exception is None
    Measuring.recorder.sent += 1
    exchange.write()


def install(environment: Environment, recorder: Recorder, statistics: Statistics, run_id: int) -> None:
    """Measure every client of this process from now on; `statistics` take the place of Locust's own counting."""
    Measuring.recorder, Measuring.statistics, Measuring.run_id = recorder, statistics, run_id
    places: tuple[tuple[Any, str, Any], ...] = (
        (geventhttpclient.client, "HTTPSocketPoolResponse", TimedResponse),
        (geventhttpclient.client, "HTTPClient", TemplateClient),
        (geventhttpclient.client, "_uses_chunked_transfer", uses_chunks),
        (geventhttpclient.client, "_requests_100_continue", waits_for_continue),
        (ConnectionPool, "_is_socket_alive", is_alive),
        (fasthttp, "CookieJar", LazyCookieJar),
        (fasthttp, "FastHttpSession", FastSession),
        (fasthttp, "ResponseContextManager", FastContext),
        (users, "HttpSession", SlowSession),
        (clients, "ResponseContextManager", SlowContext),
    )
    for module, name, ours in places:
        setattr(module, name, ours)
    environment.events.request.add_listener(_on_other_client)
