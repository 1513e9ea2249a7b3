"""From what k6 tells to rows: the same columns, outcomes and readings as Locust's (`harness.observe`).

A request is opened by our own word that it is about to be sent and closed by our word that its answer is in; its end
is the time k6 stamps on its ``http_req_duration``, the moment the last byte was read. All times are ns of k6's wall
clock, moved to the monotonic clock by `offset_ns` as rows are written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_MS, NS_PER_S
from harness.model.request import UNKNOWN, Outcome
from harness.observe import Answer, Observation, Reading
from harness.recording.requests import MOST_BYTES
from harness.sse import is_stream

if TYPE_CHECKING:
    from harness.recording.requests import RequestWriter
    from harness.traffic.pacer import Times

_MAX_TEXTS, _MAX_TEXT = 300, 160
_UNSEEN = Reading(Outcome.FAILED, "", "", UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
_DISPATCH_NS = NS_PER_MS // 10
"""From k6's timer to our first word in the iteration it starts, when nothing holds it up: never less was seen."""
_READY_NS = NS_PER_S // 4
"""Where rates change, k6 counts from when it has readied its VUs, which takes it no longer, and does not say when."""
STOPPED = "the load was stopped before it was sent"
SILENT = "the task made no request"

# k6's error codes (https://grafana.com/docs/k6/latest/javascript-api/error-codes/), in the words of the other engine.
_TIMED_OUT = (1050, 1211)
_WORDS = {1212: "connection refused", 1220: "connection reset by peer"}
_HTTP_CODES = range(1400, 1600)
"""Not errors of the connection: an answer came, and its status says what it is."""


def explain(code: int, text: str) -> tuple[Outcome, str] | None:
    """Return the outcome and a text for k6's error code and message; None when an answer came whole."""
    if not text or code in _HTTP_CODES:
        return None
    if code in _TIMED_OUT:
        return Outcome.TIMEOUT, "no answer in time"
    if code in _WORDS:
        return Outcome.FAILED, _WORDS[code]
    if text.endswith("unexpected EOF") or "malformed" in text:
        return Outcome.FAILED, "connection closed in the middle of the answer, or no HTTP"
    if text.endswith("EOF"):
        return Outcome.FAILED, "connection closed before the answer"
    return Outcome.FAILED, text


@dataclass(slots=True)
class Exchange:
    """One request that is out. Times are ns of k6's clock, -1 until known; `arrival` is its number, -1 without."""

    start_ns: int
    words: dict[str, Any]
    arrival: int = -1
    index: int = -1
    """Which arrival of the schedule it is: those dropped before count too."""
    end_ns: int = -1


@dataclass
class Schedule:
    """When arrivals are due: index * `period_ns`, or `offsets_ns[index]`, after k6 began (`zero_ns`, once known)."""

    period_ns: int
    count: int
    offsets_ns: Times | None = None
    """Where rates change."""
    began_ns: int = -1
    """When k6 says its scenario began, cut to whole ms."""
    least_ns: int = -1
    """The earliest beginning that the arrivals so far allow."""
    zero_ns: int = -1

    def seen(self, index: int, t_ns: int) -> None:
        """Take note that arrival `index` was dispatched at `t_ns`: never before it was due."""
        begun = t_ns - self._offset_ns(index)
        self.least_ns = begun if self.least_ns < 0 else min(self.least_ns, begun)

    def settle(self) -> bool:
        """Fix when it began: no later than any arrival shows, and within the ms that k6 names, or after it by as much
        as it may take to ready its VUs. False: too early."""
        if self.zero_ns < 0 and self.least_ns >= 0:
            within_ns = NS_PER_MS if self.offsets_ns is None else _READY_NS
            low, high = (self.began_ns, self.began_ns + within_ns) if self.began_ns >= 0 else (0, self.least_ns)
            self.zero_ns = min(max(self.least_ns - _DISPATCH_NS, low), high)
        return self.zero_ns >= 0

    def due_ns(self, index: int) -> int:
        """Return when arrival `index` was due."""
        return self.zero_ns + self._offset_ns(index)

    def _offset_ns(self, index: int) -> int:
        return index * self.period_ns if self.offsets_ns is None else int(self.offsets_ns[index])


@dataclass
class Book:
    """What is out, and what was counted since the start. `vus` is how many k6 may have in flight."""

    writer: RequestWriter
    observation: Observation
    schedule: Schedule | None
    offset_ns: int
    """Monotonic minus wall clock."""
    first_id: int
    """Of the range for requests that were never sent: no VU has number 0."""
    vus: int = 0
    out: dict[int, Exchange] = field(default_factory=dict)
    arrived: dict[int, int] = field(default_factory=dict)
    """Arrivals that have sent nothing yet: number -> index."""
    sent: int = 0
    dropped: int = 0
    errors: int = 0
    last_error: str = ""
    users: int = 0
    lateness_ns: list[int] = field(default_factory=list)
    lags_ns: list[int] = field(default_factory=list)
    _held: list[dict[str, Any]] = field(default_factory=list)
    """Rows of arrivals from before it was known when k6 began."""
    _begun: int = 0
    _skipped: int = 0
    """Arrivals that k6 had no VU for: it does not number them."""
    _texts: set[str] = field(default_factory=set)

    # --- what k6 tells (`k6_samples`)

    def arrival(self, number: int, t_ns: int, start_ms: float | None) -> None:
        """An iteration of the open loop began."""
        assert self.schedule is not None  # noqa: S101 - only open loops have arrivals
        if (index := number + self._skipped) >= self.schedule.count:  # as k6 rounds, there may be one more
            return
        if start_ms is not None:
            self.schedule.began_ns = round(start_ms * NS_PER_MS)
        self.schedule.seen(index, t_ns)
        self.arrived[number] = index
        self._begun = max(self._begun, number + 1)

    def drop(self, t_ns: int) -> None:
        """An arrival found no VU free."""
        if self.schedule is None or (index := self._begun + self._skipped) >= self.schedule.count:
            return
        self._skipped += 1
        self.schedule.seen(index, t_ns)
        self._never_sent(index, f"{self.vus} requests in flight")

    def silent(self, number: int) -> None:
        """An iteration ended without a request."""
        if (index := self.arrived.pop(number, -1)) >= 0:
            self._never_sent(index, SILENT)

    def begin(self, request_id: int, t_ns: int, words: dict[str, Any]) -> None:
        """A request is about to be sent."""
        number = int(words.get("arrival", -1))
        self.out[request_id] = Exchange(t_ns, words, number, self.arrived.pop(number, -1))
        self.sent += 1

    def body_read(self, request_id: int, t_ns: int) -> None:
        """The last byte of an answer (with redirects: of one of them) was read, or k6 gave up."""
        if (exchange := self.out.get(request_id)) is not None:
            exchange.end_ns = t_ns

    def end(self, request_id: int, t_ns: int, said: dict[str, Any]) -> None:
        """A request is over."""
        exchange = self.out.pop(request_id, None)
        if exchange is None:
            return
        if exchange.end_ns < 0:  # it never got as far as a connection
            exchange.end_ns = t_ns
        body, headers = str(said["body"]).encode("utf-8", "replace"), said["headers"] or {}
        lower = {key.lower(): value for key, value in headers.items()}
        status, reading = int(said["status"]), _UNSEEN
        if status > 0:
            streamed = is_stream(lower.get("content-type", ""))
            reading = self.observation.read(Answer(status, lower, body, streamed=streamed))
        broke = explain(int(said["code"]), said["error"])
        outcome, error = broke or (reading.outcome, reading.error)
        receiving_ns = round(said.get("receiving", 0) * NS_PER_MS)
        # The length an answer names is what came (compressed, if it was) where its body came whole: to HEAD comes none,
        # and of one that was cut k6 shows nothing.
        length = lower.get("content-length", "") if body and not broke else ""
        self._row(
            exchange, request_id, outcome, error, reading,
            first_byte_ns=exchange.end_ns - receiving_ns if status > 0 else UNKNOWN,
            status=status or UNKNOWN,
            bytes_in=int(length) if length.isdigit() else int(said.get("cut", 0)) or len(body),
            bytes_out=int(said.get("sent", 0)),
        )  # fmt: skip

    def failed(self, text: str) -> None:
        """The workload's own code raised."""
        self.errors += 1
        self.last_error = text[:300]

    # --- ours

    @property
    def quiet(self) -> bool:
        """Whether nothing is out and nothing is about to be."""
        return not self.out and not self.arrived

    def settle(self) -> None:
        """Write what was waiting to be told when k6 began."""
        if self._held and self.schedule is not None and self.schedule.settle():
            held, self._held = self._held, []
            for row in held:
                self._add(row)

    def close(self) -> int:
        """Write what is still out as lost, what was never sent as dropped; return how many were lost."""
        lost = len(self.out)
        for request_id, exchange in self.out.items():
            exchange.end_ns = UNKNOWN
            self._row(exchange, request_id, Outcome.LOST, "", _UNSEEN)
        self.out.clear()
        for index in self.arrived.values():
            self._never_sent(index, STOPPED)
        self.arrived.clear()
        self.settle()
        return lost

    def _never_sent(self, index: int, why: str) -> None:
        exchange = Exchange(UNKNOWN, {}, index=index)
        self._row(exchange, self.first_id + self.dropped, Outcome.DROPPED, why, _UNSEEN)
        self.dropped += 1

    def _row(  # noqa: PLR0913 - a row has many columns
        self, exchange: Exchange, request_id: int, outcome: Outcome, error: str, reading: Reading, *,
        first_byte_ns: int = UNKNOWN, status: int = UNKNOWN, bytes_in: int = 0, bytes_out: int = 0,
    ) -> None:  # fmt: skip
        words = exchange.words
        row = {
            "index": exchange.index,
            "start_ns": exchange.start_ns,
            "first_byte_ns": first_byte_ns,
            "end_ns": exchange.end_ns,
            "name": str(words.get("name", "")),
            "team": str(words.get("team", "")),
            "agent": str(words.get("agent", "")),
            "tenant": str(words.get("tenant", "")),
            "request_id": request_id,
            "outcome": outcome.value,
            "status": status,
            "error": self._bounded(error) if error else "",
            "provider": reading.provider,
            "cached": reading.cached,
            "cache_lookups": reading.cache_lookups,
            "cache_hits": reading.cache_hits,
            "tokens_in": reading.tokens_in,
            "tokens_out": reading.tokens_out,
            "bytes_in": min(bytes_in, MOST_BYTES),
            "bytes_out": min(bytes_out, MOST_BYTES),
        }
        if exchange.index >= 0 and self.schedule is not None and self.schedule.zero_ns < 0:
            self._held.append(row)
        else:
            self._add(row)

    def _add(self, row: dict[str, Any]) -> None:
        index, start_ns = row.pop("index"), row["start_ns"]
        due_ns = start_ns
        if index >= 0 and self.schedule is not None:
            due_ns = self.schedule.due_ns(index)
            if start_ns >= 0:  # k6's period is cut to whole ns: over an hour it may be some us early
                due_ns = min(due_ns, start_ns)
                self.lateness_ns.append(start_ns - due_ns)
        for column in ("start_ns", "first_byte_ns", "end_ns"):
            row[column] += self.offset_ns if row[column] >= 0 else 0
        self.writer.add(due_ns=due_ns + self.offset_ns, **row)

    def _bounded(self, text: str) -> str:
        """Keep the number of distinct texts finite, whatever ids systems put into their errors."""
        text = text[:_MAX_TEXT]
        if text not in self._texts:
            if len(self._texts) >= _MAX_TEXTS:
                return "another error (too many different texts)"
            self._texts.add(text)
        return text
