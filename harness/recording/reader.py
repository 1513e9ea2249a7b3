"""Opening a recording: finished, still running, or left behind by a killed run."""

from __future__ import annotations

import json
import shutil
import weakref
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from harness.errors import RecordingError
from harness.model.event import Event
from harness.model.plan import Plan
from harness.recording import layout, ordered
from harness.recording.columns import in_full, of_types
from harness.recording.finish import rewrite_requests
from harness.recording.stream import Stream, read_stream

if TYPE_CHECKING:
    from collections.abc import Iterable


def load_plan(text: str) -> Plan:
    """Return the plan written in a recording."""
    return Plan.model_validate(YAML(typ="safe", pure=True).load(text))


__all__ = ["Recording", "load_plan", "read_stream"]


@dataclass
class Recording:
    """A recording on disk. Tables are read when first asked for."""

    path: Path
    truncated: list[str] = field(default_factory=list)
    """What is known to be missing, in words."""
    _ordered: dict[str, list[Path]] = field(default_factory=dict, repr=False)

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

    @property
    def ledger(self) -> pa.Table:
        """The providers' own account (`layout.LEDGER_SCHEMA`). Read each time, because it may be large: look once."""
        return self._table(self.path / layout.LEDGER, layout.LEDGER_SCHEMA)

    def ordered(self, name: str) -> list[Path]:
        """Return the tables of requests in a folder as `recording.ordered` stores them, worker by worker.

        What is not stored so (a run that still lasts or was killed, a recording of an older version) is rewritten into
        a temporary folder first.
        """
        if name not in self._ordered:
            folder = self.path / name
            stems = sorted({p.stem for p in folder.glob("*") if p.suffix in (".arrows", ".parquet")})
            self._ordered[name] = [path for stem in stems if (path := self._ordered_table(folder / stem)) is not None]
        return self._ordered[name]

    def _ordered_table(self, stem: Path) -> Path | None:
        parquet, stream = stem.with_suffix(".parquet"), stem.with_suffix(".arrows")
        if not parquet.exists():
            with Stream(stream) as rows:
                copy = None if rows.schema is None else self._rewritten(rows, parquet)
                self._missing(rows.cut)
                return copy
        try:
            if ordered.is_ordered(pq.read_metadata(parquet)):
                return parquet
            schema = layout.TABLES[stem.parent.name]
            with pq.ParquetFile(parquet, read_dictionary=_words(schema)) as file:
                tables = (pa.Table.from_batches([batch]) for batch in file.iter_batches(ordered.GROUP_ROWS))
                return self._rewritten(
                    (in_full(table, schema).select(schema.names).cast(schema) for table in tables), parquet
                )
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise RecordingError(f"{parquet}: cannot be read: {error}") from error

    def _rewritten(self, tables: Iterable[pa.Table], parquet: Path) -> Path:
        folder = self._spool / parquet.parent.name
        folder.mkdir(exist_ok=True)
        try:
            rewrite_requests(tables, folder / parquet.name)
        except OSError as error:
            raise RecordingError(
                f"{parquet.parent}: cannot be rewritten in {self._spool}: {error}; "
                "make room there, or set TMPDIR to where there is some"
            ) from error
        return folder / parquet.name

    def _missing(self, what: str) -> None:
        if what and what not in self.truncated:
            self.truncated.append(what)

    @cached_property
    def _spool(self) -> Path:
        folder = Path(mkdtemp(prefix="agentstorm-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

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
                table = pq.ParquetFile(parquet, read_dictionary=_words(schema)).read()
                return of_types(in_full(table, schema).select(schema.names), _coded(schema))
            except (OSError, ValueError, KeyError, pa.ArrowException) as error:
                raise RecordingError(f"{parquet}: cannot be read: {error}") from error
        if not stream.exists():
            return _coded(schema).empty_table()
        table, cut = read_stream(stream)
        self._missing(cut)
        return of_types(in_full(table, schema), _coded(schema)) if table.num_columns else _coded(schema).empty_table()

    def _json(self, name: str) -> dict[str, Any]:
        try:
            data = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RecordingError(f"{self.path / name}: cannot be read: {error}") from error
        if not isinstance(data, dict):
            raise RecordingError(f"{self.path / name}: an object was expected")
        return data


def _words(schema: pa.Schema) -> list[str]:
    return [f.name for f in schema if pa.types.is_dictionary(f.type) or pa.types.is_string(f.type)]


def _coded(schema: pa.Schema) -> pa.Schema:
    """Return a schema with all words dictionary-coded: a table in memory holds each of them once."""
    words = set(_words(schema))
    return pa.schema([pa.field(f.name, layout.WORD) if f.name in words else f for f in schema])
