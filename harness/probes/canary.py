"""The canary: one cheap real request at a fixed rate, whatever the answers do. Failover times rest on it.

Open loop: probe k is due at ``start + k / rate``, and no probe ever waits for another. What could not be sent in time
is sent late and shows it (`start_ns` - `due_ns`); nothing is skipped.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from threading import Event, Thread
from typing import TYPE_CHECKING

from harness.clock import NS_PER_S, now_ns
from harness.model.request import SUCCEEDED, UNKNOWN, Outcome, first_request_id, traceparent
from harness.observe import Answer, Reading
from harness.probes.exchange import Endpoint, Exchange
from harness.recording.layout import CANARY
from harness.recording.requests import RequestWriter
from harness.sse import is_stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.model.target import Probe as ProbeSpec
    from harness.observe import Observation
    from harness.recording.tables import EventLog

STREAM = 1 << 22
"""Number of the canary's request ids among the streams of `model.request`; workers count from 0."""
NAME = "canary"
_LAST_WAIT_S = 2.0
_NOTHING = Reading(Outcome.FAILED, "", "", *(UNKNOWN,) * 5)


class _Request:
    """What is sent: everything that stays the same, made once."""

    def __init__(self, spec: ProbeSpec, endpoint: Endpoint, run_id: int) -> None:
        self._run_id = run_id
        # Another number in every run too, for a system that remembers the last run's answers.
        self._mark = f"{run_id % 10**9}"
        self._first_line = f"{spec.method.upper()} {endpoint.prefix}{spec.path} HTTP/1.1\r\n"
        body = b"" if spec.body is None else json.dumps(spec.body, ensure_ascii=False).encode()
        self._body = body.split(b"${n}")
        headers = {
            "host": endpoint.host_header,
            "user-agent": "agentstorm-canary",
            "accept": "*/*",
            "connection": "close",
            **({} if spec.body is None else {"content-type": "application/json"}),
            **{name.lower(): value.strip() for name, value in spec.headers.items()},
        }
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    def render(self, number: int, request_id: int) -> tuple[bytes, int]:
        """Return the bytes of probe `number`, and how many of them are its body."""
        n = f"{self._mark}{number:07d}"
        body = n.encode().join(self._body)
        head = (
            f"{self._first_line.replace('${n}', n)}{self._headers}"
            f"traceparent: {traceparent(self._run_id, request_id)}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode("latin-1", "replace") + body, len(body)


class Canary:
    """Sends `spec` to `base_url` and writes every probe as a row of ``canary/canary.arrows``, flushed each second.

    A probe answered in no time is ``timeout``; one that found no connection, or lost it, ``failed`` with a short
    error (``ConnectError: refused``); one still in flight two seconds after `stop` ``lost``; one that found
    `max_in_flight` others unanswered ``dropped``. So is one that could not be sent for want of files or ports, which is
    told once as an event (kind `instrument`, subject ``unsent``).
    """

    def __init__(
        self,
        spec: ProbeSpec,
        base_url: str,
        observation: Observation,
        recording: Path,
        run_id: int,
        events: EventLog,
        *,
        max_in_flight: int | None = None,
    ) -> None:
        self._spec, self._observation, self._recording, self._events = spec, observation, recording, events
        self._endpoint = Endpoint(base_url)
        self._request = _Request(spec, self._endpoint, run_id)
        self._every_ns = NS_PER_S / spec.rate
        # As many as can be waiting at once when nothing answers: only a machine that cannot keep up exceeds it.
        self._max_in_flight = max_in_flight or math.ceil(spec.rate * spec.timeout) + 1
        self._in_flight: dict[asyncio.Task[None], tuple[int, int, Exchange]] = {}
        self._thread: Thread | None = None
        self._stop: Callable[[], object] = _nothing
        self._flying = Event()
        self._told = self._told_unsent = False
        self.ok: bool | None = None
        """Whether the latest request that is over was answered; None before the first."""

    def start(self) -> None:
        """Begin; returns once the first probe has been due."""
        self._flying.clear()
        self._thread = Thread(target=self._run, name="probe-canary", daemon=True)
        self._thread.start()
        self._flying.wait()

    def stop(self) -> None:
        """Send no more, give what is in flight two seconds, and close the file."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop()
            thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._fly())
        except Exception as error:  # noqa: BLE001 - the run goes on without its canary, and says so
            self._tell(error)
        finally:
            self._stop = _nothing
            self._flying.set()

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            self._events.emit("probe", NAME, "error", error=f"{type(error).__name__}: {error}")

    async def _fly(self) -> None:
        loop = asyncio.get_running_loop()
        writer = RequestWriter(self._recording / CANARY / f"{NAME}.arrows", NAME)
        try:
            sending = asyncio.create_task(self._send_all(writer))
            self._stop = lambda: loop.call_soon_threadsafe(sending.cancel)
            self._flying.set()
            await asyncio.wait({sending})
            if self._in_flight:
                await asyncio.wait(self._in_flight, timeout=_LAST_WAIT_S)
            for task, (due_ns, request_id, exchange) in list(self._in_flight.items()):
                task.cancel()
                exchange.end_ns, exchange.outcome = -1, Outcome.LOST
                self._write(writer, due_ns, request_id, exchange)
            if not sending.cancelled():
                sending.result()
        finally:
            writer.close()

    async def _send_all(self, writer: RequestWriter) -> None:
        start_ns = flushed_ns = now_ns()
        for number in itertools.count():
            due_ns = start_ns + round(number * self._every_ns)
            await asyncio.sleep((due_ns - now_ns()) / NS_PER_S)
            self._send(due_ns, number, writer)
            # Just after a probe went out is when a pause is least likely to delay the next.
            if now_ns() - flushed_ns >= NS_PER_S:
                await asyncio.sleep(0)
                writer.flush()
                flushed_ns = now_ns()

    def _send(self, due_ns: int, number: int, writer: RequestWriter) -> None:
        request_id = first_request_id(STREAM) + number
        if len(self._in_flight) >= self._max_in_flight:
            error = f"{self._max_in_flight} probes in flight"
            self._write(writer, due_ns, request_id, Exchange(-1, outcome=Outcome.DROPPED, error=error))
            return
        request, body_bytes = self._request.render(number, request_id)
        exchange = Exchange(now_ns(), bytes_out=body_bytes)
        task = asyncio.create_task(self._probe(writer, due_ns, request_id, request, exchange))
        self._in_flight[task] = (due_ns, request_id, exchange)
        task.add_done_callback(lambda done: self._in_flight.pop(done, None))

    async def _probe(
        self, writer: RequestWriter, due_ns: int, request_id: int, request: bytes, exchange: Exchange
    ) -> None:
        try:
            await self._endpoint.exchange(request, exchange, self._spec.timeout)
        except Exception as error:  # noqa: BLE001 - a bug of ours is no failure of the system: the probe is lost
            exchange.end_ns, exchange.outcome, exchange.error = -1, Outcome.LOST, "canary error"
            self._tell(error)
        if exchange.outcome is Outcome.DROPPED and not self._told_unsent:
            self._told_unsent = True
            self._events.emit("instrument", NAME, "unsent", error=exchange.error)
        self._write(writer, due_ns, request_id, exchange)

    def _write(self, writer: RequestWriter, due_ns: int, request_id: int, exchange: Exchange) -> None:
        got, reading = exchange.answer, _NOTHING
        if got.headers is not None and exchange.outcome is not Outcome.LOST:
            streamed = is_stream(got.headers.get("content-type", ""))
            reading = self._observation.read(Answer(got.status, got.headers, bytes(got.body), streamed=streamed))
        outcome = exchange.outcome or reading.outcome
        if outcome is not Outcome.DROPPED:
            self.ok = outcome in SUCCEEDED
        writer.add(
            due_ns=due_ns,
            start_ns=exchange.start_ns,
            first_byte_ns=exchange.first_byte_ns,
            end_ns=exchange.end_ns,
            name=NAME,
            team="",
            agent="",
            tenant="",
            request_id=request_id,
            outcome=outcome,
            status=got.status,
            error=exchange.error or reading.error,
            provider=reading.provider,
            cached=reading.cached,
            cache_lookups=reading.cache_lookups,
            cache_hits=reading.cache_hits,
            tokens_in=reading.tokens_in,
            tokens_out=reading.tokens_out,
            bytes_in=len(got.body),
            bytes_out=exchange.bytes_out,
        )


def _nothing() -> None:
    """Stop nothing: it does not fly."""
