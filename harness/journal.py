"""What a run has changed outside itself, on disk before it is changed, so that it can be undone when the run is gone.

One JSON-lines file per run in ``<state>/runs``; `<state>` is the user's state folder, or ``$AGENTSTORM_STATE``. The
first line says who owns it; then one line for each process started, proxy made and fault injected, one for each of them
undone, and one that says until when a fault may be on. A run that leaves nothing behind removes its journal; what is
left of others is for `harness.heal`.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs
import psutil

from harness.errors import RecordingError

_PROC = Path("/proc")
_STATE, _STARTED = 3 - 3, 22 - 3
"""Fields of ``/proc/<pid>/stat`` (proc(5)) behind the name, which is the second and may hold anything."""
_SAME_START_S = 1.0
"""Wall start times are derived from the boot time, which moves with every step of the wall clock."""

Start = str | float
"""When a process started: ``<boot id>/<ticks since boot>``, which no step of a clock moves; wall seconds where there is
no /proc, and in journals of versions that knew only those."""


def state_dir() -> Path:
    """Return the folder our state lives in: ``$AGENTSTORM_STATE``, else the user's state folder."""
    named = os.environ.get("AGENTSTORM_STATE")
    return Path(named) if named else platformdirs.user_state_path("agentstorm")


def runs_dir(state: Path | None = None) -> Path:
    """Return the folder of journals under `state` (default: `state_dir`)."""
    return (state or state_dir()) / "runs"


def started_at(pid: int) -> Start | None:
    """Return when process `pid` started; None when there is none, or only its zombie."""
    if not (boot := _boot_id()):
        return _wall_start(pid)
    try:
        told = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # none, or none of ours
        return None
    fields = told.rpartition(")")[2].split()
    return None if fields[_STATE] in {"Z", "X"} else f"{boot}/{fields[_STARTED]}"


@cache
def _boot_id() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _wall_start(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def is_same(pid: int, create_time: Start) -> bool:
    """Return whether the process `pid` of now is the one that started at `create_time`."""
    if isinstance(create_time, str):
        return started_at(pid) == create_time
    now = _wall_start(pid)
    return now is not None and abs(now - create_time) < _SAME_START_S


@dataclass(frozen=True)
class Entry:
    """One line: a thing done. `data` by kind:

    process {pid, create_time, what} · proxy {api, name} · fault {fault_id, api, proxy, toxics} or {fault_id, service},
    both with expires_ns once that is known · containers {project, engine}
    """

    number: int
    kind: str
    data: dict[str, Any]


class Journal:
    """The journal of a run that is on: each call returns once its line is on the disk. Thread-safe."""

    def __init__(self, recording: Path, run_id: int, state: Path | None = None) -> None:
        folder = runs_dir(state)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{run_id:016x}.jsonl"
        self._lock = threading.Lock()
        self._number = 0
        self._open: dict[int, Entry] = {}
        pid = os.getpid()
        owner = {"pid": pid, "create_time": started_at(pid), "recording": str(recording), "run_id": f"{run_id:016x}"}
        # Whole or not there (a journal without an owner would belong to nobody), and never over another run's.
        draft = self.path.with_suffix(f".{pid}.new")
        self._file = draft.open("w", encoding="utf-8")
        try:
            self._write({"entry": 0, "kind": "owner", **owner})
            self._name(draft, owner)
        except OSError:
            self._file.close()
            raise
        finally:
            draft.unlink()
        _sync_folder(folder)

    def _name(self, draft: Path, owner: dict[str, Any]) -> None:
        """Give the draft its name; where the file system has no hard links, write it anew under that."""
        try:
            self.path.hardlink_to(draft)
        except FileExistsError:
            raise
        except OSError:
            self._file.close()
            self._file = self.path.open("x", encoding="utf-8")
            try:
                self._write({"entry": 0, "kind": "owner", **owner})
            except OSError:
                self.path.unlink()
                raise

    def process(self, pid: int, what: str) -> int:
        """Note a process of ours (its process group, if it leads one); call it as soon as the pid is known."""
        return self._add("process", pid=pid, create_time=started_at(pid) or 0.0, what=what)

    def proxy(self, api: str, name: str) -> int:
        """Note a proxy that will be made in the Toxiproxy whose API is `api` (``host:port``)."""
        return self._add("proxy", api=api, name=name)

    def fault(self, fault_id: str, **on: Any) -> int:
        """Note a fault that will be injected; `on` says into what (see `Entry`). It goes with what it is on."""
        return self._add("fault", fault_id=fault_id, **on)

    def expires(self, entry: int, at_ns: int) -> None:
        """Note until when (monotonic) the fault of `entry` may be on: from then on `harness.heal` may take it back
        although its run is alive."""
        with self._lock:
            if entry in self._open:
                self._number += 1
                self._write({"entry": self._number, "kind": "expires", "of": entry, "expires_ns": at_ns})

    def containers(self, project: str, engine: str) -> int:
        """Note a Compose project whose containers, networks and volumes the Docker engine at `engine` will make."""
        return self._add("containers", project=project, engine=engine)

    def healed(self, entry: int) -> None:
        """Note that what `entry` stands for is undone, verified."""
        with self._lock:
            if self._open.pop(entry, None) is not None:
                self._number += 1
                self._write({"entry": self._number, "kind": "healed", "of": entry})

    def still_open(self) -> list[Entry]:
        """Return what is not undone yet."""
        with self._lock:
            return list(self._open.values())

    def close(self) -> bool:
        """End the journal; it is removed when everything in it is undone. Returns whether it was."""
        with self._lock:
            self._file.close()
            if not self._open:
                self.path.unlink(missing_ok=True)
            return not self._open

    def _add(self, kind: str, **data: Any) -> int:
        with self._lock:
            self._number += 1
            self._write({"entry": self._number, "kind": kind, **data})
            self._open[self._number] = Entry(self._number, kind, data)
            return self._number

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Found:
    """A journal read from disk."""

    path: Path
    pid: int
    create_time: Start
    recording: str
    run_id: int
    still_open: tuple[Entry, ...]

    @property
    def owned(self) -> bool:
        """Whether the run that writes it is alive."""
        return is_same(self.pid, self.create_time)


def read(path: Path) -> Found:
    """Read a journal. A last line cut by the end of its run is left out: what it announced was not done.

    RecordingError when it cannot be understood.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    if lines[-1]:
        lines.pop()  # every whole line ends in a newline
    try:
        rows = [json.loads(line) for line in lines if line]
        owner = rows[0]
        entries = {
            row["entry"]: Entry(row["entry"], row["kind"], {k: v for k, v in row.items() if k not in ("entry", "kind")})
            for row in rows[1:]
        }
        for row in rows:
            if row["kind"] in ("healed", "expires"):
                entries.pop(row["entry"])
            if row["kind"] == "healed":
                entries.pop(row["of"], None)
            elif row["kind"] == "expires" and row["of"] in entries:
                entries[row["of"]].data["expires_ns"] = row["expires_ns"]
        return Found(
            path,
            int(owner["pid"]),
            _start(owner["create_time"]),
            str(owner["recording"]),
            int(owner["run_id"], 16),
            tuple(entries.values()),
        )
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise RecordingError(
            f"{path}: cannot be read as a run's journal ({error!r}); look what it says was started, "
            "see that none of it is left, then delete the file"
        ) from error


def _start(told: Any) -> Start:
    return told if isinstance(told, str) else float(told)


def journals(state: Path | None = None) -> list[Path]:
    """Return the journals there are, oldest name first."""
    folder = runs_dir(state)
    return sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
