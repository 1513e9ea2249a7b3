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

from harness.analysis.goodput import goodput
from harness.analysis.ledger import losses
from harness.analysis.outage_cost import Chosen, Costs, ask_times
from harness.analysis.provider_shift import PrimaryShare, failed_back, failed_over, flaps, primary_share
from harness.analysis.recovery import Search
from harness.analysis.tally import Tally
from harness.clock import NS_PER_S
from harness.model.findings import Failover, Interval
from harness.model.request import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.analysis.frame import Array, Frame
    from harness.analysis.ledger import Calls, Loss
    from harness.analysis.orders import Orders
    from harness.analysis.timeline import FaultSpan, Span, Timeline
    from harness.analysis.windows import Felt
    from harness.model.event import Event


def since(moment: Span, low: int, high: int) -> Interval:
    """Return the time from a moment (known to lie in an interval, ns) to one that lies in low..high, seconds."""
    return Interval(low=max(0, low - moment[1]) / NS_PER_S, high=max(0, high - moment[0]) / NS_PER_S)


class Outages:
    """Every injected fault of a run: asks the scan for what it needs, and tells their timelines once that has run with
    the `tallies`."""

    def __init__(self, orders: Orders, felt: Felt, canary: Frame, when: Timeline) -> None:
        kinds = felt.load.kinds
        self._orders, self._felt, self._kinds, self._when = orders, felt, kinds, when
        self.costs = Costs(orders, kinds, canary, when.healthy)
        self._stretches = {span.fault: Stretch.of(span, when) for span in when.faults if span.effective}
        self._during = {fault: ask_times(orders, kinds, [stretch.during]) for fault, stretch in self._stretches.items()}
        self.tallies = {
            fault: Tally(felt, at.t0[0], at.off, at.until, last=at.last) for fault, at in self._stretches.items()
        }

    def failovers(self, calls: Calls, events: list[Event], looks: Mapping[str, Array]) -> tuple[Failover, ...]:
        """Return the timeline of every injected fault, in order of injection; `looks` are the moments at which each
        upstream's breaker was read (`scrapes.breaker_looks`)."""
        self.costs.hold(calls)
        return tuple(self._failover(calls, events, looks, span) for span in self._when.faults)

    def _failover(self, calls: Calls, events: list[Event], looks: Mapping[str, Array], span: FaultSpan) -> Failover:
        about: dict[str, Any] = {
            "fault": span.fault, "kind": span.kind, "upstream": span.upstream, "experiment": span.experiment,
            "injecting_ns": span.injecting_ns, "cleared_ns": None if span.cleared is None else sum(span.cleared) // 2,
        }  # fmt: skip
        felt, tally = self._felt, self.tallies.get(span.fault)
        if span.effective is None or tally is None:
            return Failover(**about, **_NOTHING)
        stretch, costs = self._stretches[span.fault], self.costs
        outage = _Outage(felt, calls, events, span, stretch, tally)
        share = primary_share(calls, span.upstream, self._when.healthy)
        shifted = None if share is None or outage.blind else _shift(outage, share)
        impact, detection, recovery = outage.impact(), outage.detection(), outage.recovery()
        # Calls that a lost ledger had are what is counted here.
        extra = (None, None) if outage.lost else costs.surplus(outage.met())
        return Failover(
            **about,
            effective_ns=sum(span.effective) // 2,
            effective_s=since((span.injecting_ns,) * 2, *span.effective),
            impact_s=impact,
            detection_s=detection,
            breaker_seen=detection is not None or outage.watched(looks.get(span.upstream)),
            failover_s=None if shifted is None else shifted.over,
            recovery_s=recovery,
            recovery_after_clearing_s=outage.after_clearing(recovery),
            failback_s=None if shifted is None else shifted.back,
            impact=impact is not None,
            censored=recovery is None,
            failback_censored=shifted is not None and span.cleared is not None and shifted.back is None,
            failback_beyond_s=0.0 if shifted is None else shifted.beyond_s,
            observed_s=outage.observed_s,
            flaps=None if shifted is None else shifted.flaps,
            failed_requests=tally.failed,
            slow_requests=tally.slow,
            in_flight=tally.in_flight,
            in_flight_failed=tally.in_flight_failed,
            answers=self._answers(stretch.during),
            unavailable_s=tally.unavailable_s(),
            worst_stall_s=tally.worst_stall_s(),
            response_ms=costs.response_ms(self._during[span.fault]),
            provider_calls_per_answer=costs.provider_calls(stretch.during),
            tokens_per_answer=costs.tokens(stretch.during),
            extra_provider_calls=extra[0],
            extra_tokens=extra[1],
            goodput=goodput(felt, events, stretch.during, stretch.until),
            resolution_s=outage.resolution_s,
            bit=True,
        )

    def _answers(self, during: Span) -> dict[Literal["ok", "degraded", "failed"], int]:
        """Load requests due while the fault was on, by how they were answered."""
        counts, outcome = self._orders.counts([during]), self._kinds.words("outcome")
        ok, degraded = (int(counts[outcome.among([o])].sum()) for o in (Outcome.OK, Outcome.DEGRADED))
        return {"ok": ok, "degraded": degraded, "failed": int(counts[~self._kinds.dropped].sum()) - ok - degraded}


@dataclass(frozen=True)
class Stretch:
    """When a fault that was effective was observed, ns."""

    t0: Span
    off: int
    """The latest it may have been on within the observation."""
    until: int
    last: bool
    """Nothing follows: the observation lasts to the end of the load."""

    @classmethod
    def of(cls, span: FaultSpan, when: Timeline) -> Stretch:
        """Return the observation of an effective fault."""
        t0 = span.effective or (span.injecting_ns,) * 2
        until = max(when.observed_until(span), t0[0])
        return cls(t0, min(span.on(until)[1], until), until, until >= when.end_ns)

    @property
    def during(self) -> Span:
        """While the fault was on."""
        return self.t0[0], self.off


_NOTHING: dict[str, Any] = {
    "effective_ns": None, "effective_s": None, "impact_s": None, "detection_s": None, "failover_s": None,
    "recovery_s": None, "failback_s": None, "impact": False, "censored": False, "failback_censored": False,
    "observed_s": 0.0, "flaps": None, "failed_requests": 0, "slow_requests": 0, "in_flight": 0,
    "answers": {"ok": 0, "degraded": 0, "failed": 0}, "unavailable_s": 0.0, "worst_stall_s": 0.0,
    "extra_provider_calls": None, "extra_tokens": None, "resolution_s": 0.0, "bit": False,
}  # fmt: skip
"""What there is to say of a fault that was never seen to bite."""


class _Outage:
    """One fault that was effective, and the requests around it."""

    def __init__(
        self, felt: Felt, calls: Calls, events: list[Event], span: FaultSpan, stretch: Stretch, tally: Tally
    ) -> None:
        self.felt, self.calls, self.events, self.span, self.tally = felt, calls, events, span, tally
        self.t0, self.off, self.until, self.last = stretch.t0, stretch.off, stretch.until, stretch.last

    @property
    def observed_s(self) -> float:
        return (self.until - self.t0[0]) / NS_PER_S

    @property
    def resolution_s(self) -> float:
        """Mean gap between requests; the whole observation without any."""
        return self.observed_s / max(1, self.tally.observed)

    def impact(self) -> Interval | None:
        """First request started at/after t0, while the fault was on, that is not good. It began to hurt since the one
        before it."""
        first = self.tally.first_bad
        if first is None:
            return None
        before = self.felt.latest_start(self.t0[0], first)
        return since(self.t0, self.t0[0] if before is None else before, first)

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

    def watched(self, looks: Array | None) -> bool:
        """Whether the breaker was read while the fault was on."""
        return looks is not None and bool(((looks >= self.t0[0]) & (looks < self.off)).any())

    def recovery(self) -> Interval | None:
        """Start of the first window of W in which service meets its SLO again, after the first in which it did not."""
        felt, tally = self.felt, self.tally
        if tally.first_due is None:
            return None  # nobody asked, so nobody knows
        whole = Interval(low=0.0, high=self.resolution_s)
        if not tally.harmed():
            return whole
        if tally.first_due > self.until - felt.window_ns:
            # Shorter than W: one window, cut short, is all the evidence there is.
            service = felt.stretch(self.t0[0], self.until)
            return whole if bool(service.meets(np.array([0]), np.array([len(service.due)]))[0]) else None
        search = Search(felt, self.t0[0], self.off, self.until, tally.observed)
        broken = search.broken()
        if broken is None:
            return whole
        found = search.good(broken)
        if found is None:
            return None
        return since(self.t0, self.t0[0] if found.before_ns is None else found.before_ns, found.proof_ns)

    def after_clearing(self, recovery: Interval | None) -> Interval | None:
        """Return the time from when the clearing began to `recovery`; None when service was good again before."""
        clearing = self.span.clearing_ns
        if recovery is None or clearing is None:
            return None
        low, high = self.t0[1] + round(recovery.low * NS_PER_S), self.t0[0] + round(recovery.high * NS_PER_S)
        return since((clearing, clearing), low, high) if high > clearing else None

    def met(self) -> Chosen:
        """Requests of load and canary that were in flight while the fault was on."""
        called, canary = self.calls.called, self.felt.canary
        return Chosen(self.tally.met, self.tally.meets(called), self.tally.meets(canary))

    @cached_property
    def lost(self) -> list[Loss]:
        """Ledgers found not whole within the observation, or after it when nothing else was on; and those that were not
        read to its end."""
        return [
            loss
            for loss in losses(self.events)
            if loss.found_ns >= self.t0[0]
            and loss.since_ns < (math.inf if self.last and not loss.unread else self.until)
        ]

    @property
    def blind(self) -> bool:
        """Whether nobody knows when others answered, or when the faulted upstream did again: answers that a lost ledger
        had would move these times. What its own lost as it went down was received before."""
        return any(loss.unread or loss.upstream != self.span.upstream for loss in self.lost)


@dataclass(frozen=True)
class _Shift:
    over: Interval | None
    back: Interval | None
    beyond_s: float
    flaps: int | None


def _shift(outage: _Outage, share: PrimaryShare) -> _Shift:
    """Return when answers moved away from the faulted upstream and back, as the ledgers say."""
    over = failed_over(outage.felt, outage.calls, share, outage.t0[0], outage.until)
    cleared, back, beyond = outage.span.cleared, None, 0
    if cleared is not None:
        back = failed_back(share, cleared[0], outage.until, outage.felt.window_ns)
        beyond = 0 if back else max(0, outage.until - cleared[1] - outage.felt.window_ns)
    changes = flaps(share, outage.until if over is None else over[1], outage.until if back is None else back[1])
    if back is None and changes:
        changes -= changes % 2  # the last one may be the return, whose window was cut off: no flap
    return _Shift(
        over=None if over is None else since(outage.t0, *over),
        back=None if back is None or cleared is None else since(cleared, *back),
        beyond_s=beyond / NS_PER_S,
        flaps=changes,
    )
