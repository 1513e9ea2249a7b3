"""The store of runs: what every run said, for looking back over nights. A DuckDB file beside the recordings.

It holds nothing that the recordings do not: a store that is lost or broken is rebuilt from them. A run is never failed
by it. One process at a time may write; who comes meanwhile waits a little.

    runs(recording, run_id, started (UTC), scenario, experiments, target, engine, scale, question, verdict, valid,
         requests)                            `question`: what was asked of the system (`runs.question_hash`)
    figures(recording, metric, value)         one row for each quantity a run has (`analysis.quantities`)
    settings(recording, told)                 what its system was set to, as JSON (`harness.settings`); null: not known
    asked(recording, told)                    what was asked of it (`runs.asked`), likewise

A copy of a recording has rows of its own, with the `run_id` of the run that it is a copy of. What lies in a folder
with a file named `.no-history` is left out.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from harness.clock import sleep
from harness.errors import RecordingError, StoreFailed
from harness.model.history import Night
from harness.recording import layout
from harness.recording.reader import Recording
from harness.runs import asked, question_hash
from harness.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from harness.model.plan import Plan
    from harness.model.verdict import Verdicts
    from harness.runs import Run

REPORTS = Path("reports")
"""Where runs are recorded unless told otherwise, seen from the working directory."""
FILE = "history.duckdb"
APART = ".no-history"
"""A file of this name says that the runs in its folder are none to look back over: of other machines, or of several
systems that go by one name."""
_TRIES, _WAIT_S = 20, 0.25
_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
  recording TEXT PRIMARY KEY, run_id UBIGINT, started TIMESTAMP, scenario TEXT, experiments TEXT, target TEXT,
  engine TEXT, scale DOUBLE, question TEXT, verdict TEXT, valid BOOLEAN, requests BIGINT
);
CREATE TABLE IF NOT EXISTS figures (recording TEXT, metric TEXT, value DOUBLE, PRIMARY KEY (recording, metric));
CREATE TABLE IF NOT EXISTS settings (recording TEXT PRIMARY KEY, told TEXT);
CREATE TABLE IF NOT EXISTS asked (recording TEXT PRIMARY KEY, told TEXT);
"""
_OF_PLAN: Mapping[str, Callable[[Plan], dict[str, str]]] = {"settings": settings, "asked": asked}
"""Tables that a recording's plan says all of."""
_NIGHT = [name for name in Night.model_fields if name not in ("figures", *_OF_PLAN)]


class Store:
    """The store of one folder of recordings."""

    def __init__(self, folder: Path = REPORTS) -> None:
        self._folder = folder
        self.path = folder / FILE

    def holds(self, recording: Path) -> bool:
        """Tell whether a recording is one of those that this store is about: in its folder, and not kept apart."""
        path, folder = recording.resolve(), self._folder.resolve()
        if not path.is_relative_to(folder):
            return False
        return not any((at / APART).exists() for at in (path, *path.parents) if at.is_relative_to(folder))

    def add(self, runs: Iterable[tuple[Run, Verdicts]]) -> None:
        """Write runs down, replacing what was known of them. StoreFailed says why it could not be done."""
        with self._open(writing=True) as connection:
            for run, verdicts in runs:
                _write(connection, self._name(run.recording.path), run, verdicts)

    def nights(self) -> list[Night]:
        """Return all runs, oldest first; none where nothing was stored yet. One of which there are copies is one run,
        by the name that was written down last."""
        if not self.path.exists():
            return []
        with self._open(writing=False) as connection:
            figures: dict[str, dict[str, float]] = {}
            told = connection.execute("SELECT recording, metric, value FROM figures").fetchall()
            for recording, metric, value in told:
                figures.setdefault(recording, {})[metric] = value
            rows = connection.execute(
                f"SELECT {', '.join(_NIGHT)} FROM runs "  # noqa: S608 - names of ours
                "QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY rowid DESC) = 1 ORDER BY started, recording"
            ).fetchall()
            known = {table: _told(connection, table) for table in _OF_PLAN}
        for table, by_name in known.items():
            by_name.update(self._learn(table, [row[0] for row in rows if row[0] not in by_name]))
        return [
            Night(
                **dict(zip(_NIGHT, row, strict=True)),
                figures=figures.get(row[0], {}),
                **{table: json.loads(by_name[row[0]]) for table, by_name in known.items()},
            )
            for row in rows
        ]

    def _learn(self, table: str, names: list[str]) -> dict[str, str]:
        """Look up, in their recordings, what an older version did not write down of its runs, and write it down."""
        found = {name: json.dumps(self._in_plan(table, name)) for name in names}
        if found:
            with suppress(StoreFailed), self._open(writing=True) as connection:  # or it is looked up again next time
                connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", list(found.items()))  # noqa: S608
        return found

    def _in_plan(self, table: str, name: str) -> dict[str, str] | None:
        try:
            return _OF_PLAN[table](Recording.open(self._folder / name).plan)
        except (RecordingError, OSError):
            return None  # it is gone

    def forget(self) -> None:
        """Remove the file, broken or not: the recordings still say it all."""
        for path in (self.path, self.path.with_name(FILE + ".wal")):
            path.unlink(missing_ok=True)

    def recordings(self) -> list[Path]:
        """Return every recording in the folder that is not kept apart, at any depth."""
        return sorted(path.parent for path in self._folder.rglob(layout.MANIFEST) if self.holds(path.parent))

    def _name(self, recording: Path) -> str:
        path = recording.resolve()
        return str(path.relative_to(self._folder.resolve())) if self.holds(path) else str(path)

    @contextmanager
    def _open(self, *, writing: bool) -> Iterator[Any]:
        try:
            connection = self._connect(writing=writing)
            try:
                if writing:
                    connection.execute(_TABLES)
                yield connection
            finally:
                connection.close()
        except (duckdb.Error, OSError) as error:
            raise StoreFailed(
                f"{self.path}: {str(error).splitlines()[0]}\n"
                "  the recordings have it all: agentstorm history --rebuild makes the store anew"
            ) from error

    def _connect(self, *, writing: bool) -> Any:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES - 1):
            try:
                return duckdb.connect(self.path, read_only=not writing)
            except duckdb.IOException as error:
                if "lock" not in str(error):
                    raise
                sleep(_WAIT_S)  # another run is being written down
        return duckdb.connect(self.path, read_only=not writing)


def _told(connection: Any, table: str) -> dict[str, str]:
    """Return what a table says, by recording; nothing where an older version made the file."""
    there = connection.execute("SELECT 1 FROM information_schema.tables WHERE table_name = ?", [table]).fetchone()
    rows = connection.execute(f"SELECT recording, told FROM {table}").fetchall() if there else []  # noqa: S608 - ours
    return dict(rows)


def _write(connection: Any, name: str, run: Run, verdicts: Verdicts) -> None:
    plan = run.plan
    connection.begin()
    for table in ("figures", *_OF_PLAN, "runs"):
        connection.execute(f"DELETE FROM {table} WHERE recording = ?", [name])  # noqa: S608 - names of ours
    connection.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            name, run.recording.run_id, run.started, plan.scenario.scenario,
            "+".join(e.experiment for e in plan.experiments), plan.target.target, plan.engine, plan.scale,
            question_hash(plan), verdicts.verdict.value, run.findings.validity.valid, run.findings.load.requests,
        ],
    )  # fmt: skip
    for metric, figure in run.figures.items():
        connection.execute("INSERT INTO figures VALUES (?, ?, ?)", [name, metric, figure.value])
    for table, tell in _OF_PLAN.items():
        connection.execute(f"INSERT INTO {table} VALUES (?, ?)", [name, json.dumps(tell(plan))])  # noqa: S608 - ours
    connection.commit()
