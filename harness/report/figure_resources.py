"""Resources over the time of the run, held against their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.by_bucket import bucket_of
from harness.analysis.resources import THROTTLED
from harness.report import palette, units
from harness.report.drawing import Drawn, draw, gaps, time_axis
from harness.report.figure_time import hover, panel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.analysis.frame import Array
    from harness.report.series import Resource
    from harness.report.timeline import Timeline

SAYERS: dict[str, Callable[[float], str]] = {"cpu": units.three, "memory_mib": units.mib, "net": units.three}
HOVER_UNITS = {"cpu": "", "memory_mib": f"|{units.SPACE}MiB", "net": f"|{units.SPACE}kB/s"}
TITLES = {"cpu": "CPU, cores", "memory_mib": "memory", "net": "network, kB/s"}


def _round_below(value: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above `value`."""
    size = 10.0 ** np.floor(np.log10(value)) if value > 0 else 1.0
    return float(max((m * size for m in (1, 2, 5) if m * size <= value * 1.001), default=size))


def _highest(series: Sequence[Resource]) -> float:
    """Return what the shared scale must reach: every value, and the limits of those that used half of theirs."""
    tops = [(float(r.values.max()), float(r.limit.max()) if r.limit is not None else 0.0) for r in series]
    return max([0.0, *(max(top, limit) if limit <= 2 * top else top for top, limit in tops)]) or 1.0


def resources(series: Sequence[Resource], axis: Timeline, metric: str) -> Drawn:
    """One resource of every process or container as small multiples: same time axis, same scale, limits in them."""
    mine = [r for r in series if r.metric == metric]
    highest, say, row = _highest(mine), SAYERS[metric], 62
    top, tick = highest * 1.12, _round_below(highest)

    def paint(figure: Figure) -> None:
        for number, one in enumerate(mine):
            axes = panel(figure, 20 + number * row, row - 26)
            time_axis(axes, axis, labels=number == len(mine) - 1)
            axes.set_ylim(0, top)
            axes.set_yticks([0, tick], ["0", say(tick)])
            axes.axhline(0, color=palette.LINE, linewidth=0.8)
            line = gaps(one.seconds, one.values, axis.bucket_s * 3)
            axes.plot(*line, color=palette.INK, linewidth=1.1)
            axes.fill_between(*line, color=palette.INK, alpha=0.07, linewidth=0)
            axes.annotate(one.owner, (0, 1), (0, 3), xycoords="axes fraction",
                          textcoords="offset points", color=palette.INK)  # fmt: skip
            axes.annotate(say(float(one.values[-1])), (1, one.values[-1] / top), (6, 0),
                          xycoords="axes fraction", textcoords="offset points", va="center",
                          color=palette.SOFT)  # fmt: skip
            _limit(axes, axis, one, say)

    high = 20 + len(mine) * row + 6
    peaks = ", ".join(
        f"{r.owner} {say(float(r.values.max()))}" + (f" (limit {_limits(r.limit, say)})" if r.limit is not None else "")
        for r in mine
    )
    return draw(
        f"resources-{metric}", f"Resource use: {TITLES[metric]}",
        f"{TITLES[metric]} of each process or container over the run; highest: {peaks}.",
        {"wide": (560, high), "narrow": (358, high)}, paint,
        hover=hover(axis.edges(), axis, [(r.owner, _by_bucket(r, axis), HOVER_UNITS[metric]) for r in mine]),
    )  # fmt: skip


def _by_bucket(one: Resource, axis: Timeline) -> Array:
    """Return a value for each bucket of the axis; nan where nothing was sampled."""
    edges = axis.edges()
    values, bucket = np.full(len(edges) - 1, np.nan), bucket_of(one.seconds, edges)
    values[bucket[bucket >= 0]] = one.values[bucket >= 0]
    return values


def _limits(limit: Array, say: Callable[[float], str]) -> str:
    low, high = say(float(limit.min())), say(float(limit.max()))
    return low if low == high else f"{low}{units.SPACE}{units.DASH}{units.SPACE}{high}"


def _limit(axes: Axes, axis: Timeline, one: Resource, say: Callable[[float], str]) -> None:
    """Draw the limit where it is on the scale, say it in any case, and mark when the CPU's held its owner back."""
    if one.limit is not None:
        drawn = float(one.limit.min()) < axes.get_ylim()[1]
        if drawn:
            seconds, limit = gaps(one.seconds, one.limit, axis.bucket_s * 3)
            axes.step(seconds, limit, where="mid", color=palette.BAD, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"limit {_limits(one.limit, say)}" + ("" if drawn else f"{units.SPACE}\u2191"), (1, 1), (0, 3),
            xycoords="axes fraction", textcoords="offset points", ha="right",
            color=palette.BAD if drawn else palette.SOFT,
        )  # fmt: skip
    if one.throttled is not None:
        held = one.seconds[one.throttled >= THROTTLED]
        axes.hlines(np.zeros(len(held)), held - axis.bucket_s / 2, held + axis.bucket_s / 2, palette.BAD, linewidth=3)
