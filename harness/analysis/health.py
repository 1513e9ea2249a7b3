"""What the system says of its own health, held against what was done to it.

The page was read once a second (`probes.health`) and the breakers' gauges scraped; when a fault was on is known to a
few milliseconds. A page that says all is well while an upstream or a service is broken is wrong, and so is one that
raises an alarm while nothing is. What it takes to notice, either way, is its lag.

An alarm has a cause while a fault may be on, and until service has been good again for as long as it must be to count
as recovered (`Slo.window`); it began at some time since the look before. With a cause it is late at worst, and the
outage's; without one it is false. Under a load that is made to find out where the system gives in, that may be the
cause at any time, and no alarm is called false.

How long the page said something goes by the looks' own times: between two that saw the same it said so throughout,
between two that differ up to half way. Where the next look came later than `SPEAKS_FOR_NS`, nobody knows what it said
in between, and no time is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.failover import since
from harness.analysis.frame import merged, numbers, words
from harness.clock import NS_PER_S
from harness.model.findings import HealthFindings, HealthOutage, Interval
from harness.model.load import EVERYDAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from harness.analysis.frame import Array
    from harness.analysis.timeline import FaultSpan, Span, Timeline
    from harness.model.event import Event
    from harness.model.findings import Failover
    from harness.model.plan import Scenario

OK = 0.0
"""Value of the sample ``health status`` for a page that says all is well."""
SPEAKS_FOR_NS = 10 * NS_PER_S
"""A page is read once a second, and no answer is one after five: looks further apart than this were not made."""


@dataclass(frozen=True)
class _Looks:
    """The page as it was read, in order; `ok` where it said that all was well."""

    at: Array
    ok: Array

    def first(self, *, ok: bool, after: int, before: int) -> Span | None:
        """Return between which looks (ns) the page first said so within after..before; None if it never did."""
        found = np.flatnonzero((self.ok == ok) & (self.at >= after) & (self.at < before))
        if not len(found):
            return None
        index = int(found[0])
        return int(self.at[index - 1]) if index else after, int(self.at[index])

    def within(self, spans: Iterable[Span]) -> Array:
        """Tell which looks lie in any of `spans`."""
        inside = np.zeros(len(self.at), bool)
        for begin, end in spans:
            inside |= (self.at >= begin) & (self.at < end)
        return inside

    @property
    def gap_s(self) -> float:
        """The usual seconds between two looks."""
        return float(np.median(np.diff(self.at))) / NS_PER_S if len(self.at) > 1 else 0.0

    @cached_property
    def _speak(self) -> tuple[Array, Array]:
        """From when to when each look speaks (ns): half way to its neighbours, unless they are too far away."""
        gaps = np.diff(self.at)
        half = np.where(gaps <= SPEAKS_FOR_NS, gaps // 2, 0)
        return self.at - np.concatenate(([0], half)), self.at + np.concatenate((half, [0]))

    def seconds(self, looks: Array, spans: Iterable[Span]) -> float:
        """Return for how long of `spans`, which may overlap, the page said what some of the looks saw."""
        begins, ends = (moments[looks] for moments in self._speak)
        parts = (np.minimum(ends, end) - np.maximum(begins, begin) for begin, end in merged(spans))
        return sum(int(part[part > 0].sum()) for part in parts) / NS_PER_S


def health(
    samples: pa.Table, events: Sequence[Event], when: Timeline, outages: Iterable[Failover], scenario: Scenario
) -> HealthFindings | None:
    """Return how true the page and the breakers were; None when no page was read. `outages` tell until when service
    suffered from each fault."""
    source, metric = words(samples, "source"), words(samples, "metric")
    mine = source.among(["health"]) & metric.among(["status"])
    at, values = numbers(samples, "t_ns")[mine], numbers(samples, "value")[mine]
    inside = (at >= when.zero_ns) & (at < when.end_ns)
    looks = _Looks(at[inside], values[inside] == OK)
    if not len(looks.at):
        return None
    faults = [fault for fault in when.faults if fault.effective]
    found = {outage.fault: outage for outage in outages}
    window_ns = round(scenario.slo.window * NS_PER_S)
    causes = [(fault.injecting_ns, when.troubled_until(fault, found.get(fault.fault)) + window_ns) for fault in faults]
    false = _unexplained(looks, causes, when)
    alarms = int((np.diff(false.astype(np.int8), prepend=0) == 1).sum())
    told = scenario.load.kind in EVERYDAY
    return HealthFindings(
        looks=len(looks.at),
        gap_s=looks.gap_s,
        outages=tuple(_outage(*each, looks, when) for each in zip(faults, causes, strict=True)),
        false_ok_s=looks.seconds(looks.ok, [_on(fault, fault.effective, when) for fault in faults if fault.effective]),
        false_alarms=alarms if told else None,
        false_alarm_s=looks.seconds(false, [(when.zero_ns, when.end_ns)]) if told else None,
        breakers_opened=sum(1 for _ in _openings(events, when)),
        breaker_false_alarms=sum(not _meant(event, causes) for event in _openings(events, when)) if told else None,
    )


def _outage(fault: FaultSpan, cause: Span, looks: _Looks, when: Timeline) -> HealthOutage:
    effective = fault.effective or cause
    until, on = when.observed_until(fault), _on(fault, effective, when)
    # It may have been in alarm already, about an outage before this one.
    noticed = looks.first(ok=False, after=effective[0], before=until)
    if noticed is not None and noticed[0] >= cause[1]:  # an alarm about nothing
        noticed = None
    well = None
    if fault.cleared is not None and noticed is not None:
        well = looks.first(ok=True, after=max(fault.cleared[0], noticed[1]), before=until)
    return HealthOutage(
        fault=fault.fault,
        kind=fault.kind,
        upstream=fault.upstream,
        noticed_s=None if noticed is None else _after(effective, noticed),
        noticed_while_on=noticed is not None and noticed[1] < on[1],
        well_again_s=None if well is None or fault.cleared is None else _after(fault.cleared, well),
        false_ok_s=looks.seconds(looks.ok, [on]),
        looks=int(looks.within([on]).sum()),
    )


def _on(fault: FaultSpan, effective: Span, when: Timeline) -> Span:
    """Return the shortest stretch the fault may have been on."""
    return effective[1], when.observed_until(fault) if fault.clearing_ns is None else fault.clearing_ns


def _after(moment: Span, seen: Span) -> Interval:
    return since(moment, max(seen[0], moment[0]), seen[1])


def _unexplained(looks: _Looks, causes: Iterable[Span], when: Timeline) -> Array:
    """Tell which looks saw an alarm that no fault explains: it did not begin within `causes`, nor has the page been in
    alarm since one of them."""
    off, before = np.ones(len(looks.at), bool), np.append(when.zero_ns, looks.at[:-1])
    for begin, end in causes:
        off &= (looks.at < begin) | (before >= end)
    false = ~looks.ok & off
    for index in np.flatnonzero(false):
        # The alarm of an outage lasts until the page says ok again: that is its lag, not another alarm.
        false[index] = index == 0 or looks.ok[index - 1] or false[index - 1]
    return false


def _openings(events: Iterable[Event], when: Timeline) -> Iterable[Event]:
    for event in events:
        opened = event.data.get("state") == "open" and event.data.get("was") == "closed"
        if event.kind == "breaker" and opened and when.zero_ns <= event.t_ns < when.end_ns:
            yield event


def _meant(event: Event, causes: Iterable[Span]) -> bool:
    """Tell whether a breaker that opened was one of something broken, or of what that may have taken with it.

    While anything is broken a breaker may open for good reason: OpenAI's, when it cannot bear what Bedrock's users
    bring.
    """
    low = int(event.data.get("low_ns", event.t_ns))
    return any(begin <= event.t_ns and low < end for begin, end in causes)
