"""The distribution of response times, healthy against each fault."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.report import palette, units
from harness.report.drawing import Drawn, draw
from harness.report.figure_time import log_scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from harness.analysis.frame import Array

STYLES: tuple[object, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
"""Faults are told apart by dash and by name, never by shade of red alone."""

HOVER_STEPS = 200


def ecdf(distributions: dict[str, Array]) -> Drawn:
    """Share of requests answered within a time (log), for the healthy phase and for each fault.

    Times are seconds, ascending; those of requests that were never answered are infinite, so such a curve ends below 1.
    """
    limits: list[float] = []
    longest = np.concatenate(list(distributions.values())) if distributions else np.array([])
    step = min(0.085, 0.9 / max(1, len(distributions) - 1))

    def paint(figure: Figure) -> None:
        width, height = figure.get_figwidth() * 72, figure.get_figheight() * 72
        axes = figure.add_axes((44 / width, 40 / height, (width - 60) / width, (height - 40 - 26) / height))
        log_scale(axes, longest, x=True)
        ticks = (0, 0.25, 0.5, 0.75, 0.95)
        axes.set_ylim(0, 1.005)
        axes.set_yticks([*ticks, 1], [f"{t:.0%}".replace("%", f"{units.SPACE}%") for t in ticks] + [""])
        axes.grid(axis="y")
        axes.set_xlabel("answered within")
        edge = axes.get_xlim()[1]
        limits[:] = [float(np.log10(limit)) for limit in axes.get_xlim()]
        for number, (name, values) in enumerate(distributions.items()):
            healthy = name in ("baseline", "steady")
            points = np.unique(np.concatenate([np.linspace(0, 1, 160), 1 - np.geomspace(1e-4, 0.1, 40)]))
            times = _at(values, points)
            colour = palette.INK if healthy else palette.BAD
            style = "solid" if healthy else STYLES[(number - ("baseline" in distributions)) % len(STYLES)]
            axes.plot(times, points, color=colour, linewidth=1.7 if healthy else 1.3, linestyle=style)
            if len(distributions) == 1:
                continue  # the one there is needs no name
            # Named in the empty corner under every such curve, by a line of its own kind that starts on it.
            level = 0.06 + step * (len(distributions) - 1 - number)
            begin = min(float(_at(values, level)), edge)  # at the edge of a curve that does not come so far
            axes.plot([begin, edge], [level] * 2, color=colour, linewidth=0.8, linestyle=style)
            if begin < edge:
                axes.plot(begin, level, "o", color=colour, markersize=4)
            axes.annotate(name, (edge, level), (0, 2.5), textcoords="offset points", ha="right", color=colour)

    said = "; ".join(f"{name}: {_within(v, 0.5, 'half')}, {_within(v, 0.95, '95 %')}"
                     for name, v in distributions.items())  # fmt: skip
    drawn = draw(
        "ecdf", "Response times, healthy against each fault", said or "No answers.",
        {"wide": (340, 340), "narrow": (358, 320)}, paint,
    )  # fmt: skip
    return replace(drawn, hover=_hover(distributions, *limits))


def _at(values: Array, share: Array | float) -> Array:
    """Return the times within which such shares were answered; infinite where so many never were."""
    times: Array = np.quantile(values, share, method="inverted_cdf")
    return times


def _within(values: Array, share: float, called: str) -> str:
    time = float(_at(values, share))
    return f"{called} within {units.seconds(time)}" if np.isfinite(time) else f"{called} never answered"


def _hover(distributions: dict[str, Array], low: float, high: float) -> dict[str, object]:
    """Return what the page's script shows under the pointer: shares in percent, at times spread evenly on the log
    axis from 10^`low` to 10^`high` seconds."""
    times = np.linspace(low, high, HOVER_STEPS + 1)
    rows = {
        f"{name}|{units.SPACE}%": [float(f"{share:.3g}") for share in _below(values, 10 ** times[:-1])]
        for name, values in distributions.items()
    }
    return {"log": True, "left": 44, "right": 16, "from": low, "to": high, "begin": low, "step": times[1] - low,
            "rows": rows}  # fmt: skip


def _below(values: Array, times: Array) -> Array:
    shares: Array = np.searchsorted(np.sort(values), times, side="right") / len(values) * 100
    return shares
