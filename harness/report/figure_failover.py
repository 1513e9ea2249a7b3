"""The flight recorder: what happened, in which order, when something broke, and when it was mended.

Panels on the time axes of the outage itself: seconds since the fault took effect and, of a provider, since it was
cleared, after which answers move back to it.
Thin lines are the single outages, the bold one their median; the probe's own requests run along the bottom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median, median_low
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.outages import flaps
from harness.clock import NS_PER_S
from harness.model.findings import Interval
from harness.model.request import BAD
from harness.report import palette, units
from harness.report.drawing import FONT, Drawn, draw
from harness.report.series import rows
from harness.report.toll import unharmed
from harness.report.words import not_back, served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.analysis.frame import Array
    from harness.model.findings import Failover
    from harness.recording.reader import Recording
    from harness.report.series import Rows
    from harness.report.timeline import Timeline

ROW, DOTS, MOST, MOST_LINES = 34.0, 11.0, 10, 8
"""Height of a milestone's row and of one outage's line of dots, px; how many outages get a line of dots, and up to
how many their milestones get lines: of more, only the ends are marked."""


@dataclass(frozen=True)
class Milestone:
    """One moment of every outage of a kind; None where it was not seen."""

    name: str
    times: tuple[Interval | None, ...]
    missing: str
    """What to say when it was never seen."""
    note: str = ""

    @property
    def seen(self) -> list[Interval]:
        """The times that are known."""
        return [t for t in self.times if t is not None]

    @property
    def median(self) -> float | None:
        """Median of the later ends, as everywhere (`analysis.outages`), seconds."""
        return median_low(t.high for t in self.seen) if self.seen else None

    @property
    def text(self) -> str:
        """Name and median, and how many outages got there when not all did."""
        if not self.seen:
            return f"{self.name}: {self.missing}"
        least = max(t.high for t in self.seen)
        said = units.seconds(self.median) if least > 1e-3 else f"≤ {units.seconds(least)}"
        said += f" ({len(self.seen)} of {len(self.times)})" if len(self.seen) < len(self.times) else ""
        return f"{self.name} {said}" + (f", {self.note}" if self.note else "")


def early(outages: Sequence[Failover]) -> list[Milestone]:
    """Return what happened after the fault took effect, in the order people think of it.

    Only of a provider is it told that no breaker opened and nobody failed over; a service comes back when it is mended,
    so that moment is told in between.
    """
    provider = served(outages)
    harm = Milestone("first harm", tuple(f.impact_s for f in outages), "none seen")
    breaker = Milestone("breaker open", tuple(f.detection_s for f in outages), "not seen")
    over = Milestone("failed over (ledger)", tuple(f.failover_s for f in outages), "not seen")
    cleared = Milestone("fault cleared", tuple(_cleared(f) for f in outages), "never")
    recovered = Milestone("recovered", tuple(f.recovery_s for f in outages), "never")
    if all(map(unharmed, outages)):
        recovered = Milestone("recovered", (None,) * len(outages), "service stayed good")
    if provider:
        return [harm, breaker, over, recovered]
    return [harm, *([breaker] if breaker.seen else []), *_in_order(cleared, recovered)]


def _in_order(*milestones: Milestone) -> list[Milestone]:
    return sorted(milestones, key=lambda m: math.inf if m.median is None else m.median)


def _cleared(outage: Failover) -> Interval | None:
    """Return when a fault was cleared, seconds after it took effect; None when it never was."""
    if outage.effective_ns is None or outage.cleared_ns is None:
        return None
    seconds = max(0, outage.cleared_ns - outage.effective_ns) / NS_PER_S
    return Interval(low=seconds, high=seconds)


def late(outages: Sequence[Failover]) -> list[Milestone]:
    """Return what happened after the fault was cleared: of a provider, that it served again."""
    if not served(outages):
        return []
    changes = flaps(outages)
    note = units.plural(changes, "flap") if changes else ""
    return [Milestone("failed back", tuple(f.failback_s for f in outages), not_back(outages), note)]


def _injected(axes: Axes, outages: Sequence[Failover], y: float) -> None:
    """Draw how long each injection took to bite: from there to here the fault came on."""
    delays = [(f.effective_ns - f.injecting_ns) / 1e9 for f in outages if f.effective_ns is not None]
    begin = max(-median(delays), axes.get_xlim()[0])
    axes.plot([begin, begin, begin, 0, 0, 0], [y - 5, y + 5, y, y, y - 5, y + 5], color=palette.BAD, linewidth=1.6)
    axes.annotate(
        f"effective, {units.seconds(median(delays))} after injection", (0, y), (8, 0), textcoords="offset points",
        va="center", color=palette.BAD,
    )  # fmt: skip


def _reach(milestones: Sequence[Milestone], least: float) -> float:
    return max([least, *(t.high for m in milestones for t in m.seen)])


def _lines(axes: Axes, milestones: Sequence[Milestone], top: float) -> None:
    """Draw one row a milestone, thin lines for outages, a bold one for their median, its words at its end."""
    for number, milestone in enumerate(milestones):
        y = top - (number + 0.5) * ROW
        bad = milestone.name == "recovered" or not milestone.seen
        colour = palette.SOFT if not milestone.seen else palette.GOOD if bad else palette.INK
        step = min(3.0, 12 / max(len(milestone.seen), 1))
        for k, seen in enumerate(milestone.seen):
            offset = y + 4 + k * step if len(milestone.seen) > 1 else y
            if len(milestone.seen) <= MOST_LINES:
                axes.plot([0, (seen.low + seen.high) / 2], [offset] * 2, color=colour, linewidth=0.6, alpha=0.55)
            axes.plot([seen.low, seen.high], [offset] * 2, color=colour, linewidth=2, alpha=0.55)
        middle = milestone.median
        if middle is not None:
            axes.plot([0, middle], [y, y], color=colour, linewidth=2.4)
            axes.plot([middle] * 2, [y - 5, y + 5], color=colour, linewidth=2.4)
        axes.plot([0, 0], [y - 4, y + 4], color=palette.SOFT, linewidth=1)
        end = max([t.high for t in milestone.seen], default=0.0)
        axes.annotate(milestone.text, (end, y), (8, 0), textcoords="offset points", va="center", color=colour)


def _dots(axes: Axes, probe: Rows, starts: Sequence[float], px_per_s: float, slo_s: float) -> None:
    """Draw the probe's requests of each outage as a line of dots, bad ones as crosses (the worst of each 4 px)."""
    begin, end = axes.get_xlim()
    wrong = probe.outcome.among(BAD) | (probe.response > slo_s) | np.isnan(probe.response)
    bin_s = 4.0 / px_per_s
    for number, start in enumerate(starts[:MOST]):
        y = -(number + 1) * DOTS
        chosen = (probe.due >= start + begin) & (probe.due < start + end)
        fine, broken = _moments(probe.due[chosen] - start, wrong[chosen], bin_s)
        half = 0.7 / px_per_s
        axes.plot(_strokes(fine - half, fine + half), _strokes(y + 0 * fine, y + 0 * fine), color=palette.SOFT,
                  linewidth=1.4)  # fmt: skip
        half = 2.0 / px_per_s
        for up in (2.0, -2.0):
            axes.plot(_strokes(broken - half, broken + half), _strokes(y - up + 0 * broken, y + up + 0 * broken),
                      color=palette.BAD, linewidth=1.2)  # fmt: skip


def _moments(due: Array, wrong: Array, bin_s: float) -> tuple[Array, Array]:
    """Return where dots and crosses go: at each request, or where those would touch, at the worst of each bin."""
    if len(due) < 2 or float(np.median(np.diff(np.sort(due)))) >= bin_s * 0.75:
        return due[~wrong], due[wrong]
    bins = np.floor(due / bin_s).astype(np.int64)
    broken = np.unique(bins[wrong])
    return (np.setdiff1d(bins, broken) + 0.5) * bin_s, (broken + 0.5) * bin_s


def _strokes(first: Array, second: Array) -> Array:
    """Weave begin and end points into one broken line: a single path however many strokes there are."""
    line: Array = np.column_stack([first, second, np.full(len(first), np.nan)]).ravel()
    return line


def recorder(recording: Recording, axis: Timeline, outages: Sequence[Failover], slo_s: float) -> Drawn:
    """Draw all outages of one kind."""
    first, second = early(outages), late(outages)
    begun = [axis.at(f.effective_ns if f.effective_ns is not None else f.injecting_ns) for f in outages]
    cleared = [axis.at(f.cleared_ns) for f in outages if f.cleared_ns is not None] if second else []
    probe = rows(recording.canary, axis)
    lines = min(len(outages), MOST) if recording.canary.num_rows else 0
    depth = lines * DOTS + (8 if lines else 0)
    spans = (_reach(first, 1.0), _reach(second, 1.0) if cleared else 0.0)
    parts: list[tuple[str, Sequence[Milestone], Sequence[float], float]] = [
        ("since the fault took effect", first, begun, spans[0])
    ]
    if cleared:
        parts.append(("since it was cleared", second, cleared, spans[1]))

    def paint(figure: Figure) -> None:
        width, height = figure.get_figwidth() * 72, figure.get_figheight() * 72
        stacked = width < 500
        left, gap, right = (46.0 if len(outages) <= MOST else 60.0) if lines else 12.0, 28.0, 8.0
        usable = width - left - right - (0 if stacked else gap * (len(parts) - 1))
        ratio = [1.0] if len(parts) == 1 else _ratio(spans)
        x, y = left, 6.0
        for number, (label, milestones, starts, span) in enumerate(parts):
            wide = usable if stacked else usable * ratio[number]
            tall = ROW * (1 + len(first) if number == 0 or not stacked else len(milestones)) + depth
            axes = figure.add_axes((x / width, 1 - (y + tall) / height, wide / width, tall / height))
            _panel(axes, milestones, span, wide, (tall - depth, depth))
            if number == 0:
                _injected(axes, outages, tall - depth - ROW / 2)
            if lines:
                _dots(axes, probe, starts, wide / (axes.get_xlim()[1] - axes.get_xlim()[0]), slo_s)
            if lines and (number == 0 or stacked):
                which = "probe" if len(outages) <= MOST else f"probe\n{MOST} of {len(outages)}"
                axes.annotate(
                    which, (0, -DOTS), (-6, FONT / 2), xycoords=("axes fraction", "data"), ha="right", va="top",
                    textcoords="offset points", color=palette.SOFT,
                )  # fmt: skip
            axes.set_xlabel(label, labelpad=2)
            x, y = (x, y + tall + 46) if stacked else (x + wide + gap, y)

    tall = ROW * (1 + len(first)) + depth
    extra = (ROW * len(second) + depth + 46) if cleared else 0
    what = outages[0]
    said = "; ".join(m.text for _, milestones, _, _ in parts for m in milestones)
    return draw(
        f"recorder-{what.kind}-{what.upstream}".replace(" ", "-"), f"{what.upstream} {what.kind}: flight recorder",
        f"Medians of {units.plural(len(outages), 'outage')}: {said}.",
        {"wide": (820, round(tall + 48)), "narrow": (358, round(tall + extra + 48))}, paint,
    )  # fmt: skip


def _ratio(spans: tuple[float, float]) -> list[float]:
    """Share the width so that both panels have one scale, unless one of them would be too narrow to read."""
    first = min(max(spans[0] / (spans[0] + spans[1]), 0.45), 0.6)
    return [first, 1 - first]


def _panel(axes: Axes, milestones: Sequence[Milestone], span: float, width: float, ends: tuple[float, float]) -> None:
    """Set up one panel `width` px wide, `ends` px above and below zero, whose lines reach `span` seconds."""
    top, depth = ends
    before = 0.06
    text = max((len(m.text) for m in milestones if m.seen), default=0) * FONT * 0.56 + 16
    room = max(width * (1 - before) - text, width * 0.2)
    scale = room / span
    axes.set_xlim(-before * width / scale, (1 - before) * width / scale)
    axes.set_ylim(-depth, top)
    axes.set_yticks([])
    axes.axvline(0, color=palette.BAD, linewidth=1)
    step = next((s for s in _STEPS if axes.get_xlim()[1] / s <= width / 46), 3600.0)
    ticks = [k * step for k in range(int(axes.get_xlim()[1] / step) + 1)]
    long = axes.get_xlim()[1] > 120  # as "2 min 20 s" would run into its neighbour
    axes.set_xticks(ticks, [units.clock(t) if long else units.seconds(t) for t in ticks])
    _lines(axes, milestones, len(milestones) * ROW)


_STEPS: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
