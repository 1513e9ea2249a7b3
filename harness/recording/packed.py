"""How a finished request table is stored: few bytes a row, and few columns to read back.

    requests/<worker>.parquet         kind, due_ns, what each later moment came after the one before it, counts
    requests/kinds/<worker>.parquet   kind -> name team agent tenant outcome provider status ...

Raw times are most of what there is to store: nothing is rounded, but a moment told as its distance from the one before
it needs half the bits, and words that occur together again and again are one number. Rows lie in due order, in row
groups of `GROUP_ROWS`; one that ended very late may stand in a later group. A Parquet file with a column ``kind`` is
stored so; without one it has the columns of `layout.REQUEST_SCHEMA` themselves, as versions before 0.2 wrote them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.model.request import UNKNOWN
from harness.recording import layout
from harness.recording.columns import in_full, plain, strings, values

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    Array = np.ndarray[Any, np.dtype[Any]]

GROUP_ROWS = 1 << 18
KIND, DUE = "kind", "due_ns"
MOMENTS = tuple(f.name for f in layout.REQUEST_SCHEMA if f.name.endswith("_ns") and f.name != DUE)
"""Moments after the due time, in the order in which they are told."""
MISSING = -(2**63)
"""Stored for a moment that never came (-1)."""
_SHARED_NUMBERS = ("status", "cached", "cache_lookups", "cache_hits")
SHARED = tuple(f.name for f in layout.REQUEST_SCHEMA if pa.types.is_dictionary(f.type) or f.name in _SHARED_NUMBERS)
"""Columns that requests of one kind share."""
OWN = tuple(f.name for f in layout.REQUEST_SCHEMA if f.name not in (DUE, *MOMENTS, *SHARED))
"""Columns that every row has a value of its own of."""
SPANS = b"agentstorm.spans"
"""Key of the file's metadata: [first due, last due, last moment, requests sent and never over] of every row group."""

ROW_SCHEMA = pa.schema(
    [
        (KIND, pa.int32()),
        (DUE, pa.int64()),
        *((f"{name.removesuffix('_ns')}_after_ns", pa.int64()) for name in MOMENTS),
        *(layout.REQUEST_SCHEMA.field(name) for name in OWN),
    ]
)
KIND_SCHEMA = pa.schema([layout.REQUEST_SCHEMA.field(name) for name in SHARED])


def after(name: str) -> str:
    """Return the stored column of a moment: ns after the latest moment before it that came."""
    return f"{name.removesuffix('_ns')}_after_ns"


_NOT_WRITTEN = {after(name): MISSING for name in MOMENTS}


def kinds_path(path: Path) -> Path:
    """Return where the kinds of a table of requests lie."""
    return path.parent / "kinds" / path.name


def is_packed(schema: pa.Schema) -> bool:
    """Tell whether a Parquet file is stored as this module says."""
    return KIND in schema.names


def read(rows: pa.Table, names: Iterable[str]) -> dict[str, Array]:
    """Return stored columns; what a version did not write yet was known of no row."""
    there = set(rows.column_names)
    return {
        name: values(rows.column(name)) if name in there else np.full(len(rows), _NOT_WRITTEN.get(name, UNKNOWN))
        for name in names
    }


def moments(due: Array, stored: dict[str, Array]) -> dict[str, Array]:
    """Return the moments themselves from due times and what is stored (every column up to the last one wanted)."""
    base, found = due, {}
    for name in MOMENTS:
        if after(name) not in stored:
            break
        distance = stored[after(name)]
        missing = distance == MISSING
        if missing.any():
            found[name] = np.where(missing, -1, base + distance)
            base = np.where(missing, base, found[name])
        else:
            base = found[name] = base + distance
    return found


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


def pack(table: pa.Table, kinds: Kinds) -> pa.Table:
    """Return a table of requests (`layout.REQUEST_SCHEMA`) as it is stored, in the same order."""
    base = values(table.column(DUE))
    columns = [plain(kinds.of(table), pa.int32()), table.column(DUE)]
    for name in MOMENTS:
        moment = values(table.column(name))
        missing = moment == -1
        columns.append(plain(np.where(missing, MISSING, moment - base), pa.int64()))
        base = np.where(missing, base, moment)
    return pa.Table.from_arrays([*columns, *(table.column(name) for name in OWN)], schema=ROW_SCHEMA)


def unpack(rows: pa.Table, kinds: pa.Table) -> pa.Table:
    """Return stored rows as requests (`layout.REQUEST_SCHEMA`)."""
    due = values(rows.column(DUE))
    found = moments(due, read(rows, map(after, MOMENTS)))
    shared = kinds.unify_dictionaries().take(rows.column(KIND))
    columns = {DUE: due, **found, **read(rows, OWN)}
    return pa.Table.from_arrays(
        [plain(columns[f.name], f.type) if f.name in columns else shared.column(f.name) for f in layout.REQUEST_SCHEMA],
        schema=layout.REQUEST_SCHEMA,
    )


# Of a number's bytes the low ones are random and the high ones empty, which streams of bytes tell apart; what grows is
# best told as differences.
_GROWING = (DUE, "request_id")
_ENCODINGS = {
    f.name: "DELTA_BINARY_PACKED" if f.name in _GROWING else "BYTE_STREAM_SPLIT"
    for f in ROW_SCHEMA
    if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)
}


class PackedWriter:
    """Writes requests in due order as far as a buffer of two row groups can bring them into it."""

    def __init__(self, path: Path) -> None:
        self._path, self._kinds = path, Kinds()
        self._rows: list[pa.Table] = []
        self._spans: list[tuple[int, int, int, int]] = []
        self._writer = pq.ParquetWriter(
            path, ROW_SCHEMA, compression="zstd", column_encoding=_ENCODINGS,
            use_dictionary=[f.name for f in ROW_SCHEMA if f.name not in _ENCODINGS],
        )  # fmt: skip

    def add(self, table: pa.Table) -> None:
        """Append requests (`layout.REQUEST_SCHEMA`)."""
        self._rows.append(pack(in_full(table, layout.REQUEST_SCHEMA), self._kinds))
        if sum(map(len, self._rows)) >= 2 * GROUP_ROWS:
            self._write(GROUP_ROWS)

    def _write(self, most: int) -> None:
        rows = pa.concat_tables(self._rows).combine_chunks()
        rows = rows.take(plain(np.argsort(values(rows.column(DUE)), kind="stable"), pa.int64()))
        group, self._rows = rows.slice(0, most), [rows.slice(most)]
        due = values(group.column(DUE))
        found = moments(due, read(group, map(after, MOMENTS)))
        last = max(int(moment.max()) for moment in (due, *found.values()))
        unended = int(((found["start_ns"] >= 0) & (found["end_ns"] < 0)).sum())
        self._spans.append((int(due[0]), int(due[-1]), last, unended))
        self._writer.write_table(group, row_group_size=most)

    def close(self) -> pa.Table:
        """Write what is left and return the kinds."""
        while self._rows and sum(map(len, self._rows)):
            self._write(GROUP_ROWS)
        self._writer.add_key_value_metadata({SPANS.decode(): json.dumps(self._spans)})
        self._writer.close()
        return self._kinds.table()


def write(path: Path, batches: Iterable[pa.Table]) -> pa.Table:
    """Store requests, in bounded memory, at `path`; return their kinds, which the caller puts beside."""
    writer = PackedWriter(path)
    for batch in batches:
        writer.add(batch)
    return writer.close()
