"""Turning a run's Arrow streams into Parquet, crash-safe: the stream goes only once its Parquet file is whole.

In bounded memory, whatever their length: batch by batch. Requests are stored as `packed` says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from harness.recording import layout, packed
from harness.recording.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def streams(recording: Path) -> list[Path]:
    """Return every stream of the recording that is not Parquet yet."""
    folders = (recording, recording / layout.REQUESTS, recording / layout.CANARY)
    return sorted(p for folder in folders for p in folder.glob("*.arrows"))


def finish(recording: Path) -> None:
    """Rewrite every stream as Parquet and remove it; one that was cut stays as it is."""
    for path in streams(recording):
        target = path.with_suffix(".parquet")
        with Stream(path) as stream:
            if stream.schema is None:
                continue  # kept as it is: the reader says what is missing
            draft = target.with_suffix(".parquet.tmp")
            if path.parent == recording:
                _write_table(stream, draft)
                kinds = None
            else:
                kinds = packed.write(draft, stream)
        if stream.cut:
            draft.unlink()
            continue
        _settle_requests(draft, target, kinds) if kinds is not None else _settle(draft, target)
        path.unlink()


def rewrite_requests(batches: Iterable[pa.Table], target: Path) -> None:
    """Write requests (`layout.REQUEST_SCHEMA`), with their kinds, as `packed` says."""
    draft = target.with_suffix(".parquet.tmp")
    _settle_requests(draft, target, packed.write(draft, batches))


def _settle_requests(draft: Path, target: Path, kinds: pa.Table) -> None:
    beside = packed.kinds_path(target)
    beside.parent.mkdir(exist_ok=True)
    half = beside.with_suffix(".parquet.tmp")
    pq.write_table(kinds, half, compression="zstd")
    _settle(half, beside)
    _settle(draft, target)


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


def _settle(draft: Path, target: Path) -> None:
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(target)
