"""A comparison on a terminal and as Markdown."""

from __future__ import annotations

from statistics import fmean, geometric_mean
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from harness.model.comparison import Change, Comparison, Floor, NoiseFloor
from harness.paths import shown
from harness.report import units, words
from harness.report.markup import plain, table
from harness.report.terminal import STYLES, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from harness.model.comparison import RunRef, Scale
    from harness.model.findings import Estimate

_HEAD = {
    "runs": ("", "figure", "base", "candidate", "change", "95 % interval", "tolerance", "sees"),
    "within-run": ("", "figure", "base", "candidate", "change", "95 % within-run", "tolerance", "agreement"),
    "aa": ("", "figure", "lowest", "highest", "noise floor", "tolerance", "runs to reach it"),
}
_TITLES = {"runs": "", "within-run": " (within-run only)", "aa": " (A/A: the noise floor)"}


def _percent(share: float) -> float:
    return round(100 * share, 9)  # what is beyond is the arithmetic's


def change(value: float | None, scale: Scale) -> str:
    """Say a change: ``+12 %`` of a ratio of 1.12, ``+0.3 points`` of a difference of shares."""
    if value is None:
        return units.NONE
    percent = _percent(value - 1 if scale == "ratio" else value)
    sign = "" if percent == 0 or percent < 0 else "+"
    return f"{sign}{units.three(percent)}{units.SPACE}{'%' if scale == 'ratio' else 'points'}"


def tolerance(value: float | None, scale: Scale) -> str:
    """Say a tolerance or what can be seen: ``5 %``, ``0.5 points``."""
    if value is None:
        return units.NONE
    return f"{units.three(_percent(value))}{units.SPACE}{'%' if scale == 'ratio' else 'points'}"


def _interval(ratio: Estimate, scale: Scale) -> str:
    if ratio.low is None or ratio.high is None:
        return units.NONE
    return f"{change(ratio.low, scale)} to {change(ratio.high, scale)}"


def _typical(values: Sequence[float], unit: str, scale: Scale) -> str:
    """The mean of the runs that the change is one of: geometric where ratios are compared."""
    if not values:
        return units.NONE
    return units.say(geometric_mean(values) if scale == "ratio" and min(values) > 0 else fmean(values), unit)


def _row(one: Change) -> list[str]:
    last = one.agree or tolerance(one.detectable, one.scale)
    return [
        one.metric,
        _typical(one.base, one.unit, one.scale),
        _typical(one.candidate, one.unit, one.scale),
        change(one.ratio.value, one.scale),
        _interval(one.ratio, one.scale),
        tolerance(one.tolerance, one.scale),
        last,
    ]


def _floor_row(one: Floor) -> list[str]:
    needed = units.NONE if one.floor is None else "more than 100"
    return [
        one.metric,
        *(units.say(end(one.values), one.unit) if one.values else units.NONE for end in (min, max)),
        tolerance(one.floor, one.scale),
        tolerance(one.tolerance, one.scale),
        needed if one.runs_needed is None else str(one.runs_needed),
    ]


def _rows(found: Comparison | NoiseFloor) -> list[tuple[Change | Floor, list[str]]]:
    if isinstance(found, Comparison):
        return [(one, _row(one)) for one in found.changes]
    return [(one, _floor_row(one)) for one in found.floors]


def _recordings(runs: Sequence[RunRef]) -> str:
    return f"{_runs(len(runs))}: {', '.join(shown(run.recording) for run in runs)}"


def _who(found: Comparison | NoiseFloor) -> list[str]:
    """Say which runs were compared, what else differs between them, and what was left out."""
    said = [f"base         {_recordings(found.base)}"]
    if isinstance(found, Comparison):
        said.append(f"candidate    {_recordings(found.candidate)}")
    if found.matched:
        said.append("matched      runs with the same seed were asked the same questions, and are compared two by two")
    said += [f"differs      {note}" for note in found.notes]
    said += [f"left out     {shown(left.recording)}: {left.reason}" for left in found.left_out]
    return said + [f"warning      {warning}" for warning in found.warnings]


def _runs(n: int) -> str:
    return f"{n} run{'' if n == 1 else 's'}"


def _more(found: Comparison | NoiseFloor) -> list[str]:
    """Return what is to be said of each figure that does not simply pass, and of what is certain besides."""
    said = []
    for one, _ in _rows(found):
        if one.verdict.value != "pass":
            said.append(f"{one.metric}: {one.why}")
        if isinstance(one, Change) and one.changed:
            moved = units.say(one.shift.value, one.unit)
            around = units.between(one.shift.low, one.shift.high, one.unit)
            level = f"p = {one.p_changed:.2g}" if one.p_changed else "p < 0.0001"
            moved += f" ({around})" if around else ""
            said.append(f"{one.metric}: certainly {one.changed}, by {moved} in the middle ({level})")
    return said


def print_comparison(console: Console, found: Comparison | NoiseFloor) -> None:
    """Write the verdict, its reason, the figures and the runs to `console`."""
    line(console, f"{words.MARKS[found.verdict]} {found.verdict.value.upper()}  {found.plan}{_TITLES[found.kind]}",
         STYLES[found.verdict])  # fmt: skip
    line(console, found.why)
    line(console, "")
    rows = _rows(found)
    if console.is_terminal and rows:
        grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for number, name in enumerate(_HEAD[found.kind]):
            grid.add_column(name, justify="left" if number < 2 else "right", no_wrap=True)
        for one, cells in rows:
            mark = Text(f"{words.MARKS[one.verdict]} {one.verdict.value}", style=STYLES[one.verdict])
            grid.add_row(mark, *(Text(cell) for cell in cells))
        console.print(grid)
    else:
        for one, cells in rows:
            told = ", ".join(f"{name} {cell}" for name, cell in zip(_HEAD[found.kind][2:], cells[1:], strict=True))
            line(console, f"{one.verdict.value:<12} {cells[0]}  {told}")
    for text in ("", *_more(found), "", *_who(found)):
        line(console, text)


def markdown(found: Comparison | NoiseFloor) -> str:
    """Return a comparison as GitHub-flavoured Markdown."""
    said = f"{words.MARKS[found.verdict]} {found.verdict.value.capitalize()}"
    lines = [
        f"## {said}: {plain(found.plan)}{_TITLES[found.kind]}",
        "",
        f"**{plain(found.why)}**",
        "",
    ]
    rows = [[f"{words.MARKS[one.verdict]} {one.verdict.value}", *map(plain, cells)] for one, cells in _rows(found)]
    lines += [*table(_HEAD[found.kind], rows, 2), ""] if rows else []
    lines += [f"- {plain(text)}" for text in (*_more(found), *_who(found))]
    return "\n".join(lines) + "\n"
