"""Figures over the time of the run. All share one axis and one pair of margins, so that they can be read as one."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.report import palette, units
from harness.report.drawing import FONT, Drawn, draw, size_px, spread, steps, time_axis
from harness.report.timeline import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.analysis.frame import Array
    from harness.report.seen import Traffic
    from harness.report.series import Shares
    from harness.report.timeline import Timeline

LEFT, RIGHT = 52, 60
"""Margins of every time figure, px."""


def panel(figure: Figure, top: float, height: float, left: float = LEFT) -> Axes:
    """Return axes `height` px tall whose upper edge is `top` px below the figure's, between the shared margins."""
    width, whole = figure.get_figwidth() * 72, figure.get_figheight() * 72
    box = (left / width, 1 - (top + height) / whole, (width - left - RIGHT) / width, height / whole)
    return figure.add_axes(box)


_APART = 10
"""Between two names, px."""


def _px_per_s(axes: Axes, axis: Timeline) -> float:
    return size_px(axes)[0] / axis.length


def name_stretches(axes: Axes, axis: Timeline) -> None:
    """Name faults and phases above the axes; a name that would run into another is left out, a fault's last. A load of
    steps has their levels for phases.

    Faults too close together for their names are named together: some of them named would look like all there were.
    """
    scale, taken = _px_per_s(axes, axis), list[tuple[float, float]]()
    end = (axis.end - axis.begin) * scale
    faults = [_all_of(axis.faults, end)] if _crowded(axis.faults, scale) else axis.faults
    stretches = [(f, palette.BAD) for f in faults]
    stretches += [(p, palette.SOFT) for p in axis.steps or axis.phases if p.name != "fault"]
    if axis.unit:
        axes.annotate(axis.unit, (0, 1), (-8, 6), xycoords="axes fraction", textcoords="offset points", ha="right",
                      va="bottom", color=palette.SOFT)  # fmt: skip
    last = ""
    for span, colour in stretches:
        start, width = (span.begin - axis.begin) * scale, _width(span.name)
        right = start + width > end
        start = (span.end - axis.begin) * scale - width if right else start
        too_wide = colour == palette.SOFT and width > (span.end - span.begin) * scale
        crowded = any(start < until + _APART and begin < start + width + _APART for begin, until in taken)
        if crowded or too_wide or (colour == palette.BAD and span.name == last):
            continue
        axes.annotate(
            span.name, (span.end if right else span.begin, 1), (0, 6), xycoords=axes.get_xaxis_transform(),
            textcoords="offset points", ha="right" if right else "left", va="bottom", color=colour,
        )  # fmt: skip
        taken.append((start, start + width))
        last = span.name if colour == palette.BAD else last


def _crowded(faults: Sequence[Span], scale: float) -> bool:
    """Tell whether names of faults would run into each other, at so many px a second."""
    changes = [f for number, f in enumerate(faults) if not number or f.name != faults[number - 1].name]
    return any((b.begin - a.begin) * scale < _width(a.name) + _APART for a, b in pairwise(changes))


def _all_of(faults: Sequence[Span], most: float) -> Span:
    """Return the stretch of all faults, named as fully as `most` px allow."""
    named = ", ".join(f"{name} \u00d7 {times}" for name, times in Counter(f.name for f in faults).items())
    short = units.plural(len(faults), "fault")
    return Span(named if _width(named) < most else short, faults[0].begin, max(f.end for f in faults))


def _width(text: str) -> float:
    return len(text) * FONT * 0.6


def _log_ticks(low: float, high: float) -> list[float]:
    steps = (1,) if np.log10(high / low) > 1.8 else (1, 2, 5)
    found = [m * 10.0**e for e in range(-7, 6) for m in steps]
    return [t for t in found if low <= t <= high]


def log_scale(axes: Axes, values: Array, *, x: bool = False, floor: float = 1e-5) -> None:
    """Give an axis of seconds a log scale around `values`, with ticks people say (10 ms, 100 ms, 1 s)."""
    told = values[np.isfinite(values) & (values > 0)]
    low, high = (max(told.min(), floor) / 1.3, told.max() * 1.3) if told.size else (0.01, 10.0)
    if high / low < 12:
        middle = np.sqrt(low * high)
        low, high = middle / 12**0.5, middle * 12**0.5
    ticks = _log_ticks(low, high)
    (axes.set_xscale if x else axes.set_yscale)("log")
    (axes.set_xlim if x else axes.set_ylim)(low, high)
    (axes.set_xticks if x else axes.set_yticks)(ticks, [units.seconds(t) for t in ticks])
    axes.minorticks_off()


def end_labels(axes: Axes, labels: Sequence[tuple[str, float, str]]) -> None:
    """Name lines at their right end, at (text, y in data, colour), kept apart."""
    _, height = size_px(axes)
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((axes.get_xlim()[1], y))[1]) * height for _, y, _ in labels]
    for (text, _, colour), y in zip(labels, spread(heights, FONT * 1.25, 4, height - 4), strict=True):
        axes.annotate(
            text, (1, y / height), (6, 0), xycoords="axes fraction", textcoords="offset points", va="center",
            color=colour,
        )  # fmt: skip


def _last(line: Array) -> float:
    told = line[np.isfinite(line)]
    return float(np.median(told[-max(len(told) // 20, 3) :])) if told.size else float("nan")


def response(traffic: Traffic, axis: Timeline, slo_s: float) -> Drawn:
    """Response time p50, p95, p99 over the run on a log axis, and below it what was not answered in full."""
    x, lines = traffic.middles, traffic.percentiles
    every = units.seconds(axis.bucket_s)

    def paint(figure: Figure) -> None:
        tall = figure.get_figheight() * 72
        axes, below = panel(figure, 26, tall - 26 - 84), panel(figure, tall - 70, 44)
        # The limit is shown whenever it is near enough not to flatten everything else.
        top = np.nanmax(lines) if np.isfinite(lines).any() else np.nan
        log_scale(axes, np.append(lines, slo_s) if slo_s < 4 * top else lines)
        time_axis(axes, axis, labels=False)
        axes.grid(axis="y")
        name_stretches(axes, axis)
        low, high = axes.get_ylim()
        if low < slo_s < high:
            axes.axhline(slo_s, color=palette.BAD, linewidth=1, linestyle=(0, (4, 3)))
        axes.fill_between(x, lines[0], lines[2], color=palette.INK, alpha=0.07, linewidth=0)
        for row, width, colour in ((2, 0.8, palette.SOFT), (1, 1.7, palette.INK), (0, 1.0, palette.INK)):
            axes.plot(x, lines[row], color=colour, linewidth=width, solid_joinstyle="round")
        ends = [(name, _last(lines[r]), palette.SOFT if r == 2 else palette.INK)
                for r, name in enumerate(("p50", "p95", "p99"))]  # fmt: skip
        ends += [(f"SLO {units.seconds(slo_s)}", slo_s, palette.BAD)] if low < slo_s < high else []
        end_labels(axes, [e for e in ends if np.isfinite(e[1])])
        _errors(below, traffic, axis)

    bad, answered = int(traffic.bad.sum()), int(traffic.answered.sum())
    about = (
        f"p50, p95 and p99 of response time per {every} on a logarithmic axis, with the stretches in which faults "
        f"were on; below, answers that failed ({bad:,} of {answered:,}) or were degraded."
        + (f" Steps, {axis.unit}: {', '.join(step.name for step in axis.steps)}." if axis.steps else "")
    )
    times = [(name, line, "s") for name, line in zip(("p50", "p95", "p99"), lines, strict=True)]
    counts = [("answered", traffic.answered, ""), ("failed", traffic.bad, ""), ("degraded", traffic.degraded, "")]
    return draw(
        "response", "Response time over the run", about, {"wide": (820, 340), "narrow": (358, 330)}, paint,
        hover=hover(traffic.edges, axis, [*times, *counts]),
    )  # fmt: skip


def _errors(axes: Axes, traffic: Traffic, axis: Timeline) -> None:
    bad, soft = traffic.bad + traffic.unsent, traffic.degraded
    time_axis(axes, axis)
    top = max(float((bad + soft).max(initial=0)), 1.0)
    axes.set_ylim(0, top * 1.05)
    axes.set_yticks([0, top], ["0", f"{top:,.0f}"])
    axes.axhline(0, color=palette.LINE, linewidth=0.8)
    edges = traffic.edges
    axes.stairs(bad + soft, edges, fill=True, color=palette.SOFT, alpha=0.45, linewidth=0)
    axes.stairs(bad, edges, fill=True, color=palette.BAD, linewidth=0)
    labels = [("failed", 0.0, palette.BAD if bad.any() else palette.SOFT)] if bad.any() or not soft.any() else []
    labels += [("degraded", top, palette.SOFT)] if soft.any() else []
    end_labels(axes, labels)


def hover(edges: Array, axis: Timeline, columns: Sequence[tuple[str, Array, str]]) -> dict[str, object]:
    """Return what the page's script shows under the pointer: one row of values a bucket; times in ms."""
    rows = {}
    for name, values, unit in columns:
        scaled = values * 1e3 if unit == "s" else values
        rows[name + ("|ms" if unit == "s" else unit)] = [
            None if not np.isfinite(v) else int(v) if float(v).is_integer() else float(f"{v:.3g}") for v in scaled
        ]
    begin, width = float(edges[0]), float(edges[1] - edges[0])
    return {"left": LEFT, "right": RIGHT, "from": axis.begin, "to": axis.end, "begin": begin, "step": width,
            "rows": rows}  # fmt: skip


def providers(shares: Shares, axis: Timeline, colours: dict[str, str]) -> Drawn:
    """Share of answers by who gave them, stacked, over the run."""
    names = [n for n in colours if n in shares.answers]
    counts = np.array([shares.answers[n] for n in names]) if names else np.zeros((0, len(shares.edges) - 1))
    whole = counts.sum(axis=0)
    parts = np.divide(counts, whole, out=np.full_like(counts, np.nan, dtype=float), where=whole > 0)

    def paint(figure: Figure) -> None:
        axes = panel(figure, 26, figure.get_figheight() * 72 - 52)
        time_axis(axes, axis)
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1], ["0", f"50{units.SPACE}%", f"100{units.SPACE}%"])
        name_stretches(axes, axis)
        floor = np.zeros(len(whole))
        for name, part in zip(names, parts, strict=True):
            colour = palette.SENTINELS[colours[name]]
            axes.stairs(floor + part, shares.edges, baseline=floor, fill=True, facecolor=colour, linewidth=0)
            floor = floor + np.nan_to_num(part)
        left_over = _stack_labels(axes, axis, names, parts)
        end_labels(axes, [(n, y, palette.SENTINELS[colours[n]]) for n, y in left_over])
        _edges(axes, axis)

    source = "by the providers' own ledgers" if shares.from_ledger else "as the answers claim (no ledger)"
    totals = ", ".join(f"{n} {units.share(float(c.sum() / whole.sum()))}" for n, c in zip(names, counts, strict=True))
    return draw(
        "providers", "Who answered, over the run",
        f"Share of answers by provider per {units.seconds(axis.bucket_s)}, {source}: {totals or 'no answers'}.",
        {"wide": (820, 220), "narrow": (358, 230)}, paint,
        hover=hover(shares.edges, axis, [(n, c, "") for n, c in zip(names, counts, strict=True)]),
    )  # fmt: skip


def _stack_labels(axes: Axes, axis: Timeline, names: Sequence[str], parts: Array) -> list[tuple[str, float]]:
    """Name each band of the stack inside it, where it is thickest; return those too thin for it, with their height."""
    _, height = size_px(axes)
    scale, edges = _px_per_s(axes, axis), axis.edges()
    floor = np.vstack([np.zeros(parts.shape[1]), np.nan_to_num(parts).cumsum(axis=0)]) if len(names) else parts
    left_over = []
    for row, name in enumerate(names):
        text_buckets = max(round(len(name) * FONT * 0.62 / scale / axis.bucket_s), 1)
        text_buckets = min(text_buckets, parts.shape[1])
        # The label must fit under the highest floor and over the lowest ceiling of the buckets it covers.
        windows = np.lib.stride_tricks.sliding_window_view
        ceiling = windows(floor[row + 1], text_buckets).min(axis=1)
        ground = windows(floor[row], text_buckets).max(axis=1)
        room = (ceiling - ground) * height
        best = int(np.argmax(room))
        if room[best] >= FONT * 0.95:
            at = edges[best] + (edges[best + text_buckets] - edges[best]) / 2
            axes.text(at, (ceiling[best] + ground[best]) / 2, name, ha="center", va="center", color=palette.ON)
        elif np.nanmean(parts[row]) >= 0.01:
            left_over.append((name, float(np.median((floor[row] + np.nan_to_num(parts[row]) / 2)[parts[row] > 0]))))
    return left_over


def _edges(axes: Axes, axis: Timeline) -> None:
    """Mark the edges of steps and faults over areas that hide what is behind them."""
    scale = _px_per_s(axes, axis)
    steps(axes, axis, color=palette.PAPER, linewidth=0.9)
    for fault in axis.faults if len(axis.faults) * 40 < axis.length * scale else ():
        for edge in (fault.begin, fault.end):
            axes.axvline(edge, color=palette.BAD, linewidth=0.9, linestyle=(0, (2, 2)))
