"""The request table as numpy columns, and the masks that thresholds and groups are cut with.

A request belongs to the moment it was **due**: its phase, the measured part and a fault's stretch all go by `due`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from harness.analysis.stats import Times
from harness.model.experiment import names_of
from harness.model.request import ANSWERED, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.analysis.timeline import Span, Timeline

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Words:
    """A column of strings: the code of each row, and the word of each code."""

    codes: Array
    words: tuple[str, ...]

    def among(self, wanted: Iterable[str]) -> Array:
        """Tell which rows hold one of the `wanted` words."""
        wanted = {str(word) for word in wanted}
        chosen = np.array([word in wanted for word in self.words] or [False])
        return chosen[self.codes]


def words(table: pa.Table, name: str) -> Words:
    """Return a column of strings of a table."""
    chunks = table.column(name)
    if not pa.types.is_dictionary(chunks.type):
        chunks = chunks.dictionary_encode()
    column = chunks.unify_dictionaries().combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # pyarrow keeps a column without chunks as it is
        if column.num_chunks == 0:
            return Words(np.zeros(0, np.int32), ())
        column = column.chunk(0)
    return Words(column.indices.to_numpy(zero_copy_only=False), tuple(column.dictionary.to_pylist()))


def numbers(table: pa.Table, name: str) -> Array:
    """Return a numeric column of a table."""
    column: Array = table.column(name).to_numpy()
    return column


class Frame:
    """Requests as columns. Times are ns; of a request never sent `start` and `end` are -1, of a lost one `end`.

    `last_ns` is the last moment the recording tells of: a lost request had not been answered by then.
    """

    def __init__(self, table: pa.Table, last_ns: int | None = None) -> None:
        self._table = table
        self._numbers: dict[str, Array] = {}
        self._words: dict[str, Words] = {}
        self.due, self.start, self.end = (self.numbers(f"{name}_ns") for name in ("due", "start", "end"))
        self.outcome = self.words("outcome")
        self.lost = self.outcome.among([Outcome.LOST])
        self.dropped = self.outcome.among([Outcome.DROPPED])
        self.answered = self.outcome.among(ANSWERED) & (self.end >= 0)
        self.last_ns = max(last_row(table), last_ns or 0)

    def __len__(self) -> int:
        return len(self.due)

    def words(self, name: str) -> Words:
        """Return a column of strings."""
        if name not in self._words:
            self._words[name] = words(self._table, name)
        return self._words[name]

    def numbers(self, name: str) -> Array:
        """Return a column of numbers; -1 where the answer did not show it."""
        if name not in self._numbers:
            self._numbers[name] = numbers(self._table, name)
        return self._numbers[name]

    @cached_property
    def response(self) -> Array:
        """Response time, end - due, ns. Of a lost request: how long it had been waited for; of a dropped one: -1."""
        end = np.where(self.lost, self.last_ns, self.end)
        return np.where(self.answered | self.lost, end - self.due, -1)

    def times(self, metric: str, mask: Array) -> Times:
        """Return the sample of a time metric over the rows of `mask`, in due order, ns.

        Response times hold timeouts with the time observed and lost requests with the time waited, marked as lower
        bounds; service time and time to first byte are defined for answers only.
        """
        answered = mask & self.answered
        if metric == "response_time":
            return self._in_due_order(self.response, answered | (mask & self.lost))
        if metric == "service_time":
            return self._in_due_order(self.end - self.start, answered)
        first = self.numbers("first_byte_ns")
        return self._in_due_order(first - self.start, answered & (first >= 0))

    def _in_due_order(self, values: Array, mask: Array) -> Times:
        rows = np.flatnonzero(mask)
        due = self.due[rows]
        if len(rows) > 1 and (due[1:] < due[:-1]).any():
            rows = rows[np.argsort(due, kind="stable")]
        return Times(values[rows], self.lost[rows])

    def within(self, spans: Sequence[Span]) -> Array:
        """Tell which requests were due within one of `spans`."""
        inside = np.zeros(len(self), bool)
        for begin, end in spans:
            inside |= (self.due >= begin) & (self.due < end)
        return inside

    def done_within(self, spans: Sequence[Span]) -> Array:
        """Tell which requests were due and over within one of `spans`."""
        inside = np.zeros(len(self), bool)
        for begin, end in spans:
            inside |= (self.due >= begin) & (self.end >= 0) & (self.end < end)
        return inside

    def select(self, tags: Iterable[tuple[str, str]], when: Timeline, experiment: str | None = None) -> Array:
        """Tell which requests match all `tags` of a threshold (`model.threshold.TAGS`).

        Without a `phase` tag only the measured part counts. `fault` (an id or a kind) and `upstream` mean requests
        due while such a fault was on; with `experiment`, only that experiment's faults are meant, by `phase:fault` too.
        """
        tags = list(tags)
        chosen = np.ones(len(self), bool) if any(tag == "phase" for tag, _ in tags) else self.measured(when)
        for tag, value in tags:
            if tag == "phase":
                chosen &= self.within(when.spans(value))
            if tag in ("fault", "upstream") or (experiment is not None and (tag, value) == ("phase", "fault")):
                chosen &= self.within(fault_spans(when, tag, value, experiment))
            elif tag != "phase":
                chosen &= self.words(tag).among([value])
        return chosen

    def measured(self, when: Timeline) -> Array:
        """Tell which requests were due in the measured part."""
        return (self.due >= when.zero_ns) & (self.due < when.end_ns)


def fault_spans(when: Timeline, tag: str, value: str, experiment: str | None = None) -> list[Span]:
    """Return the stretches of the faults that a tag names (every fault, for ``phase:fault``)."""
    return [
        fault.on(when.end_ns)
        for fault in when.faults
        if (experiment is None or fault.experiment == experiment)
        and (tag == "phase" or value in (names_of(fault.fault, fault.kind) if tag == "fault" else (fault.upstream,)))
    ]


def last_row(*tables: pa.Table) -> int:
    """Return the last moment any row of request tables tells of, ns; 0 for empty ones."""
    return max((int(numbers(t, name).max()) for t in tables if len(t) for name in ("due_ns", "end_ns")), default=0)
