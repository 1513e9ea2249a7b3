"""What happened when something broke: the timeline of every injected fault (`methods.md`, Failover).

Every time is an interval. It takes in how exactly the fault's own moments are known and the gap between the two
observations that the moment lies between. A request started after t0's lower end was started into the fault.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.analysis.ledger import losses
from harness.analysis.outage_cost import Costs
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
    def costs(self) -> Costs:
        """What answers took in healthy times, and take in others."""
        return Costs(self.load, self.service, self.calls, self.when.healthy)


def failovers(evidence: Evidence) -> tuple[Failover, ...]:
    """Return the timeline of every injected fault, in order of injection."""
    return tuple(_failover(evidence, span) for span in evidence.when.faults)


def _failover(evidence: Evidence, span: FaultSpan) -> Failover:
    about: dict[str, Any] = {
        "fault": span.fault, "kind": span.kind, "upstream": span.upstream, "experiment": span.experiment,
        "injecting_ns": span.injecting_ns, "cleared_ns": None if span.cleared is None else sum(span.cleared) // 2,
    }  # fmt: skip
    if span.effective is None:
        return Failover(**about, **_NOTHING)
    outage = _Outage(evidence, span, span.effective)
    share = primary_share(evidence.calls, span.upstream, evidence.when.healthy)
    # Answers that another provider's lost ledger had would move these times.
    shifted = None if share is None or outage.ledgers_lost - {span.upstream} else _shift(outage, share)
    impact, recovery, during = outage.impact(), outage.recovery(), outage.during
    # Calls that a lost ledger had are what is counted here.
    extra = (None, None) if outage.ledgers_lost else evidence.costs.surplus(outage.met())
    return Failover(
        **about,
        effective_ns=sum(span.effective) // 2,
        effective_s=since((span.injecting_ns,) * 2, *span.effective),
        impact_s=impact,
        detection_s=outage.detection(),
        failover_s=None if shifted is None else shifted.over,
        recovery_s=recovery,
        recovery_after_clearing_s=outage.after_clearing(recovery),
        failback_s=None if shifted is None else shifted.back,
        impact=impact is not None,
        censored=recovery is None,
        failback_censored=shifted is not None and span.cleared is not None and shifted.back is None,
        observed_s=outage.observed_s,
        flaps=0 if shifted is None else shifted.flaps,
        failed_requests=outage.failed(),
        slow_requests=outage.slow(),
        in_flight=int(outage.in_flight.sum()),
        in_flight_failed=int((outage.in_flight & outage.unanswered).sum()),
        answers=outage.answers(),
        unavailable_s=outage.unavailable_s(),
        worst_stall_s=outage.worst_stall_s(),
        response_ms=evidence.costs.response_ms(during),
        provider_calls_per_answer=evidence.costs.provider_calls(during),
        tokens_per_answer=evidence.costs.tokens(during),
        extra_provider_calls=extra[0],
        extra_tokens=extra[1],
        resolution_s=outage.resolution_s,
        bit=True,
    )


_NOTHING: dict[str, Any] = {
    "effective_ns": None, "effective_s": None, "impact_s": None, "detection_s": None, "failover_s": None,
    "recovery_s": None, "failback_s": None, "impact": False, "censored": False, "failback_censored": False,
    "observed_s": 0.0, "flaps": 0, "failed_requests": 0, "slow_requests": 0, "in_flight": 0,
    "answers": {"ok": 0, "degraded": 0, "failed": 0}, "unavailable_s": 0.0, "worst_stall_s": 0.0,
    "extra_provider_calls": None, "extra_tokens": None, "resolution_s": 0.0, "bit": False,
}  # fmt: skip
"""What there is to say of a fault that was never seen to bite."""


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

    def after_clearing(self, recovery: Interval | None) -> Interval | None:
        """Return the time from when the clearing began to `recovery`; None when service was good again before."""
        clearing = self.span.clearing_ns
        if recovery is None or clearing is None:
            return None
        low, high = self.t0[1] + round(recovery.low * NS_PER_S), self.t0[0] + round(recovery.high * NS_PER_S)
        return since((clearing, clearing), low, high) if high > clearing else None

    def failed(self) -> int:
        """Load requests started into the observation that failed, timed out or were lost."""
        return int((self.unanswered & self._started_into()).sum())

    @cached_property
    def unanswered(self) -> Array:
        """Load requests that failed, timed out or were lost."""
        return self.load.outcome.among([*BAD, Outcome.LOST])

    def slow(self) -> int:
        """Load requests started into the observation that succeeded too late for the SLO."""
        succeeded = self.load.outcome.among([Outcome.OK, Outcome.DEGRADED])
        return int((succeeded & (self.load.response > self.service.late_ns) & self._started_into()).sum())

    def _started_into(self) -> Array:
        started: Array = (self.load.start >= self.t0[0]) & (self.load.due < self.until) & self._ours(self.load.end)
        return started

    def _ours(self, end: Array) -> Array:
        """Tell, by when they ended, which requests were not in flight when the next fault began: those are its own."""
        return (end < self.until) | (self.until >= self.evidence.when.end_ns)

    @cached_property
    def in_flight(self) -> Array:
        """Load requests sent before t0 and not answered by then."""
        load = self.load
        sent = (load.start >= 0) & (load.start < self.t0[0])
        waiting: Array = sent & ((load.end >= self.t0[0]) | load.lost)
        return waiting

    @cached_property
    def during(self) -> Array:
        """Load requests due while the fault was on."""
        due: Array = (self.load.due >= self.t0[0]) & (self.load.due < self.off)
        return due

    def answers(self) -> dict[Literal["ok", "degraded", "failed"], int]:
        """Load requests due while the fault was on, by how they were answered."""
        load, due = self.load, self.during
        ok, degraded = (int((load.outcome.among([o]) & due).sum()) for o in (Outcome.OK, Outcome.DEGRADED))
        return {"ok": ok, "degraded": degraded, "failed": int((due & ~load.dropped).sum()) - ok - degraded}

    def met(self) -> Array:
        """Requests of load and canary that were in flight while the fault was on."""
        service = self.service
        in_flight: Array = (service.start < self.off) & ((service.end >= self.t0[0]) | (service.end < 0))
        return in_flight

    @cached_property
    def ledgers_lost(self) -> set[str]:
        """Upstreams whose ledger was found not whole within the observation, or after it when nothing else was on."""
        end = math.inf if self.until >= self.evidence.when.end_ns else self.until
        return {upstream for upstream, t_ns in losses(self.events) if self.t0[0] <= t_ns < end}

    def unavailable_s(self) -> float:
        """Sum of the seconds after t0 in which fewer of the requests due were good than the SLO asks.

        A second in which nothing was due is as the one before it.
        """
        begin = self.t0[0]
        seconds = math.ceil((self.until - begin) / NS_PER_S)
        ours = self._ours(self.service.end[self.rows])
        bucket = (self.service.due[self.rows][ours] - begin) // NS_PER_S
        n = np.bincount(bucket, minlength=seconds)
        good = np.bincount(bucket, self.service.good[self.rows][ours], minlength=seconds)
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
