"""When what was on: phases, load and faults of a run, read off its events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.model.event import Event
    from harness.model.findings import Failover
    from harness.recording.reader import Recording

Span = tuple[int, int]
"""A stretch of time, ns: from the first up to, not including, the second."""


@dataclass(frozen=True)
class FaultSpan:
    """One injected fault as its events tell it.

    `effective` and `cleared` are the intervals (low, high), ns, that the moments lie in; None when never seen.
    """

    fault: str
    kind: str
    upstream: str
    experiment: str
    injecting_ns: int
    """Of one that was left out: when that was told."""
    injected: bool = True
    """Whether it began at all. One that was left out, or whose trigger never came, broke nothing."""
    effective: Span | None = None
    clearing_ns: int | None = None
    """When it began to be taken back."""
    cleared: Span | None = None
    blocks: bool = False
    """Whether nothing gets to the upstream while it is on."""
    failed: str = ""
    """Why it was not seen to bite, or not to heal."""
    healed: bool = False
    """It was taken back all the same: what was seen afterwards was not its doing."""
    cut_short: str = ""
    """Why it broke off before its end, although it had been seen to bite."""

    def on(self, end_ns: int) -> Span:
        """Return the longest stretch the fault may have been on, up to `end_ns` when it was never cleared; an empty one
        when it was never injected."""
        if not self.injected:
            return self.injecting_ns, self.injecting_ns
        begin = self.effective[0] if self.effective else self.injecting_ns
        return begin, self.cleared[1] if self.cleared else end_ns


@dataclass(frozen=True)
class Timeline:
    """A run's times, ns. The measured part is `zero_ns` .. `end_ns`: warm-up and cool-down are recorded, not judged."""

    zero_ns: int
    end_ns: int
    phases: tuple[tuple[str, Span], ...]
    """(phase, stretch), by time; together they cover everything from the first phase on."""
    faults: tuple[FaultSpan, ...] = field(default=())
    """Those planned, as far as events tell of them; `injected` are those that may have broken something."""

    @property
    def injected(self) -> list[FaultSpan]:
        """The faults that began."""
        return [fault for fault in self.faults if fault.injected]

    @property
    def measured_s(self) -> float:
        """Length of the measured part, seconds."""
        return max(0, self.end_ns - self.zero_ns) / NS_PER_S

    def spans(self, phase: str) -> list[Span]:
        """Return the stretches of a phase."""
        return [span for name, span in self.phases if name == phase]

    @property
    def healthy(self) -> list[Span]:
        """What faults are held against: the baseline or, where there is none, everything before the faults."""
        baseline = self.spans("baseline")
        if sum(end - begin for begin, end in baseline) >= NS_PER_S:
            return baseline
        begin = self.phases[0][1][0] if self.phases else self.zero_ns
        return [(begin, min([self.end_ns, *(fault.injecting_ns for fault in self.injected)]))]

    @property
    def moments(self) -> list[int]:
        """Every moment at which something that findings tell apart begins or ends, ns."""
        spans = [*(span for _, span in self.phases), *self.healthy, *(fault.on(self.end_ns) for fault in self.faults)]
        observed = [self.observed_until(fault) for fault in self.faults]
        return [self.zero_ns, self.end_ns, *observed, *(moment for span in spans for moment in span)]

    def observed_until(self, span: FaultSpan) -> int:
        """Return where the observation of a fault ends: the end of load or the next fault, ns.

        Faults that begin while this one is still on belong to the same outage and do not end its observation.
        """
        after = span.on(self.end_ns)[1]
        later = [other.injecting_ns for other in self.injected if other.injecting_ns >= after]
        return min([self.end_ns, *later])

    def troubled_until(self, span: FaultSpan, outage: Failover | None) -> int:
        """Return until when service may have suffered from a fault: until it was off and, as its `outage` says, service
        was good again, ns; until the observation ended where it was not."""
        off = span.on(self.end_ns)[1]
        if outage is None:
            return off
        if outage.censored:
            return self.observed_until(span)
        if outage.recovery_s is None or outage.effective_ns is None:
            return off
        return max(off, outage.effective_ns + round(outage.recovery_s.high * NS_PER_S))


_FOREVER = 2**62


def _faults(events: Iterable[Event]) -> tuple[FaultSpan, ...]:
    spans: dict[str, FaultSpan] = {}
    for event in events:
        data, state, span = event.data, event.data.get("state"), spans.get(event.subject)
        if event.kind != "fault":
            continue
        if state == "injecting" or (state == "failed" and span is None):  # one left out was never injected
            kind, upstream, experiment = (str(data.get(key, "")) for key in ("kind", "upstream", "experiment"))
            span = FaultSpan(event.subject, kind, upstream, experiment, event.t_ns, injected=state == "injecting")
        if span is None:
            continue
        moment = (int(data.get("low_ns", event.t_ns)), int(data.get("high_ns", event.t_ns)))
        if state == "failed" and data.get("cut_short") is True:
            span = replace(span, cut_short=str(data.get("evidence", "")))
        elif state == "failed":
            span = replace(span, failed=str(data.get("evidence", "")), healed=data.get("healed") is True)
        elif state == "effective" and span.effective is None:
            span = replace(span, effective=moment, blocks=data.get("blocks") is True)
        elif state == "clearing" and span.clearing_ns is None:
            span = replace(span, clearing_ns=event.t_ns)
        elif state == "cleared" and span.cleared is None:  # healing may say so again: the first time is when it went
            span = replace(span, cleared=moment)
        spans[event.subject] = span
    return tuple(sorted(spans.values(), key=lambda span: span.injecting_ns))


def timeline(recording: Recording, last_ns: int) -> Timeline:
    """Return a recording's timeline; `last_ns`, the last moment any row tells of, ends a run that was cut off."""
    events = recording.events
    starts = [(e.subject, e.t_ns) for e in events if e.kind == "phase"]
    load = {e.subject: e.t_ns for e in events if e.kind == "load"}
    begin = load.get("started", min((t for _, t in starts), default=last_ns))
    zero = next((t for name, t in starts if name in ("baseline", "steady")), None)
    if zero is None:  # killed during the warm-up, or before the first event
        zero = begin + int(recording.plan.scenario.load.warmup * NS_PER_S)
    end = next((t for name, t in starts if name == "cooldown"), load.get("stopped", last_ns + 1))
    ends = [t for _, t in starts[1:]] + [_FOREVER]
    phases = tuple((name, (t, until)) for (name, t), until in zip(starts, ends, strict=False) if until > t)
    return Timeline(zero, end, phases, _faults(events))
