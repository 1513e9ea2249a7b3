"""The write path of the slower tables (samples, ledger) and of events: thread-safe, flushed by time."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from harness.clock import now_ns
from harness.model.event import Event
from harness.recording.layout import LEDGER, LEDGER_SCHEMA, SAMPLE_SCHEMA, SAMPLES
from harness.recording.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.model.event import EventKind


class TableWriter:
    """Appends rows (tuples in the schema's order) to one Arrow IPC stream; thread-safe."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []
        self.unrecorded = 0
        """Rows that were given up because a full disk stayed full."""
        self._lock = threading.Lock()
        self._spool = Spool(path)
        self._stream = pa.ipc.new_stream(pa.PythonFile(self._spool, "w"), schema)

    @property
    def trouble(self) -> str:
        """Why the last flush did not reach the file; "" when it did."""
        return self._spool.error

    def add(self, *row: Any) -> None:
        """Append one row."""
        with self._lock:
            self._rows.append(row)

    def flush(self) -> None:
        """Write what is buffered as one batch; after this it survives our death.

        A full disk raises nothing: see `trouble`. What waits for it is bounded, and further rows are `unrecorded`.
        """
        with self._lock:
            rows, self._rows = self._rows, []
            if rows and self._spool.full:
                self.unrecorded += len(rows)
            elif rows:
                columns = [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), self._schema, strict=True)]
                self._stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
            self._spool.drain()

    def close(self) -> None:
        """Flush and end the stream. OSError: not everything could be written."""
        self.flush()
        self._stream.close()
        self._spool.close()


class SampleWriter(TableWriter):
    """Samples: ``sample(source, metric, value, labels)``."""

    def __init__(self, recording: Path) -> None:
        super().__init__(recording / f"{SAMPLES}.arrows", SAMPLE_SCHEMA)

    def sample(
        self, source: str, metric: str, value: float, labels: Mapping[str, str] | None = None, t_ns: int | None = None
    ) -> None:
        """Append one sample; `t_ns` is now unless given."""
        text = json.dumps(dict(labels), sort_keys=True) if labels else "{}"
        self.add(now_ns() if t_ns is None else t_ns, source, metric, text, float(value))


class LedgerWriter(TableWriter):
    """Ledger rows in the order of `layout.LEDGER_SCHEMA`."""

    def __init__(self, recording: Path) -> None:
        super().__init__(recording / f"{LEDGER}.arrows", LEDGER_SCHEMA)


def clean(value: Any) -> Any:
    """Return `value` with "?" for each half of a character in its texts: json reads such halves from other programs and
    writes them, what is strict about UTF-8 (our recording, a terminal) refuses them."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list | tuple) else value


class EventLog:
    """Appends events to ``events.jsonl``; each line reaches the kernel before `emit` returns, if the disk has room."""

    def __init__(self, path: Path) -> None:
        self._spool = Spool(path, append=True)
        self._lock = threading.Lock()

    @property
    def trouble(self) -> str:
        """Why the last line did not reach the file; "" when it did."""
        return self._spool.error

    def emit(self, kind: EventKind, source: str, subject: str, /, *, t_ns: int | None = None, **data: Any) -> Event:
        """Write one event, its texts made `clean` where they must be, and return it; `t_ns` is now unless given."""
        at_ns = now_ns() if t_ns is None else t_ns
        try:
            event = Event(t_ns=at_ns, kind=kind, source=source, subject=subject, data=data)
            line = event.model_dump_json()
        except ValueError:  # half an emoji in what somebody else said must not end a run
            event = Event(t_ns=at_ns, kind=kind, source=source, subject=clean(subject), data=clean(data))
            line = event.model_dump_json()
        with self._lock:
            self._spool.write(line.encode() + b"\n")
            self._spool.drain()
        return event

    def close(self) -> None:
        """Close the file. OSError: not every line could be written."""
        self._spool.close()
