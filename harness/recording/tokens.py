"""The write path of token times: one copy into a preallocated buffer a stream, one Arrow batch a buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from harness.recording.buffers import Buffers, go_on
from harness.recording.layout import TOKEN_SCHEMA
from harness.recording.requests import as_array
from harness.recording.spool import Sink, opened

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable
    from pathlib import Path


class _Times:
    """A buffer of token times and the ids of their requests, which Arrow knows as a table (not copied)."""

    def __init__(self, capacity: int) -> None:
        self.ids, self.times = np.empty(capacity, "<i8"), np.empty(capacity, "<i8")
        columns = [as_array(column, pa.int64()) for column in (self.ids, self.times)]
        self.table = pa.RecordBatch.from_arrays(columns, schema=TOKEN_SCHEMA)  # made once: it takes a millisecond


class TokenWriter:
    """Appends token times to one Arrow IPC stream, which begins with the first of them: without streams no file.

    Not thread-safe: one writer per worker, in its own thread or loop. Set aside and written as `RequestWriter` does.
    """

    def __init__(self, out: Path | Sink, *, capacity: int = 16384) -> None:
        self._out = out
        self._capacity = capacity
        self._buffers = Buffers(lambda: _Times(capacity))
        self._rows = 0
        self.unrecorded = 0
        """Rows that were given up because a full disk stayed full."""
        self._stream: pa.RecordBatchStreamWriter | None = None
        self._spool: Sink | None = None

    @property
    def trouble(self) -> str:
        """Why the last flush did not reach the file; "" when it did."""
        return self._spool.error if self._spool else ""

    def add(self, request_id: int, times: array[int]) -> None:
        """Append the token times of one request, ns; what is full is set aside by itself."""
        values = np.frombuffer(times, "<i8")
        while len(values):
            begin, room = self._rows, self._capacity - self._rows
            part, values = values[:room], values[room:]
            self._rows = begin + len(part)
            self._buffers.filling.ids[begin : self._rows] = request_id
            self._buffers.filling.times[begin : self._rows] = part
            if self._rows == self._capacity:
                self.set_aside()

    def set_aside(self) -> int:
        """Have the times so far written before any others, and return how many buffers that makes (`RequestWriter`)."""
        buffers = self._buffers
        if self._rows:
            if buffers.exhausted:
                self.write(buffers.written + 1)
            buffers.turn(self._rows)
            self._rows = 0
        return buffers.filled

    def write(self, until: int, give_way: Callable[[], None] = go_on) -> None:
        """Write what was set aside, one batch a buffer, as `RequestWriter.write`."""
        while self._buffers.written < until:
            self._write_first()
            give_way()
        if self._spool is not None:
            self._spool.drain()

    def _write_first(self) -> None:
        buffer, rows = self._buffers.first
        if self._stream is None or self._spool is None:
            self._spool = opened(self._out)
            self._stream = pa.ipc.new_stream(pa.PythonFile(self._spool, "w"), TOKEN_SCHEMA)
        if self._spool.full:
            self.unrecorded += rows
        else:
            self._stream.write_batch(buffer.table.slice(0, rows))
        self._buffers.give_back()

    def flush(self) -> None:
        """Write all times so far, at once."""
        self.write(self.set_aside())

    def close(self) -> None:
        """Flush and end the stream. OSError: not everything could be written."""
        self.flush()
        if self._stream is not None and self._spool is not None:
            self._stream.close()
            self._spool.close()
