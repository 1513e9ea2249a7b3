"""Undoing what dead runs left: processes, containers, faults, proxies; nothing but what a journal names and what is
provably ours.

A process is ours when its id *and* its start time are as journalled; a proxy, or a Compose project, when its name
carries the run's id. Faults live on those and go with them. A journal whose run is alive is left alone, except for a
fault that outlived its time (`expired`): that alone is taken back.

Two that heal at once (the guardian of a dead run, and its user) take turns, journal by journal.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import FaultFailed, MissingComponent, RecordingError
from harness.journal import Entry, Found, Start, is_same, journals, read, started_at
from harness.paths import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TERM_S, _KILL_S = 3.0, 3.0
_ORDERLY_S = 300.0
"""What a run that is alive may take, once it is told to end: it mends what it broke (a minute for each try), lets its
load end, takes its system down and closes its recording."""


@dataclass
class HealReport:
    """What was found and what became of it, in words."""

    undone: list[str] = field(default_factory=list)
    living: list[str] = field(default_factory=list)
    """Runs that are still on, left alone."""
    left: list[str] = field(default_factory=list)
    """What is, or may be, still broken, and what to do about it."""

    @property
    def healed(self) -> bool:
        """Whether nothing is left of dead runs."""
        return not self.left

    def lines(self) -> list[str]:
        """Return the report for a terminal, one line each."""
        lines = [f"undone: {what}" for what in self.undone]
        lines += [f"left alone: {what}" for what in self.living]
        lines += [f"NOT HEALED: {what}" for what in self.left]
        return lines or ["nothing to heal"]


def heal(state: Path | None = None, *, run: str | None = None, expired: bool = False) -> HealReport:
    """Undo what dead runs left, verify it, and close their journals. `state` as in `journal.runs_dir`.

    `run`: only that one, by the name of its journal. `expired`: take back faults of living runs that outlived their
    time, too; a run that holds on to one which only itself could take back is ended, and then undone as a dead one.
    """
    report = HealReport()
    for path in journals(state):
        if run in (None, path.stem):
            try:
                journal = path.open("rb")
            except FileNotFoundError:  # closed just now
                continue
            with journal:
                fcntl.flock(journal, fcntl.LOCK_EX)
                _heal(path, report, expired=expired)
    return report


def _heal(path: Path, report: HealReport, *, expired: bool) -> None:
    found = _read(path, report.left)
    if found is None:
        return
    problems: list[str] = []
    if found.owned and not (expired and _take_back_expired(found, report.undone, problems)):
        report.living.append(_owner(found))
    else:
        for entry in reversed(found.still_open):  # last in, first out
            _undo(entry, found, report.undone, problems)
        if not problems:
            path.unlink(missing_ok=True)
    report.left += [f"{p}\n  run {found.run_id:016x}, {shown(found.recording)}; journal {path}" for p in problems]


def dirty(state: Path | None = None) -> list[str]:
    """Return what dead runs left that is really still there (or cannot be looked at), in words; changes nothing."""
    left: list[str] = []
    for path in journals(state):
        found = _read(path, left)
        if found is not None and not found.owned:
            there = [what for entry in found.still_open if (what := _still_there(entry, found))]
            left += [f"{what} (run of {shown(found.recording)})" for what in there]
    return left


def _read(path: Path, problems: list[str]) -> Found | None:
    try:
        return read(path)
    except FileNotFoundError:  # its run, or another heal, closed it just now
        return None
    except RecordingError as error:
        problems.append(str(error))
        return None


def _owner(found: Found) -> str:
    return f"run {found.run_id:016x} is still on (process {found.pid}, {shown(found.recording)})"


@dataclass(frozen=True)
class _Means:
    """What can be asked and done about one kind of entry, from its data."""

    there: Callable[[dict[str, Any], Found], str | None]
    """Return what of it is still there, or that this cannot be told, in words; None when it is gone."""
    undo: Callable[[dict[str, Any]], None]
    """Remove it; FaultFailed, MissingComponent or OSError when that cannot be."""
    by_hand: Callable[[dict[str, Any]], str]
    """Return what somebody can do about it."""


def _still_there(entry: Entry, found: Found) -> str | None:
    """Return what of `entry` is still there, in words; None when it is gone."""
    means = _MEANS.get(entry.kind)
    return None if means is None else means.there(entry.data, found)


def _undo(entry: Entry, found: Found, undone: list[str], problems: list[str]) -> None:
    what = _still_there(entry, found)
    if what is None:
        return
    means = _MEANS[entry.kind]
    try:
        means.undo(entry.data)
    except (FaultFailed, MissingComponent, OSError) as error:
        problems.append(f"{what}, and could not be removed: {error}\n  {means.by_hand(entry.data)}")
        return
    still = _still_there(entry, found)
    if still is None:
        undone.append(what)
    else:
        problems.append(f"{still}\n  {means.by_hand(entry.data)}")


# --- faults of living runs


def _take_back_expired(found: Found, undone: list[str], problems: list[str]) -> bool:
    """Take back the faults of a living run that outlived their time; return whether the run had to be ended."""
    late = [e for e in found.still_open if e.kind == "fault" and e.data.get("expires_ns", now_ns()) < now_ns()]
    for entry in late:
        if "proxy" not in entry.data:
            _end_run(found)
            undone.append(f"{_owner(found)} and holds on to {entry.data['fault_id']}: it was ended")
            return True
        try:
            if _mend_proxy(entry.data) | _mend_http(entry.data):
                undone.append(f"{entry.data['fault_id']}, which outlived its time")
        except (FaultFailed, OSError) as error:
            problems.append(f"{entry.data['fault_id']} outlived its time and could not be taken back: {error}")
    return False


def _end_run(found: Found) -> None:
    """Have a living run end in order: it has once its journal is gone. Else kill it; FaultFailed if it stays.

    One that is stopped (Ctrl-Z) hears nothing and is not waited for. It alone is killed: a shell puts what its output
    is piped into in its group, and what it started itself is on a leash, or in a session of its own that ends with it.
    """
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline_ns = now_ns() + int(_ORDERLY_S * NS_PER_S)
    while found.path.exists() and found.owned and not _stopped(found.pid) and now_ns() < deadline_ns:
        sleep(0.05)
    if found.path.exists():
        _end_process(found.pid, found.create_time, grouped=False)


def _stopped(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def _mend_proxy(data: dict[str, Any]) -> bool:
    """Take a fault's toxics off its proxy and switch that on; return whether there was anything to do."""
    from harness.faults.toxiproxy import Toxiproxy  # noqa: PLC0415

    server = Toxiproxy(data["api"])
    proxy = server.proxy(data["proxy"]) if server.listening() else None
    if proxy is None:
        return False
    on = [name for name in data["toxics"] if name in proxy.toxics()]
    if not on and proxy.enabled:
        return False
    proxy.remove(*on)
    proxy.enable(enabled=True)
    return True


def _mend_http(data: dict[str, Any]) -> bool:
    """Take a fault off the HTTP fault proxy, where that stands before the upstream; return whether it was on."""
    from harness.faults.http_proxy import HttpRoute  # noqa: PLC0415

    if (on := data.get("http")) is None:
        return False
    route = HttpRoute(on["admin"], on["route"], "")
    if data["fault_id"] not in route.faults():
        return False
    route.behave(data["fault_id"])
    return True


# --- proxies


def _proxy_there(data: dict[str, Any], found: Found) -> str | None:
    from harness.faults.toxiproxy import Toxiproxy, run_prefix  # noqa: PLC0415 - most heals find no journal

    api, name = data["api"], data["name"]
    if _server_gone(api, found) or not name.startswith(run_prefix(found.run_id)):
        return None
    try:
        server = Toxiproxy(api)
        here = server.listening() and server.proxy(name) is not None
    except FaultFailed as error:
        return f"proxy {name} cannot be looked at: {error}"
    if not here:
        return None
    faults = [e.data["fault_id"] for e in found.still_open if e.kind == "fault" and e.data.get("proxy") == name]
    on = f", broken by {', '.join(faults)}" if faults else ""
    return f"proxy {name} is still in the Toxiproxy at {api}{on}"


def _server_gone(api: str, found: Found) -> bool:
    """Tell whether the Toxiproxy at `api` was a process of the run's own that is no more: somebody else may have its
    port by now."""
    own = [e.data for e in found.still_open if e.kind == "process" and e.data["what"] == f"toxiproxy at {api}"]
    return any(not is_same(data["pid"], data["create_time"]) for data in own)


def _delete_proxy(data: dict[str, Any]) -> None:
    from harness.faults.toxiproxy import Toxiproxy  # noqa: PLC0415

    Toxiproxy(data["api"]).delete(data["name"])


def _proxy_by_hand(data: dict[str, Any]) -> str:
    url = f"http://{data['api']}/proxies/{data['name']}"
    return f"see that {data['api']} can be reached, or `curl -X DELETE {url}`, then run `agentstorm heal` again"


# --- containers


def _project_there(data: dict[str, Any], found: Found) -> str | None:
    from harness.docker_engine import connect  # noqa: PLC0415
    from harness.system.compose_project import left_of, project_name  # noqa: PLC0415

    project = data["project"]
    if project != project_name(found.run_id):
        return None
    try:
        with closing(connect(at=_engine(data))) as client:
            left = left_of(client, project)
    except (FaultFailed, MissingComponent) as error:
        return f"the containers of {project} cannot be looked for: {error}"
    return f"of {project} there are still {', '.join(left)}" if left else None


def _engine(data: dict[str, Any]) -> str:
    """Return the address of the engine that has the project; "" for the one of this shell: earlier versions wrote down
    of every socket that it was one."""
    engine = str(data["engine"])
    return "" if engine.startswith("http+docker:") else engine


def _remove_project(data: dict[str, Any]) -> None:
    from harness.docker_engine import connect  # noqa: PLC0415
    from harness.system.compose_project import remove  # noqa: PLC0415

    with closing(connect(at=_engine(data))) as client:
        remove(client, data["project"], grace_s=0)


def _project_by_hand(data: dict[str, Any]) -> str:
    return (
        f"see that the Docker engine runs that has them ({data['engine']}), and run `agentstorm heal` again, or "
        f"`docker ps --all --filter label=com.docker.compose.project={data['project']}` and remove them"
    )


# --- processes


def _process_there(data: dict[str, Any], found: Found) -> str | None:  # noqa: ARG001 - as all are asked
    here = is_same(data["pid"], data["create_time"])
    return f"process {data['pid']} ({data['what']}) is still running" if here else None


def _process_by_hand(data: dict[str, Any]) -> str:
    return f"look at it with `ps -p {data['pid']}`, end it, then run `agentstorm heal` again"


def _end_process(pid: int, create_time: Start, *, grouped: bool = True) -> None:
    """SIGTERM, then SIGKILL, to the process and (when it leads its group, and that is its own: `grouped`) all of its
    group; FaultFailed if some stay.

    Each is signalled by its own id and start time, never the group as such: once the leader has gone, its number may
    be anybody's.
    """
    ours = {(pid, create_time)}
    for number, patience_s in ((signal.SIGTERM, _TERM_S), (signal.SIGKILL, _KILL_S)):
        if grouped and is_same(pid, create_time):
            ours |= _group(pid)
        for member, started in ours:
            if is_same(member, started):
                with suppress(ProcessLookupError):
                    os.kill(member, number)
        deadline_ns = now_ns() + int(patience_s * NS_PER_S)
        while (alive := [p for p, started in ours if is_same(p, started)]) and now_ns() < deadline_ns:
            sleep(0.02)
        if not alive:
            return
    raise FaultFailed(f"these do not end: {', '.join(map(str, sorted(alive)))}")


def _group(leader: int) -> set[tuple[int, Start]]:
    """Return the processes of the group that `leader` leads, with their start times."""
    members = set()
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == leader and (started := started_at(pid)) is not None:
                members.add((pid, started))
    return members


_MEANS = {
    "process": _Means(_process_there, lambda data: _end_process(data["pid"], data["create_time"]), _process_by_hand),
    "proxy": _Means(_proxy_there, _delete_proxy, _proxy_by_hand),
    "containers": _Means(_project_there, _remove_project, _project_by_hand),
}
"""By the kind of an entry. Faults are not among them: they go with what they are on."""
