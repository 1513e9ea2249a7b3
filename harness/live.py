"""The last seconds of a running load, for the live view and the abort conditions."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from harness.clock import NS_PER_MS, NS_PER_S
from harness.recording.layout import REQUEST_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable


class Recent:
    """Batches of requests that ended within the last `keep_s` seconds. May be read in any thread."""

    def __init__(self, keep_s: float) -> None:
        self._keep_ns = int(keep_s * NS_PER_S)
        self._lock = threading.Lock()
        self._batches: deque[tuple[int, pa.RecordBatch]] = deque()

    def add(self, now: int, batches: Iterable[pa.RecordBatch]) -> None:
        """Take new batches in and let those go that are too old."""
        with self._lock:
            self._batches.extend((now, batch) for batch in batches)
            while self._batches and self._batches[0][0] < now - self._keep_ns:
                self._batches.popleft()

    def table(self, now: int, window_s: float) -> pa.Table:
        """Return the requests that were over within the last `window_s` seconds (`layout.REQUEST_SCHEMA`).

        By their end, not their due time: a time-out of 60 s must be seen by a window of 30 s.
        """
        since = now - int(window_s * NS_PER_S)
        with self._lock:
            batches = [batch for seen, batch in self._batches if seen >= since]
        table = pa.Table.from_batches(batches, REQUEST_SCHEMA).unify_dictionaries()
        due, end = table.column("due_ns").to_numpy(), table.column("end_ns").to_numpy()
        return table.filter(pa.array(np.where(end >= 0, end, due) >= since))


def percentiles_ms(table: pa.Table) -> tuple[float, float, float] | None:
    """Return p50, p95, p99 of the response time in ms, or None without answers."""
    due, end = table.column("due_ns").to_numpy(), table.column("end_ns").to_numpy()
    answered = end >= 0
    if not answered.any():
        return None
    p50, p95, p99 = np.percentile((end - due)[answered], (50, 95, 99)) / NS_PER_MS
    return float(p50), float(p95), float(p99)


def counts(table: pa.Table | pa.RecordBatch, column: str) -> dict[str, int]:
    """Return how often each word of a dictionary column occurs."""
    return {row["values"]: row["counts"] for row in table.column(column).value_counts().to_pylist()}
