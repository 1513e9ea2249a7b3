"""Requests as numpy columns, and the masks that thresholds and groups are cut with.

A request belongs to the moment it was **due**: its phase, the measured part and a fault's stretch all go by `due`.
What requests of one kind share (`recording.ordered`) is looked up by the kind's number, never held per row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from harness.analysis.stats import Times
from harness.model.experiment import names_of
from harness.model.request import ANSWERED, SUCCEEDED, Outcome
from harness.recording import ordered
from harness.recording.columns import values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from harness.analysis.timeline import Span, Timeline

Array = np.ndarray[Any, np.dtype[Any]]
ALWAYS = (0, 2**62)
"""The stretch that everything lies in."""


@dataclass(frozen=True)
class Words:
    """A column of strings: the code of each row, and the word of each code."""

    codes: Array
    words: tuple[str, ...]

    def among(self, wanted: Iterable[str]) -> Array:
        """Tell which rows hold one of the `wanted` words."""
        wanted = {str(word) for word in wanted}
        chosen = np.array([word in wanted for word in self.words] or [False])
        return chosen.take(self.codes)


def within_groups(sizes: Array) -> Array:
    """Return the place of each element in its group, from 0, of groups of these sizes that lie one after the other."""
    places: Array = np.arange(int(sizes.sum())) - np.repeat(sizes.cumsum() - sizes, sizes)
    return places


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
    return Words(values(column), tuple(column.dictionary.to_pylist()))


def numbers(table: pa.Table, name: str) -> Array:
    """Return a numeric column of a table."""
    column: Array = values(table.column(name))
    return column


class Kinds:
    """What requests of each kind share (`ordered.KIND_SCHEMA`): one row a kind."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._words: dict[str, Words] = {}
        self._all_told: dict[str, bool] = {}
        self.lost = self.words("outcome").among([Outcome.LOST])
        self.dropped = self.words("outcome").among([Outcome.DROPPED])
        self.answered = self.words("outcome").among(ANSWERED)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def told(self, metric: str) -> Array:
        """Tell which kinds have a time of this metric (`METRICS`)."""
        if metric == LOWER_BOUNDS:
            return self.answered | self.lost
        return ~self.dropped if metric == "lateness" else self.answered

    def all_told(self, metric: str) -> bool:
        """Tell whether all kinds have one."""
        if metric not in self._all_told:
            self._all_told[metric] = bool(self.told(metric).all())
        return self._all_told[metric]

    def words(self, name: str) -> Words:
        """Return a shared column of strings, by kind."""
        if name not in self._words:
            self._words[name] = words(self._table, name)
        return self._words[name]

    def numbers(self, name: str) -> Array:
        """Return a shared column of numbers, by kind."""
        return numbers(self._table, name)


class Frame:
    """Requests as columns. Times are ns; of a request never sent `start` and `end` are -1, of a lost one `end`.

    `last_ns` is the last moment the recording tells of: a lost request had not been answered by then.
    """

    def __init__(self, kinds: Kinds, kind: Array, columns: Mapping[str, Array], last_ns: int) -> None:
        self.kinds, self.kind, self.last_ns = kinds, kind, last_ns
        self._columns = columns
        self.due, self.start, self.end = (columns[f"{name}_ns"] for name in ("due", "start", "end"))

    @classmethod
    def of(cls, table: pa.Table, last_ns: int | None = None) -> Frame:
        """Return the requests of a table (`layout.REQUEST_SCHEMA`)."""
        found = ordered.Kinds()
        kind = found.of(table)
        columns = {name: numbers(table, name) for name in (*ordered.MOMENTS, *ordered.OWN)}
        return cls(Kinds(found.table()), kind, columns, max(last_row(table), last_ns or 0))

    def __len__(self) -> int:
        return len(self.due)

    def take(self, rows: Array | slice) -> Frame:
        """Return some of the requests: those with the given numbers, or of a slice."""
        if isinstance(rows, slice):
            columns = {name: column[rows] for name, column in self._columns.items()}
            return Frame(self.kinds, self.kind[rows], columns, self.last_ns)
        columns = {name: column.take(rows) for name, column in self._columns.items()}  # twice as fast as [rows]
        return Frame(self.kinds, self.kind.take(rows), columns, self.last_ns)

    def words(self, name: str) -> Words:
        """Return a column of strings."""
        shared = self.kinds.words(name)
        return Words(shared.codes.take(self.kind), shared.words)

    def ended_as(self, outcomes: Iterable[str]) -> Array:
        """Tell which requests have one of the outcomes; told by kind, of which there are few."""
        return self.kinds.words("outcome").among(outcomes).take(self.kind)

    def numbers(self, name: str) -> Array:
        """Return a column of numbers; -1 where the answer did not show it."""
        return self._columns[name] if name in self._columns else self.kinds.numbers(name).take(self.kind)

    @cached_property
    def unended(self) -> bool:
        """Whether some of the requests have no end."""
        return bool(len(self)) and int(self.end.min()) < 0

    @cached_property
    def open(self) -> bool:
        """Whether some of the requests were sent and never over."""
        return self.unended and bool(((self.end < 0) & (self.start >= 0)).any())

    @cached_property
    def last_end(self) -> int:
        """When the last of the requests that came to an end did."""
        return int(self.end.max())

    @cached_property
    def lost(self) -> Array:
        """In flight when the run ended."""
        return self.kinds.lost.take(self.kind)

    @cached_property
    def dropped(self) -> Array:
        """Due and never sent."""
        return self.kinds.dropped.take(self.kind)

    @cached_property
    def answered(self) -> Array:
        """Requests that came to an end, good or bad."""
        answered: Array = self.kinds.answered.take(self.kind)
        return answered & (self.end >= 0) if self.unended else answered

    @cached_property
    def response(self) -> Array:
        """Response time, end - due, ns. Of a lost request: how long it had been waited for; of a dropped one: -1."""
        if not self.unended:
            return self.end - self.due
        end = np.where(self.lost, self.last_ns, self.end)
        return np.where(self.answered | self.lost, end - self.due, -1)

    def told(self, metric: str) -> Array | None:
        """Tell which requests are of a kind that has a time of this metric; None: all."""
        return None if self.kinds.all_told(metric) else _all_or(self.kinds.told(metric).take(self.kind))

    def times(self, metric: str, mask: Array) -> Times:
        """Return the sample of a time metric (`METRICS`) over the rows of `mask`, in due order, ns."""
        times, told = METRICS[metric](self)
        rows = np.flatnonzero(mask if told is None else mask & told)
        due = self.due[rows]
        if len(rows) > 1 and (due[1:] < due[:-1]).any():
            rows = rows[np.argsort(due, kind="stable")]
        marked = self.lost[rows] if metric == LOWER_BOUNDS else np.zeros(len(rows), bool)
        return Times(times[rows], marked)

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
        """Tell which requests match all `tags` of a threshold (`selection`)."""
        chosen = selection(self.kinds, tags, when, experiment)
        return self.within(chosen.spans) & chosen.kinds.take(self.kind)

    def measured(self, when: Timeline) -> Array:
        """Tell which requests were due in the measured part."""
        return self.within([(when.zero_ns, when.end_ns)])


def _response(frame: Frame) -> tuple[Array, Array | None]:
    told = _all_or(frame.answered | frame.lost) if frame.unended else frame.told("response_time")
    return frame.response, told


def _service(frame: Frame) -> tuple[Array, Array | None]:
    return frame.end - frame.start, _all_or(frame.answered) if frame.unended else frame.told("service_time")


def _to_first_byte(frame: Frame) -> tuple[Array, Array | None]:
    first = frame.numbers("first_byte_ns")
    return first - frame.start, _all_or(frame.answered & (first >= 0))


def _lateness(frame: Frame) -> tuple[Array, Array | None]:
    unsent = len(frame) and int(frame.start.min()) < 0
    return frame.start - frame.due, frame.start >= 0 if unsent else None


def _all_or(told: Array) -> Array | None:
    return None if told.all() else told


LOWER_BOUNDS = "response_time"
"""The metric that lost requests have a value of: how long they had been waited for."""
METRICS: Mapping[str, Callable[[Frame], tuple[Array, Array | None]]] = {
    "response_time": _response,
    "service_time": _service,
    "time_to_first_byte": _to_first_byte,
    "lateness": _lateness,
}
"""Metric -> the values of all rows, ns, and which rows have one (None: all).

Response times hold timeouts with the time observed and lost requests with the time waited, marked as lower bounds;
service time and time to first byte are defined for answers only.
"""
NEEDS: Mapping[str, tuple[str, ...]] = {"time_to_first_byte": ("first_byte_ns",)}
"""Metric -> the columns it needs of a scan beside due, start and end."""


@dataclass(frozen=True)
class Selection:
    """Requests of some kinds that were due in some stretches."""

    spans: list[Span]
    kinds: Array

    def narrowed(self, kinds: Array) -> Selection:
        """Return those of them that are of some kinds."""
        return Selection(self.spans, self.kinds & kinds)


def selection(
    kinds: Kinds, tags: Iterable[tuple[str, str]], when: Timeline, experiment: str | None = None
) -> Selection:
    """Return the requests that match all `tags` of a threshold (`model.threshold.TAGS`).

    Without a `phase` tag only the measured part counts. `fault` (an id or a kind) and `upstream` mean requests
    due while such a fault was on; with `experiment`, only that experiment's faults are meant, by `phase:fault` too.
    """
    tags = list(tags)
    tagged = any(tag == "phase" for tag, _ in tags)
    spans: list[Span] = [(0 if tagged else when.zero_ns, ALWAYS[1] if tagged else when.end_ns)]
    chosen = np.ones(len(kinds), bool)
    for tag, value in tags:
        if tag == "phase":
            spans = overlap(spans, when.spans(value))
        if tag in ("fault", "upstream") or (experiment is not None and (tag, value) == ("phase", "fault")):
            spans = overlap(spans, merged(fault_spans(when, tag, value, experiment)))
        elif tag != "phase":
            chosen &= kinds.words(tag).among([value])
    return Selection(spans, chosen)


def unheard(kinds: Kinds, sent: Array, streams: Array) -> Array:
    """Tell which kinds of requests were waits for a stream that never began: no answer came, not even its head, and
    most good answers under the same name were streams.

    `sent` and `streams` count the requests of each kind, and those of them that were seen to be streams.
    """
    outcome, names, status = kinds.words("outcome"), kinds.words("name"), kinds.numbers("status")
    good = outcome.among(SUCCEEDED)
    all_of, streams_of = (np.bincount(names.codes, counts * good, len(names.words)) for counts in (sent, streams))
    silent: Array = outcome.among((Outcome.TIMEOUT, Outcome.LOST)) & (status <= 0)
    return silent & (2 * streams_of > all_of)[names.codes]


def fault_spans(when: Timeline, tag: str, value: str, experiment: str | None = None) -> list[Span]:
    """Return the stretches of the faults that a tag names (every fault, for ``phase:fault``)."""
    return [
        fault.on(when.end_ns)
        for fault in when.faults
        if (experiment is None or fault.experiment == experiment)
        and (tag == "phase" or value in (names_of(fault.fault, fault.kind) if tag == "fault" else (fault.upstream,)))
    ]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return stretches in order, those that meet as one."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def overlap(one: list[Span], other: list[Span]) -> list[Span]:
    """Return what two lists of stretches have in common."""
    cuts = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return [(begin, end) for begin, end in cuts if end > begin]


def last_row(*tables: pa.Table) -> int:
    """Return the last moment any row of request tables tells of, ns; 0 for empty ones."""
    return max((int(numbers(t, name).max()) for t in tables if len(t) for name in ("due_ns", "end_ns")), default=0)
