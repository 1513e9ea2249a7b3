"""Did anything drift? The verdict on every series of a long steady load, and on all of them together.

Each series has a slope with its interval and a practical threshold per hour (`soak_series`). A *leak* (a *drift*, of
what users got) lies beyond the threshold so certainly that in the whole run, over all its series, one false alarm in
20 such runs is to be expected at most (Holm, Scand. J. Statist. 6, 1979). *Flat* is a slope whose interval lies within
the threshold. Growth that decisively levels off is *saturating*: the part where it was steep was still warming up and
is left out of the slope. Everything else is *inconclusive*, with the length that would tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis.dependence import CONFIDENCE
from harness.analysis.soak_series import ServiceWindows, disturbed, resource_lines, service_lines
from harness.analysis.soak_trend import FEWEST, levelling, trend
from harness.clock import NS_PER_S
from harness.model.soak import Slope, SoakFindings, SoakSeries, TimeTo
from harness.model.threshold import METRICS, parse_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.analysis.ledger import Calls
    from harness.analysis.scan import Scan
    from harness.analysis.soak_series import Line
    from harness.analysis.soak_trend import Levelling, Trend
    from harness.analysis.timeline import Timeline
    from harness.model.findings import Failover
    from harness.model.plan import Plan
    from harness.model.soak import SoakVerdict
    from harness.recording.reader import Recording

LONG_S = 1800.0
"""Shorter loads are not asked, unless a threshold asks: in minutes, every process warms up and none levels off."""
_LONG_ENOUGH = 0.5
"""Share of that which a series has to last, behind restarts or a run cut short."""
STEADY = ("users", "rate")
"""Kinds of load that stay the same: what changes under another may be the load."""
_SHORT_BY = 0.5
"""Share of its level by which a series of a shorter load has to move: by less, it may well be warming up."""
_LEAST_REST = 0.25
"""Share of a series that has to be left behind its warm-up for a slope of it."""
_RANK: dict[SoakVerdict, int] = {"leak": 0, "drift": 1, "inconclusive": 2, "saturating": 3, "flat": 4}


def asked(plan: Plan) -> bool:
    """Tell whether the load of a plan is one that may be asked whether anything drifted."""
    load = plan.scenario.load
    thresholds = [*parse_all(plan.scenario.thresholds)]
    for experiment in plan.experiments:
        thresholds += parse_all(experiment.thresholds)
    wanted = any(METRICS[threshold.metric].kind in ("soak", "slope") for threshold in thresholds)
    return load.kind in STEADY and (wanted or load.measured_s >= LONG_S)


def soak_windows(plan: Plan, load: Scan, when: Timeline) -> ServiceWindows | None:
    """Return the windows that `soak` is told by; None where it was not `asked`, or cut off before it was long enough.

    `plan` is the recording's, or that with the thresholds that somebody asks now.
    """
    if not asked(plan) or when.measured_s < min(LONG_S, plan.scenario.load.measured_s) * _LONG_ENOUGH:
        return None
    return ServiceWindows(load, when.zero_ns, when.end_ns)


def soak(
    recording: Recording, windows: ServiceWindows, calls: Calls, when: Timeline, outages: tuple[Failover, ...]
) -> SoakFindings:
    """Return what drifted in the measured part."""
    plan = recording.plan
    out = disturbed(when, outages)
    lines = [
        *resource_lines(recording.samples, when, recording.manifest, plan.target.stand_ins),
        *service_lines(windows, calls, when, out),
    ]
    return judged(lines, when.measured_s, plan.scale, sum(end - begin for begin, end in out) / NS_PER_S)


@dataclass(frozen=True)
class _Fit:
    """A line, its slope behind the warm-up, and what was found to level off."""

    line: Line
    trend: Trend | None
    bend: Levelling | None
    warmup: float
    """Hours from its first window."""

    @property
    def p(self) -> float | None:
        """See `Trend.beyond`; None without a slope."""
        return None if self.trend is None else self.trend.beyond(self.line.threshold)


def judged(lines: Sequence[Line], length_s: float, scale: float = 1.0, left_out_s: float = 0.0) -> SoakFindings:
    """Return the verdict on series that are judged together."""
    fits = [_fit(line) for line in lines]
    found = _holm([fit.p for fit in fits])
    tested = sum(fit.p is not None for fit in fits)
    series = [_series(fit, certain, tested) for fit, certain in zip(fits, found, strict=True)]
    series.sort(key=lambda s: (s.instrument, _RANK[s.verdict] + (s.worse is False), s.owner == "service"))
    verdict, why = _overall(series)
    return SoakFindings(
        length_s=length_s, scale=scale, verdict=verdict, why=why, tested=tested, left_out_s=left_out_s,
        series=tuple(series),
    )  # fmt: skip


def _fit(line: Line) -> _Fit:
    bend = levelling(line.t, line.y)
    if bend is None:
        return _Fit(line, trend(line.t, line.y, line.quantum), None, 0.0)
    # What grows by less than a quantum in the whole length does not show any more.
    warmup = bend.until(max(line.threshold / 2, line.quantum / float(line.t[-1] - line.t[0])))
    rest = line.t - line.t[0] >= warmup
    enough = rest.sum() >= _LEAST_REST * len(line.t)
    return _Fit(line, trend(line.t[rest], line.y[rest], line.quantum) if enough else None, bend, warmup)


def _holm(values: Sequence[float | None]) -> list[bool]:
    """Tell which p-values are rejected with a family-wise error of 5 %; those that are None are not of the family."""
    told = sorted((p, at) for at, p in enumerate(values) if p is not None)
    found = [False] * len(values)
    for rank, (p, at) in enumerate(told):
        if p > (1 - CONFIDENCE) / (len(told) - rank):
            break
        found[at] = True
    return found


def _series(fit: _Fit, certain: bool, tested: int) -> SoakSeries:
    line, slope = fit.line, fit.trend
    verdict, why = _verdict(fit, certain=certain)
    finite = slope is not None and math.isfinite(slope.error)
    since, until = (float(line.t[0]) + fit.warmup, float(line.t[-1])) if len(line.t) else (0.0, 0.0)
    return SoakSeries(
        owner=line.owner,
        instrument=line.instrument,
        what=line.what,
        unit=line.unit,
        metric=line.metric,
        verdict=verdict,
        why=why,
        worse=slope.slope * line.bad > 0 if slope is not None and verdict in ("leak", "drift") else None,
        level=None if slope is None else slope.at(until),
        slope=None
        if slope is None
        else Slope(value=slope.slope, low=slope.low if finite else None, high=slope.high if finite else None),
        threshold=line.threshold,
        detectable=slope.detectable(line.threshold, 1 - (1 - CONFIDENCE) / tested) if slope and finite else None,
        needed_s=_needed_s(fit) if verdict == "inconclusive" else None,
        limit=line.limit,
        limit_is=line.limit_is,
        to_limit_h=_to_limit(slope, line.limit, until) if slope is not None and verdict == "leak" else None,
        p=fit.p,
        n=len(line.t),
        independent=None if slope is None else slope.worth,
        window_s=line.window_s,
        warmup_dropped_s=fit.warmup * 3600 if slope is not None else 0.0,
        restarts=line.restarts,
        points=tuple((float(t) * 3600, float(y)) for t, y in zip(line.t, line.y, strict=True)),
        line=() if slope is None or not finite else _band(slope, since, until),
    )


def _verdict(fit: _Fit, *, certain: bool) -> tuple[SoakVerdict, str]:
    line, slope, bend = fit.line, fit.trend, fit.bend
    if slope is None:
        few = "1 window is" if len(line.t) == 1 else f"{len(line.t)} windows are"
        short = f"{few} too few for a slope ({FEWEST} are needed)"
        return "inconclusive", "still levelling off when the load ended" if bend else short
    if certain:
        return _moves(line, slope, warm=bend is not None)
    within = -line.threshold < slope.low and slope.high < line.threshold
    if bend and math.isfinite(slope.error) and (within or not bend.slope):
        return "saturating", f"{'grew' if bend.b > 0 else 'fell'} while warming up and levelled off"
    if within:
        return "flat", "changes by less than the practical threshold, if at all"
    beyond = slope.low > line.threshold or slope.high < -line.threshold
    one = "moves by more than the practical threshold, but among so many series that may be chance"
    return "inconclusive", one if beyond else "may move by more than the practical threshold: this length cannot tell"


def _moves(line: Line, slope: Trend, *, warm: bool) -> tuple[SoakVerdict, str]:
    if not _unmistakable(line, slope):
        return "inconclusive", f"moving, as warm-ups do in minutes: {LONG_S / 60:g} min and more can tell"
    behind = ", after its warm-up" if warm else ""
    if line.resource and slope.slope > 0:
        return "leak", f"growing without levelling off{behind}"
    return "drift", f"{'rising' if slope.slope > 0 else 'falling'} all along{behind}"


def _unmistakable(line: Line, slope: Trend) -> bool:
    """Tell whether a series moved by more than a warm-up of minutes would: any that is long, else by half its level."""
    hours = float(line.t[-1] - line.t[0])
    return hours >= _LONG_ENOUGH * LONG_S / 3600 or abs(slope.slope) * hours > _SHORT_BY * abs(slope.at(line.t[0]))


def _needed_s(fit: _Fit) -> float | None:
    """Return how long a load has to be measured for an interval as wide as the threshold, its centre at 0.

    A slope's error shrinks with the length to the power of 3/2, what a quantum hides with the length.
    """
    line, slope = fit.line, fit.trend
    length = float(line.t[-1] - line.t[0]) if len(line.t) > 1 else 0.0
    if not line.threshold or not length:
        return None
    least = max(2 * line.quantum / line.threshold, LONG_S / 3600)
    if fit.bend is not None and slope is None:
        hours = max(fit.warmup / (1 - _LEAST_REST), 2 * length, least)
    elif slope is None:
        hours = max(FEWEST * line.window_s / 3600, least)
    elif not math.isfinite(slope.error):
        hours = max(4 * length, least)
    else:
        hours = max(length * ((slope.half - slope.slack) / (line.threshold / 2)) ** (2 / 3), 1.25 * length, least)
    return 3600 * hours


def _to_limit(slope: Trend, limit: float | None, until: float) -> TimeTo | None:
    """Return the hours from the end of the load until the line reaches the limit."""
    if limit is None or slope.slope <= 0:
        return None
    left = max(0.0, limit - slope.at(until))
    return TimeTo(value=left / slope.slope, low=left / slope.high, high=left / slope.low if slope.low > 0 else None)


def _band(slope: Trend, since: float, until: float) -> tuple[tuple[float, float, float, float], ...]:
    """Return the line at both ends of its stretch, with what the slope's interval makes of it around its middle."""
    middle, at = slope.at((since + until) / 2), []
    for t in (since, until):
        away = abs(t - (since + until) / 2)
        line = slope.at(t)
        at.append((t * 3600, line, line - slope.half * away, line + slope.half * away))
    return tuple(at) if math.isfinite(middle) else ()


def _overall(series: Sequence[SoakSeries]) -> tuple[SoakVerdict, str]:
    """Return the worst verdict of system and service, and the sentence that says it."""
    judged_ones = [s for s in series if not s.instrument]
    bad = [s for s in judged_ones if s.worse]
    for verdict in ("leak", "drift"):
        if found := [s for s in bad if s.verdict == verdict]:
            more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
            return found[0].verdict, f"{found[0].name}: {found[0].why}{more}"
    unsure = [s for s in judged_ones if s.verdict == "inconclusive"]
    if unsure or not judged_ones:
        some = f"{len(unsure)} of {len(judged_ones)} series cannot be told" if unsure else "nothing was recorded"
        return "inconclusive", some
    said = f"none of {len(judged_ones)} series moves for the worse by more than its practical threshold"
    better = ", ".join(s.name for s in judged_ones if s.worse is False)
    return "flat", said + (f" (for the better: {better})" if better else "")
