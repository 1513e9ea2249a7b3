"""Reading the Arrow streams of a run that still lasts, or was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""How a closed Arrow IPC stream ends (Arrow columnar format, IPC streaming format)."""
GATHERED = 64
"""Batches handed on at a time: a flush may have been of a few rows only."""


def _closed(path: Path, end: int) -> bool:
    """Tell whether the mark of the end follows the last batch, which ends at `end`: rows may end in the same bytes."""
    with path.open("rb") as file:
        file.seek(end)
        return file.read() == _END


class Stream:
    """An Arrow IPC stream, read up to where it was cut; iterate over it to get tables of `GATHERED` batches."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.schema: pa.Schema | None = None
        """None when it holds not even its header."""
        self.cut = ""
        """What is missing, in words; known once it was read to its end."""
        self._source = pa.OSFile(str(path), "rb")
        try:
            self._reader = pa.ipc.open_stream(self._source)
            self.schema = self._reader.schema
        except (pa.ArrowInvalid, OSError):
            self.cut = f"{path.name}: holds not even its header"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._source.close()

    def __iter__(self) -> Iterator[pa.Table]:
        batches: list[pa.RecordBatch] = []
        read, ended, end = 0, self.schema is None, self._source.tell()
        while not ended:
            try:
                batches.append(self._reader.read_next_batch())
                end = self._source.tell()
                read += 1
            except StopIteration:
                ended = True
                if not _closed(self._path, end):
                    self.cut = (
                        f"{self._path.name}: never closed by its writer; a second after batch {read} may be missing"
                    )
            except (pa.ArrowInvalid, OSError) as error:
                ended = True
                self.cut = f"{self._path.name}: cut in the middle of a batch after {read} whole ones ({error})"
            if batches and (ended or len(batches) == GATHERED):
                yield pa.Table.from_batches(batches, self.schema)
                batches = []


def read_stream(path: Path) -> tuple[pa.Table, str]:
    """Read a whole stream up to where it was cut; return the table and, when cut, what is missing."""
    with Stream(path) as stream:
        tables = list(stream)
        if stream.schema is None:
            return pa.table({}), stream.cut
        return (pa.concat_tables(tables) if tables else stream.schema.empty_table()), stream.cut
