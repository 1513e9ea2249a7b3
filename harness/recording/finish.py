"""Turning a run's Arrow streams into Parquet, crash-safe: the stream goes only once its Parquet file is whole.

In bounded memory, whatever their length: batch by batch. Requests are stored as `ordered` says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq

from harness.recording import layout, ordered
from harness.recording.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def streams(recording: Path) -> list[Path]:
    """Return every stream of the recording that is not Parquet yet."""
    folders = (recording, recording / layout.REQUESTS, recording / layout.TOKENS, recording / layout.CANARY)
    return sorted(p for folder in folders for p in folder.glob("*.arrows"))


def finish(recording: Path) -> None:
    """Rewrite every stream as Parquet and remove it; one that was cut stays as it is.

    OSError: a stream could not be rewritten, as on a full disk. It and those not looked at yet are as they were.
    """
    for path in streams(recording):
        target = path.with_suffix(".parquet")
        with Stream(path) as stream, _Drafts() as drafts:
            if stream.schema is None:
                continue  # kept as it is: the reader says what is missing
            if path.parent.name in (layout.REQUESTS, layout.CANARY):
                ordered.write(drafts(target), stream)
            else:
                _write_table(stream, drafts(target))
            if stream.cut:
                continue
            drafts.settle()
        path.unlink()


def rewrite_requests(batches: Iterable[pa.Table], target: Path) -> None:
    """Write requests (`layout.REQUEST_SCHEMA`) as `ordered` says."""
    with _Drafts() as drafts:
        ordered.write(drafts(target), batches)
        drafts.settle()


class _Drafts:
    """Files being written beside their targets. Those that were not settled are removed, whatever happened.

    On a full disk they would take the room that everything else needs.
    """

    def __init__(self) -> None:
        self._targets: list[Path] = []

    def __call__(self, target: Path) -> Path:
        """Return where to write what is to be at `target`."""
        self._targets.append(target)
        return _draft(target)

    def settle(self) -> None:
        """Bring all of them to the disk, and then to their places, the last one last."""
        for target in self._targets:
            with _draft(target).open("rb") as file:
                os.fsync(file.fileno())
        for target in self._targets:
            _draft(target).replace(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for target in self._targets:
            _draft(target).unlink(missing_ok=True)


def _draft(target: Path) -> Path:
    return target.with_suffix(".parquet.tmp")


def _write_table(stream: Stream, draft: Path) -> None:
    """Write a stream of another table as Parquet (zstd, delta-coded integers)."""
    schema = stream.schema or pa.schema([])
    integers = [f.name for f in schema if pa.types.is_integer(f.type)]
    with pq.ParquetWriter(
        draft,
        schema,
        compression="zstd",
        use_dictionary=[f.name for f in schema if f.name not in integers],
        column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
    ) as writer:
        for table in stream:
            writer.write_table(table)
