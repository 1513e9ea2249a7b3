"""What the measured sessions of every client share. Only for the Locust subprocess.

Two clocks would be wrong: Locust's own event is fired before a stream is read, and never when a with-block is left by
an exception. So times are stamped where bytes arrive, and the row is written when the request is over
(`locust_record.Exchange`). Listeners of ``events.request`` see exactly what Locust fires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from greenlet import GreenletExit
from locust.contrib import fasthttp
from locust.exception import StopUser

from harness.clock import NS_PER_MS, NS_PER_S
from harness.model.request import traceparent
from harness.traffic.locust_record import Exchange, Recorder
from harness.traffic.locust_turn import is_due, take_leave

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.traffic.locust_stats import Statistics

_TRACE = "traceparent"
OUR_LISTENERS = 1
"""Listeners of ``events.request`` that are none of the workload's."""


class Measuring:
    """What the sessions of this process share: class attributes, because Locust makes the sessions."""

    recorder: Recorder
    statistics: Statistics
    run_id: int
    stopping = False
    """Once set, only a request that was due before is sent, however late; the user that tries another is stopped."""


def open_exchange(session: Any, name: str, context: Mapping[str, Any] | None) -> Exchange:
    """Begin a request of `session`; StopUser when its user is to make none."""
    if (Measuring.stopping and not is_due()) or take_leave():
        raise StopUser
    user = session.user
    whole = {**user.context(), **context} if user and context else (user.context() if user else context)
    return Exchange(Measuring.recorder, name, whole or {})


def traced(headers: Mapping[str, Any] | None, defaults: Mapping[str, Any] | None, request_id: int) -> dict[str, Any]:
    """Return the headers with the request's trace id, unless the workload or its session sets one.

    `defaults` finds its keys in any case.
    """
    found = dict(headers) if headers else {}
    for key in found:
        if len(key) == len(_TRACE) and key.lower() == _TRACE:
            return found
    if not defaults or _TRACE not in defaults:
        found[_TRACE] = traceparent(Measuring.run_id, request_id)
    return found


def lowered(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return an answer's headers by their names in lower case; of one that comes twice, all values."""
    found: dict[str, str] = {}
    for key, value in headers:
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def size_of(payload: Any) -> int:
    """Return how many bytes a payload has, where that is known before it is sent."""
    if isinstance(payload, str):
        return len(payload.encode())
    return len(payload) if isinstance(payload, bytes | bytearray) else 0


class Reporting:
    """Stands before ``events.request`` for one session: what Locust reports is noted, then passed on."""

    def __init__(self, event: Any) -> None:
        self._event = event

    def fire(self, **meta: Any) -> None:
        """Do what Locust's event does."""
        count_ahead(meta)
        report(meta)
        if len(self._event._handlers) > OUR_LISTENERS:  # noqa: SLF001 - to call nobody costs as much as to call one
            self._event.fire(**meta)


def count_ahead(meta: dict[str, Any]) -> None:
    """Add, once, the time a request had taken when it was handed to Locust."""
    exchange = meta["response"].exchange
    meta["response_time"] += exchange.ahead_ns / NS_PER_MS
    meta["start_time"] -= exchange.ahead_ns / NS_PER_S
    exchange.ahead_ns = 0


def report(meta: dict[str, Any]) -> None:
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


class Context:
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
