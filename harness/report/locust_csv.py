"""The tables that Locust's ``--csv`` writes, from a recording: for viewers that read those.

    NAME_stats.csv           every request name, and all together, over the whole run
    NAME_stats_history.csv   all together, second by second
    NAME_failures.csv        errors by name
    NAME_exceptions.csv      what the workload itself raised; a recording holds none, so only its head

Columns and their meaning are Locust's (`locust.stats.StatsCSV`): requests that came to an end, warm-up included, by
the time they took from when they were **sent**, ms. Percentiles are its as well, without rounding times to buckets
first. ``Type`` is empty: a recording does not hold the HTTP method.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.frame import words
from harness.clock import NS_PER_S
from harness.errors import RecordingError
from harness.model.request import ANSWERED, BAD
from harness.recording.columns import values
from harness.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from harness.recording.reader import Recording

    Array = np.ndarray[Any, np.dtype[Any]]

FOLDER = "locust"
SHARES = (0.50, 0.66, 0.75, 0.80, 0.90, 0.95, 0.98, 0.99, 0.999, 0.9999, 1.0)
_PERCENTS = ("50%", "66%", "75%", "80%", "90%", "95%", "98%", "99%", "99.9%", "99.99%", "100%")
STATS = (
    "Type", "Name", "Request Count", "Failure Count", "Median Response Time", "Average Response Time",
    "Min Response Time", "Max Response Time", "Average Content Size", "Requests/s", "Failures/s", *_PERCENTS,
)  # fmt: skip
HISTORY = (
    "Timestamp", "User Count", "Type", "Name", "Requests/s", "Failures/s", *_PERCENTS, "Total Request Count",
    "Total Failure Count", "Total Median Response Time", "Total Average Response Time", "Total Min Response Time",
    "Total Max Response Time", "Total Average Content Size",
)  # fmt: skip
FAILURES = ("Method", "Name", "Error", "Occurrences", "First Seen", "Last Seen")
EXCEPTIONS = ("Count", "Message", "Traceback", "Nodes")
ALL = "Aggregated"
_RECENT_S = 10
"""What Locust calls the current rate is the mean of ten seconds, the last two left out (`StatsEntry.current_rps`)."""


class _Ended:
    """The load's requests that came to an end, in the order they did."""

    def __init__(self, recording: Recording) -> None:
        table, end = recording.requests, values(recording.requests.column("end_ns"))
        outcome = words(table, "outcome")
        kept = np.flatnonzero(outcome.among(ANSWERED) & (end >= 0))
        order = kept[np.argsort(end[kept], kind="stable")]
        self.end: Array = end[order]
        self.ms: Array = (self.end - values(table.column("start_ns"))[order]) / 1e6
        self.failed: Array = outcome.among(BAD)[order]
        self.size: Array = np.maximum(values(table.column("bytes_in"))[order], 0)
        self.name, self.error = words(table, "name"), words(table, "error")
        self.name_of, self.error_of = self.name.codes[order], self.error.codes[order]
        clock = recording.manifest["clock"]
        self._zero: float = datetime.fromisoformat(clock["utc"]).timestamp() - clock["monotonic_ns"] / NS_PER_S
        """Wall-clock time at monotonic 0."""
        begun = [e.t_ns for e in recording.events if (e.kind, e.subject) == ("load", "started")]
        starts = values(table.column("start_ns"))[order]
        self.begin_ns = begun[0] if begun else int(starts.min()) if len(starts) else 0

    def wall(self, at_ns: int) -> float:
        """Return the wall-clock time of a moment, seconds since 1970."""
        return self._zero + at_ns / NS_PER_S


def write_csv(recording: Recording, name: str) -> list[Path]:
    """Write the four files into the recording's `locust/`; return their paths. The requests are held in memory."""
    if not name or {"/", "\\"} & set(name):
        raise RecordingError(f"--csv {name!r}: a name without folders, as in --csv run; the files go to DIR/{FOLDER}/")
    ended = _Ended(recording)
    folder = recording.path / FOLDER
    folder.mkdir(exist_ok=True)
    tables: dict[str, Iterable[Sequence[object]]] = {
        "stats": (STATS, *_stats(ended)),
        "stats_history": (HISTORY, *_history(ended, recording)),
        "failures": (FAILURES, *_failures(ended)),
        "exceptions": (EXCEPTIONS,),
    }
    paths = []
    for kind, rows in tables.items():
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        path = folder / f"{name}_{kind}.csv"
        write_whole(path, text.getvalue())
        paths.append(path)
    return paths


def percentiles(ordered: Array) -> list[int | str]:
    """Return Locust's percentiles of ascending times, whole ms: the one that ``int(n * share)`` others come before
    (`locust.stats.calculate_response_time_percentile`)."""
    n = len(ordered)
    return [round(float(ordered[min(n - 1, int(n * share))])) for share in SHARES] if n else ["N/A"] * len(SHARES)


def _summary(ordered: Array, ms_sum: float, size_sum: float) -> list[float]:
    """Return median (the lower one, as Locust), mean, shortest, longest (ms) and the mean size (bytes)."""
    n = len(ordered)
    if not n:
        return [0, 0, 0, 0, 0]
    return [float(ordered[(n - 1) // 2]), ms_sum / n, float(ordered[0]), float(ordered[-1]), size_sum / n]


def _stats(ended: _Ended) -> Iterable[Sequence[object]]:
    every = np.arange(len(ended.end))
    # Locust counts from the start of the run to the last request of any name.
    seconds = (int(ended.end[-1]) - ended.begin_ns) / NS_PER_S if len(every) else 0.0
    groups = {word: np.flatnonzero(ended.name_of == code) for code, word in enumerate(ended.name.words)}
    for name, rows in [*sorted(groups.items()), (ALL, every)]:
        if len(rows) or name == ALL:
            ordered, failed = np.sort(ended.ms[rows]), int(ended.failed[rows].sum())
            per_s = (len(rows) / seconds, failed / seconds) if seconds > 0 else (0.0, 0.0)
            yield (
                "", name, len(rows), failed, *_summary(ordered, float(ordered.sum()), float(ended.size[rows].sum())),
                *per_s, *percentiles(ordered),
            )  # fmt: skip


def _failures(ended: _Ended) -> Iterable[Sequence[object]]:
    rows = np.flatnonzero(ended.failed)
    pairs = np.stack([ended.name_of[rows], ended.error_of[rows]], axis=1)
    kinds, which = np.unique(pairs, axis=0, return_inverse=True) if len(rows) else (pairs, np.zeros(0, int))
    found = []
    for number, (name, error) in enumerate(kinds):
        mine = ended.end[rows[which.ravel() == number]]
        seen = [_utc(ended.wall(int(moment))) for moment in (mine[0], mine[-1])]
        found.append(("", ended.name.words[name], ended.error.words[error], len(mine), *seen))
    return sorted(found)


def _utc(seconds: float) -> str:
    """Return a moment as Locust writes it (`locust.util.date.format_utc_timestamp`)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _history(ended: _Ended, recording: Recording) -> Iterable[Sequence[object]]:
    """One row a second, over everything up to then, as Locust's own without ``--csv-full-history``."""
    if not len(ended.end):
        return
    load = recording.plan.scenario.load
    users = 0 if load.open_loop else round(load.peak or 0)
    second = np.floor(ended.wall(0) + ended.end / NS_PER_S).astype(np.int64)
    begun, growing = int(ended.wall(ended.begin_ns)), _Growing(ended.ms)
    sums = [np.cumsum(column) for column in (ended.ms, ended.size, ended.failed)]
    for now in range(int(second[0]) + 1, int(second[-1]) + 2):
        upto = int(np.searchsorted(second, now))
        latest = int(second[upto - 1])
        window = (max(latest - _RECENT_S - 2, begun), latest - 2)
        recent = slice(*np.searchsorted(second, window))
        length = max(window[1] - window[0], 0)
        current = [n / length if length else 0.0 for n in (len(second[recent]), int(ended.failed[recent].sum()))]
        growing.take(upto)
        ms_sum, size_sum, failed = (column[upto - 1] for column in sums)
        yield (
            now, users, "", ALL, *(f"{rate:2f}" for rate in current), *percentiles(growing.ordered), upto,
            int(failed), *_summary(growing.ordered, float(ms_sum), float(size_sum)),
        )  # fmt: skip


class _Growing:
    """Values in ascending order, of which more and more come."""

    def __init__(self, series: Array) -> None:
        self._series, self._n = series, 0
        self.ordered: Array = series[:0]

    def take(self, upto: int) -> None:
        """Take the next values, up to that many in all."""
        fresh = np.sort(self._series[self._n : upto])
        self.ordered = np.insert(self.ordered, np.searchsorted(self.ordered, fresh), fresh)
        self._n = upto
