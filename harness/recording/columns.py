"""Arrow columns as numpy arrays and back, through their buffers.

Pyarrow's own conversions import pandas when first used: half a second and 60 MiB that nobody has a use for here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from harness.model.request import UNKNOWN
from harness.recording.layout import ADDED

if TYPE_CHECKING:
    from collections.abc import Collection

Array = np.ndarray[Any, np.dtype[Any]]


def values(column: pa.ChunkedArray | pa.Array) -> Array:
    """Return a column of numbers or flags without nulls; of words, their codes (dictionaries unified before)."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_values(chunk) for chunk in chunks if len(chunk)]
    if not parts:
        return np.zeros(0, np.int64)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _values(chunk: pa.Array) -> Array:
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.indices
    if chunk.null_count:
        return np.asarray(chunk.to_numpy(zero_copy_only=False))
    if pa.types.is_boolean(chunk.type):
        bits = np.frombuffer(chunk.buffers()[1], np.uint8)
        return np.unpackbits(bits, bitorder="little")[chunk.offset : chunk.offset + len(chunk)].astype(bool)
    dtype = np.dtype(f"{'f' if pa.types.is_floating(chunk.type) else 'i'}{chunk.type.bit_width // 8}")
    return np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)


def plain(numbers: Array, kind: pa.DataType) -> pa.Array:
    """Return numbers as a column of a type of fixed width."""
    dtype = np.dtype(f"{'f' if pa.types.is_floating(kind) else 'i'}{kind.bit_width // 8}")
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers, dtype))])


def of_types(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table cast to a schema, where it is not of it: for a cast pyarrow imports all its functions, 50 ms."""
    return table if table.schema.equals(schema) else table.cast(schema)


def taken(table: pa.Table, rows: Array) -> pa.Table:
    """Return some rows of a table of numbers and words, in which nothing is null and dictionaries are unified.

    Without pyarrow's `take`, which imports what `of_types` says.
    """
    columns = []
    for column in table.columns:
        codes = values(column)[rows]
        if pa.types.is_dictionary(column.type):
            known = column.chunk(0).dictionary if column.num_chunks else pa.array([], column.type.value_type)
            columns.append(pa.DictionaryArray.from_arrays(plain(codes, column.type.index_type), known))
        else:
            columns.append(plain(codes, column.type))
    return pa.Table.from_arrays(columns, schema=table.schema)


def strings(words: Collection[str]) -> pa.Array:
    """Return words as a column."""
    encoded = [word.encode(errors="replace") for word in words]
    ends = np.cumsum([0, *map(len, encoded)], dtype="<i4")
    return pa.Array.from_buffers(pa.string(), len(encoded), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def in_full(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns that an older recording does not have: what nobody wrote down is not known."""
    for column in schema:
        if column.name in ADDED and column.name not in table.column_names:
            table = table.append_column(column, pa.repeat(pa.scalar(UNKNOWN, column.type), len(table)))
    return table
