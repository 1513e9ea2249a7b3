"""From a request to its row. Only for the Locust subprocess; knows nothing of sessions or users.

An `Exchange` is one request from the moment it is sent until its row is written: when it is over (for a stream: read
to its end), when the load gave up on it (`lost`), or when the workload dropped the answer without finishing it.
Nothing is forgotten: an exchange that dies unwritten writes itself.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import gevent
import requests
from gevent.event import Event
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from greenlet import GreenletExit

from harness.clock import NS_PER_MS, now_ns
from harness.model.request import SUCCEEDED, UNKNOWN, Outcome, first_request_id
from harness.observe import Answer, Observation, Reading
from harness.recording.requests import MOST_BYTES
from harness.sse import is_stream
from harness.tokens import NOTHING_HEARD, Passing, hear
from harness.traffic.locust_alarm import take_a_breath
from harness.traffic.locust_complaints import told
from harness.traffic.locust_hosts import ForeignHostError
from harness.traffic.locust_turn import prepared_ns, take_due

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.recording.requests import RequestWriter
    from harness.recording.tokens import TokenWriter
    from harness.tokens import Arrivals, Heard

logger = logging.getLogger("agentstorm")
_BODY_LIMIT, _BODY_HEAD, _BODY_TAIL = 1 << 20, 1 << 19, 1 << 16
_SEVERAL = 32
"""Short answers are read so many in a row, in 0.2 ms: the second costs a third of the first, as the code for it is in
the CPU's cache by then."""
_LONG = 2048
"""Bytes of a body that, like every stream, is read as soon as may be: several in a row would take milliseconds."""
_HOLD_NS = NS_PER_MS // 4
"""For no longer than this, and one step more, does reading answers hold up whoever sends and hears them."""
_BACKLOG = 256
"""From so many answers on that wait to be read, they come sooner than they can be read in between."""
_UNSEEN = Reading(Outcome.FAILED, "", "", UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
UNREAD = "stream not read to its end by the workload"


def explain(error: BaseException) -> tuple[Outcome, str]:
    """Return the outcome and a text for an exception: the same text for the same cause, without addresses or ids."""
    error = getattr(error, "original", None) or error  # what made geventhttpclient give up retrying
    if isinstance(error, ForeignHostError):
        return Outcome.FAILED, str(error)
    if isinstance(error, TimeoutError | gevent.Timeout | requests.exceptions.Timeout):
        return Outcome.TIMEOUT, "no answer in time"
    if isinstance(error, HTTPConnectionClosed):
        kept = getattr(error, "kept", False)
        return Outcome.FAILED, f"connection closed before the answer{' (keep-alive race)' if kept else ''}"
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

    # On the class, so that making one costs only what this request is.
    due_ns = start_ns = first_byte_ns = last_byte_ns = end_ns = -1
    bytes_in = bytes_out = 0
    status = UNKNOWN
    headers: Mapping[str, str] | None = None
    """Those of the answer, in lower case."""
    body: bytes | bytearray = b""
    arrivals: Arrivals | None = None
    """When the pieces of the body came; None where the client does not show it."""
    passing: Passing | None = None
    """Set once the body may become too long to keep."""
    exception: BaseException | None = None
    forgiven = False
    """The workload itself called it a success."""
    open_stream = False
    """Its body is still being read."""
    ahead_ns = 0
    """What passed between its start and the moment that Locust counts from: negative where it waited to be due."""
    reported = False
    """Locust's request event was fired."""
    written = False

    def __init__(self, recorder: Recorder, name: str, context: Mapping[str, Any]) -> None:
        self._recorder = recorder
        self.name, self.context = name, context
        self.request_id = recorder.next_id()

    def feed(self, data: bytes, t_ns: int) -> None:
        """Take a piece of a stream's body, as it is read."""
        if self.arrivals is not None:
            self.arrivals.add(self.bytes_in, t_ns)
        if not isinstance(self.body, bytearray):
            self.body = bytearray(self.body)
        self.body += data
        if len(self.body) > _BODY_HEAD:
            self._recorder.read_along(self, len(data))

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
        if self._once():
            self._recorder.write(self)

    def __del__(self) -> None:
        if self._once():
            self._recorder.keep(self)

    def _once(self) -> bool:
        if self.written or self.start_ns < 0:
            return False
        self.written = True
        return True


class Recorder:
    """Writes rows and counts. One per subprocess."""

    def __init__(
        self,
        writer: RequestWriter,
        tokens: TokenWriter,
        observation: Observation,
        *,
        stream_end: str,
        stream: int,
    ) -> None:
        self._writer, self._tokens = writer, tokens
        self._observation = observation
        self._stream_end = stream_end.encode()
        self.next_id = itertools.count(first_request_id(stream)).__next__
        """Return a new request number."""
        self._over: deque[Exchange | Event] = deque()
        """Answers to be read, and who waits until all before are."""
        self._hub = gevent.get_hub()
        self._reader: gevent.Greenlet | None = None
        self._read_since_ns = 0
        self._hurried = False
        self._open: dict[int, weakref.ref[Exchange]] = {}
        self.sent = self.dropped = self.misread = 0
        self.lateness_ns: list[int] = []
        """start - due of the requests since this was last emptied, less what their users took to get ready."""

    @property
    def in_flight(self) -> int:
        """Requests that are out and not over."""
        return len(self._open)

    def begin(self, exchange: Exchange, bytes_out: int) -> int:
        """Stamp the start, not before the request is due: it is about to be written to its connection. Return for how
        long it had to wait, ns."""
        begun_ns = now_ns()
        due_ns = take_due(wait=True)
        exchange.bytes_out = bytes_out
        self.sent += 1
        self._open[exchange.request_id] = weakref.ref(exchange)
        now = exchange.start_ns = now_ns()
        exchange.due_ns = now if due_ns < 0 else due_ns
        if due_ns >= 0:
            self.lateness_ns.append(max(0, now - due_ns - prepared_ns()))
            return now - begun_ns
        return 0

    def write(self, x: Exchange) -> None:
        """Take an exchange that is over; its row is written with the next few."""
        self._end(x)
        if x.open_stream:  # it may go on being read, which would not count
            self._take(x)
            return
        self._over.append(x)
        if self._reader is None:
            if len(x.body) > _LONG or x.arrivals is not None:
                self._read_on()
            elif len(self._over) >= _SEVERAL and gevent.get_hub() is self._hub:
                self._take_all()

    def keep(self, x: Exchange) -> None:
        """Take an exchange that is over; its row is written by and by. For any thread: the collector runs in any."""
        self._end(x)
        self._over.append(x)

    def _end(self, x: Exchange) -> None:
        self._open.pop(x.request_id, None)
        if x.end_ns < 0:
            x.end_ns = x.last_byte_ns if x.last_byte_ns >= 0 else now_ns()

    def settle(self) -> None:
        """Wait until the answers that are in by now are read and their rows written."""
        if self._over or self._reader is not None:
            self._over.append(read := Event())
            self._read_on()
            read.wait()

    def finish(self) -> None:
        """Read all that is in without giving way: the load is over."""
        self._hurried = True
        self.settle()
        self._take_all()

    def _read_on(self) -> None:
        """See that somebody reads. A greenlet that is spawned in another thread would never run."""
        if (self._reader is None or self._reader.dead) and gevent.get_hub() is self._hub:
            self._reader = gevent.spawn(self._read_in_between)

    def _read_in_between(self) -> None:
        """Read the answers that are in. In a greenlet of its own: nobody ends it between an answer and its row."""
        self._read_since_ns = now_ns()
        try:
            while self._over:
                self._take(self._over.popleft())
                self._breathe()
        finally:
            self._reader = None

    def _breathe(self) -> None:
        """Let whoever sends and hears go on, if they have been held up for long."""
        if now_ns() - self._read_since_ns > _HOLD_NS and len(self._over) < _BACKLOG and not self._hurried:
            take_a_breath()
            self._read_since_ns = now_ns()

    def _take_all(self) -> None:
        while self._over:
            self._take(self._over.popleft())

    def _take(self, x: Exchange | Event) -> None:
        if x.__class__ is Event:  # all that came before it is read
            x.set()
            return
        try:
            self._record(x)
        except Exception as error:  # noqa: BLE001 - whatever one answer does to us, the others' rows are written
            self._misread(x, error)

    def _misread(self, x: Exchange, error: Exception) -> None:
        """Count a row that could not be made as it should be, and write what is known."""
        self._complain(error)
        x.name, x.context = _word(x.name), x.context if isinstance(x.context, dict) else {}
        x.bytes_in, x.bytes_out = max(0, x.bytes_in), max(0, x.bytes_out)
        with contextlib.suppress(Exception):  # it may be its times that fit no row
            if isinstance(x.exception, GreenletExit):
                self._row(x, Outcome.LOST, "", _UNSEEN, NOTHING_HEARD, end_ns=UNKNOWN)
            else:
                text = f"the answer could not be read: {type(error).__name__}: {error}"
                self._row(x, Outcome.FAILED, text, _UNSEEN, NOTHING_HEARD, end_ns=x.end_ns)

    def _complain(self, error: Exception) -> None:
        self.misread += 1
        if text := told(error):
            logger.error("an answer could not be read: %s", text)

    def _record(self, x: Exchange) -> None:
        reading, heard = self._read(x)
        outcome, error = reading.outcome, reading.error
        if isinstance(x.exception, GreenletExit):
            self._row(x, Outcome.LOST, "", reading, heard, end_ns=UNKNOWN)
            return
        if x.exception is not None:
            outcome, error = explain(x.exception)
        elif x.open_stream and not (self._stream_end and self._stream_end in bytes(x.body[-4096:])):
            outcome, error = Outcome.FAILED, UNREAD
        if x.forgiven and outcome not in SUCCEEDED:
            outcome, error = Outcome.OK, ""
        self._row(x, outcome, error, reading, heard, end_ns=x.end_ns)

    def lose(self) -> int:
        """Write every request still in flight as `lost`, and return how many."""
        lost = [x for ref in self._open.values() if (x := ref()) is not None and not x.written]
        for x in lost:
            x.written, heard = True, NOTHING_HEARD
            try:
                heard = self._read(x)[1]
            except Exception as error:  # noqa: BLE001 - as in `_take`
                self._complain(error)
            self._row(x, Outcome.LOST, "", _UNSEEN, heard, end_ns=UNKNOWN)
        self._open.clear()
        return len(lost)

    def drop(self, due_ns: int, error: str, name: str = "") -> None:
        """Write a request that was due at `due_ns` and never sent."""
        self.dropped += 1
        x = Exchange(self, name, {})
        x.due_ns, x.written = due_ns, True
        self._row(x, Outcome.DROPPED, error, _UNSEEN, NOTHING_HEARD, end_ns=UNKNOWN)

    def hears(self, answer: Any) -> bool:
        """Tell whether an answer may be a stream whose tokens the target tells (`answer.get` reads its headers)."""
        tokens = self._observation.tokens
        if tokens is None:
            return False
        kind = answer.get("content-type")
        if isinstance(kind, list):  # it came several times; all of them, as `_read` will see them
            kind = ", ".join(kind)
        return bool(tokens.hears(kind, answer.get("content-length")))

    def read_along(self, x: Exchange, fed: int) -> None:
        """Take it that a long stream is longer by the last `fed` bytes: read the tokens of twice as many, and drop its
        middle once it is too long to keep. All at once they would take 100 ms."""
        if x.passing is None:
            headers = x.headers or {}
            tokens = None if _compressed(headers) else self._observation.tokens
            told = tokens is not None and tokens.hears(headers.get("content-type"), headers.get("content-length"))
            x.passing = Passing(_BODY_HEAD, _BODY_TAIL, tokens if told == "events" else None)
        assert isinstance(x.body, bytearray)  # noqa: S101 - it was fed
        x.passing.read(x.body, x.arrivals, most=max(2 * fed, _LONG))
        if len(x.body) > _BODY_LIMIT:
            x.passing.shorten(x.body, x.arrivals)

    def _read(self, x: Exchange) -> tuple[Reading, Heard]:
        headers = x.headers
        if headers is None:
            return _UNSEEN, NOTHING_HEARD
        streamed = is_stream(headers.get("content-type", ""))
        body, arrivals, tokens = bytes(x.body), x.arrivals, self._observation.tokens
        # A client that does not show arrivals has undone any compression by itself.
        if streamed and arrivals is not None and _compressed(headers):
            inflated = arrivals.inflate(body)
            if inflated is not None:
                body, arrivals = inflated
            if inflated is None or (x.passing is not None and x.passing.cut):
                tokens = None  # neither gzip nor deflate, or its middle is missing: when it could be read is not known
        pause = self._breathe if streamed and gevent.getcurrent() is self._reader else None
        answer = Answer(x.status, headers, body, streamed=streamed, pause=pause)
        heard = NOTHING_HEARD if tokens is None else hear(tokens, answer, arrivals, x.passing)
        return self._observation.read(answer), heard

    def _row(self, x: Exchange, outcome: Outcome, error: str, reading: Reading, heard: Heard, *, end_ns: int) -> None:
        times = heard.times
        if times:
            self._tokens.add(x.request_id, times)
        context = x.context
        self._writer.add(
            due_ns=x.due_ns,
            start_ns=x.start_ns,
            first_byte_ns=x.first_byte_ns,
            end_ns=end_ns,
            name=x.name,
            team=_word(context.get("team", "")),
            agent=_word(context.get("agent", "")),
            tenant=_word(context.get("tenant", "")),
            request_id=x.request_id,
            outcome=outcome.value,
            status=x.status,
            error=error,
            provider=reading.provider,
            cached=reading.cached,
            cache_lookups=reading.cache_lookups,
            cache_hits=reading.cache_hits,
            tokens_in=reading.tokens_in,
            tokens_out=reading.tokens_out,
            bytes_in=x.bytes_in if x.bytes_in < MOST_BYTES else MOST_BYTES,  # noqa: FURB136 - min costs more
            bytes_out=x.bytes_out if x.bytes_out < MOST_BYTES else MOST_BYTES,  # noqa: FURB136
            first_token_ns=times[0] if times else UNKNOWN,
            last_token_ns=times[-1] if times else UNKNOWN,
            stream_tokens=heard.number,
        )


def _compressed(headers: Mapping[str, str]) -> bool:
    return headers.get("content-encoding", "identity") != "identity"


def _word(value: Any) -> str:
    return value if type(value) is str else str(value)
