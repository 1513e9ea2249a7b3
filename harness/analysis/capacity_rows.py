"""One level of load, measured from its requests: what came, what left, what was under way, how long it took.

Everything is computed from the rows again; what the run itself thought of the level while it lasted counts for nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import stats
from harness.analysis.capacity_slo import Trial, bad_share
from harness.analysis.dependence import effective_size, long_run, student
from harness.analysis.usl import Points
from harness.clock import NS_PER_S
from harness.model.capacity import Level, Little, SloMet
from harness.model.estimate import Estimate
from harness.model.instrument import LATENESS_LIMIT_MS
from harness.model.request import SUCCEEDED

if TYPE_CHECKING:
    from harness.analysis.capacity_levels import Stretch
    from harness.analysis.frame import Array, Frame
    from harness.model.plan import Slo

LITTLE = 0.05
"""How far Little's law may be off (`methods.md`, Capacity)."""
SLICES = 4
"""A level that never settled passes through many loads: so many points of the scalability law are read off it."""
BATCHES = 64
LEAST_ENDED = 20
"""Requests a point of the scalability law is counted from, at least."""


@dataclass(frozen=True)
class Measured:
    """A level, and what the capacity and the scalability law are found from."""

    level: Level
    trial: Trial
    points: Points


def measured(stretch: Stretch, rows: Frame, slo: Slo, zero_ns: int, think_s: float | None) -> Measured:
    """Return what `rows`, all requests under way at any time of the stretch, say about it."""
    return _Rows(stretch, rows, slo, think_s).measured(zero_ns)


def in_flight(begin: Array, end: Array, span: tuple[int, int]) -> float:
    """Return how many of the stretches begin..end (ns) were on at a time, on average over `span`."""
    inside = np.minimum(end, span[1]) - np.maximum(begin, span[0])
    return float(np.maximum(inside, 0).sum()) / (span[1] - span[0])


class _Rows:
    def __init__(self, stretch: Stretch, rows: Frame, slo: Slo, think_s: float | None) -> None:
        self._stretch, self._slo, self._think_s = stretch, slo, think_s
        self._span = begin, end = stretch.begin_ns, stretch.end_ns
        self._seconds = (end - begin) / NS_PER_S
        self._due = rows.take(np.flatnonzero((rows.due >= begin) & (rows.due < end)))
        self._sent = rows.take(np.flatnonzero(rows.start >= 0))
        self._left = rows.take(np.flatnonzero(rows.answered & (rows.end >= begin) & (rows.end < end)))

    def measured(self, zero_ns: int) -> Measured:
        stretch, due, left = self._stretch, self._due, self._left
        trial = self._trial()
        lateness = self._lateness_ms()
        by_generator = stretch.by_generator
        if lateness is not None and lateness > LATENESS_LIMIT_MS:
            by_generator = f"the generator sent requests {lateness:.0f} ms late (p99; limit {LATENESS_LIMIT_MS:.0f} ms)"
        settled = stretch.settled and not self._grew
        little = self._little(settled=settled)
        counts = bool(len(due)) and not by_generator
        met, why = _met(trial, 1 - self._slo.good_share, int((~due.dropped).sum()))
        if not counts:
            why = by_generator or "no request was due"
        low, high = bad_share([trial])
        n = int((due.answered | due.lost).sum())
        times = left.times("response_time", np.ones(len(left), bool))
        level = Level(
            level=stretch.level,
            rate=stretch.rate,
            users=stretch.users,
            begin_s=(stretch.begin_ns - zero_ns) / NS_PER_S,
            end_s=(stretch.end_ns - zero_ns) / NS_PER_S,
            settled=settled,
            counts=counts,
            requests=len(due),
            dropped=int(due.dropped.sum()),
            offered=len(due) / self._seconds,
            achieved=self._achieved(),
            in_flight=little.in_flight,
            response_mean_ms=stats.mean_ms(times),
            response_ms=stats.percentiles_ms(due.times("response_time", due.answered | due.lost)),
            good_share=Estimate(value=1 - trial.bad / trial.n if trial.n else None, low=1 - high, high=1 - low, n=n),
            slo=met if counts else "inconclusive",
            why=why,
            little=little,
            little_users=self._little_users(),
            lateness_p99_ms=lateness,
        )
        return Measured(level, trial, self._points(settled=settled))

    @property
    def _grew(self) -> bool:
        """Whether the requests under way grew (or shrank) by more than `LITTLE` of those that came, and by more than
        chance lets them: what came and what left are counts, which scatter by their roots."""
        begin, end = self._span
        sent = self._sent
        still = np.where(sent.end >= 0, sent.end, end)
        change = int(((sent.start < end) & (still >= end)).sum()) - int(((sent.start < begin) & (still >= begin)).sum())
        came = max(1, len(self._due))
        return abs(change) > LITTLE * came and abs(change) > 2 * math.sqrt(came)

    def _trial(self) -> Trial:
        """Return good and bad requests due, as many as they are worth.

        Bad ones come in bursts while a queue is long, and a burst that did not happen in this stretch tells nothing of
        how often they do. So a level is worth no more requests than its response times are: when one above the
        median is followed by others, queues last.
        """
        due = self._due
        good = due.ended_as(SUCCEEDED) & (due.response <= self._slo.response_time * NS_PER_S)
        late = due.response > self._slo.response_time * NS_PER_S
        known = due.answered | (due.lost & late)
        n = int(known.sum())
        unknown = len(due) - n
        if not n:
            return Trial(self._load, 0.0, 0.0, float(unknown))
        series, times = good[known], due.response[known]
        worth = min(effective_size(series), effective_size(times > np.median(times)))
        scale = worth / n
        return Trial(self._load, float((~series).sum()) * scale, float(worth), unknown * scale)

    @property
    def _load(self) -> float:
        stretch = self._stretch
        return float(stretch.users) if stretch.users is not None else stretch.rate or 0.0

    def _lateness_ms(self) -> float | None:
        late = self._due.times("lateness", np.ones(len(self._due), bool))
        return stats.percentile(late, 99) / stats.NS_PER_MS if len(late) else None

    def _achieved(self) -> Estimate:
        """Return requests that ended per second; the interval is that of a mean over equal batches, autocorrelation
        counted (`dependence.long_run`)."""
        n = len(self._left)
        many = min(BATCHES, max(1, n // 10))
        counts = np.histogram(self._left.end, np.linspace(*self._span, many + 1))[0].astype(np.float64)
        value = n / self._seconds
        if many < 8:
            return Estimate(value=value, low=None, high=None, n=n)
        variance, blocks = long_run(counts)
        half = student(max(1.0, blocks - 1)) * math.sqrt(variance / many) * many / self._seconds
        return Estimate(value=value, low=max(0.0, value - half), high=value + half, n=n)

    def _little(self, *, settled: bool) -> Little:
        """Return Little's law (1961) of the stretch, and if it does not hold, why."""
        end = self._span[1]
        sent = self._sent
        ends = np.where(sent.end >= 0, sent.end, end)
        number = in_flight(sent.start, ends, self._span)
        expected = float(self._left.response.sum()) / NS_PER_S / self._seconds
        off = (number - expected) / expected if expected else None
        if off is None or abs(off) <= LITTLE:
            return Little(in_flight=number, expected=expected, off=off, holds=True)
        waited = in_flight(sent.due, ends, self._span)
        if abs(waited - expected) <= LITTLE * expected:
            why = "generator-bound: requests wait in the generator before they are sent"
        elif not settled:
            why = "unsettled: more came than left, and waited for each other" if off > 0 else (
                "unsettled: requests that came before the level began left during it"
            )  # fmt: skip
        else:
            why = "too short: the requests under way at its two ends weigh too much"
        return Little(in_flight=number, expected=expected, off=off, holds=False, why=why)

    def _little_users(self) -> Little | None:
        """Return Little's law of the users of a closed loop, N = X (R + Z); None without their number or think time."""
        users = self._stretch.users
        if users is None or self._think_s is None or not len(self._left):
            return None
        rate, response = len(self._left) / self._seconds, float(self._left.response.mean()) / NS_PER_S
        expected = rate * (response + self._think_s)
        off = (users - expected) / expected
        holds = abs(off) <= LITTLE
        think = users / rate - response
        why = f"wrong think time: users waited {think:.3g} s between requests, not {self._think_s:.3g} s"
        return Little(in_flight=users, expected=expected, off=off, holds=holds, why="" if holds else why)

    def _points(self, *, settled: bool) -> Points:
        many = 1 if settled else SLICES
        edges = np.linspace(*self._span, many + 1).round().astype(np.int64)
        sent = self._sent
        ends = np.where(sent.end >= 0, sent.end, self._span[1])
        number = np.array([in_flight(sent.start, ends, (a, b)) for a, b in pairwise(edges)])
        left = np.histogram(self._left.end, edges)[0]
        told = (left >= LEAST_ENDED) & (number > 0)
        return Points(number[told], (left / (self._seconds / many))[told], left[told])


def _met(trial: Trial, allowed: float, sent: int) -> tuple[SloMet, str]:
    low, high = bad_share([trial])
    if high <= allowed:
        return "meets", ""
    if low > allowed:
        return "misses", f"{trial.bad / trial.n:.3g} of requests were bad; {allowed:.3g} may be" if trial.n else ""
    if trial.unknown and bad_share([Trial(trial.load, trial.bad, trial.n)])[1] <= allowed:
        return "inconclusive", "what became of dropped and lost requests is not known: raise max_in_flight"
    return "inconclusive", f"{sent:,} requests, worth {trial.n:,.0f} independent ones, are too few to tell"
