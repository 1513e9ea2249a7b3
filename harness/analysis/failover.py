"""What happened when a provider went: the timeline of every injected fault (`methods.md`, Failover).

Every time is an interval. It takes in how exactly the fault's own moments are known and the gap between the two
observations that the moment lies between. A request started after t0's lower end was started into the fault.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.provider_shift import PrimaryShare, failed_back, failed_over, flaps, primary_share
from harness.clock import NS_PER_S
from harness.model.findings import Failover, Interval
from harness.model.request import BAD, Outcome

if TYPE_CHECKING:
    from harness.analysis.frame import Array, Frame
    from harness.analysis.ledger import Calls
    from harness.analysis.timeline import FaultSpan, Span, Timeline
    from harness.analysis.windows import Service
    from harness.model.event import Event


def since(moment: Span, low: int, high: int) -> Interval:
    """Return the time from a moment (known to lie in an interval, ns) to one that lies in low..high, seconds."""
    return Interval(low=max(0, low - moment[1]) / NS_PER_S, high=max(0, high - moment[0]) / NS_PER_S)


@dataclass(frozen=True)
class Evidence:
    """Everything a fault's timeline is read from."""

    load: Frame
    service: Service
    calls: Calls
    events: list[Event]
    when: Timeline

    @cached_property
    def costs(self) -> Array:
        """Of every request in `service`: the provider calls it needed, those made for it, and their tokens.

        An answered request needed a call per cache miss it shows, and at least one unless the cache answered it alone.
        """
        service, calls = self.service, self.calls
        rows = calls.rows_in(service.request_id)
        known, n = rows >= 0, len(service.due)
        made = np.bincount(rows[known], minlength=n)
        needed = np.where(service.answered & ~service.from_cache, np.maximum(service.misses, 1), 0)
        return np.stack([needed, made, np.bincount(rows[known], calls.tokens[known], minlength=n)])


def failovers(evidence: Evidence) -> tuple[Failover, ...]:
    """Return the timeline of every injected fault, in order of injection."""
    return tuple(_failover(evidence, span) for span in evidence.when.faults)


def _failover(evidence: Evidence, span: FaultSpan) -> Failover:
    about = {"fault": span.fault, "kind": span.kind, "upstream": span.upstream, "experiment": span.experiment}
    outage = None if span.effective is None else _Outage(evidence, span, span.effective)
    share = primary_share(evidence.calls, span.upstream, evidence.when.healthy)
    shifted = None if outage is None or share is None else _shift(outage, share)
    impact = None if outage is None else outage.impact()
    recovery = None if outage is None else outage.recovery()
    extra = (None, None) if outage is None else outage.extra()
    return Failover(
        **about,
        injecting_ns=span.injecting_ns,
        effective_ns=None if span.effective is None else sum(span.effective) // 2,
        cleared_ns=None if span.cleared is None else sum(span.cleared) // 2,
        effective_s=None if span.effective is None else since((span.injecting_ns,) * 2, *span.effective),
        impact_s=impact,
        detection_s=None if outage is None else outage.detection(),
        failover_s=None if shifted is None else shifted.over,
        recovery_s=recovery,
        failback_s=None if shifted is None else shifted.back,
        impact=impact is not None,
        censored=outage is not None and recovery is None,
        failback_censored=shifted is not None and span.cleared is not None and shifted.back is None,
        observed_s=0.0 if outage is None else outage.observed_s,
        flaps=0 if shifted is None else shifted.flaps,
        failed_requests=0 if outage is None else outage.failed(),
        slow_requests=0 if outage is None else outage.slow(),
        in_flight=0 if outage is None else outage.in_flight(),
        answers={"ok": 0, "degraded": 0, "failed": 0} if outage is None else outage.answers(),
        unavailable_s=0.0 if outage is None else outage.unavailable_s(),
        worst_stall_s=0.0 if outage is None else outage.worst_stall_s(),
        extra_provider_calls=extra[0],
        extra_tokens=extra[1],
        resolution_s=0.0 if outage is None else outage.resolution_s,
        bit=outage is not None,
    )


class _Outage:
    """One fault that was effective, and the requests around it."""

    def __init__(self, evidence: Evidence, span: FaultSpan, effective: Span) -> None:
        self.span, self.t0 = span, effective
        self.load, self.service, self.calls, self.events = (
            evidence.load, evidence.service, evidence.calls, evidence.events,
        )  # fmt: skip
        self.evidence = evidence
        self.until = max(evidence.when.observed_until(span), effective[0])
        """End of the observation, ns."""
        self.off = min(span.on(self.until)[1], self.until)
        """The latest the fault may have been on within the observation, ns."""
        self.rows = self.service.rows(effective[0], self.until)

    @property
    def observed_s(self) -> float:
        return (self.until - self.t0[0]) / NS_PER_S

    @property
    def resolution_s(self) -> float:
        """Mean gap between requests; the whole observation without any."""
        return self.observed_s / max(1, int(self.rows.stop - self.rows.start))

    def impact(self) -> Interval | None:
        """First request started at/after t0, while the fault was on, that is not good. It began to hurt since the one
        before it."""
        start = self.service.start
        bad = start[~self.service.good & (start >= self.t0[0]) & (start < self.off)]
        if not len(bad):
            return None
        first = int(bad.min())
        before = start[(start >= self.t0[0]) & (start < first)]
        return since(self.t0, int(before.max()) if len(before) else self.t0[0], first)

    def detection(self) -> Interval | None:
        """The upstream's breaker opens; one first seen half open has been open in between."""
        for event in self.events:
            if event.kind != "breaker" or event.subject != self.span.upstream:
                continue
            state, was = event.data.get("state"), event.data.get("was")
            low, high = (int(event.data.get(key, event.t_ns)) for key in ("low_ns", "high_ns"))
            opened = state == "open" or (state == "half_open" and was == "closed")
            if opened and self.t0[0] <= high < self.until:
                return since(self.t0, max(low, self.t0[0]), high)
        return None

    def recovery(self) -> Interval | None:
        """Start of the first window of W in which service meets its SLO again, after the first in which it did not."""
        if self.rows.start == self.rows.stop:
            return None  # nobody asked, so nobody knows
        whole = Interval(low=0.0, high=self.resolution_s)
        service, harmed = self.service, self.service.harmed
        if not harmed[self.rows].any():
            return whole
        windows = service.windows(self.t0[0], self.until)
        if not len(windows.first):  # shorter than W: one window, cut short, is all the evidence there is
            one = np.array([self.rows.start]), np.array([self.rows.stop])
            return whole if bool(service.meets(*one)[0]) else None
        broken = np.flatnonzero(~windows.meets & (service.due[windows.first] < self.off))
        if not len(broken):
            return whole
        found = windows.since(int(broken[0])).good_from(harmed)
        if found is None:
            return None
        before = int(service.due[found - 1]) if found > self.rows.start else self.t0[0]
        # A cache hit is unharmed whatever the providers do: the first request that had to call one is the proof.
        proof = found + int(np.argmax(~service.from_cache[found : self.rows.stop]))
        return since(self.t0, before, int(service.due[proof]))

    def failed(self) -> int:
        """Load requests started into the observation that failed, timed out or were lost."""
        return int((self.load.outcome.among([*BAD, Outcome.LOST]) & self._started_into()).sum())

    def slow(self) -> int:
        """Load requests started into the observation that succeeded too late for the SLO."""
        succeeded = self.load.outcome.among([Outcome.OK, Outcome.DEGRADED])
        return int((succeeded & (self.load.response > self.service.late_ns) & self._started_into()).sum())

    def _started_into(self) -> Array:
        started: Array = (self.load.start >= self.t0[0]) & (self.load.due < self.until)
        return started

    def in_flight(self) -> int:
        """Load requests sent before t0 and not answered by then."""
        load = self.load
        sent = (load.start >= 0) & (load.start < self.t0[0])
        return int((sent & ((load.end >= self.t0[0]) | load.lost)).sum())

    def answers(self) -> dict[Literal["ok", "degraded", "failed"], int]:
        """Load requests due while the fault was on, by how they were answered."""
        load = self.load
        due = (load.due >= self.t0[0]) & (load.due < self.off)
        ok, degraded = (int((load.outcome.among([o]) & due).sum()) for o in (Outcome.OK, Outcome.DEGRADED))
        return {"ok": ok, "degraded": degraded, "failed": int((due & ~load.dropped).sum()) - ok - degraded}

    def unavailable_s(self) -> float:
        """Sum of the seconds after t0 in which fewer of the requests due were good than the SLO asks.

        A second in which nothing was due is as the one before it.
        """
        begin = self.t0[0]
        seconds = math.ceil((self.until - begin) / NS_PER_S)
        bucket = (self.service.due[self.rows] - begin) // NS_PER_S
        n = np.bincount(bucket, minlength=seconds)
        good = np.bincount(bucket, self.service.good[self.rows], minlength=seconds)
        total, bad = 0, False
        for second in range(seconds):
            if n[second]:
                bad = bool(good[second] < self.service.good_share * n[second] - 1e-9)
            if bad:
                total += min(NS_PER_S, self.until - begin - second * NS_PER_S)
        return total / NS_PER_S

    def worst_stall_s(self) -> float:
        """Longest gap between successes (of load and canary) that reaches into the observation."""
        ends = np.sort(self.service.end[self.service.succeeded])
        first, last = np.searchsorted(ends, (self.t0[0], self.until))
        before = int(ends[first - 1]) if first else self.t0[0]
        gaps = np.diff(np.concatenate(([before], ends[first:last], [self.until])))
        return float(gaps.max()) / NS_PER_S

    def extra(self) -> tuple[int | None, int | None]:
        """Calls and tokens that requests in flight during the fault cost beyond what they would have when healthy.

        Held against calls needed, not requests: a warmer cache or fewer workflows are no saving by the fault.
        """
        if not self.calls.joined:
            return None, None
        service = self.service
        met = (service.start < self.off) & ((service.end >= self.t0[0]) | (service.end < 0))
        healthy, during = self._cost(service.healthy), self._cost(met)
        if not healthy[0]:
            return None, None
        calls, tokens = (round(during[i] - healthy[i] * during[0] / healthy[0]) for i in (1, 2))
        return calls, tokens

    def _cost(self, chosen: Array) -> tuple[int, int, int]:
        """Return (provider calls that the chosen requests needed, calls made for them, tokens of those)."""
        needed, made, spent = (int(values[chosen].sum()) for values in self.evidence.costs)
        return needed, made, spent


@dataclass(frozen=True)
class _Shift:
    over: Interval | None
    back: Interval | None
    flaps: int


def _shift(outage: _Outage, share: PrimaryShare) -> _Shift:
    """Return when answers moved away from the faulted upstream and back, as the ledgers say."""
    over = failed_over(outage.service, share, outage.t0[0], outage.until)
    cleared, back = outage.span.cleared, None
    if cleared is not None:
        back = failed_back(share, cleared[0], outage.until, outage.service.window_ns)
    return _Shift(
        over=None if over is None else since(outage.t0, *over),
        back=None if back is None or cleared is None else since(cleared, *back),
        flaps=0 if over is None else flaps(share, over[1], outage.until if back is None else back[1]),
    )
