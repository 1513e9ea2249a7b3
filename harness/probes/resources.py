"""What each process of a run uses: the system's services, and our own instruments."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from harness.clock import NS_PER_S, now_ns, wall_offset
from harness.probes.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from harness.recording.tables import EventLog, SampleWriter

_MIB = 1024 * 1024
_RARELY = 10
"""Every how many looks the expensive questions are asked: who has which children, what memory is nobody else's."""


class _Family:
    """One watched process with its descendants, except those that are watched themselves."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.members = [psutil.Process(pid)]
        self.whole = True
        """Whether no descendant is left out. Only then do its ended children's CPU seconds belong to it."""
        self._cpu_s: Mapping[psutil.Process, float] = {}
        self._seen_ns = -1

    def adopt(self, members: list[psutil.Process], *, whole: bool) -> None:
        """Take these as its members."""
        if whole != self.whole:  # other seconds are counted from now on
            self._seen_ns = -1
        self.members, self.whole = members, whole

    def cpu(self, cpu_s: Mapping[psutil.Process, float], t_ns: int) -> float | None:
        """Return the cores used since the last call, None the first time; `cpu_s` has the seconds each member used.

        Of one that is older than the last call and was no member then, its past does not count. What one used that has
        ended stands in its parent's seconds from now on, if they count those.
        """
        was_s, was_ns = self._cpu_s, self._seen_ns
        self._cpu_s, self._seen_ns = cpu_s, t_ns
        if was_ns < 0:
            return None
        past = sum(used for member, used in cpu_s.items() if member not in was_s and _created_ns(member) < was_ns)
        before = sum(used for member, used in was_s.items() if self.whole or member in cpu_s)
        return max(0.0, sum(cpu_s.values()) - past - before) * NS_PER_S / (t_ns - was_ns)


def _created_ns(process: psutil.Process) -> int:
    """Return when it was created, monotonic; -1 of one that has ended meanwhile."""
    try:
        return round(process.create_time() * NS_PER_S) + wall_offset()[0]
    except psutil.NoSuchProcess:
        return -1


class Resources(Periodic):
    """Samples each process and its descendants every second, as source ``process:<name>`` (a descendant with a name
    of its own counts there only):

    ``cpu`` (cores, since the last look), ``memory_mib`` (resident), ``threads``, ``fds``; every 10 s ``connections``
    (TCP and UDP sockets) and ``uss_mib`` (memory that would be freed were it to end), where the system shows them,
    ``processes`` (how many those are) and ``fds_limit`` (open files allowed to each of them, to the one with fewest).
    `pids` is asked at every look, so a restarted service is followed, and its ``restarts`` are counted. A process that
    cannot be read is told once as an event.
    """

    def __init__(
        self, pids: Callable[[], Mapping[str, int]], samples: SampleWriter, events: EventLog, *, every_s: float = 1.0
    ) -> None:
        super().__init__("resources", every_s, events)
        self._pids, self._samples = pids, samples
        self._families: dict[str, _Family] = {}
        self._looks = 0
        self._restarts: dict[str, int] = defaultdict(int)

    def look(self) -> None:
        """Sample every process once."""
        pids = self._pids()
        rarely = self._looks % _RARELY == 0
        self._looks += 1
        children = _children() if rarely else None
        problems = []
        for name, pid in pids.items():
            try:
                family = self._families.get(name)
                if family is None or family.pid != pid:
                    if family is not None:
                        self._restarts[name] += 1
                        self._samples.sample(f"process:{name}", "restarts", self._restarts[name])
                    family = self._families[name] = _Family(pid)
                    children = _children() if children is None else children
                if children is not None:
                    others = set(pids.values()) - {pid}
                    everyone = list(_descendants(family.members[0], children, set()))
                    members = list(_descendants(family.members[0], children, others))
                    family.adopt(members, whole=len(everyone) == len(members))
                self._sample(f"process:{name}", family, rarely=rarely)
            except psutil.Error as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise OSError("; ".join(problems))

    def _sample(self, source: str, family: _Family, *, rarely: bool) -> None:
        totals: dict[str, float] = defaultdict(float)
        cpu_s: dict[psutil.Process, float] = {}
        t_ns = now_ns()
        for process in family.members:
            try:
                cpu_s[process] = _read(process, totals, rarely=rarely, with_ended=family.whole)
            except psutil.NoSuchProcess:
                if process is family.members[0]:
                    raise
        cpu = family.cpu(cpu_s, t_ns)
        if cpu is not None:
            self._samples.sample(source, "cpu", cpu, t_ns=t_ns)
        for metric, value in totals.items():
            self._samples.sample(source, metric, value, t_ns=t_ns)


def _read(process: psutil.Process, totals: dict[str, float], *, rarely: bool, with_ended: bool) -> float:
    """Add what `process` uses to `totals`; return the CPU seconds it (and its ended children) used so far."""
    with process.oneshot():
        times = process.cpu_times()
        totals["memory_mib"] += process.memory_info().rss / _MIB
        totals["threads"] += process.num_threads()
        totals["fds"] += process.num_fds()
        if rarely:
            totals["processes"] += 1
            with suppress(psutil.AccessDenied):  # what is not shown is left out
                totals["uss_mib"] += process.memory_full_info().uss / _MIB
            with suppress(psutil.AccessDenied):
                totals["connections"] += len(process.net_connections("inet"))
            if allowed := _open_files(process):
                totals["fds_limit"] = min(allowed, totals.get("fds_limit", allowed))
    return times.user + times.system + (times.children_user + times.children_system if with_ended else 0.0)


def _open_files(process: psutil.Process) -> float | None:
    """Return how many files a process may have open; None where that is not shown or has no limit."""
    if not hasattr(psutil, "RLIMIT_NOFILE"):
        return None
    try:
        soft, _ = process.rlimit(psutil.RLIMIT_NOFILE)
    except psutil.AccessDenied:
        return None
    return float(soft) if soft != psutil.RLIM_INFINITY else None


def _children() -> dict[int, list[psutil.Process]]:
    """Return every process's children; one walk over all processes."""
    children: dict[int, list[psutil.Process]] = defaultdict(list)
    for process in psutil.process_iter():
        try:
            children[process.ppid()].append(process)
        except psutil.Error:  # gone meanwhile, or not ours to look at
            continue
    return children


def _descendants(
    process: psutil.Process, children: Mapping[int, list[psutil.Process]], without: set[int]
) -> Iterator[psutil.Process]:
    yield process
    for child in children.get(process.pid, ()):
        if child.pid not in without:
            yield from _descendants(child, children, without)
