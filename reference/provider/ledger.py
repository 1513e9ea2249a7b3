"""The ledger: what this provider received and answered. Ground truth for whoever measures a system.

A row is written once, when its call is final, and gets its `seq` then: a reader that asks for
`after=<last seq it has>` sees every row once and never a row that changes later. Calls that are
still being answered are listed apart, without a `seq`.
"""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["in_flight", "ok", "cancelled", "rejected", "cut", "garbage"]


@dataclass(slots=True)
class Entry:
    """One generation call. Times are `time.monotonic_ns()`; `answered_ns` is None until it is final."""

    received_ns: int
    trace_id: str | None
    span_id: str | None
    tenant: str | None
    agent: str | None
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    stream: bool = False
    status: Status = "in_flight"
    http_status: int = 0
    answered_ns: int | None = None

    def row(self, seq: int | None, upstream: str) -> dict[str, Any]:
        """The entry as it is published."""
        return {
            "seq": seq,
            "upstream": upstream,
            "received_ns": self.received_ns,
            "answered_ns": self.answered_ns,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "tenant": self.tenant,
            "agent": self.agent,
            "model": self.model,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "stream": self.stream,
            "status": self.status,
            "http_status": self.http_status,
        }


class Ledger:
    """Rows in memory, the oldest dropped beyond `capacity`."""

    def __init__(self, upstream: str, capacity: int) -> None:
        self._upstream = upstream
        self._capacity = capacity
        # Final rows are kept as encoded JSON: a third of the memory of objects, and free to publish.
        self._rows: dict[int, bytes] = {}
        self._first_seq = 1
        self._next_seq = 1
        self._in_flight: dict[int, Entry] = {}

    def open(self, entry: Entry) -> None:
        """A call has arrived."""
        self._in_flight[id(entry)] = entry

    def close(self, entry: Entry, status: Status) -> None:
        """A call is final. `cancelled` keeps `answered_ns` empty: it never was answered."""
        del self._in_flight[id(entry)]
        entry.status = status
        if status != "cancelled":
            entry.answered_ns = time.monotonic_ns()
        row = entry.row(self._next_seq, self._upstream)
        self._rows[self._next_seq] = json.dumps(row, separators=(",", ":")).encode()
        self._next_seq += 1
        if len(self._rows) > self._capacity:
            del self._rows[self._first_seq]
            self._first_seq += 1

    def page(self, after: int, limit: int) -> bytes:
        """JSON of up to `limit` final rows with `seq > after`, and of all calls in flight.

        `first_seq` is the oldest row still held (a larger one than `after + 1` means rows were
        dropped), `next_seq` the number the next final row will get.
        """
        start = max(after + 1, self._first_seq)
        numbers = itertools.islice(range(start, self._next_seq), limit)
        rows = b",".join(self._rows[number] for number in numbers)
        head = {
            "upstream": self._upstream,
            "clock_ns": time.monotonic_ns(),
            "first_seq": self._first_seq,
            "next_seq": self._next_seq,
            "in_flight": [entry.row(None, self._upstream) for entry in self._in_flight.values()],
        }
        return json.dumps(head).encode()[:-1] + b', "rows": [' + rows + b"]}"
