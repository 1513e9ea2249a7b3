"""Locust's own statistics, kept true for workloads that read them, without their cost. Only for the Locust subprocess.

Locust counts each request into two entries of dicts as it happens, and keeps a count for every second it ever ran. Here
a request is one entry in a list; once a second the lists are added up. What ``environment.stats`` says is therefore up
to a second old while the load runs, and complete when ``test_stopping``, ``test_stop`` and ``quitting`` fire. The past
beyond the last minute is forgotten second by second, and names and errors beyond `_MOST` share one entry.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from locust.stats import StatsError, bucket_response_time

from harness.clock import wall_s

if TYPE_CHECKING:
    from locust.env import Environment
    from locust.stats import RequestStats

_MOST = 1000
_SECONDS = 60
_AT_ONCE = 256
"""Adding up more requests at once would hold up the loop."""
_OTHERS = "(others: too many different ones)"

Request = tuple[float | None, int, bool]


class Statistics:
    """Counts requests for ``environment.stats``.

    To be made after Locust's runner, which counts no more, and before the workload is imported, whose listeners stay.
    """

    def __init__(self, environment: Environment) -> None:
        environment.events.request._handlers.clear()  # noqa: SLF001 - the runner keeps no reference to its own
        self._stats: RequestStats = environment.stats
        self._requests: defaultdict[tuple[str, str], list[Request]] = defaultdict(list)
        self._errors: Counter[tuple[str, str, str]] = Counter()

    def add(
        self, method: str, name: str, response_ms: float | None, length: int, error: Exception | str | None
    ) -> None:
        """Take a request as Locust's request event reports it."""
        rows = self._requests[name, method]
        rows.append((response_ms, length, error is not None))
        if len(rows) == _AT_ONCE:
            self._count(name, method, self._requests.pop((name, method)))
        if error is not None:
            key = (method, name, StatsError.parse_error(error))
            self._errors[key if key in self._errors or len(self._errors) < _MOST else ("", "", _OTHERS)] += 1

    def settle(self) -> None:
        """Add up what came since the last call."""
        requests, self._requests = self._requests, defaultdict(list)
        errors, self._errors = self._errors, Counter()
        for (name, method), rows in requests.items():
            self._count(name, method, rows)
        stats, now = self._stats, wall_s()
        for what, occurred in errors.items():
            key = StatsError.create_key(*what)
            if key not in stats.errors and len(stats.errors) >= _MOST:
                what = ("", "", _OTHERS)  # noqa: PLW2901
                key = StatsError.create_key(*what)
            entry = stats.errors.setdefault(key, StatsError(*what))
            entry.occurrences += occurred
            entry.first_seen, entry.last_seen = entry.first_seen or now, now

    def _count(self, name: str, method: str, rows: list[Request]) -> None:
        entries, now = self._stats.entries, wall_s()
        known = (name, method) in entries or len(entries) < _MOST
        for entry in (entries[(name, method) if known else (_OTHERS, "")], self._stats.total):
            _add_up(entry, rows, now)


def _add_up(entry: Any, rows: list[Request], now: float) -> None:
    second, before = int(now), entry.last_request_timestamp
    if entry.use_response_times_cache and before and second > int(before):
        entry._cache_response_times(second - 1)  # noqa: SLF001 - what `log` does; nothing public does it
    times = [time for time, _, _ in rows if time is not None]
    failures = sum(failed for _, _, failed in rows)
    entry.last_request_timestamp = now
    entry.num_requests += len(rows)
    entry.num_none_requests += len(rows) - len(times)
    entry.num_failures += failures
    entry.total_content_length += sum(length for _, length, _ in rows)
    if times:
        entry.total_response_time += sum(times)
        entry.min_response_time = (
            min(times) if entry.min_response_time is None else min(entry.min_response_time, *times)
        )
        entry.max_response_time = max(entry.max_response_time, *times)
        for bucket, count in Counter(map(bucket_response_time, times)).items():
            entry.response_times[bucket] += count
    _remember(entry.num_reqs_per_sec, second, len(rows))
    if failures:
        _remember(entry.num_fail_per_sec, second, failures)


def _remember(seconds: dict[int, int], second: int, count: int) -> None:
    seconds[second] += count
    while len(seconds) > _SECONDS:
        del seconds[next(iter(seconds))]
