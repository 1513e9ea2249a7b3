"""Graphics the size of a word: a check's interval against its limit, a sparkline, a bar of shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

from harness.model.threshold import parse_threshold
from harness.model.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.analysis.frame import Array
    from harness.model.verdict import Check
    from harness.report.timeline import Timeline

_SHAPES = {
    Verdict.PASS: '<circle cx="12" cy="12" r="11"/><path d="M7 12.5l3.5 3.5L17 8.5"/>',
    Verdict.FAIL: '<path d="M7.5 1h9L23 7.5v9L16.5 23h-9L1 16.5v-9z"/><path d="M8 8l8 8M16 8l-8 8"/>',
    Verdict.INCONCLUSIVE: '<path d="M12 .5L23.5 12 12 23.5.5 12z"/>'
    '<path d="M9.4 9.6a2.7 2.7 0 1 1 3.9 2.4c-.9.5-1.3 1-1.3 2M12 16.8v.4"/>',
    Verdict.INVALID: '<path d="M12 1l11.5 21H.5z"/><path d="M12 9v6.2M12 18.4v.4"/>',
}
COLOUR_OF = {Verdict.PASS: "good", Verdict.FAIL: "bad", Verdict.INCONCLUSIVE: "soft", Verdict.INVALID: "ink"}


def mark(verdict: Verdict) -> Markup:
    """Return the verdict's shape: circle, octagon, diamond or triangle, in its colour."""
    return Markup(  # noqa: S704 - nothing in it comes from data
        f'<svg class="mark {verdict.value}" viewBox="0 0 24 24" role="img"><title>{verdict.value}</title>'
        f"{_SHAPES[verdict]}</svg>"
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def check_bar(check: Check, width: int = 150, height: int = 18) -> Markup:
    """Return a check's interval (bar) and value (dot) against its limit (upright), the good side tinted."""
    known = [v for v in (check.observed, check.low, check.high) if v is not None]
    if not known:
        return Markup("")
    top = max(*known, check.limit, 1e-12) * 1.15
    if check.unit == "share":
        top = min(top, 1.0) if max(*known, check.limit) <= 1 else top
        top = 1.0 if check.limit >= 0.5 else top
    metric, _, text = check.threshold.partition(": ")
    try:
        lower_is_good = parse_threshold(metric, text).operator in ("<", "<=") and "failover_claim" not in metric
    except ValueError:
        lower_is_good = True

    def at(value: float) -> float:
        return min(max(value / top, 0.0), 1.0) * (width - 4) + 2

    limit, middle = at(check.limit), height / 2
    good = (2.0, limit) if lower_is_good else (limit, width - 2.0)
    low = at(check.low) if check.low is not None else 2.0
    high = at(check.high) if check.high is not None else width - 2.0
    colour = f"var(--{COLOUR_OF[check.verdict]})"
    parts = [
        f'<rect x="{_n(good[0])}" y="{_n(middle - 4)}" width="{_n(good[1] - good[0])}" height="8" class="fine"/>',
        f'<rect x="{_n(low)}" y="{_n(middle - 2)}" width="{_n(max(high - low, 1))}" height="4" class="interval"/>',
    ]
    if check.observed is not None:
        parts.append(f'<circle cx="{_n(at(check.observed))}" cy="{_n(middle)}" r="3.6" class="observed"/>')
    parts.append(f'<path d="M{_n(limit)} 1V{height - 1}" class="limit"/>')
    title = escape(f"{check.threshold}: observed against limit")
    return Markup(  # noqa: S704 - the title is escaped, the rest are numbers
        f'<svg class="bar" style="color:{colour}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img"><title>{title}</title>{"".join(parts)}</svg>'
    )


def sparkline(values: Array, axis: Timeline, low: float, high: float, about: str) -> Markup:
    """Return p95 over the run as a line on a log scale from `low` to `high` seconds, faults behind it."""
    width, height = 130, 22
    scale = width / axis.length
    bands = "".join(
        f'<rect x="{_n((f.begin - axis.begin) * scale)}" width="{_n(max((f.end - f.begin) * scale, 1))}" '
        f'height="{height}" class="band"/>'
        for f in axis.faults
    )
    tall = np.log10(max(high / low, 1.01))
    points, pen = [], "M"
    for number, value in enumerate(values):
        if not np.isfinite(value) or value <= 0:
            pen = "M"
            continue
        x = (number + 0.5) * width / len(values)
        y = height - 2 - float(np.log10(value / low)) / tall * (height - 4)
        # A stroke of next to no length, so that a bucket between two gaps is a dot.
        points.append(f"{pen}{_n(x)} {_n(y)}" + ("h.1" if pen == "M" else ""))
        pen = "L"
    return Markup(  # noqa: S704 - the title is escaped, the rest are numbers
        f'<svg class="spark" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f'<title>{escape(about)}</title>{bands}<path d="{"".join(points)}"/></svg>'
    )


def share_bar(parts: Sequence[tuple[str, float]], about: str) -> Markup:
    """Return shares (css class, share) as one bar."""
    x, drawn = 0.0, []
    for name, share in parts:
        drawn.append(f'<rect x="{_n(x * 200)}" width="{_n(share * 200)}" height="10" class="{escape(name)}"/>')
        x += share
    return Markup(  # noqa: S704 - classes and title are escaped, the rest are numbers
        f'<svg class="shares" viewBox="0 0 200 10" preserveAspectRatio="none" role="img">'
        f"<title>{escape(about)}</title>{''.join(drawn)}</svg>"
    )
