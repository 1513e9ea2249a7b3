"""The write path of requests: one `struct.pack_into` a row, one Arrow batch a buffer.

The generator is the instrument, so a row must cost next to nothing and a flush must not stall it: rows are packed
into a preallocated buffer and turned in two copies into columns that Arrow knows already; words are dictionary codes,
which it sends as deltas. A flush is written in pieces, between which others can go on.
"""

from __future__ import annotations

import struct
from array import array
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from harness.model.request import UNKNOWN
from harness.recording.buffers import Buffers, go_on
from harness.recording.layout import REQUEST_SCHEMA
from harness.recording.spool import Sink, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WORDS = tuple(field.name for field in REQUEST_SCHEMA if pa.types.is_dictionary(field.type))
_LONG = tuple(field.name for field in REQUEST_SCHEMA if field.type == pa.int64())
_SHORT = tuple(field.name for field in REQUEST_SCHEMA if field.type != pa.int64())
"""Numbers and codes of words, 4 bytes each. A row in the buffer has all the long ones first."""
_ROW = struct.Struct(f"<{len(_LONG)}q{len(_SHORT)}i")


# `pa.array` imports pandas the first time it is called: half a second and 50 MiB that a load generator has no use for.
# Arrays made from their buffers do not.
def as_array(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Return numbers as an Arrow array of `kind`, without a copy where they stand together."""
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


MOST_BYTES = 2**31 - 1
"""As many as the columns of bytes can hold: of a longer body, that it was so long."""
_MOST_WORDS = {"error": 300}
_MOST_OF_THE_REST = 10_000
_LONGEST_WORD = 200
OVERFLOW = "(one more: too many different ones)"
_MARGIN = 128
"""Of what is kept back until a batch is whole: as much as so many rows, for what Arrow says about it."""


class Words:
    """A growing dictionary of strings. Codes never change, so Arrow can send what is new as a delta.

    It stays finite whatever ids systems put into their texts: words are cut at `_LONGEST_WORD` characters, and after
    `most` different ones all further ones are `OVERFLOW`.
    """

    def __init__(self, most: int) -> None:
        self.codes: dict[str, int] = {}
        """The words known so far, as they came."""
        self._most = most
        self._text = bytearray()
        self._ends = array("i", [0])
        self._array = self._built()

    def code(self, word: str) -> int:
        """Return the code of `word`, giving it the next one when it is new."""
        code = self.codes.get(word)
        if code is None:
            short = word[:_LONGEST_WORD]
            code = self.codes.get(short)
            if code is None:
                code = self._new(short) if len(self.codes) < self._most else self._overflow()
        return code

    def _new(self, word: str) -> int:
        code = self.codes[word] = len(self.codes)
        self._text += word.encode(errors="replace")  # a half emoji in an answer must not stop the recording
        self._ends.append(len(self._text))
        return code

    def _overflow(self) -> int:
        code = self.codes.get(OVERFLOW)
        return self._new(OVERFLOW) if code is None else code

    def array(self) -> pa.Array:
        """Return all words, by code."""
        if len(self._array) != len(self.codes):
            self._array = self._built()
        return self._array

    def _built(self) -> pa.Array:
        ends, text = pa.py_buffer(self._ends.tobytes()), pa.py_buffer(bytes(self._text))
        return pa.Array.from_buffers(pa.string(), len(self.codes), [None, ends, text])


class _Columns:
    """The columns of one width. `arrays` has their memory, which `take` fills."""

    def __init__(self, names: tuple[str, ...], dtype: str, capacity: int) -> None:
        self._columns = np.zeros((len(names), capacity), dtype)
        kind = pa.from_numpy_dtype(self._columns.dtype)
        self.arrays = {name: as_array(column, kind) for name, column in zip(names, self._columns, strict=True)}

    def take(self, rows: np.ndarray, count: int) -> None:
        """Copy the first `count` rows."""
        self._columns[:, :count] = rows[:, :count]


class _Rows:
    """A buffer of packed rows, and what is in it by width (columns x rows, not copied)."""

    def __init__(self, capacity: int) -> None:
        self.packed = bytearray(_ROW.size * capacity)
        self.longs = np.ndarray((len(_LONG), capacity), "<i8", self.packed, 0, (8, _ROW.size))
        self.shorts = np.ndarray((len(_SHORT), capacity), "<i4", self.packed, 8 * len(_LONG), (4, _ROW.size))


def _nobody(_: int) -> None:
    """Tell nobody."""


class RequestWriter:
    """Appends requests to one Arrow IPC stream. Not thread-safe: one writer per worker, in its own thread or loop.

    The stream goes into a file, or (for a worker that sends it to somebody who writes the file) into a sink.

    The rows so far are `set_aside` at one moment, and then written in pieces: on a machine that takes its time with
    memory that rested, a whole flush is ten milliseconds.
    """

    def __init__(self, out: Path | Sink, worker: str, *, capacity: int = 1024) -> None:
        self._words = {name: Words(_MOST_WORDS.get(name, _MOST_OF_THE_REST)) for name in WORDS}
        self._worker = self._words["worker"].code(worker)
        self._capacity = capacity
        self._buffers = Buffers(lambda: _Rows(capacity))
        self._packed, self._rows = self._buffers.filling.packed, 0
        self._pieces = self._written_in_pieces()
        self.on_full: Callable[[int], object] = _nobody
        """Told when a buffer is full and was set aside: it had better be written, up to that number, before the others
        are full, too."""
        self.on_exhausted: Callable[[], object] = go_on
        """Called before rows are written because all buffers are full: the time to write what belongs to them."""
        self._longs, self._shorts = _Columns(_LONG, "<i8", capacity), _Columns(_SHORT, "<i4", capacity)
        numbers = self._longs.arrays | self._shorts.arrays
        self._columns = {name: numbers[name] for name in REQUEST_SCHEMA.names}
        self._dictionaries: dict[str, pa.Array] = {}
        for _ in self._table_learns():
            pass
        self.written = 0
        self.unrecorded = 0
        """Rows that were given up because a full disk stayed full."""
        self._ends: deque[int] = deque()
        self._whole = 0
        self._spool = opened(out)
        self._out = pa.BufferedOutputStream(pa.PythonFile(self._spool, "w"), _ROW.size * (capacity + _MARGIN))
        self._stream = pa.ipc.new_stream(
            self._out, REQUEST_SCHEMA, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        )

    @property
    def batches(self) -> int:
        """Batches that lie whole in the file."""
        while self._ends and self._ends[0] <= self._spool.written:
            self._ends.popleft()
            self._whole += 1
        return self._whole

    @property
    def trouble(self) -> str:
        """Why the last flush did not reach the file; "" when it did."""
        return self._spool.error

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
        first_token_ns: int = UNKNOWN,
        last_token_ns: int = UNKNOWN,
        stream_tokens: int = UNKNOWN,
    ) -> None:
        """Append one row (columns as in `layout.REQUEST_SCHEMA`); what is full is set aside by itself."""
        words = self._words
        _ROW.pack_into(
            self._packed,
            self._rows * _ROW.size,
            due_ns,
            start_ns,
            first_byte_ns,
            end_ns,
            request_id,
            first_token_ns,
            last_token_ns,
            words["name"].code(name),
            words["team"].code(team),
            words["agent"].code(agent),
            words["tenant"].code(tenant),
            self._worker,
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
            stream_tokens,
        )
        self._rows += 1
        if self._rows == self._capacity:
            self.on_full(self.set_aside())

    def set_aside(self) -> int:
        """Have the rows so far written before any others. Takes no time, unless all buffers are full.

        Returns how many buffers that makes since the beginning, for `write`.
        """
        buffers = self._buffers
        if self._rows:
            if buffers.exhausted:
                self.on_exhausted()
                self.write(buffers.written + 1)
            buffers.turn(self._rows)
            self._packed, self._rows = buffers.filling.packed, 0
        return buffers.filled

    def write(self, until: int, give_way: Callable[[], None] = go_on) -> None:
        """Write what was set aside, one batch a buffer; after this it survives our death.

        `give_way` is called between pieces; whoever runs meanwhile may call anything here. A full disk raises nothing:
        see `trouble`. What waits for it is bounded, and rows beyond are `unrecorded`.
        """
        while self._buffers.written < until:
            try:
                next(self._pieces)
            except BaseException:  # a generator that raised only says StopIteration from then on
                self._pieces = self._written_in_pieces()
                raise
            give_way()
        self._spool.drain()

    def flush(self) -> None:
        """Write all rows so far, at once."""
        self.write(self.set_aside())

    def _written_in_pieces(self) -> Iterator[None]:
        """Write one buffer after the other, always the next piece."""
        while True:
            buffer, rows = self._buffers.first
            if self._spool.full:
                self.unrecorded += rows
            else:
                self._longs.take(buffer.longs, rows)
                yield
                self._shorts.take(buffer.shorts, rows)
                yield
                yield from self._table_learns()
                batch = self._table.slice(0, rows)
                yield
                self._stream.write_batch(batch)
                yield
                self._out.flush()
                self._ends.append(self._spool.taken)
                self.written += rows
            self._buffers.give_back()
            yield

    def _table_learns(self) -> Iterator[None]:
        """Have `_table`, all columns, as long as a buffer, know the words that are new, a piece at a time."""
        new = False
        for name, words in self._words.items():
            dictionary = words.array()
            if dictionary is not self._dictionaries.get(name):
                codes = self._shorts.arrays[name]
                self._dictionaries[name] = dictionary
                self._columns[name] = pa.DictionaryArray.from_arrays(codes, dictionary, safe=False)
                new = True
                yield
        if new:
            self._table = pa.RecordBatch.from_arrays(list(self._columns.values()), schema=REQUEST_SCHEMA)
            yield

    def close(self) -> None:
        """Flush and end the stream. OSError: not everything could be written."""
        self.flush()
        self._stream.close()
        self._out.detach()  # with a flush; left to itself it would close the spool when it goes
        self._spool.close()
