"""Requests from disk, block by block in due order: a recording of any size in the memory of a few row groups."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.analysis.frame import ALWAYS, Array, Frame, Kinds, unheard
from harness.model.request import UNKNOWN
from harness.recording import ordered
from harness.recording.columns import of_types, taken, values
from harness.recording.layout import CANARY, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from harness.analysis.timeline import Span
    from harness.recording.reader import Recording

BLOCK = 1 << 18
"""Rows that are looked at together: a row group, as a rule. With less, threads wait for the interpreter too often."""
_MOMENTS = ("due_ns", "start_ns", "end_ns")
"""What is always read."""
_OF_STREAMS = ("first_token_ns", "last_token_ns", "stream_tokens", "tokens_out", "request_id")
PART, MOST_PARTS = 1 << 18, 8
"""Rows of a part that is worth a thread of its own, and how many of these there are at most."""
ALWAYS_BEFORE = -(2**62)
AHEAD = 2
"""Row groups that are decoded while one is looked at."""
HELD_ROWS, HELD_BYTES = 10_000_000, 200 << 20
"""Recordings of up to so many rows may stay decoded, as far as that fits: they are gone through three times, and
decoding is much of what that costs. In longer ones the memory is needed for other things."""
MOST_THREADS = 4
"""Each keeps some memory of its own."""


@dataclass(frozen=True)
class _Group:
    """A row group of one file."""

    file: int
    number: int
    rows: int
    first_ns: int
    """First and last due time."""
    until_ns: int
    last_ns: int
    """No row tells of a later moment."""
    unended: int
    """Requests that were sent and never over."""
    punctual: bool
    """Whether each started when it was due."""


class Scan:
    """The rows of finished tables (`recording.ordered`), as often as one likes to go through them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._local = threading.local()
        self._held: dict[_Group, dict[str, Array]] = {}
        """The columns of row groups that stay decoded (`hold`)."""
        self._room = 0
        """How many bytes more may."""
        self._holding = threading.Lock()
        self.threads = ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="scan")
        """Decode row groups ahead, and do what `orders` and others hand them. One set for all: what a thread freed
        serves the next task."""
        self._files: list[pq.FileMetaData] = []
        """Read once: of a long recording they are 10 MiB, and each thread has readers of its own."""
        self._columns: list[set[str]] = []
        self._groups: list[_Group] = []
        tables = []
        for number, path in enumerate(paths):
            meta = pq.read_metadata(path)
            self._files.append(meta)
            self._columns.append(set(meta.schema.names))
            spans = json.loads((meta.metadata or {})[ordered.SPANS])
            rows = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
            self._groups += [_Group(number, i, n, *span) for i, (n, span) in enumerate(zip(rows, spans, strict=True))]
            tables.append(of_types(ordered.kinds_of(meta).select(_ASKED), _ASKED_SCHEMA))
        self._groups.sort(key=lambda g: g.first_ns)
        self.kinds, self._kind_of = _together(tables)
        self._same_kinds = [bool((new == np.arange(len(new))).all()) for new in self._kind_of]
        self.rows = sum(group.rows for group in self._groups)
        self.first_due = min((g.first_ns for g in self._groups), default=None)
        self.last_due = max((g.until_ns for g in self._groups), default=None)
        self.last_ns = max((g.last_ns for g in self._groups), default=0)
        """The last moment that any row tells of: lost requests had not been answered by then."""
        self.punctual = all(group.punctual for group in self._groups)
        """Whether every request started when it was due, as closed loops have it."""

    def hold(self) -> None:
        """Let what every pass reads stay decoded, up to `release`, as far as there is room."""
        self._room = HELD_BYTES if self.rows <= HELD_ROWS else 0

    def release(self) -> None:
        """Let go of it."""
        self._held, self._room = {}, 0

    def blocks(
        self,
        begin: int | None = None,
        end: int | None = None,
        *,
        own: Sequence[str] = (),
        alive_at: int | None = None,
        ahead: bool = True,
    ) -> Iterator[Frame]:
        """Yield the requests due in begin..end (ns), in due order, at most `BLOCK` at a time.

        `own` names further columns of `ordered.OWN`, or moments. With `alive_at` row groups over before that
        moment are left out. With `ahead` the next row groups are decoded meanwhile.
        """
        chosen = [
            g for g in self._groups
            if (end is None or g.first_ns < end) and (begin is None or g.until_ns >= begin)
            and (alive_at is None or g.last_ns >= alive_at or g.unended > 0)
        ]  # fmt: skip
        for frame in self._in_order(chosen, own, ahead=ahead):
            low, high = (
                0 if begin is None else int(np.searchsorted(frame.due, begin)),
                len(frame) if end is None else int(np.searchsorted(frame.due, end)),
            )
            for at in range(low, high, BLOCK):
                yield frame if high - low == len(frame) <= BLOCK else frame.take(slice(at, min(at + BLOCK, high)))

    def parts(self) -> list[Span]:
        """Return stretches of due time with about as many rows each, which can be looked at independently.

        Their number depends on that of the rows alone, so that every machine finds the same.
        """
        many = min(MOST_PARTS, max(1, self.rows // PART))
        rows = np.cumsum([group.rows for group in self._groups])
        first = np.searchsorted(rows, self.rows * np.arange(1, many) / many)
        cuts = sorted({self._groups[i].first_ns for i in first})
        return list(pairwise([ALWAYS_BEFORE, *cuts, ALWAYS[1]]))

    def whole(self, begin: int | None = None, end: int | None = None, *, own: Sequence[str] = ()) -> Frame:
        """Return the requests due in begin..end as one frame."""
        return joined(list(self.blocks(begin, end, own=own)), self.kinds, self.last_ns, own)

    def some(self, most: int, *, own: Sequence[str] = ()) -> Iterator[Frame]:
        """Yield the rows of at most so many row groups, evenly spread."""
        at: Array | list[int] = (
            np.unique(np.linspace(0, max(0, len(self._groups) - 1), most).astype(int)) if self._groups else []
        )
        yield from self._decoded([self._groups[i] for i in at], own)

    def last_end(self, before: int, outcomes: Sequence[str]) -> int | None:
        """Return when the last request with one of the outcomes ended before a moment; None if none did."""
        found: int | None = None
        for group in sorted(self._groups, key=lambda g: g.last_ns, reverse=True):
            if group.first_ns >= before:
                continue
            if found is not None and found >= min(group.last_ns, before - 1):
                break
            frame = self._decode(group, ())
            ends = frame.end[frame.ended_as(outcomes) & (frame.end >= 0) & (frame.end < before)]
            found = max(int(ends.max()), found or 0) if len(ends) else found
        return found

    def holding(self, ids: Array) -> Frame:
        """Return the requests with one of the ids (sorted, distinct), in due order."""
        own = ("request_id",)
        groups = [g for g in self._groups if _some_within(ids, *self._range(g, "request_id"))]
        found = list(self.threads.map(lambda group: _with_ids(self._decode(group, own), ids), groups))
        whole = joined(found, self.kinds, self.last_ns, own)
        found.clear()
        if len(whole) and (whole.due[1:] < whole.due[:-1]).any():
            whole = whole.take(np.argsort(whole.due, kind="stable"))
        return whole

    def streams(self) -> Frame:
        """Return the requests that were streams, and those that waited for one in vain (`unheard`), in due order. They
        are held in memory, whatever their number."""
        if all(self._range(g, "stream_tokens")[1] == UNKNOWN for g in self._groups):
            return joined([], self.kinds, self.last_ns, _OF_STREAMS)
        every = np.ones(len(self.kinds), np.int64)
        silent = unheard(self.kinds, every, every)  # whatever their names turn out to be of
        sent, streams = np.zeros((2, len(self.kinds)), np.int64)
        found: list[Frame] = []
        for frame in self._in_order(self._groups, _OF_STREAMS):
            streamed = frame.numbers("stream_tokens") != UNKNOWN
            sent += np.bincount(frame.kind, minlength=len(sent))
            streams += np.bincount(frame.kind[streamed], minlength=len(sent))
            rows = np.flatnonzero(streamed | silent.take(frame.kind))
            found += [frame.take(rows)] if len(rows) else []
        whole = joined(found, self.kinds, self.last_ns, _OF_STREAMS)
        found.clear()
        waited = unheard(self.kinds, sent, streams).take(whole.kind)
        return whole.take(np.flatnonzero((whole.numbers("stream_tokens") != UNKNOWN) | waited))

    def _range(self, group: _Group, name: str) -> tuple[int, int]:
        """Return between what a column of numbers lies in a row group."""
        columns = self._files[group.file].row_group(group.number)
        for column in map(columns.column, range(columns.num_columns)):
            if column.path_in_schema == name:
                said = column.statistics
                return (said.min, said.max) if said is not None and said.has_min_max else (-(2**63), 2**63 - 1)
        return UNKNOWN, UNKNOWN

    def _in_order(self, groups: list[_Group], own: Sequence[str], *, ahead: bool = True) -> Iterator[Frame]:
        """Yield all rows in due order: those that no row group still to come can precede."""
        waiting: Frame | None = None
        for number, decoded in enumerate(self._decoded(groups, own, ahead=ahead)):
            frame = decoded
            if waiting is not None and len(waiting):
                frame = joined([waiting, frame], self.kinds, self.last_ns, own)
                frame = frame.take(np.argsort(frame.due, kind="stable"))
            upcoming = groups[number + 1].first_ns if number + 1 < len(groups) else None
            cut = len(frame) if upcoming is None else int(np.searchsorted(frame.due, upcoming))
            if cut:
                yield frame if cut == len(frame) else frame.take(slice(cut))
            waiting = frame.take(slice(cut, None)) if cut < len(frame) else None

    def _decoded(self, groups: list[_Group], own: Sequence[str], *, ahead: bool = True) -> Iterator[Frame]:
        """Yield row groups; with `ahead` the next ones are decoded by other threads meanwhile."""
        if len(groups) <= 1 or not ahead:
            yield from (self._decode(group, own) for group in groups)
            return
        coming: deque[Future[Frame]] = deque()
        for group in groups:
            coming.append(self.threads.submit(self._decode, group, own))
            if len(coming) > AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()

    def _decode(self, group: _Group, own: Sequence[str]) -> Frame:
        names = [n for n in (ordered.KIND, *_MOMENTS, *own) if n != "start_ns" or not group.punctual]
        columns = self._held.get(group, {})
        missing = [name for name in dict.fromkeys(names) if name not in columns]
        if missing:
            columns = columns | self._read(group, missing)
            self._hold(group, columns)
        if group.punctual:
            columns = columns | {"start_ns": columns["due_ns"]}
        asked = {name: columns[name] for name in (*_MOMENTS, *own)}
        return Frame(self.kinds, columns[ordered.KIND].astype(np.intp, copy=False), asked, self.last_ns)

    def _hold(self, group: _Group, columns: dict[str, Array]) -> None:
        """Keep what every pass reads, if there is room."""
        always = {name: column for name, column in columns.items() if name in (ordered.KIND, *_MOMENTS)}
        size = sum(column.nbytes for column in always.values())
        with self._holding:
            if group not in self._held and size <= self._room:
                self._room -= size
                self._held[group] = always

    def _read(self, group: _Group, names: list[str]) -> dict[str, Array]:
        file = self._reader(group.file)
        there = [name for name in names if name in self._columns[group.file]]
        table = file.read_row_group(group.number, columns=there, use_threads=False)
        # What a version did not write yet was known of no row.
        columns = {n: values(table.column(n)) if n in there else np.full(len(table), UNKNOWN) for n in names}
        if (kind := columns.get(ordered.KIND)) is not None:
            kind = kind if self._same_kinds[group.file] else self._kind_of[group.file].take(kind)
            # Indices of numpy's own type (others cost 3 % of 10^6), but where many are held: those are half as large.
            columns[ordered.KIND] = kind if PART * MOST_PARTS < self.rows <= HELD_ROWS else kind.astype(np.intp)
        return columns

    def _reader(self, file: int) -> pq.ParquetFile:
        files = self._local.__dict__.setdefault("files", {})
        if file not in files:
            files[file] = pq.ParquetFile(self._paths[file], metadata=self._files[file])
        return files[file]


def _with_ids(frame: Frame, ids: Array) -> Frame:
    """Return those of some requests that have one of the ids (sorted, distinct)."""
    request_id = frame.numbers("request_id")
    low, high = int(request_id.min()), int(request_id.max())
    near = ids[np.searchsorted(ids, low) : np.searchsorted(ids, high, "right")]
    if high - low < 8 * BLOCK:  # ids are given one after the other: a table of all between is small
        known = np.zeros(high - low + 1, bool)
        known[near - low] = True
        held = known.take(request_id - low)
    else:
        held = np.isin(request_id, near)
    return frame.take(np.flatnonzero(held))


def _some_within(ids: Array, low: int, high: int) -> bool:
    return int(np.searchsorted(ids, low)) < int(np.searchsorted(ids, high, "right"))


_ASKED = [name for name in ordered.SHARED if name != "worker"]
"""What findings and thresholds ask of a kind."""
_ASKED_SCHEMA = pa.schema([ordered.KIND_SCHEMA.field(name) for name in _ASKED])


def _together(tables: list[pa.Table]) -> tuple[Kinds, list[Array]]:
    """Return the kinds of several tables, numbered anew, and the new number of each old one."""
    if not tables:
        return Kinds(_ASKED_SCHEMA.empty_table()), []
    whole = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    if not len(whole):
        return Kinds(_ASKED_SCHEMA.empty_table()), [np.zeros(0, np.int32) for _ in tables]
    first, which = ordered.distinct([values(column) for column in whole.columns])
    ends = np.cumsum([len(table) for table in tables])[:-1]
    return Kinds(taken(whole, first)), np.split(which.astype(np.int32), ends)


def scans(recording: Recording) -> tuple[Scan, Scan]:
    """Return the load and the canary of a recording, which tell of its last moment."""
    load, canary = Scan(recording.ordered(REQUESTS)), Scan(recording.ordered(CANARY))
    last_ns = max([load.last_ns, canary.last_ns, *(event.t_ns for event in recording.events)])
    load.last_ns = canary.last_ns = last_ns
    return load, canary


def joined(frames: list[Frame], kinds: Kinds, last_ns: int, own: Sequence[str] = ()) -> Frame:
    """Return frames of the same kinds as one."""
    names = [*_MOMENTS, *(name for name in own if name not in _MOMENTS)]
    none = np.zeros(0, np.int64)
    columns = {name: np.concatenate([none, *(f.numbers(name) for f in frames)]) for name in names}
    return Frame(kinds, np.concatenate([none, *(f.kind for f in frames)]), columns, last_ns)
