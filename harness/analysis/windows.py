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
from harness.clock import NS_PER_S
from harness.model.request import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.analysis.frame import Array, Frame
    from harness.analysis.timeline import Span
    from harness.model.plan import Slo

P95_SHARE = 0.05
CHANGE_DRIFT = 0.25
"""Drift of the change-point search: a stretch is the outage's tail while more than this share of it is harmed."""


@dataclass(frozen=True)
class Service:
    """Requests of load and canary in due order. `slow` is set where p95's limit is exceeded."""

    due: Array
    start: Array
    end: Array
    """-1 where lost."""
    healthy: Array
    """What faults are held against."""
    request_id: Array
    full: Array
    """ok, however late."""
    good: Array
    succeeded: Array
    """ok or degraded, however late."""
    slow: Array
    from_cache: Array
    """Answered by the cache alone."""
    misses: Array
    """Cache lookups that missed; 0 where the answer shows none."""
    good_share: float
    window_ns: int
    late_ns: float
    """A slower request is bad, whatever its outcome."""

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
        met: Array = enough & (slow[until] - slow[first] <= slow_allowed(n))
        return met


@dataclass(frozen=True)
class Windows:
    """Windows of W over a series of observations: each from its first up to, not including, its until."""

    first: Array
    until: Array
    meets: Array

    def since(self, index: int) -> Windows:
        """Return the windows from number `index` on."""
        return Windows(self.first[index:], self.until[index:], self.meets[index:])

    def good_from(self, harmed: Array) -> int | None:
        """Return the observation from which on all is well: where the first window that meets begins, without its tail.

        The window that begins behind the tail has to meet as well. None: no such window was seen.
        """
        candidates = np.flatnonzero(self.meets)
        at = 0
        while at < len(candidates):
            index = candidates[at]
            skip = tail(harmed[self.first[index] : self.until[index]])
            behind = int(self.first[index]) + skip
            later = int(np.searchsorted(self.first, behind))
            if later < len(self.first) and self.meets[later]:
                return behind
            at = int(np.searchsorted(candidates, later))
        return None


def slow_allowed(n: Array) -> Array:
    """Return how many of n requests may exceed the limit on p95 before that p95 is shown to lie above it (95 %).

    One-sided binomial test. Without it a window of 30 requests is called bad for its second slow one, which every
    healthy minute has.
    """
    sizes, where = np.unique(n, return_inverse=True)
    allowed: Array = stats.binom_quantile(sizes, P95_SHARE)[where]
    return allowed


def running(flags: Array) -> Array:
    """Return how many of the first k flags are set, for every k from 0."""
    return np.concatenate(([0], np.cumsum(flags)))


def service(load: Frame, canary: Frame, slo: Slo, healthy: list[Span]) -> Service:
    """Return load and canary as one series; `healthy` are the stretches that faults are held against.

    Without requests in them there is no limit on p95, only on the share of good requests. Requests still in flight at
    the end of a stretch were met by the fault and are none of them.
    """
    frames = (load, canary)
    sent = [~frame.dropped for frame in frames]
    order = np.argsort(np.concatenate([f.due[keep] for f, keep in zip(frames, sent, strict=True)]), kind="stable")

    def column(of: Callable[[Frame], Array]) -> Array:
        values: Array = np.concatenate([of(f)[keep] for f, keep in zip(frames, sent, strict=True)])[order]
        return values

    late_ns = slo.response_time * NS_PER_S
    due, response = column(lambda f: f.due), column(lambda f: f.response)
    succeeded = column(lambda f: f.outcome.among([Outcome.OK, Outcome.DEGRADED]))
    in_healthy = column(lambda f: f.done_within(healthy))
    limit = np.percentile(response[in_healthy], 95) * (1 + slo.p95_within) if in_healthy.any() else math.inf
    return Service(
        due,
        start=column(lambda f: f.start),
        end=column(lambda f: f.end),
        healthy=in_healthy,
        request_id=column(lambda f: f.numbers("request_id")),
        full=column(lambda f: f.outcome.among([Outcome.OK])),
        good=succeeded & (response <= late_ns),
        succeeded=succeeded,
        slow=response > limit,
        from_cache=column(_from_cache),
        misses=column(lambda f: np.maximum(f.numbers("cache_lookups") - f.numbers("cache_hits"), 0)),
        good_share=slo.good_share,
        window_ns=round(slo.window * NS_PER_S),
        late_ns=late_ns,
    )


def _from_cache(frame: Frame) -> Array:
    lookups, hits = frame.numbers("cache_lookups"), frame.numbers("cache_hits")
    alone: Array = (lookups > 0) & (hits == lookups)
    return alone


def tail(harmed: Array) -> int:
    """Return how many observations at the beginning of a good window still belong to the outage.

    A window of W may hold a few harmed requests and still meet its SLO, so the first one that does begins before the
    outage is over. The end of its tail is the change point: where the running sum of (harmed - drift) peaks
    (Page 1954, CUSUM).
    """
    if not len(harmed):
        return 0
    sums = np.cumsum(harmed - CHANGE_DRIFT)
    peak = int(np.argmax(sums))
    return peak + 1 if sums[peak] > 0 else 0
