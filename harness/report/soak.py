"""The answer of ``agentstorm soak`` on a terminal, and as plain lines in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from harness.model.verdict import Verdict
from harness.paths import shown
from harness.report import block_soak, units, words
from harness.report.terminal import STYLES, line

if TYPE_CHECKING:
    from rich.console import Console

    from harness.model.soak import SoakChange, SoakReport, SoakSeries

_STYLES = {"leak": "red", "drift": "red", "inconclusive": "yellow", "saturating": "green", "flat": "green"}


def print_soak(console: Console, told: SoakReport) -> None:
    """Write the verdict, every series, and what is different from the earlier run."""
    verdict = Verdict(told.verdict)
    said = f"{words.MARKS[verdict]} {words.HEADLINES[verdict].upper()}"
    line(console, f"{said}  {shown(told.recording)}", STYLES[verdict])
    line(console, words.sentence(told.why))
    if told.soak is not None:
        if told.soak.scale != 1:
            line(console, f"Durations were scaled by {told.soak.scale:g}: nothing is said about the full length.")
        line(console, "")
        _series(console, told.soak.series)
    if told.against or told.against_note:
        line(console, "")
        against = f"against {shown(told.against)}" if told.against else "against nothing"
        line(console, f"{against}{': ' if told.against_note else ''}{told.against_note}")
    for change in told.changes:
        _change(console, change)


def _series(console: Console, every: tuple[SoakSeries, ...]) -> None:
    rows = [(s, s.title, block_soak.cells(s)) for s in every]
    if not console.is_terminal:
        for s, name, (level, slope, around, threshold, found_from, limit, n) in rows:
            reached = f", limit in {limit}" if s.to_limit_h else ""
            line(console, f"{s.verdict:<12} {name}  {level}, {slope} ({around}), threshold {threshold}, would be found "
                           f"from {found_from}{reached}, n {n}")  # fmt: skip
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for number, name in enumerate(("", "series", *block_soak.COLUMNS)):
        table.add_column(name, justify="right" if number > 1 else "left")
    for s, name, cells in rows:
        style = _STYLES[s.verdict] if s.worse is not False else "green"
        table.add_row(Text(s.verdict, style=style), Text(name), *(cell.replace(units.SPACE, " ") for cell in cells))
    console.print(table)


def _change(console: Console, change: SoakChange) -> None:
    before, now = (block_soak.level(v, change.unit) for v in (change.level_before, change.level_now))
    slopes = [block_soak.per_hour(s.value, change.unit) for s in (change.slope_before, change.slope_now)]
    text = f"{change.name}: at the end {before} then, {now} now; {slopes[0]} then, {slopes[1]} now"
    line(console, text + (": certainly steeper" if change.steeper else ""), "red" if change.steeper else "")
