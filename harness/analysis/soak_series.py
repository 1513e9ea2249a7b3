"""The series of a soak: each resource of each process and container, and the service, window by window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.analysis.by_bucket import ByBucket, bucket_of, cuts
from harness.analysis.frame import LOWER_BOUNDS, METRICS, merged, numbers, words
from harness.analysis.stats import NS_PER_MS, percentiles
from harness.clock import NS_PER_S
from harness.model.request import ANSWERED, BAD, SUCCEEDED, UNKNOWN
from harness.recording.ordered import distinct

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from concurrent.futures import Future

    import pyarrow as pa

    from harness.analysis.frame import Array, Frame, Kinds
    from harness.analysis.ledger import Calls
    from harness.analysis.scan import Scan
    from harness.analysis.timeline import Span, Timeline
    from harness.model.findings import Failover
    from harness.model.soak import SoakWhat

SERVICE = "service"
INSTRUMENTS = ("harness", "toxiproxy", "http fault proxy")
"""Processes of ours, beside those of the load generator, which the manifest names."""
MOST = 120
"""Windows of a series: enough for a slope, and each long enough to hold the low point of a collector's saw-tooth."""
_PER_WINDOW = 50
"""Answers that a window has at least: fewer have no p95 to speak of."""


@dataclass(frozen=True)
class Line:
    """One series, window by window: `t` in hours from the start of the measured part."""

    owner: str
    what: SoakWhat
    unit: Literal["MiB", "count", "ms", "share", "calls"]
    metric: str
    t: Array
    y: Array
    window_s: float
    threshold: float
    """Per hour: the practical one."""
    quantum: float
    """Steps that the series comes in: a smaller change does not show."""
    bad: int = 1
    """The direction that is bad."""
    instrument: bool = False
    limit: float | None = None
    limit_is: str = ""
    restarts: int = 0

    @property
    def resource(self) -> bool:
        """Whether it is something that leaks."""
        return self.owner != SERVICE


@dataclass(frozen=True)
class _Kind:
    metrics: tuple[str, ...]
    """The recorded series, best first."""
    unit: Literal["MiB", "count"]
    threshold: float
    quantum: float
    limit: str


KINDS: Mapping[SoakWhat, _Kind] = {
    # A working set of 100 MiB that grows by 2 MiB an hour is doubled in two days; allocators take memory by the MiB.
    "memory": _Kind(("anon_mib", "memory_mib"), "MiB", 2.0, 1.0, "memory_limit_mib"),
    "fds": _Kind(("fds",), "count", 4.0, 1.0, "fds_limit"),  # the usual 1,024 in ten days
    "threads": _Kind(("threads", "pids"), "count", 2.0, 1.0, "pids_limit"),
    "connections": _Kind(("connections",), "count", 4.0, 1.0, ""),
}
LIMIT_WORDS = {"memory_limit_mib": "memory limit", "fds_limit": "open-files limit", "pids_limit": "limit of processes"}
RELATIVE = 0.05
"""Practical threshold of latencies and of calls per answer: share of their level, per hour."""
SHARES = {"failed": 0.005, "cache_hit": 0.02}
"""Those of shares: points (0..1) per hour."""


def instruments(manifest: Mapping[str, Any]) -> set[str]:
    """Return the names of all processes that are the harness itself."""
    found = set(INSTRUMENTS)
    for component in manifest.get("components", {}).values():
        if isinstance(component, dict):
            processes = [*(component.get("workers") or ()), component.get("master")]
            found |= {str(process["name"]) for process in processes if isinstance(process, dict) and "name" in process}
    return found


# --- resources -------------------------------------------------------------------------------------------------------


def resource_lines(
    samples: pa.Table, when: Timeline, manifest: Mapping[str, Any], stand_ins: Collection[str]
) -> Iterator[Line]:
    """Yield every resource of every process and container that was sampled in the measured part; those of `stand_ins`
    (`Target.stand_ins`) are none of the system's."""
    table = _Samples(samples, when)
    ours = instruments(manifest).union(stand_ins)
    machine = manifest.get("host", {}).get("memory_mib")
    for owner in table.owners:
        restarts = table.restarts(owner)
        for what, kind in KINDS.items():
            metric = next((name for name in kind.metrics if table.has(owner, name)), None)
            if metric is None:
                continue
            limit, limit_is = table.limit(owner, kind.limit), LIMIT_WORDS.get(kind.limit, "")
            if limit is None and what == "memory" and machine:
                limit, limit_is = float(machine), "machine's memory"
            if what == "fds" and not table.single(owner):
                limit = None
            moments, values = table.stretch(owner, metric, restarts)
            t, y, window_s = windowed(moments, values, lowest=what == "memory")
            yield Line(
                owner, what, kind.unit, metric, t, y, window_s, kind.threshold, kind.quantum,
                instrument=owner.partition(":")[2] in ours, limit=limit, limit_is=limit_is if limit else "",
                restarts=len(restarts),
            )  # fmt: skip


class _Samples:
    def __init__(self, samples: pa.Table, when: Timeline) -> None:
        self._source, self._metric = words(samples, "source"), words(samples, "metric")
        self._hours = (numbers(samples, "t_ns") - when.zero_ns) / (3600 * NS_PER_S)
        self._values = numbers(samples, "value")
        self._length = when.measured_s / 3600
        self.owners = sorted(w for w in self._source.words if w.startswith(("process:", "container:")))

    def has(self, owner: str, metric: str) -> bool:
        return len(self._of(owner, metric)[0]) > 0

    def _of(self, owner: str, metric: str, since: float = 0.0) -> tuple[Array, Array]:
        if metric not in self._metric.words:
            return np.zeros(0), np.zeros(0)
        mine = self._source.among([owner]) & self._metric.among([metric])
        mine &= (self._hours >= since) & (self._hours < self._length)
        return self._hours[mine], self._values[mine]

    def restarts(self, owner: str) -> list[float]:
        """Return when (hours) a process was seen to have been started anew in the measured part."""
        hours, count = self._of(owner, "restarts", since=-np.inf)
        anew = np.flatnonzero(np.diff(count, prepend=0) > 0)
        return [float(hours[i]) for i in anew if hours[i] >= 0]

    def limit(self, owner: str, metric: str) -> float | None:
        """Return the limit that was said last; None if none ever was."""
        _, values = self._of(owner, metric, since=-np.inf)
        return float(values[-1]) if len(values) else None

    def single(self, owner: str) -> bool:
        """Whether it is known to have been one process all the time: what several have open is nobody's to count
        against the limit of one."""
        _, values = self._of(owner, "processes", since=-np.inf)
        return len(values) > 0 and float(values.max()) == 1

    def stretch(self, owner: str, metric: str, restarts: list[float]) -> tuple[Array, Array]:
        """Return the longest stretch without a restart: what follows one begins anew and is no growth or shrinking."""
        hours, values = self._of(owner, metric)
        cuts = np.searchsorted(hours, restarts)
        parts = list(zip(np.split(hours, cuts), np.split(values, cuts), strict=True))
        return max(parts, key=lambda part: part[0][-1] - part[0][0] if len(part[0]) else -1.0)


def windowed(moments: Array, values: Array, *, lowest: bool) -> tuple[Array, Array, float]:
    """Return the middle, in hours, and the lowest (else the median) value of at most `MOST` windows of as many samples
    each, and their length in seconds.

    Of memory the lowest: between two runs of a garbage collector it grows without leaking, and only what a collection
    leaves is held.
    """
    size = max(1, -(-len(moments) // MOST))
    whole = len(moments) // size
    if not whole:
        return np.zeros(0), np.zeros(0), 0.0
    t = moments[: whole * size].reshape(whole, size).mean(axis=1)
    of = values[: whole * size].reshape(whole, size)
    length = float(moments[-1] - moments[0]) * 3600 / max(1.0, (len(moments) - 1) / size)
    return t, of.min(axis=1) if lowest else np.median(of, axis=1), length


# --- the service -----------------------------------------------------------------------------------------------------


def disturbed(when: Timeline, outages: tuple[Failover, ...]) -> list[Span]:
    """Return the stretches of faults and of what followed until service was good again: no part of a slow trend."""
    recovered = {outage.fault: outage for outage in outages}
    return merged(
        (fault.on(when.end_ns)[0], when.troubled_until(fault, recovered.get(fault.fault))) for fault in when.injected
    )


def service_lines(windows: ServiceWindows, calls: Calls, when: Timeline, out: list[Span]) -> list[Line]:
    """Return what users got, window by window; windows that touch a stretch of `out` are left out."""
    many, edges = len(windows), windows.edges
    if many < 2:
        return []
    calm = np.ones(many, bool)
    for begin, end in out:
        calm &= (edges[1:] <= begin) | (edges[:-1] >= end)
    hours = ((edges[:-1] + edges[1:]) / 2 - when.zero_ns) / (3600 * NS_PER_S)
    window_s = when.measured_s / many
    found: list[Line] = []

    def line(
        what: SoakWhat, unit: Literal["ms", "share", "calls"], metric: str, y: Array, n: int = 0, bad: int = 1
    ) -> None:
        told = calm & np.isfinite(y)
        if told.any():
            typical = float(np.median(y[told]))
            threshold = SHARES.get(what, RELATIVE * typical)
            # A share of n that was the same in both halves may differ by 3 in each (the rule of three).
            found.append(
                Line(SERVICE, what, unit, metric, hours[told], y[told], window_s, threshold, 6 / n if n else 0.0, bad)
            )

    (p50, p95), sums = windows.percentiles(), windows.sums()
    answered, lookups = sums["answered"], sums["lookups"]
    line("response_p50", "ms", "response_time", p50)
    line("response_p95", "ms", "response_time", p95)
    line("failed", "share", "request_failed", _ratio(sums["bad"], answered), int(answered.sum()))
    line("cache_hit", "share", "cache_hit", _ratio(sums["hits"], lookups), int(lookups.sum()), -1)
    if len(calls):
        ours = calls.received[calls.load_row >= 0] if calls.joined else calls.received
        made = np.bincount(bucket_of(ours, edges) + 1, minlength=many + 1)[1:]
        line("provider_calls", "calls", "ledger", _ratio(made, sums["answers"]))
    return found


def _ratio(part: Array, whole: Array) -> Array:
    share: Array = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return share


class ServiceWindows:
    """What the requests due in each window of the measured part say: percentiles in ms, and counts (`orders.Look`)."""

    def __init__(self, load: Scan, begin_ns: int, end_ns: int) -> None:
        many = min(MOST, load.rows // _PER_WINDOW) if end_ns > begin_ns else 0
        self.edges = np.linspace(begin_ns, end_ns, many + 1).round().astype(np.int64)
        self._threads, self._sums = load.threads, _Sums(load.kinds, many)
        self._percentiles = np.full((2, many), np.nan)
        self._times = ByBucket(self.edges)
        self._under_way: list[Future[None]] = []

    def __len__(self) -> int:
        return len(self.edges) - 1

    def look(self, frame: Frame) -> None:
        """Take the next requests of the load."""
        for number, rows in cuts(frame.due, self.edges):
            self._sums.add(number, frame.kind[rows])
        values, told = METRICS[LOWER_BOUNDS](frame)
        due = frame.due if told is None else frame.due[told]
        self._hand_on(self._times.add(due, values if told is None else values[told]))

    def _hand_on(self, complete: Iterator[tuple[int, tuple[Array, ...]]]) -> None:
        for number, (times,) in complete:
            self._under_way.append(self._threads.submit(self._take, number, times))

    def _take(self, number: int, times: Array) -> None:
        self._percentiles[:, number] = np.array(percentiles(times, (50, 95))) / NS_PER_MS

    def percentiles(self) -> Array:
        """Return p50 and p95 of every window, once all requests were looked at; nan where none was due."""
        self._hand_on(self._times.rest())
        for taken in self._under_way:
            taken.result()
        self._under_way.clear()
        return self._percentiles

    def sums(self) -> Mapping[str, Array]:
        """Return of each window how many requests were `answered`, `bad` and `answers`, and the cache's `hits` and
        `lookups` that they show."""
        return self._sums.found()


class _Sums:
    """Sums over the requests of each window. Kinds that count alike are one class: of kinds there may be 10^5, one for
    each text of an error."""

    def __init__(self, kinds: Kinds, windows: int) -> None:
        outcome = kinds.words("outcome")
        lookups, hits = (kinds.numbers(f"cache_{name}").astype(np.int64) for name in ("lookups", "hits"))
        shown = (lookups != UNKNOWN) & (hits != UNKNOWN)
        weights = {
            "answered": outcome.among(ANSWERED), "bad": outcome.among(BAD), "answers": outcome.among(SUCCEEDED),
            "hits": hits * shown, "lookups": lookups * shown,
        }  # fmt: skip
        columns = [weight.astype(np.int64) for weight in weights.values()]
        first, self._class = distinct(columns)
        self._weights = dict(zip(weights, (column[first] for column in columns), strict=True))
        self._counts = np.zeros((windows, len(first)), np.int64)

    def add(self, window: int, kind: Array) -> None:
        """Take requests of a window, by their kinds."""
        self._counts[window] += np.bincount(self._class.take(kind), minlength=self._counts.shape[1])

    def found(self) -> Mapping[str, Array]:
        return {name: self._counts @ weight for name, weight in self._weights.items()}
