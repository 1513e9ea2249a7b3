"""How a finished table of requests is stored: the contract's columns in due order, and what requests have in common.

    requests/<worker>.parquet   `layout.REQUEST_SCHEMA`, and `kind`: the number of the combination of words and small
                                numbers that the row shares with others (its agent, tenant, outcome, provider ...)

Whoever scans reads `kind` and the moments wanted, instead of ten columns of words. What each kind is stands in the
file's metadata, beside the span of every row group. Rows lie in due order, in row groups of `GROUP_ROWS`; one that
ended very late may stand in a later group. Any Parquet reader finds the contract's columns and nothing rounded.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.recording import layout
from harness.recording.columns import in_full, plain, strings, values

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    Array = np.ndarray[Any, np.dtype[Any]]

GROUP_ROWS = 1 << 18
KIND, DUE = "kind", "due_ns"
MOMENTS = tuple(f.name for f in layout.REQUEST_SCHEMA if f.name.endswith("_ns"))
_SHARED_NUMBERS = ("status", "cached", "cache_lookups", "cache_hits")
SHARED = tuple(f.name for f in layout.REQUEST_SCHEMA if pa.types.is_dictionary(f.type) or f.name in _SHARED_NUMBERS)
"""Columns that requests of one kind share."""
OWN = tuple(f.name for f in layout.REQUEST_SCHEMA if f.name not in (*MOMENTS, *SHARED))
"""Columns that every row has a value of its own of, moments apart."""
SPANS, KINDS = b"agentstorm.spans", b"agentstorm.kinds"
"""Keys of the file's metadata: of every row group [first due, last due, last moment, requests sent and never over,
whether each started when it was due]; and what each kind is (`KIND_SCHEMA`, an Arrow stream in base 64)."""

ROW_SCHEMA = pa.schema(field.with_nullable(False) for field in (*layout.REQUEST_SCHEMA, pa.field(KIND, pa.int32())))
"""Nothing is ever null: a file that says so is decoded in half the time, because it need not tell where nulls are."""
KIND_SCHEMA = pa.schema([layout.REQUEST_SCHEMA.field(name) for name in SHARED])


def is_ordered(metadata: pq.FileMetaData) -> bool:
    """Tell whether a Parquet file is stored as this module says."""
    return {SPANS, KINDS} <= set(metadata.metadata or {})


def kinds_of(metadata: pq.FileMetaData) -> pa.Table:
    """Return what each kind of a file is, by number (`KIND_SCHEMA`; an older version's may lack columns)."""
    return pa.ipc.open_stream(base64.b64decode(metadata.metadata[KINDS])).read_all()


def _told(kinds: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, kinds.schema) as stream:
        stream.write_table(kinds)
    return base64.b64encode(sink.getvalue()).decode()


class Kinds:
    """The combinations of words and small numbers that occur, numbered as they come."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, ...], int] = {}
        self._words: dict[str, dict[str, int]] = {f.name: {} for f in KIND_SCHEMA if pa.types.is_dictionary(f.type)}

    def __len__(self) -> int:
        return len(self._numbers)

    def of(self, table: pa.Table) -> Array:
        """Return the kind of every row of a table of requests."""
        columns = [self._codes(table, name) for name in SHARED]
        first, which = distinct(columns)
        rows = np.column_stack([column[first] for column in columns]).tolist() if len(first) else []
        numbers = [self._numbers.setdefault(tuple(row), len(self._numbers)) for row in rows]
        return np.array(numbers, np.int32)[which]

    def _codes(self, table: pa.Table, name: str) -> Array:
        if name not in self._words:
            return values(table.column(name))
        column = table.column(name).unify_dictionaries()
        if not column.num_chunks or not len(column):
            return np.zeros(0, np.int64)
        known = self._words[name]
        codes = np.array([known.setdefault(w, len(known)) for w in column.chunk(0).dictionary.to_pylist()] or [0])
        return codes[values(column)]

    def table(self) -> pa.Table:
        """Return what each kind is, by number (`KIND_SCHEMA`)."""
        columns = []
        for field, codes in zip(
            KIND_SCHEMA, np.array(list(self._numbers), np.int64).reshape(-1, len(SHARED)).T, strict=True
        ):
            if field.name in self._words:
                words = strings(self._words[field.name])
                columns.append(pa.DictionaryArray.from_arrays(plain(codes, pa.int32()), words))
            else:
                columns.append(plain(codes, field.type))
        return pa.Table.from_arrays(columns, schema=KIND_SCHEMA)


def distinct(columns: list[Array]) -> tuple[Array, Array]:
    """Return (the first row of every distinct combination, which combination each row has)."""
    which, size = np.zeros(len(columns[0]), np.int64), 1
    for column in columns if len(which) else ():
        low, high = int(column.min()), int(column.max())
        if high - low < 2**31:
            codes, many = column.astype(np.int64) - low, high - low + 1
        else:
            known, codes = np.unique(column, return_inverse=True)
            many = len(known)
        if size * many >= 2**62:  # would not fit: number anew what is there
            known, which = np.unique(which, return_inverse=True)
            size = len(known)
        which, size = which * many + codes, size * many
    if size <= 4 * len(which) + 4096:  # a table of all there might be is smaller than sorting is slow
        seen = np.zeros(size, np.int64)
        seen[which[::-1]] = np.arange(len(which), 0, -1)
        there = np.flatnonzero(seen)
        number = np.zeros(size, np.int64)
        number[there] = np.arange(len(there))
        return seen[there] - 1, number.take(which)
    _, first, which = np.unique(which, return_index=True, return_inverse=True)
    return first, which


# What grows is best told as differences. Of the small numbers the low bytes are random and the high ones empty, which
# streams of bytes tell apart. The nanoseconds of moments are noise: to compress them again saves nothing.
_DELTA = (*MOMENTS, "request_id")
_WORDS = [f.name for f in ROW_SCHEMA if f.name in (*SHARED, KIND)]
_ENCODINGS = {
    f.name: "DELTA_BINARY_PACKED" if f.name in _DELTA else "BYTE_STREAM_SPLIT"
    for f in ROW_SCHEMA
    if f.name not in _WORDS
}
_COMPRESSION = {f.name: "none" if f.name in MOMENTS else "zstd" for f in ROW_SCHEMA}


class OrderedWriter:
    """Writes requests in due order as far as a buffer of two row groups can bring them into it."""

    def __init__(self, path: Path) -> None:
        self._kinds = Kinds()
        self._rows: list[pa.Table] = []
        self._spans: list[tuple[int, int, int, int, bool]] = []
        self._writer = pq.ParquetWriter(
            path, ROW_SCHEMA, compression=_COMPRESSION, column_encoding=_ENCODINGS, use_dictionary=_WORDS
        )

    def add(self, table: pa.Table) -> None:
        """Append requests (`layout.REQUEST_SCHEMA`)."""
        table = in_full(table, layout.REQUEST_SCHEMA)
        columns = [*table.select(layout.REQUEST_SCHEMA.names).columns, plain(self._kinds.of(table), pa.int32())]
        self._rows.append(pa.Table.from_arrays(columns, schema=ROW_SCHEMA))
        if sum(map(len, self._rows)) >= 2 * GROUP_ROWS:
            self._write(GROUP_ROWS)

    def _write(self, most: int) -> None:
        rows = pa.concat_tables(self._rows).unify_dictionaries().combine_chunks()
        rows = rows.take(plain(np.argsort(values(rows.column(DUE)), kind="stable"), pa.int64()))
        group, self._rows = rows.slice(0, most), [rows.slice(most)]
        found = {name: values(group.column(name)) for name in MOMENTS}
        last = max(int(moment.max()) for moment in found.values())
        unended = int(((found["start_ns"] >= 0) & (found["end_ns"] < 0)).sum())
        punctual = bool((found["start_ns"] == found[DUE]).all())
        self._spans.append((int(found[DUE][0]), int(found[DUE][-1]), last, unended, punctual))
        self._writer.write_table(group, row_group_size=most)

    def close(self) -> None:
        """Write what is left, and what the kinds are."""
        while self._rows and sum(map(len, self._rows)):
            self._write(GROUP_ROWS)
        told = {SPANS.decode(): json.dumps(self._spans), KINDS.decode(): _told(self._kinds.table())}
        self._writer.add_key_value_metadata(told)
        self._writer.close()


def write(path: Path, batches: Iterable[pa.Table]) -> None:
    """Store requests, in bounded memory, at `path`."""
    writer = OrderedWriter(path)
    for batch in batches:
        writer.add(batch)
    writer.close()
