"""Turning a run's Arrow streams into Parquet, crash-safe: the stream goes only once its Parquet file is whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from harness.recording import layout
from harness.recording.reader import read_stream

if TYPE_CHECKING:
    from pathlib import Path


def streams(recording: Path) -> list[Path]:
    """Return every stream of the recording that is not Parquet yet."""
    folders = (recording, recording / layout.REQUESTS, recording / layout.TOKENS, recording / layout.CANARY)
    return sorted(p for folder in folders for p in folder.glob("*.arrows"))


def finish(recording: Path) -> None:
    """Rewrite every stream as Parquet (zstd, delta-coded integers) and remove it; one that was cut stays as it is.

    OSError: there is no room; the streams that could not be rewritten stay, and open as they are.
    """
    for stream in streams(recording):
        table, cut = read_stream(stream)
        if cut or not table.num_columns:
            continue  # kept as it is: the reader says what is missing
        target = stream.with_suffix(".parquet")
        draft = target.with_suffix(".parquet.tmp")
        try:
            _write(table.unify_dictionaries(), draft)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        draft.replace(target)
        stream.unlink()


def _write(table: pa.Table, path: Path) -> None:
    integers = [f.name for f in table.schema if pa.types.is_integer(f.type)]
    pq.write_table(
        table,
        path,
        compression="zstd",
        use_dictionary=[f.name for f in table.schema if f.name not in integers],
        column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
    )
    with path.open("rb") as file:
        os.fsync(file.fileno())
