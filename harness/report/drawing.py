"""Drawing a figure: matplotlib in, a small SVG out that takes the page's colours and typeface.

Text stays text, ids do not collide on a page of many figures, and the same data gives the same bytes.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from harness.report import palette
from harness.report.units import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.analysis.frame import Array
    from harness.report.timeline import Timeline

FONT = 12.0
"""Size of all text, px. The page shows figures at their own size or a little smaller."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "font.family": "DejaVu Sans", "font.size": FONT,
    "figure.dpi": 72, "axes.linewidth": 0.8, "axes.edgecolor": palette.LINE, "axes.labelcolor": palette.SOFT,
    "axes.facecolor": "none", "figure.facecolor": "none", "text.color": palette.INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
    "xtick.color": palette.LINE, "ytick.color": palette.LINE,
    "xtick.labelcolor": palette.SOFT, "ytick.labelcolor": palette.SOFT, "axes.axisbelow": True,
    "xtick.major.size": 4, "ytick.major.size": 0, "ytick.minor.size": 0, "xtick.minor.size": 0,
    "xtick.labelsize": FONT, "ytick.labelsize": FONT, "axes.labelsize": FONT,
    "grid.color": palette.LINE, "grid.linewidth": 0.8, "lines.solid_capstyle": "butt", "path.simplify": True,
}  # fmt: skip


def render(name: str, title: str, about: str, size: tuple[int, int], paint: Callable[[Figure], None]) -> str:
    """Return the figure `paint` paints on `size` (px) as an ``<svg>`` with `title` and `about` for those who listen."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second, which only who draws shall pay
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure as NewFigure  # noqa: PLC0415

    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = NewFigure(figsize=(size[0] / 72, size[1] / 72))
        FigureCanvasSVG(figure)
        paint(figure)
        sink = io.StringIO()
        figure.savefig(sink, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
    return _finish(sink.getvalue(), name, title, about, size)


_METADATA = ("Creator", "Date", "Format", "Type")
_NUMBERS = re.compile(r"-?\d+\.\d{2,}")


def _finish(svg: str, name: str, title: str, about: str, size: tuple[int, int]) -> str:
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"(/?)>', r"<g\1>", body)
    body = re.sub(r"font(-family)?: ?(\d+px )?'DejaVu Sans'[^;\"]*", _font, body)
    body = re.sub(r'(?<=[ "])(d|x|y|transform|points|width|height)="[^"]*"', lambda m: _short(m[0]), body)
    for variable, sentinel in palette.SENTINELS.items():
        body = body.replace(sentinel, f"var(--{variable})")
    body = re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", body))
    while (smaller := re.sub(r"<g/>|<g></g>", "", body)) != body:
        body = smaller
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'viewBox="0 0 {size[0]} {size[1]}" class="drawn" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(about)}</desc>'
    )
    return head + body.strip()


def _font(match: re.Match[str]) -> str:
    return f"font-size: {match[2].strip()}" if match[2] else ""


def _short(attribute: str) -> str:
    return _NUMBERS.sub(lambda m: f"{float(m[0]):.1f}".removesuffix(".0"), attribute)


@dataclass(frozen=True)
class Drawn:
    """A finished figure: for a wide page, for a phone, and what the page's script shows under the pointer."""

    name: str
    title: str
    about: str
    wide: str
    narrow: str
    hover: dict[str, object] | None = None

    @property
    def tag(self) -> Markup:
        """The figure for the page; the style sheet shows the width that fits."""
        data = f' data-hover="{escape(json.dumps(self.hover, separators=(",", ":")))}"' if self.hover else ""
        # Both SVGs are matplotlib's, which escapes every text it writes.
        return Markup(  # noqa: S704
            f'<figure id="figure-{escape(self.name)}"{data}><div class="wide">{self.wide}</div>'
            f'<div class="narrow">{self.narrow}</div></figure>'
        )

    @property
    def file(self) -> str:
        """The wide figure as an SVG file of its own, with its colours for either scheme."""
        style = (
            f"<style>{palette.css_variables()}svg{{font-family:system-ui,sans-serif;background:var(--paper)}}</style>"
        )
        return self.wide.replace("</desc>", "</desc>" + style, 1) + "\n"


def draw(
    name: str,
    title: str,
    about: str,
    sizes: dict[str, tuple[int, int]],
    paint: Callable[[Figure], None],
    *,
    hover: dict[str, object] | None = None,
) -> Drawn:
    """Paint one figure in both of its `sizes` (px): ``wide`` and ``narrow``."""
    wide, narrow = (render(f"{name}-{kind[0]}", title, about, sizes[kind], paint) for kind in ("wide", "narrow"))
    return Drawn(name, title, about, wide, narrow, hover)


def gaps(x: Array, y: Array, longest: float) -> tuple[Array, Array]:
    """Break a line wherever `x` jumps by more than `longest`: what was not seen is not drawn."""
    breaks = np.flatnonzero(np.diff(x) > longest) + 1
    return np.insert(x, breaks, np.nan), np.insert(y.astype(float), breaks, np.nan)


def size_px(axes: Axes) -> tuple[float, float]:
    """Return width and height of axes, px."""
    figure, box = axes.get_figure(root=True), axes.get_position()
    if figure is None:
        raise ValueError("axes that are in no figure have no size")
    return box.width * figure.get_figwidth() * 72, box.height * figure.get_figheight() * 72


def steps(axes: Axes, axis: Timeline, **how: Any) -> None:
    """Draw a line, from the bottom to the top, where each step of the load but the first begins: all of them one path,
    because a search has many and a page many figures."""
    begins = np.array([step.begin for step in axis.steps[1:]])
    if len(begins):
        across, up = np.repeat(begins, 3), np.tile([0.0, 1.0, np.nan], len(begins))
        axes.plot(across, up, transform=axes.get_xaxis_transform(), scalex=False, scaley=False, **how)


def time_axis(axes: Axes, axis: Timeline, *, labels: bool = True) -> None:
    """Make the x axis the shared time axis, behind it faults, and lines where steps of the load begin."""
    steps(axes, axis, color=palette.LINE, linewidth=0.8, zorder=0)
    for fault in axis.faults:
        axes.axvspan(fault.begin, max(fault.end, fault.begin), facecolor=palette.BAND, edgecolor="none", zorder=0)
    axes.set_xlim(axis.begin, axis.end)
    width, _ = size_px(axes)
    for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400):
        if axis.length / step <= width / 62:
            break
    ticks = [t * step for t in range(int(axis.begin // step), int(axis.end // step) + 1) if t * step >= axis.begin]
    axes.set_xticks(ticks, [clock(t, hours=axis.end >= 3600) for t in ticks] if labels else [""] * len(ticks))
    axes.tick_params(axis="x", length=4 if labels else 0)


def spread(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart so that none is nearer than `gap` to the next, staying between `low` and `high`."""
    order = sorted(range(len(positions)), key=positions.__getitem__)
    placed = [min(max(p, low), high) for p in positions]
    for _ in range(50):
        moved = False
        for first, second in pairwise(order):
            lack = gap - (placed[second] - placed[first])
            if lack > 1e-6:
                placed[first] = max(placed[first] - lack / 2, low)
                placed[second] = min(placed[second] + lack / 2, high)
                moved = True
        if not moved:
            break
    return placed
