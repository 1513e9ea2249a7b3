"""Drift over the time of the run: each series with its trend, the band it may lie in, and its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.report import palette, units
from harness.report.block_soak import level, per_hour
from harness.report.drawing import Drawn, draw, gaps, time_axis
from harness.report.figure_time import panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.model.soak import SoakFindings, SoakSeries
    from harness.report.timeline import Timeline

MOST = 12
"""Panels of one figure; the table has every series."""
_ROW, _TOP, _LINE, _LEFT = 74, 20, 13, 58
_NARROW = 400
"""In a narrower figure a panel's name and what is said of it take a line each."""
_COLOUR = {"leak": palette.BAD, "drift": palette.BAD, "inconclusive": palette.SOFT}


def chosen(found: SoakFindings, *, service: bool) -> list[SoakSeries]:
    """Return what is drawn: what moves or is not known first, then memory, which everyone asks about."""
    mine = [s for s in found.series if (s.owner == "service") == service and len(s.points) > 1]
    loud = [s for s in mine if service or s.what == "memory" or s.worse or s.verdict == "saturating"]
    return loud[:MOST]


def figures(found: SoakFindings | None, axis: Timeline) -> list[Drawn]:
    """Draw resources and service, each as small multiples on the shared time axis; what was not recorded is not."""
    parts = [(chosen(found, service=service), service) for service in (False, True)] if found else []
    return [_figure(mine, axis, service=service) for mine, service in parts if mine]


def _figure(mine: Sequence[SoakSeries], axis: Timeline, *, service: bool) -> Drawn:

    def paint(figure: Figure) -> None:
        more = _LINE if figure.get_figwidth() * 72 < _NARROW else 0
        for number, one in enumerate(mine):
            axes = panel(figure, _TOP + more + number * (_ROW + more), _ROW - 28, _LEFT)
            time_axis(axes, axis, labels=number == len(mine) - 1)
            _panel(axes, one, more)

    high = _TOP + len(mine) * _ROW + 6
    what = "What users got" if service else "Resources"
    told = "; ".join(f"{s.name} {s.verdict}" + ("" if s.slope is None else f", {_slope(s)}") for s in mine)
    return draw(
        f"soak-{'service' if service else 'resources'}", f"{what}: trends over the run",
        f"{what}, window by window, each with its trend: {told}.",
        {"wide": (560, high), "narrow": (358, high + len(mine) * _LINE)}, paint,
    )  # fmt: skip


def _slope(one: SoakSeries) -> str:
    return per_hour(None if one.slope is None else one.slope.value, one.unit)


def _panel(axes: Axes, one: SoakSeries, more: int) -> None:
    seconds, values = np.array(one.points).T
    low, high = _range(one, values)
    axes.set_ylim(low, high)
    axes.set_yticks([float(values.min()), float(values.max())] if values.max() - values.min() > (high - low) * 0.4
                    else [float(np.median(values))])  # fmt: skip
    axes.set_yticklabels([level(float(tick), one.unit) for tick in axes.get_yticks()])
    colour = _COLOUR.get(one.verdict, palette.GOOD) if one.worse is not False else palette.GOOD
    axes.plot(*gaps(seconds, values, one.window_s * 3), color=palette.INK, linewidth=1.0, alpha=0.75)
    if one.line:
        at, trend, below, above = np.array(one.line).T
        middle = (at.mean(), trend.mean())
        axes.fill_between([at[0], middle[0], at[1]], [below[0], middle[1], below[1]], [above[0], middle[1], above[1]],
                          color=colour, alpha=0.18, linewidth=0)  # fmt: skip
        axes.plot(at, trend, color=colour, linewidth=1.8)
        if one.warmup_dropped_s:
            axes.axvspan(float(seconds[0]), float(at[0]), facecolor=palette.LINE, alpha=0.5, edgecolor="none", zorder=0)
    axes.annotate(one.title, (0, 1), (0, 3 + more), xycoords="axes fraction",
                  textcoords="offset points", color=palette.INK)  # fmt: skip
    axes.annotate(f"{one.verdict}{'' if one.slope is None else f', {_slope(one)}'}", (1, 1), (0, 3),
                  xycoords="axes fraction", textcoords="offset points", ha="right", color=colour)  # fmt: skip
    _limit(axes, one, high)


def _range(one: SoakSeries, values: np.ndarray) -> tuple[float, float]:
    """Return what the panel shows: all values, and at least what the practical threshold makes of the length, so that
    what is flat looks flat."""
    low, high = float(values.min()), float(values.max())
    hours = (one.points[-1][0] - one.points[0][0]) / 3600
    lack = max(2 * one.threshold * hours, 0.02 * abs(high), 1e-9) - (high - low)
    if lack > 0:
        low, high = low - lack / 2, high + lack / 2
    if one.limit is not None and one.limit < high + (high - low):
        high = max(high, one.limit)
    edge = 0.08 * (high - low)
    return low - edge, high + edge


def _limit(axes: Axes, one: SoakSeries, high: float) -> None:
    if one.limit is not None and one.limit <= high:
        axes.axhline(one.limit, color=palette.BAD, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(f"limit{units.SPACE}{level(one.limit, one.unit)}", (1, one.limit), (4, 0), va="center",
                      xycoords=axes.get_yaxis_transform(), textcoords="offset points", color=palette.BAD)  # fmt: skip
