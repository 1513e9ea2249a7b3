"""Capacity drawn: throughput against load with the scalability law, and response time against load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.report import palette, units
from harness.report.drawing import Drawn, draw
from harness.report.figure_time import LEFT, end_labels, log_scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.analysis.frame import Array
    from harness.model.capacity import CapacityFindings, CapacityState, Level, SloMet

COLOURS = ("p0", "p1", "p2", "p3", "local")
"""Of the states, in the order they were run; those after the fourth share the last."""
SIZES = {"wide": (580, 330), "narrow": (358, 300)}
_MARKS: Mapping[SloMet, Mapping[str, object]] = {
    "meets": {"marker": "o", "markersize": 6},
    "misses": {"marker": "x", "markersize": 6.5, "markeredgewidth": 1.8},
    "inconclusive": {"marker": "o", "markersize": 6, "markerfacecolor": palette.PAPER, "markeredgewidth": 1.4},
}
"""Levels are told apart by shape: met, missed, and not known."""
RIGHT = 118
"""Margin in which the states are named, px."""
WIDE = 30
"""Spread of the requests in flight from which their axis is logarithmic."""


def figures(found: CapacityFindings) -> dict[str, Drawn]:
    """Return both figures by name; none where no level counts."""
    states = [(state, palette.SENTINELS[COLOURS[min(i, 4)]], _counting(state)) for i, state in enumerate(found.states)]
    told = [one for one in states if one[2]]
    if not told:
        return {}
    return {"capacity": _throughput(told), "capacity-response": _response(found, told)}


def _axes(figure: Figure, label: str) -> Axes:
    width, height = figure.get_figwidth() * 72, figure.get_figheight() * 72
    axes = figure.add_axes((LEFT / width, 44 / height, (width - LEFT - RIGHT) / width, (height - 44 - 22) / height))
    axes.set_xlabel(label)
    axes.grid(axis="y")
    for one in (axes.xaxis, axes.yaxis):
        one.set_major_formatter(lambda value, _: units.three(value))
    return axes


def _counting(state: CapacityState) -> list[Level]:
    return sorted((level for level in state.levels if level.counts and level.in_flight > 0), key=_load)


def _load(level: Level) -> float:
    return float(level.users) if level.users is not None else level.offered


def _throughput(states: Sequence[tuple[CapacityState, str, list[Level]]]) -> Drawn:
    loads = np.array([level.in_flight for _, _, levels in states for level in levels])
    top = max(_top(state, levels) for state, _, levels in states)

    def paint(figure: Figure) -> None:
        axes = _axes(figure, "requests in flight")
        spread_out = loads.max() > WIDE * loads.min()
        if spread_out:
            axes.set_xscale("log")
            ticks = [t for e in range(-3, 6) for t in (10.0**e,) if loads.min() / 1.3 <= t <= loads.max() * 1.3]
            axes.set_xticks(ticks, [units.three(t) for t in ticks])
            axes.minorticks_off()
        axes.set_xlim(loads.min() / 1.25 if spread_out else 0, loads.max() * (1.25 if spread_out else 1.05))
        axes.set_ylim(0, top * 1.08)
        axes.annotate(
            "requests per second", (0, 1), (-LEFT + 4, 8), xycoords="axes fraction", textcoords="offset points",
            color=palette.SOFT,
        )  # fmt: skip
        axes.axhline(0, color=palette.LINE, linewidth=0.8)
        ends = []
        for state, colour, levels in states:
            _law(axes, state, colour, levels)
            _points(axes, [(level.in_flight, level.achieved.value or 0.0, level) for level in levels], colour)
            _mark(axes, state, colour, levels)
            ends.append((_name(state), _line(state, levels)[1][-1], colour))
        end_labels(axes, ends)

    said = "; ".join(f"{state.state}: {_said(state)}" for state, _, _ in states)
    return draw("capacity", "Throughput against load", f"{said}.", SIZES, paint)


def _top(state: CapacityState, levels: Sequence[Level]) -> float:
    band = [point.high for point in state.usl.curve] if state.usl and state.usl.fits else []
    measured = [*(level.achieved.value or 0.0 for level in levels), state.capacity.rate.high or 0.0]
    # A wide band may reach far above everything that was measured: it is cut, not the figure flattened.
    return max([*measured, min(max(band, default=0.0), 1.5 * max(measured))])


def _name(state: CapacityState) -> str:
    return state.state.replace("_", " ")


def _line(state: CapacityState, levels: Sequence[Level]) -> tuple[Array, Array]:
    """Return the line that stands for a state: the law or, where it does not fit, from level to level."""
    if state.usl and state.usl.fits:
        x, y = np.array([(p.in_flight, p.rate) for p in state.usl.curve]).T
    else:
        x, y = np.array(sorted((level.in_flight, level.achieved.value or 0.0) for level in levels)).T
    return x, y


def _law(axes: Axes, state: CapacityState, colour: str, levels: Sequence[Level]) -> None:
    if state.usl and state.usl.fits:
        x, low, high = np.array([(p.in_flight, p.low, p.high) for p in state.usl.curve]).T
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(*_line(state, levels), color=colour, linewidth=1.5)


def _points(axes: Axes, points: Sequence[tuple[float, float, Level]], colour: str) -> None:
    for x, y, level in points:
        axes.plot(x, y, linestyle="none", color=colour, markeredgecolor=colour, zorder=3, **_MARKS[level.slo])  # type: ignore[arg-type]


def _mark(axes: Axes, state: CapacityState, colour: str, levels: Sequence[Level]) -> None:
    """Mark the capacity at SLO: a bar over its interval, where the system has that many requests in flight."""
    rate = state.capacity.rate
    ends = [end for end in (rate.low, rate.high) if end is not None]
    if rate.value is None and not ends:
        return
    middle = rate.value if rate.value is not None else ends[0]
    x, y = _line(state, levels)
    users = state.capacity.users
    if levels[0].users is not None and users and users.value is not None:
        at = float(np.interp(users.value, [level.users or 0 for level in levels], [lv.in_flight for lv in levels]))
    else:
        rising = slice(0, int(np.argmax(y)) + 1)
        at = float(np.exp(np.interp(middle, y[rising], np.log(x[rising]))))
    if len(ends) == 2:
        axes.plot([at, at], ends, color=colour, linewidth=6, alpha=0.4, solid_capstyle="butt", zorder=2)
    axes.plot([at], [middle], marker="D", markersize=7, color=colour, markeredgecolor=palette.PAPER, zorder=4)


def _said(state: CapacityState) -> str:
    rate = state.capacity.rate
    around = units.between(rate.low, rate.high, "per_s")
    if rate.value is None:
        return f"the SLO is met up to {around}" if around else "no level shows whether the SLO is met"
    return f"the SLO is met up to {units.per_second(rate.value)} ({around})"


def _response(found: CapacityFindings, states: Sequence[tuple[CapacityState, str, list[Level]]]) -> Drawn:
    levels = [level for _, _, some in states for level in some]
    times = np.array([t for lv in levels for e in (lv.response_ms.p50, lv.response_ms.p95) if (t := e.value)]) / 1e3
    highest = max(map(_load, levels))
    asked = "requests per second, offered" if found.open_loop else "users"

    def paint(figure: Figure) -> None:
        axes = _axes(figure, asked)
        log_scale(axes, np.append(times, found.slo_response_s))
        axes.set_xlim(0, highest * 1.04)
        axes.axhline(found.slo_response_s, color=palette.BAD, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"objective {units.seconds(found.slo_response_s)}", (0, found.slo_response_s), (4, 4),
            textcoords="offset points", va="bottom", color=palette.BAD,
        )  # fmt: skip
        ends = []
        for state, colour, some in states:
            ends_at = state.capacity.rate if found.open_loop else state.capacity.users
            if ends_at and ends_at.low is not None and ends_at.high is not None:
                axes.axvspan(ends_at.low, ends_at.high, color=colour, alpha=0.1, linewidth=0)
            for percent, width in (("p50", 0.9), ("p95", 1.6)):
                told = [(lv, (getattr(lv.response_ms, percent).value or np.nan) / 1e3) for lv in some]
                axes.plot([_load(lv) for lv, _ in told], [t for _, t in told], color=colour, linewidth=width)
                if percent == "p95":
                    _points(axes, [(_load(lv), t, lv) for lv, t in told], colour)
                    ends.append((_name(state), told[-1][1], colour))
        end_labels(axes, [end for end in ends if np.isfinite(end[1])])

    return draw(
        "capacity-response", "Response time against load",
        f"p50 and p95 of each level on a logarithmic axis, up to {units.three(highest)} {asked}.", SIZES, paint,
    )  # fmt: skip
