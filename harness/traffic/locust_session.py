"""Measuring what Locust's clients do, from inside them. Only for the Locust subprocess.

`install` puts subclasses where `FastHttpUser` and `HttpUser` look their session up, so that any plain locustfile is
measured unchanged (`locust_measuring` says how).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import geventhttpclient.client
from geventhttpclient.connectionpool import ConnectionPool
from locust import clients
from locust.contrib import fasthttp
from locust.user import users

from harness.clock import NS_PER_MS, now_ns
from harness.traffic.locust_answer import TimedResponse
from harness.traffic.locust_client import LazyCookieJar, is_alive
from harness.traffic.locust_fast import Agent, FastContext, FastSession
from harness.traffic.locust_hosts import ForeignHostInRequestsError, refuse
from harness.traffic.locust_measuring import Context, Measuring, Reporting, lowered, open_exchange, size_of, traced
from harness.traffic.locust_record import Exchange
from harness.traffic.locust_turn import take_due

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locust.env import Environment

    from harness.traffic.locust_record import Recorder
    from harness.traffic.locust_stats import Statistics


class SlowContext(Context, clients.ResponseContextManager):  # type: ignore[misc] # untyped there
    """What `HttpUser` gets always."""


class SlowSession(clients.HttpSession):
    """`HttpUser`'s session (requests), measured. A stream's time ends where Locust's does: when its headers came."""

    def __init__(self, base_url: Any, request_event: Any, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(base_url, Reporting(request_event), user, *args, **kwargs)

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
        exchange = open_exchange(self, name or self.request_name or str(url), context or {})
        kwargs |= {"headers": traced(kwargs.get("headers"), self.headers, exchange.request_id), "exchange": exchange}
        try:
            return super().request(method, url, name, catch_response, dict(exchange.context), **kwargs)
        except BaseException as error:
            exchange.ended(now_ns(), error)
            exchange.write()
            raise

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Send one hop of a request."""
        refuse(urlsplit(request.url).hostname or "", ForeignHostInRequestsError)
        return super().send(request, **kwargs)

    def _send_request_safe_mode(self, method: Any, url: Any, **kwargs: Any) -> Any:
        exchange: Exchange = kwargs.pop("exchange")
        exchange.ahead_ns = -Measuring.recorder.begin(exchange, size_of(kwargs.get("data")))
        response: Any = super()._send_request_safe_mode(method, url, **kwargs)
        exchange.end_ns = now_ns()
        response.exchange = exchange
        if response.status_code:
            exchange.status = response.status_code
            exchange.headers = lowered((key.lower(), value) for key, value in response.headers.items())
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
    # A user that has one of our clients beside it was woken ahead of its time for that one (`locust_open`).
    exchange.due_ns = start_ns if due_ns < 0 else min(due_ns, start_ns)
    exchange.start_ns, exchange.end_ns, exchange.bytes_in = start_ns, end_ns, int(response_length or 0)
    exchange.exception, exchange.forgiven = exception, exception is None
    Measuring.recorder.sent += 1
    exchange.write()


_ABSENT = object()
_STAND_INS: tuple[tuple[Any, str, Any], ...] = (
    (geventhttpclient.client, "HTTPSocketPoolResponse", TimedResponse),
    (ConnectionPool, "_is_socket_alive", is_alive),
    (ConnectionPool, "taken", None),
    (fasthttp, "CookieJar", LazyCookieJar),
    (fasthttp, "LocustUserAgent", Agent),
    (fasthttp, "FastHttpSession", FastSession),
    (fasthttp, "ResponseContextManager", FastContext),
    (users, "HttpSession", SlowSession),
    (clients, "ResponseContextManager", SlowContext),
)
"""Where, what, and what stands there instead."""


def install(environment: Environment, recorder: Recorder, statistics: Statistics, run_id: int) -> None:
    """Measure every client of this process from now on; `statistics` take the place of Locust's own counting."""
    Measuring.recorder, Measuring.statistics, Measuring.run_id = recorder, statistics, run_id
    for place, name, ours in _STAND_INS:
        setattr(place, name, ours)
    environment.events.request.add_listener(_on_other_client)


@contextmanager
def installed(environment: Environment, recorder: Recorder, statistics: Statistics) -> Iterator[None]:
    """Measure every client of this process for as long as the block lasts."""
    before = [(place, name, vars(place).get(name, _ABSENT)) for place, name, _ in _STAND_INS]
    install(environment, recorder, statistics, run_id=0)
    try:
        yield
    finally:
        for place, name, theirs in before:
            if theirs is _ABSENT:
                delattr(place, name)
            else:
                setattr(place, name, theirs)
