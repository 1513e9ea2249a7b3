"""When things happened in a run, in seconds of the axis that every figure shares.

Zero is the end of the warm-up: plans count fault times from it, and so do people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.scan import scans
from harness.analysis.timeline import timeline as read_events
from harness.clock import NS_PER_S, Anchor
from harness.report import units

if TYPE_CHECKING:
    from datetime import datetime

    from harness.analysis.frame import Array
    from harness.recording.reader import Recording


@dataclass(frozen=True)
class Span:
    """A stretch of the run, seconds after zero. `name` is a phase's, or what was broken."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True)
class Timeline:
    """The shared time axis: where it starts and ends, its phases, and the stretches during which faults bit."""

    zero_ns: int
    begin: float
    end: float
    phases: tuple[Span, ...]
    faults: tuple[Span, ...]
    started: datetime | None
    """Wall time of zero, from the manifest's clock anchor."""
    steps: tuple[Span, ...] = ()
    """Of a load of steps, or of a search for the capacity: each, named by its level."""
    unit: str = ""
    """What levels are of: users, or requests per second."""

    def at(self, t_ns: int) -> float:
        """Return monotonic `t_ns` as seconds after zero."""
        return (t_ns - self.zero_ns) / NS_PER_S

    @property
    def length(self) -> float:
        """Seconds from the first to the last moment shown."""
        return self.end - self.begin

    @property
    def bucket_s(self) -> float:
        """Width of a bucket, seconds: one second, or the next round width that keeps a line under 600 points."""
        for width in (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0):
            if self.length / width <= 600:
                return width
        return float(np.ceil(self.length / 600))

    def edges(self, buckets: int | None = None) -> Array:
        """Return bucket edges, seconds after zero: `bucket_s` wide, or `buckets` equal ones."""
        if buckets is not None:
            return np.linspace(self.begin, self.end, buckets + 1)
        width = self.bucket_s
        first = np.floor(self.begin / width)
        return np.arange(first, max(np.ceil(self.end / width), first + 1) + 0.5) * width


_STEPS = ("load", "step"), ("capacity", "level")
"""Events that begin a step: of a load of steps, or of a search for the capacity."""


def _wall(manifest: dict[str, Any], t_ns: int) -> datetime | None:
    try:
        return Anchor(int(manifest["clock"]["monotonic_ns"]), str(manifest["clock"]["utc"])).wall(t_ns)
    except (KeyError, TypeError, ValueError):
        return None


def timeline(recording: Recording) -> Timeline:
    """Read the axis off a recording: from the first phase to the last request due, as far as a run cut short got."""
    load, _ = scans(recording)
    when = read_events(recording, load.last_ns)
    first, last = load.first_due, load.last_due
    begin_ns = min([span[0] for _, span in when.phases] or [when.zero_ns if first is None else first])
    end_ns = max([when.end_ns if when.phases else 0, last or 0, begin_ns + NS_PER_S])

    def at(t_ns: int) -> float:
        return (min(t_ns, end_ns) - when.zero_ns) / NS_PER_S

    def moment(span: tuple[int, int] | None, otherwise: int) -> int:
        return (span[0] + span[1]) // 2 if span else otherwise

    phases = tuple(Span(name, at(begin), at(end)) for name, (begin, end) in when.phases if begin < end_ns)
    faults = tuple(
        Span(f"{f.upstream} {f.kind}", at(moment(f.effective, f.injecting_ns)), at(moment(f.cleared, end_ns)))
        for f in when.injected
    )
    started = [(max(e.t_ns, begin_ns), e.data) for e in recording.events if (e.kind, e.subject) in _STEPS]
    until = [*(t_ns for t_ns, _ in started[1:]), when.end_ns]
    unit = "users" if any("users" in data for _, data in started) else "per s"
    steps = tuple(
        Span(f"{data['users']:,.0f}" if "users" in data else units.three(float(data["rate"])), at(begin), at(end))
        for (begin, data), end in zip(started, until, strict=False)
        if begin < end
    )
    wall = _wall(recording.manifest, when.zero_ns)
    return Timeline(when.zero_ns, at(begin_ns), at(end_ns), phases, faults, wall, steps, unit if steps else "")
