"""The write path of requests: one `struct.pack_into` a row, one Arrow batch a flush.

The generator is the instrument, so a row must cost next to nothing and a flush must not stall it: rows are packed
into a preallocated buffer, columns are numpy views of it, and words are dictionary codes that Arrow sends as deltas.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa

from harness.recording.layout import REQUEST_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Collection

WORDS = tuple(field.name for field in REQUEST_SCHEMA if pa.types.is_dictionary(field.type))
_FORMATS = {pa.int64(): ("q", "<i8"), pa.int32(): ("i", "<i4")}
_CODES = [_FORMATS.get(field.type, _FORMATS[pa.int32()]) for field in REQUEST_SCHEMA]
_ROW = struct.Struct("<" + "".join(code for code, _ in _CODES))
_DTYPE = np.dtype([(field.name, dtype) for field, (_, dtype) in zip(REQUEST_SCHEMA, _CODES, strict=True)])


# `pa.array` imports pandas the first time it is called: half a second and 50 MiB that a load generator has no use for.
# Arrays made from their buffers do not.
def _numbers(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _strings(words: Collection[str]) -> pa.Array:
    encoded = [word.encode(errors="replace") for word in words]  # a half emoji in an answer must not stop the recording
    ends = np.cumsum([0, *map(len, encoded)], dtype="<i4")
    return pa.Array.from_buffers(pa.string(), len(encoded), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


class Words:
    """A growing dictionary of strings. Codes never change, so Arrow can send what is new as a delta."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._array = _strings(())

    def code(self, word: str) -> int:
        """Return the code of `word`, giving it the next one when it is new."""
        code = self._codes.get(word)
        if code is None:
            code = self._codes[word] = len(self._codes)
        return code

    def array(self) -> pa.Array:
        """Return all words, by code."""
        if len(self._array) != len(self._codes):
            self._array = _strings(self._codes)
        return self._array


class RequestWriter:
    """Appends requests to one Arrow IPC stream. Not thread-safe: one writer per worker, in its own thread or loop.

    The stream goes into a file, or (for a worker that sends it to somebody who writes the file) into `out`, binary.
    """

    def __init__(self, out: Path | IO[bytes], worker: str, *, capacity: int = 8192) -> None:
        self._words = {name: Words() for name in WORDS}
        self._worker = self._words["worker"].code(worker)
        self._capacity = capacity
        self._buffer = bytearray(_ROW.size * capacity)
        self._rows = 0
        self.written = 0
        self.batches = 0
        if isinstance(out, Path):
            out.parent.mkdir(parents=True, exist_ok=True)
            self._sink = pa.OSFile(str(out), "wb")
        else:
            self._sink = pa.PythonFile(out, "w")
        self._stream = pa.ipc.new_stream(
            self._sink, REQUEST_SCHEMA, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        )

    def add(  # noqa: PLR0913 - the row as the contract has it; a dict a request would cost more than all the rest
        self,
        *,
        due_ns: int,
        start_ns: int,
        first_byte_ns: int,
        end_ns: int,
        name: str,
        team: str,
        agent: str,
        tenant: str,
        request_id: int,
        outcome: str,
        status: int,
        error: str,
        provider: str,
        cached: int,
        cache_lookups: int,
        cache_hits: int,
        tokens_in: int,
        tokens_out: int,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """Append one row (columns as in `layout.REQUEST_SCHEMA`); flushes by itself when the buffer is full."""
        words = self._words
        _ROW.pack_into(
            self._buffer,
            self._rows * _ROW.size,
            due_ns,
            start_ns,
            first_byte_ns,
            end_ns,
            words["name"].code(name),
            words["team"].code(team),
            words["agent"].code(agent),
            words["tenant"].code(tenant),
            self._worker,
            request_id,
            words["outcome"].code(outcome),
            status,
            words["error"].code(error),
            words["provider"].code(provider),
            cached,
            cache_lookups,
            cache_hits,
            tokens_in,
            tokens_out,
            bytes_in,
            bytes_out,
        )
        self._rows += 1
        if self._rows == self._capacity:
            self.flush()

    def flush(self) -> int:
        """Write the buffered rows as one batch and return how many; after this they survive our death."""
        rows = self._rows
        if rows == 0:
            return 0
        view = np.frombuffer(self._buffer, _DTYPE, rows)
        columns = [
            pa.DictionaryArray.from_arrays(_numbers(view[f.name], pa.int32()), self._words[f.name].array(), safe=False)
            if f.name in self._words
            else _numbers(view[f.name], f.type)
            for f in REQUEST_SCHEMA
        ]
        self._stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=REQUEST_SCHEMA))
        self._rows = 0
        self.written += rows
        self.batches += 1
        return rows

    def close(self) -> None:
        """Flush and end the stream."""
        self.flush()
        self._stream.close()
        self._sink.close()
