"""Runs over time on a terminal: a line each, and where the figures changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from harness.analysis.quantities import QUANTITIES
from harness.model.verdict import Verdict
from harness.report import units, words
from harness.report.comparison import change
from harness.report.terminal import STYLES, line

if TYPE_CHECKING:
    from rich.console import Console

    from harness.model.history import History, Moved, Night, Series

KEY = ("response_time.p50", "response_time.p95", "response_time.p99", "failed", "cache_hit", "throughput")
"""Figures shown where nobody chooses."""


def print_history(console: Console, found: History, metrics: tuple[str, ...] = (), last: int = 20) -> None:
    """Write each series: the newest `last` runs, and every change of the whole of it."""
    for series in found.series:
        _print(console, series, metrics or KEY, last)


def _print(console: Console, series: Series, metrics: tuple[str, ...], last: int) -> None:
    words_of = [series.scenario, *(f"+ {name}" for name in series.experiments.split("+") if name)]
    scale = "" if series.scale == 1 else f" (scale {series.scale:g})"
    engine = "" if series.engine == "locust" else f" with {series.engine}"
    on = ", ".join((f"{series.target}{engine}", *series.apart))
    runs = len(series.nights)
    line(console, f"{' '.join(words_of)}{scale} on {on}: {runs} run{'' if runs == 1 else 's'}", "bold")
    shown = series.nights[-last:]
    if console.is_terminal:
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for number, name in enumerate(("started (UTC)", "verdict", *metrics, "recording")):
            right = 2 <= number < 2 + len(metrics)
            table.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
        for night in shown:
            verdict = Verdict(night.verdict)
            mark = Text(f"{words.MARKS[verdict]} {verdict.value}", style=STYLES[verdict])
            table.add_row(f"{night.started:%Y-%m-%d %H:%M}", mark, *_figures(night, metrics), night.recording)
        console.print(table)
    else:
        for night in shown:
            told = ", ".join(f"{name} {said}" for name, said in zip(metrics, _figures(night, metrics), strict=True))
            line(console, f"{night.started:%Y-%m-%d %H:%M}  {night.verdict:<12} {told}  {night.recording}")
    for moved in series.moved:
        line(console, _moved(moved), "yellow" if moved.worse else "")
    line(console, "")


def _figures(night: Night, metrics: tuple[str, ...]) -> list[str]:
    return [units.say(night.figures.get(name), QUANTITIES[name].unit) for name in metrics]


def _moved(moved: Moved) -> str:
    by = moved.after - moved.before if moved.scale == "points" else moved.after / moved.before if moved.before else None
    return (
        f"{moved.metric} is {'worse' if moved.worse else 'better'} since {moved.started:%Y-%m-%d %H:%M}: "
        f"{units.say(moved.before, moved.unit)} before, {units.say(moved.after, moved.unit)} after "
        f"({change(by, moved.scale)}, p = {moved.p:.2g}), between {moved.last_before} and {moved.since}"
    )
