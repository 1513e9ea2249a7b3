"""The write path of token times: one copy into a preallocated buffer a stream, one Arrow batch a flush."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from harness.recording.layout import TOKEN_SCHEMA
from harness.recording.requests import as_array
from harness.recording.spool import Sink, opened

if TYPE_CHECKING:
    from array import array
    from pathlib import Path


class TokenWriter:
    """Appends token times to one Arrow IPC stream, which begins with the first of them: without streams no file.

    Not thread-safe: one writer per worker, in its own thread or loop.
    """

    def __init__(self, out: Path | Sink, *, capacity: int = 16384) -> None:
        self._out = out
        self._ids, self._times = np.empty(capacity, "<i8"), np.empty(capacity, "<i8")
        columns = [as_array(column, pa.int64()) for column in (self._ids, self._times)]
        self._table = pa.RecordBatch.from_arrays(columns, schema=TOKEN_SCHEMA)  # made once: it takes a millisecond
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
        """Append the token times of one request, ns; flushes by itself when the buffer is full."""
        values = np.frombuffer(times, "<i8")
        while len(values):
            begin, room = self._rows, len(self._times) - self._rows
            part, values = values[:room], values[room:]
            self._rows = begin + len(part)
            self._ids[begin : self._rows] = request_id
            self._times[begin : self._rows] = part
            if self._rows == len(self._times):
                self.flush()

    def flush(self) -> None:
        """Write what is buffered as one batch; after this it survives our death. A full disk: as `RequestWriter`."""
        rows, self._rows = self._rows, 0
        if rows and self._spool is None:
            self._spool = opened(self._out)
            self._stream = pa.ipc.new_stream(pa.PythonFile(self._spool, "w"), TOKEN_SCHEMA)
        if self._spool is None or self._stream is None:
            return
        if rows and self._spool.full:
            self.unrecorded += rows
        elif rows:
            self._stream.write_batch(self._table.slice(0, rows))
        self._spool.drain()

    def close(self) -> None:
        """Flush and end the stream. OSError: not everything could be written."""
        self.flush()
        if self._stream is not None and self._spool is not None:
            self._stream.close()
            self._spool.close()
