"""Service as users felt it, window by window: the series that failover times are read from.

Load and canary are one series, each with its natural weight: the canary keeps it dense when closed-loop users hang.
A request belongs to the moment it was due. Good is ``ok`` or ``degraded`` within the SLO's response time; a lost
request is bad; a dropped one was never sent and says nothing about the system.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import stats
from harness.analysis.frame import Selection
from harness.clock import NS_PER_S
from harness.model.request import SUCCEEDED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.analysis.frame import Array, Frame, Kinds
    from harness.analysis.orders import Orders
    from harness.analysis.sample import Sample
    from harness.analysis.scan import Scan
    from harness.analysis.stats import Observed
    from harness.analysis.timeline import Span
    from harness.model.plan import Slo

P95_SHARE = 0.05
CHANGE_DRIFT = 0.25
"""Drift of the change-point search: a stretch is the outage's tail while more than this share of it is harmed."""


@dataclass(frozen=True)
class Service:
    """Requests of load and canary in due order, of some stretch. `slow` is set where p95's limit is exceeded."""

    due: Array
    good: Array
    slow: Array
    from_cache: Array
    """Answered by the cache alone."""
    good_share: float
    window_ns: int

    @cached_property
    def harmed(self) -> Array:
        """Requests that a user would notice: bad, or slower than the limit on p95."""
        harmed: Array = ~self.good | self.slow
        return harmed

    @cached_property
    def _good_so_far(self) -> Array:
        return running(self.good)

    @cached_property
    def _slow_so_far(self) -> Array:
        return running(self.slow)

    def rows(self, begin_ns: int, end_ns: int) -> slice:
        """Return the requests due in a stretch."""
        begin, end = np.searchsorted(self.due, (begin_ns, end_ns))
        return slice(int(begin), int(end))

    def windows(self, begin_ns: int, end_ns: int) -> Windows:
        """Return every window of W that begins with a request and lies within the stretch.

        It meets the SLO when its share of good requests does and its p95 is not shown to lie above the limit.
        """
        rows = self.rows(begin_ns, end_ns - self.window_ns + 1)
        first = np.arange(rows.start, rows.stop)
        until = np.searchsorted(self.due, self.due[rows] + self.window_ns)
        return Windows(first, until, self.meets(first, until))

    def meets(self, first: Array, until: Array) -> Array:
        """Tell which stretches of requests, first up to until, meet the SLO."""
        n = until - first
        good, slow = self._good_so_far, self._slow_so_far
        enough = good[until] - good[first] >= self.good_share * n - 1e-9
        many = slow[until] - slow[first]
        met: Array = enough & (many <= P95_SHARE * n)  # so few are always allowed
        unsure = np.flatnonzero(enough & ~met)
        met[unsure] = many[unsure] <= slow_allowed(n[unsure])
        return met


@dataclass(frozen=True)
class Onward:
    """The observation to go on from, among windows that are looked at later."""

    at: int
    cut: bool = False
    """A window's tail ends right before it: if the one that begins here meets, all is well from here on."""


@dataclass(frozen=True)
class Windows:
    """Windows of W over a series of observations: each from its first up to, not including, its until."""

    first: Array
    until: Array
    meets: Array

    def since(self, index: int) -> Windows:
        """Return the windows from number `index` on."""
        return Windows(self.first[index:], self.until[index:], self.meets[index:])

    def good_from(self, harmed: Array, drift: float = CHANGE_DRIFT) -> int | None:
        """Return the observation from which on all is well: where the first window that meets begins, without its tail.

        The window that begins behind the tail has to meet as well. None: no such window was seen.
        """
        found, _ = self.good_before(harmed, None, drift=drift)
        return found

    def good_before(
        self, harmed: Array, stop: int | None, *, cut: bool = False, drift: float = CHANGE_DRIFT
    ) -> tuple[int | None, Onward]:
        """Return the same among windows that begin before observation `stop`, and where to go on.

        Beyond `stop` there have to be as many windows as one window is long, or all there are. With `cut` the first
        window begins behind a tail that windows before it had.
        """
        if cut and len(self.first) and self.meets[0]:
            return int(self.first[0]), Onward(int(self.first[0]))
        candidates = np.flatnonzero(self.meets)
        at = 0
        while at < len(candidates):
            index = candidates[at]
            if stop is not None and self.first[index] >= stop:
                return None, Onward(int(self.first[index]))
            skip = tail(harmed[self.first[index] : self.until[index]], drift)
            behind = int(self.first[index]) + skip
            later = int(np.searchsorted(self.first, behind))
            if later < len(self.first) and self.meets[later]:
                return behind, Onward(behind)
            if later == len(self.first) and stop is not None:
                return None, Onward(behind, cut=True)
            at = int(np.searchsorted(candidates, later))
        return None, Onward(int(self.first[-1]) + 1) if len(self.first) else Onward(0, cut=cut)


def slow_allowed(n: Array) -> Array:
    """Return how many of n requests may exceed the limit on p95 before that p95 is shown to lie above it (95 %).

    Without it a window of 30 requests is called bad for its second slow one, which every healthy minute has.
    """
    return allowed(n, P95_SHARE)


def allowed(n: Array, share: float) -> Array:
    """Return how many of n observations may be of a kind before its true share is shown to lie above `share` (95 %).

    One-sided binomial test.
    """
    if share <= 0:
        return np.zeros(len(n))
    sizes, where = np.unique(n, return_inverse=True)
    most: Array = stats.binom_quantile(sizes, share)[where]
    return most


def running(flags: Array) -> Array:
    """Return how many of the first k flags are set, for every k from 0."""
    return np.concatenate(([0], np.cumsum(flags)))


class Felt:
    """The service of a run as its users felt it: load and canary as one series, read stretch by stretch."""

    def __init__(self, load: Scan, canary: Frame, slo: Slo, healthy: Observed) -> None:
        self.load = load
        self.canary = canary.take(np.flatnonzero(~canary.dropped))
        self._slo, self._healthy = slo, healthy
        self.late_ns = slo.response_time * NS_PER_S
        """A slower request is bad, whatever its outcome."""
        self.good_share = slo.good_share
        self.window_ns = round(slo.window * NS_PER_S)

    @cached_property
    def limit_ns(self) -> float:
        """The limit on p95, once the scan has run. Endless when there were no healthy times to take it from: then only
        the share of good requests counts."""
        healthy = self._healthy
        return stats.percentile(healthy, 95) * (1 + self._slo.p95_within) if len(healthy) else math.inf

    def good(self, frame: Frame) -> Array:
        """Tell which requests were answered well and in time."""
        good: Array = frame.ended_as(SUCCEEDED) & (frame.response <= self.late_ns)
        return good

    def probes(self, begin_ns: int, end_ns: int) -> Frame:
        """Return the canary's requests due in a stretch."""
        rows = np.searchsorted(self.canary.due, (begin_ns, end_ns))
        return self.canary.take(slice(*rows))

    def stretch(self, begin_ns: int, end_ns: int) -> Service:
        """Return the requests due in a stretch."""
        load = self.load.whole(begin_ns, end_ns)
        if load.dropped.any():
            load = load.take(np.flatnonzero(~load.dropped))
        frames = (load, self.probes(begin_ns, end_ns))
        order = np.argsort(np.concatenate([frame.due for frame in frames]), kind="stable")

        def column(of: Callable[[Frame], Array]) -> Array:
            values: Array = np.concatenate([of(frame) for frame in frames])[order]
            return values

        return Service(
            due=column(lambda f: f.due),
            good=column(self.good),
            slow=column(lambda f: f.response > self.limit_ns),
            from_cache=column(lambda f: from_cache(f.kinds).take(f.kind)),
            good_share=self.good_share,
            window_ns=self.window_ns,
        )

    def asked(self, begin_ns: int, end_ns: int) -> tuple[Array, Array]:
        """Return the numbers of the requests sent in a stretch, or in flight as it began, that the cache did not answer
        alone, in the order they were sent; and of each whether it was answered in full."""
        starts, numbers, full = [], [], []
        for frame in (*self.load.blocks(None, end_ns, own=("request_id",), alive_at=begin_ns), self.canary):
            mine = ~from_cache(frame.kinds).take(frame.kind) & ~frame.dropped & (frame.start < end_ns)
            mine &= (frame.start >= begin_ns) | (frame.end >= begin_ns) | frame.lost
            starts.append(frame.start[mine])
            numbers.append(frame.numbers("request_id")[mine])
            full.append(frame.ended_as([Outcome.OK])[mine])
        order = np.argsort(np.concatenate(starts), kind="stable")
        return np.concatenate(numbers)[order], np.concatenate(full)[order]

    def latest_start(self, begin_ns: int, end_ns: int) -> int | None:
        """Return when the last request sent within a stretch was that the cache did not answer alone; None if there
        was none. A cache hit says nothing about the providers."""
        found = []
        for frame in (*self.load.blocks(None, end_ns, alive_at=begin_ns), self.canary):
            asked = ~from_cache(frame.kinds).take(frame.kind)
            starts = frame.start[asked & (frame.start >= begin_ns) & (frame.start < end_ns)]
            found += [int(starts.max())] if len(starts) else []
        return max(found, default=None)

    def last_success(self, before_ns: int) -> int | None:
        """Return when the last request that succeeded, however late, was over before a moment; None if none was."""
        canary = self.canary
        ends = canary.end[canary.ended_as(SUCCEEDED) & (canary.end < before_ns)]
        load = self.load.last_end(before_ns, SUCCEEDED)
        return max([*([int(ends.max())] if len(ends) else []), *([] if load is None else [load])], default=None)


def healthy_limit(orders: Orders, load: Kinds, canary: Kinds, healthy: list[Span]) -> Sample:
    """Ask for the response times that faults are held against: of load and canary in healthy stretches.

    Requests still in flight at the end of a stretch were met by the fault and are none of them.
    """
    metric = "response_time"
    chosen = Selection(healthy, load.answered)
    return orders.ask(metric, chosen, (95,), done=True, bare=True, canary=canary.answered)


def from_cache(kinds: Kinds) -> Array:
    """Tell which kinds of requests the cache answered alone."""
    lookups, hits = kinds.numbers("cache_lookups"), kinds.numbers("cache_hits")
    alone: Array = (lookups > 0) & (hits == lookups)
    return alone


def tail(harmed: Array, drift: float = CHANGE_DRIFT) -> int:
    """Return how many observations at the beginning of a good window still belong to the outage.

    A window of W may hold a few harmed requests and still meet its SLO, so the first one that does begins before the
    outage is over. The end of its tail is the change point: where the running sum of (harmed - drift) peaks
    (Page 1954, CUSUM). The drift lies between the share harmed in good times and that of the outage.
    """
    if not len(harmed):
        return 0
    sums = np.cumsum(harmed - drift)
    peak = int(np.argmax(sums))
    return peak + 1 if sums[peak] > 0 else 0
