"""Opening a recording: finished, still running, or left behind by a killed run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from harness.errors import RecordingError
from harness.model.event import Event
from harness.model.plan import Plan
from harness.model.request import UNKNOWN
from harness.recording import layout

_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""How a closed Arrow IPC stream ends (Arrow columnar format, IPC streaming format)."""


def _closed(path: Path, end: int) -> bool:
    """Tell whether the mark of the end follows the last batch, which ends at `end`: rows may end in the same bytes."""
    with path.open("rb") as file:
        file.seek(end)
        return file.read() == _END


def load_plan(text: str) -> Plan:
    """Return the plan written in a recording."""
    return Plan.model_validate(YAML(typ="safe", pure=True).load(text))


def read_stream(path: Path) -> tuple[pa.Table, str]:
    """Read an Arrow IPC stream up to where it was cut; return the table and, when cut, what is missing."""
    batches, cut = [], ""
    try:
        with pa.OSFile(str(path), "rb") as source:
            reader = pa.ipc.open_stream(source)
            schema, end = reader.schema, source.tell()
            try:
                while True:
                    batches.append(reader.read_next_batch())
                    end = source.tell()
            except StopIteration:
                if not _closed(path, end):
                    cut = f"{path.name}: never closed by its writer; a second after batch {len(batches)} may be missing"
            except (pa.ArrowInvalid, OSError) as error:
                cut = f"{path.name}: cut in the middle of a batch after {len(batches)} whole ones ({error})"
    except (pa.ArrowInvalid, OSError):
        return pa.table({}), f"{path.name}: holds not even its header"
    return pa.Table.from_batches(batches, schema), cut


@dataclass
class Recording:
    """A recording on disk. Tables are read when first asked for."""

    path: Path
    truncated: list[str] = field(default_factory=list)
    """What is known to be missing, in words."""

    @classmethod
    def open(cls, path: Path | str) -> Recording:
        """Open a directory as a recording; RecordingError says what is missing."""
        path = Path(path)
        if not path.is_dir():
            raise RecordingError(f"{path}: no such directory; give the directory a run printed, as in reports/2026...")
        if not (path / layout.MANIFEST).is_file():
            raise RecordingError(f"{path}: no recording (it has no {layout.MANIFEST}); give a directory a run wrote")
        recording = cls(path)
        version = recording.manifest.get("schema")
        if version != layout.SCHEMA_VERSION:
            raise RecordingError(
                f"{path}: recording schema {version!r}; this version reads {layout.SCHEMA_VERSION}: "
                "use the agentstorm version named in its manifest"
            )
        return recording

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """``manifest.json``: schema, versions, seeds, host, clock anchor, how each component was started."""
        return self._json(layout.MANIFEST)

    @cached_property
    def plan(self) -> Plan:
        """The plan as it was run."""
        try:
            return load_plan((self.path / layout.PLAN).read_text(encoding="utf-8"))
        except (OSError, ValueError, YAMLError, RecursionError) as error:
            raise RecordingError(f"{self.path / layout.PLAN}: cannot be read as a plan: {error}") from error

    @property
    def run_id(self) -> int:
        """High half of the trace ids of this run's requests."""
        return int(self.manifest["run_id"])

    @property
    def finished(self) -> bool:
        """Whether the run wrote its last line; False for a killed or running one."""
        return any(e.kind == "run" and e.subject == "ended" for e in self.events)

    @cached_property
    def events(self) -> list[Event]:
        """All events, by time. A last line cut by a kill is left out and said in `truncated`."""
        events = []
        path = self.path / layout.EVENTS
        # Not splitlines: free text in an event may hold other things that end a line.
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
        lines = lines[:-1] if lines and not lines[-1] else lines
        for number, line in enumerate(lines, 1):
            try:
                events.append(Event.model_validate_json(line))
            except ValueError as error:
                if number < len(lines):
                    raise RecordingError(f"{path}:{number}: not an event: {error}") from error
                self.truncated.append(f"{layout.EVENTS}: last line cut")
        return sorted(events, key=lambda e: e.t_ns)

    @cached_property
    def requests(self) -> pa.Table:
        """All requests of all workers (`layout.REQUEST_SCHEMA`)."""
        return self._folder(layout.REQUESTS)

    @cached_property
    def tokens(self) -> pa.Table:
        """When each token of a stream arrived, by worker (`layout.TOKEN_SCHEMA`)."""
        return self._folder(layout.TOKENS)

    @cached_property
    def canary(self) -> pa.Table:
        """The canary's requests (`layout.REQUEST_SCHEMA`)."""
        return self._folder(layout.CANARY)

    @cached_property
    def samples(self) -> pa.Table:
        """Samples (`layout.SAMPLE_SCHEMA`)."""
        return self._table(self.path / layout.SAMPLES, layout.SAMPLE_SCHEMA)

    @cached_property
    def ledger(self) -> pa.Table:
        """The providers' own account (`layout.LEDGER_SCHEMA`)."""
        return self._table(self.path / layout.LEDGER, layout.LEDGER_SCHEMA)

    def _folder(self, name: str) -> pa.Table:
        folder = self.path / name
        stems = sorted({p.stem for p in folder.glob("*") if p.suffix in (".arrows", ".parquet")})
        tables = [self._table(folder / stem, layout.TABLES[name]) for stem in stems]
        whole = pa.concat_tables(tables) if tables else layout.TABLES[name].empty_table()
        return whole.unify_dictionaries()

    def _table(self, stem: Path, schema: pa.Schema) -> pa.Table:
        parquet, stream = stem.with_suffix(".parquet"), stem.with_suffix(".arrows")
        if parquet.exists():
            try:
                return _in_full(pq.read_table(parquet, read_dictionary=_words(schema)), schema).cast(schema)
            except (OSError, ValueError, pa.ArrowException) as error:
                raise RecordingError(f"{parquet}: cannot be read: {error}") from error
        if not stream.exists():
            return schema.empty_table()
        table, cut = read_stream(stream)
        if cut:
            self.truncated.append(cut)
        return _in_full(table, schema) if table.num_columns else schema.empty_table()

    def _json(self, name: str) -> dict[str, Any]:
        try:
            data = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RecordingError(f"{self.path / name}: cannot be read: {error}") from error
        if not isinstance(data, dict):
            raise RecordingError(f"{self.path / name}: an object was expected")
        return data


def _in_full(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Append the columns that an older recording does not have: what nobody wrote down is not known."""
    for column in schema:
        if column.name in layout.ADDED and column.name not in table.column_names:
            table = table.append_column(column, pa.repeat(pa.scalar(UNKNOWN, column.type), len(table)))
    return table


def _words(schema: pa.Schema) -> list[str]:
    return [f.name for f in schema if pa.types.is_dictionary(f.type)]
