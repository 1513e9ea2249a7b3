"""From a request to its row. Only for the Locust subprocess; knows nothing of sessions or users.

An `Exchange` is one request from the moment it is sent until its row is written: when it is over (for a stream: read
to its end), when the load gave up on it (`lost`), or when the workload dropped the answer without finishing it.
Nothing is forgotten: an exchange that dies unwritten writes itself.
"""

from __future__ import annotations

import contextlib
import os
import weakref
import zlib
from typing import TYPE_CHECKING, Any

import gevent
import requests
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from greenlet import GreenletExit

from harness.clock import now_ns
from harness.model.request import UNKNOWN, Outcome, first_request_id
from harness.observe import Answer, Observation, Reading
from harness.traffic.locust_turn import prepared_ns, take_due

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.recording.requests import RequestWriter

_BODY_LIMIT, _BODY_HEAD, _BODY_TAIL = 1 << 20, 1 << 19, 1 << 16
_MAX_TEXTS, _MAX_TEXT = 300, 160
_UNSEEN = Reading(Outcome.FAILED, "", "", UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
UNREAD = "stream not read to its end by the workload"


def explain(error: BaseException) -> tuple[Outcome, str]:
    """Return the outcome and a text for an exception: the same text for the same cause, without addresses or ids."""
    error = getattr(error, "original", None) or error  # what made geventhttpclient give up retrying
    if isinstance(error, TimeoutError | gevent.Timeout | requests.exceptions.Timeout):
        return Outcome.TIMEOUT, "no answer in time"
    if isinstance(error, HTTPConnectionClosed):
        reused = getattr(error, "reused", False)
        return Outcome.FAILED, f"connection closed before the answer{' (keep-alive race)' if reused else ''}"
    if isinstance(error, HTTPParseError):
        return Outcome.FAILED, "connection closed in the middle of the answer, or no HTTP"
    if isinstance(error, OSError):
        return Outcome.FAILED, _system_error(error)
    return Outcome.FAILED, str(error) or type(error).__name__


def _system_error(error: BaseException) -> str:
    seen: BaseException | None = error
    while seen is not None:  # requests and urllib3 wrap the cause several times
        if isinstance(seen, OSError) and seen.errno is not None and seen.errno > 0:
            return os.strerror(seen.errno).lower()
        seen = seen.__cause__ or seen.__context__
    return f"transport error: {type(error).__name__}"


class Exchange:
    """One request. Times are -1 until they are known; `due_ns` is `start_ns` unless a schedule wanted it earlier."""

    __slots__ = (
        "__weakref__", "_recorder", "body", "bytes_in", "bytes_out", "context", "due_ns", "end_ns", "exception",
        "first_byte_ns", "forgiven", "headers", "last_byte_ns", "name", "open_stream", "reported",
        "request_id", "start_ns", "status", "written",
    )  # fmt: skip

    def __init__(self, recorder: Recorder, name: str, context: Mapping[str, Any]) -> None:
        self._recorder = recorder
        self.name, self.context = name, context
        self.request_id = recorder.next_id()
        self.due_ns = self.start_ns = self.first_byte_ns = self.last_byte_ns = self.end_ns = -1
        self.bytes_in = self.bytes_out = 0
        self.status = UNKNOWN
        self.headers: Any = None
        self.body: bytes | bytearray = b""
        self.exception: BaseException | None = None
        self.forgiven = False
        """The workload itself called it a success."""
        self.open_stream = False
        """Its body is still being read."""
        self.reported = False
        """Locust's request event was fired."""
        self.written = False

    def feed(self, data: bytes) -> None:
        """Take a piece of a stream's body, as the workload reads it."""
        if not isinstance(self.body, bytearray):
            self.body = bytearray(self.body)
        self.body += data
        if len(self.body) > _BODY_LIMIT:
            del self.body[_BODY_HEAD:-_BODY_TAIL]

    def ended(self, end_ns: int, error: BaseException | None = None) -> None:
        """Take the end of a stream, good or bad."""
        self.open_stream = False
        self.end_ns = end_ns
        if error is not None:
            self.exception = error
        if self.reported:
            self.write()

    def write(self) -> None:
        """Write the row, once; of a request that was never sent there is none."""
        if not self.written and self.start_ns >= 0:
            self.written = True
            self._recorder.write(self)

    def __del__(self) -> None:
        self.write()


class Recorder:
    """Writes rows and counts. One per subprocess."""

    def __init__(self, writer: RequestWriter, observation: Observation, *, stream_end: str, stream: int) -> None:
        self._writer = writer
        self._observation = observation
        self._stream_end = stream_end.encode()
        self._id = first_request_id(stream) - 1
        self._texts: set[str] = set()
        self.open: weakref.WeakSet[Exchange] = weakref.WeakSet()
        """Requests that are out and not over."""
        self.sent = self.dropped = 0
        self.lateness_ns: list[int] = []
        """start - due of the requests since this was last emptied, less what their users took to get ready."""

    def next_id(self) -> int:
        """Return a new request number."""
        self._id += 1
        return self._id

    def begin(self, exchange: Exchange, bytes_out: int) -> None:
        """Stamp the start: the request is about to be written to its connection."""
        exchange.bytes_out = bytes_out
        self.sent += 1
        self.open.add(exchange)
        due_ns = take_due()
        now = exchange.start_ns = now_ns()
        exchange.due_ns = now if due_ns < 0 else due_ns
        if due_ns >= 0:
            self.lateness_ns.append(max(0, now - due_ns - prepared_ns()))

    def write(self, x: Exchange) -> None:
        """Write the row of an exchange that is over."""
        self.open.discard(x)
        reading = self._read(x)
        outcome, error = reading.outcome, reading.error
        if isinstance(x.exception, GreenletExit):
            self._row(x, Outcome.LOST, "", reading, end_ns=UNKNOWN)
            return
        if x.exception is not None:
            outcome, error = explain(x.exception)
        elif x.open_stream and not (self._stream_end and self._stream_end in bytes(x.body[-4096:])):
            outcome, error = Outcome.FAILED, UNREAD
        if x.forgiven and outcome not in (Outcome.OK, Outcome.DEGRADED):
            outcome, error = Outcome.OK, ""
        ends = (x.end_ns, x.last_byte_ns, now_ns())
        self._row(x, outcome, error, reading, end_ns=next(t for t in ends if t >= 0))

    def lose(self) -> int:
        """Write every request still in flight as `lost`, and return how many."""
        lost = [x for x in self.open if not x.written]
        for x in lost:
            x.written = True
            self._row(x, Outcome.LOST, "", _UNSEEN, end_ns=UNKNOWN)
        self.open.clear()
        return len(lost)

    def drop(self, due_ns: int, error: str, name: str = "") -> None:
        """Write a request that was due at `due_ns` and never sent."""
        self.dropped += 1
        x = Exchange(self, name, {})
        x.due_ns, x.written = due_ns, True
        self._row(x, Outcome.DROPPED, error, _UNSEEN, end_ns=UNKNOWN)

    def _read(self, x: Exchange) -> Reading:
        if x.headers is None:
            return _UNSEEN
        headers = {key.lower(): value if isinstance(value, str) else ", ".join(value) for key, value in x.headers}
        streamed = headers.get("content-type", "").startswith("text/event-stream")
        body = bytes(x.body)
        if streamed and headers.get("content-encoding") in ("gzip", "deflate"):
            with contextlib.suppress(zlib.error):  # it was not: the client has undone it already
                body = zlib.decompressobj(47).decompress(body)
        return self._observation.read(Answer(x.status, headers, body, streamed=streamed))

    def _row(self, x: Exchange, outcome: Outcome, error: str, reading: Reading, *, end_ns: int) -> None:
        context = x.context
        self._writer.add(
            due_ns=x.due_ns,
            start_ns=x.start_ns,
            first_byte_ns=x.first_byte_ns,
            end_ns=end_ns,
            name=x.name,
            team=str(context.get("team", "")),
            agent=str(context.get("agent", "")),
            tenant=str(context.get("tenant", "")),
            request_id=x.request_id,
            outcome=outcome.value,
            status=x.status,
            error=self._bounded(error) if error else "",
            provider=reading.provider,
            cached=reading.cached,
            cache_lookups=reading.cache_lookups,
            cache_hits=reading.cache_hits,
            tokens_in=reading.tokens_in,
            tokens_out=reading.tokens_out,
            bytes_in=x.bytes_in,
            bytes_out=x.bytes_out,
        )

    def _bounded(self, text: str) -> str:
        """Keep the number of distinct texts finite, whatever ids systems put into their errors."""
        text = text[:_MAX_TEXT]
        if text not in self._texts:
            if len(self._texts) >= _MAX_TEXTS:
                return "another error (too many different texts)"
            self._texts.add(text)
        return text
