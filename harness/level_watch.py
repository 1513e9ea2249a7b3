"""What is seen of one level of a search while it lasts: its requests, what is in flight, how the generator fares."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from harness.clock import NS_PER_S
from harness.model.instrument import CPU_LIMIT, LATENESS_LIMIT_MS, SUSTAINED
from harness.model.request import SUCCEEDED
from harness.settling import Level

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from harness.settling import Array
    from harness.traffic import Pulse, Pulses

_LOOK_NS = NS_PER_S // 10
"""How finely the number in flight is looked at."""
_ENOUGH = 5
"""Seconds of the generator's own word before it is called late or busy."""


class LevelWatch:
    """One level, from when it is ordered; `planned_ns` is when its requests are due. Times are monotonic ns."""

    def __init__(
        self, rate: float, begin_ns: int, planned_ns: Array, pulses: Pulses, slo_s: float, width_s: float
    ) -> None:
        self.rate, self.begin_ns, self._width_s = rate, begin_ns, width_s
        self._known: Level | None = None
        self.settled_ns: int | None = None
        self._planned, self._pulses, self._slo_ns = planned_ns, pulses, round(slo_s * NS_PER_S)
        self._dropped = pulses.dropped
        self._due: list[Array] = []
        self._end: list[Array] = []
        self._good: list[Array] = []
        self._lateness_ms: defaultdict[str, list[float]] = defaultdict(list)
        self._cpu: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Take in requests; those of other levels are passed over."""
        for batch in batches:
            due, end = (np.asarray(batch.column(name)) for name in ("due_ns", "end_ns"))
            mine = due >= self.begin_ns
            words = batch.column("outcome")
            answered = np.isin(
                np.asarray(words.indices), [i for i, w in enumerate(words.dictionary.to_pylist()) if w in SUCCEEDED]
            )
            self._due.append(due[mine])
            self._end.append(end[mine])
            self._good.append((answered & (end - due <= self._slo_ns))[mine])

    def pulse(self, pulse: Pulse) -> None:
        """Take in what a worker said of itself."""
        if pulse.t_ns < self.begin_ns:
            return
        self._lateness_ms[pulse.worker].append(pulse.lateness_p99_ms)
        self._cpu[pulse.worker].append(pulse.cpu)

    @property
    def in_flight(self) -> int:
        """Requests in flight now."""
        return self._pulses.in_flight

    def so_far(self) -> Level:
        """Return what is known, complete up to the moment that every worker has told of."""
        if self._known is not None and self._known.until_ns == self._pulses.complete_ns:
            return self._known
        due, end = _whole(self._due), _whole(self._end)
        ended, until_ns = end >= 0, self._pulses.complete_ns
        # What a task asks beside the request that was due is no arrival of the schedule.
        own = np.isin(due, self._planned)
        over = np.sort(np.where(ended, end, due)[own])
        seen = np.arange(self.begin_ns, until_ns, _LOOK_NS)
        self._known = Level(
            rate=self.rate,
            width_s=self._width_s,
            begin_ns=self.begin_ns,
            until_ns=until_ns,
            ended_ns=end[ended],
            response_s=(end - due)[ended] / NS_PER_S,
            seen_ns=seen,
            in_flight=np.searchsorted(self._planned, seen, "right") - np.searchsorted(over, seen, "right"),
            dropped=self._pulses.dropped - self._dropped,
        )
        return self._known

    def good(self, from_ns: int, until_ns: int) -> tuple[int, int]:
        """Return how many requests were due in a stretch, and how many of them were good: one that should have been
        made and was not, or is not over yet, is none."""
        due, planned = _whole(self._due), self._planned
        within = (due >= from_ns) & (due < until_ns)
        wanted = np.count_nonzero((planned >= from_ns) & (planned < until_ns))
        good = np.count_nonzero(_whole(self._good).astype(bool) & within)
        return max(int(wanted), int(np.count_nonzero(within))), int(good)

    def overloaded(self) -> str:
        """Return how it shows that the load generator, not the system, is at its limit; "" when it does not show."""
        for worker, late in self._lateness_ms.items():
            busy = self._cpu[worker][-SUSTAINED:]
            if len(late) < _ENOUGH:
                continue
            if (usual := median(late[-SUSTAINED:])) > LATENESS_LIMIT_MS:
                return f"{worker} sent requests {usual:.0f} ms late (limit {LATENESS_LIMIT_MS:.0f} ms)"
            if (share := sum(busy) / len(busy)) > CPU_LIMIT:
                return f"{worker} used {share:.0%} of a core (limit {CPU_LIMIT:.0%})"
        return ""


def _whole(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
