"""What each level of load used: processes and containers by their samples, providers by their ledgers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.capacity_rows import in_flight
from harness.analysis.frame import numbers, words
from harness.analysis.resources import CPU_FULL, MEMORY_FULL, THROTTLED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pyarrow as pa

    from harness.analysis.frame import Array
    from harness.analysis.ledger import Calls
    from harness.analysis.timeline import Span
    from harness.model.capacity import LimitKind

GENERATOR_FULL = 0.8
"""Share of one core: above it the generator may be what is slow."""
ONE_CORE = 1.1
"""A process that never used more of the machine runs in one thread: one core is all it can get."""


@dataclass(frozen=True)
class Resource:
    """Something that can be used up."""

    name: str
    kind: LimitKind
    of: str
    full_at: float


_OF_CONTAINER: Mapping[str, tuple[str, LimitKind, str, float]] = {
    "cpu_of_limit": ("cpu", "cpu", "its CPU limit", CPU_FULL),
    "throttled": ("throttling", "throttled", "scheduler periods", THROTTLED),
    "memory_of_limit": ("memory", "memory", "its memory limit", MEMORY_FULL),
}


class Used:
    """The samples of a recording as shares of limits. `cores` are the machine's, None where nobody wrote them down;
    `ours` names what is the harness itself, `stand_ins` what stands in for providers: neither is part of the system."""

    def __init__(
        self, samples: pa.Table, cores: float | None, ours: Collection[str] = (), stand_ins: Collection[str] = ()
    ) -> None:
        self._cores = cores
        self._moments, self._values = numbers(samples, "t_ns"), numbers(samples, "value")
        source, metric = words(samples, "source"), words(samples, "metric")
        self._rows: dict[str, Array] = {}
        self.resources: dict[str, Resource] = {}
        self._by_source = {
            word: mine
            for word in source.words
            if len(mine := np.flatnonzero(source.among([word]) & metric.among(["cpu"])))
        }
        # What a load generator says of itself stands in the samples of its process, too, or is of another machine.
        self._here = [rows for word, rows in self._by_source.items() if not word.startswith("worker:")]
        for word in source.words:
            kind, _, name = word.partition(":")
            own: LimitKind | None = "generator" if name in ours else "stand_in" if name in stand_ins else None
            if kind == "container":
                for key, (title, what, of, full) in _OF_CONTAINER.items():
                    mine = np.flatnonzero(source.among([word]) & metric.among([key]))
                    self._add(Resource(f"{name} {title}", own or what, of, full), mine)
            elif kind == "process" and word in self._by_source and not self._many_cores(word):
                self._add(Resource(f"{name} cpu", own or "cpu", "one core", CPU_FULL), self._by_source[word])
            elif kind == "worker" and word in self._by_source:
                about = Resource(f"generator {name} cpu", "generator", "one core", GENERATOR_FULL)
                self._add(about, self._by_source[word])
        if cores and self._here:
            self.resources[MACHINE] = Resource(MACHINE, "cpu", f"{cores:g} cores", CPU_FULL)

    def _add(self, resource: Resource, rows: Array) -> None:
        if len(rows):
            self._rows[resource.name] = rows
            self.resources[resource.name] = resource

    def _many_cores(self, source: str) -> bool:
        return float(np.percentile(self._values[self._by_source[source]], 95)) > ONE_CORE

    def shares(self, span: Span) -> dict[str, float]:
        """Return the mean share that each resource was used of in a stretch; without those not sampled in it."""
        found = {name: mean for name, rows in self._rows.items() if (mean := self._mean(rows, span)) is not None}
        if self._cores and MACHINE in self.resources:
            total = [m for rows in self._here if (m := self._mean(rows, span)) is not None]
            found |= {MACHINE: sum(total) / self._cores} if total else {}
        return found

    def _mean(self, rows: Array, span: Span) -> float | None:
        moments = self._moments[rows]
        inside = self._values[rows[(moments >= span[0]) & (moments < span[1])]]
        return float(inside.mean()) if len(inside) else None


MACHINE = "whole machine cpu"
"""Everything that was watched, the generator too, in the cores there are."""


@dataclass(frozen=True)
class UnderWay:
    """How many calls an upstream had under way in a stretch: weighted by time."""

    mean: float
    spread: float
    """Variance by mean: about 1 where calls come by chance, near 0 where something holds their number."""
    top: int
    """So many or fewer in 99 % of the time."""


def under_way(calls: Calls, upstream: str, span: Span) -> UnderWay:
    """Return how many calls were under way; one that was never answered lasts."""
    mine = calls.by(upstream) & (calls.received < span[1]) & ((calls.answered >= span[0]) | (calls.answered < 0))
    begin = np.maximum(calls.received[mine], span[0])
    end = np.where(calls.answered[mine] < 0, span[1], np.minimum(calls.answered[mine], span[1]))
    moments = np.concatenate([[span[0]], begin, end, [span[1]]])
    order = np.argsort(moments, kind="stable")
    steps = np.concatenate([[0], np.ones(len(begin), int), -np.ones(len(end), int), [0]])[order]
    number, lasts = np.cumsum(steps)[:-1], np.diff(moments[order]).astype(np.float64)
    mean = in_flight(begin, end, span)
    variance = float((lasts * (number - mean) ** 2).sum()) / (span[1] - span[0])
    ascending = np.argsort(number, kind="stable")
    reached = np.cumsum(lasts[ascending]) >= 0.99 * lasts.sum()
    top = int(number[ascending][int(np.argmax(reached))]) if len(number) else 0
    return UnderWay(mean, variance / mean if mean else 0.0, top)


def refused(calls: Calls, upstream: str, span: Span) -> float:
    """Return the share of an upstream's calls of a stretch that it refused (429 and the like)."""
    mine = calls.by(upstream) & (calls.received >= span[0]) & (calls.received < span[1])
    return float(calls.rejected[mine].mean()) if mine.any() else 0.0
