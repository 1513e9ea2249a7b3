"""Capacity on a terminal: the states, what fills up first, what a forecast needs, what to configure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from harness.report import block_capacity, units, words
from harness.report.terminal import line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from harness.model.capacity import CapacityAnswer, CapacityFindings, CapacityState, Forecast

_BASIS = {
    "measured": "measured",
    "assumed": "assumed: as much per replica as was measured",
    "law": "by the scalability law through the numbers measured",
}


def print_capacity(console: Console, found: CapacityAnswer, *, forecast: bool) -> None:
    """Write what recordings show of the capacity to `console`."""
    for reason in found.invalid:
        line(console, f"invalid      {reason}", "bold magenta")
    several = len({run.replicas for run in found.runs}) > 1
    head = ("state", *(["replicas"] if several else []), *block_capacity.STATES)
    rows = [
        [block_capacity.name(state), *([str(run.replicas)] if several else []), *block_capacity.state_cells(state)]
        for run, state in _states(found)
    ]
    _table(console, head, rows)
    for _, state in _states(found):
        if limit := state.fills_first:
            said = words.sentence(limit.evidence)
            line(console, f"{block_capacity.name(state)}: {block_capacity.first(limit)}. {said}")
    if forecast:
        _forecast(console, found)
    _advice(console, found)
    for note in dict.fromkeys(note for run in found.runs for note in block_capacity.notes(run)):
        line(console, f"- {note}")


def _states(found: CapacityAnswer) -> list[tuple[CapacityFindings, CapacityState]]:
    return [(run, state) for run in found.runs for state in run.states]


def _table(console: Console, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table; a log gets a line per row, with names."""
    line(console, "")
    if not console.is_terminal:
        for row in rows:
            cells = (f"{name} {cell}" for name, cell in zip(head[1:], row[1:], strict=True) if cell != units.NONE)
            line(console, f"{row[0]:<18} {', '.join(cells)}")
        line(console, "")
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    line(console, "")


def _forecast(console: Console, found: CapacityAnswer) -> None:
    rows = [_row(one) for one in found.forecasts]
    if rows:
        _table(console, ("state", "forecast", "a replica carries", "replicas needed", "known how"), rows)
    for one in found.forecasts:
        for note in one.notes:
            line(console, f"- {one.state.replace('_', ' ')}: {note}")
    if found.replicas is None or found.governs is None:
        line(console, "How many replicas the forecast needs is not known in every state.", "bold yellow")
    else:
        worst = found.governs.replace("_", " ")
        line(console, f"{units.plural(found.replicas, 'replica')} needed: {worst} governs.", "bold")


def _row(one: Forecast) -> list[str]:
    count = "no number" if one.replicas is None else units.count(one.replicas)
    return [
        one.state.replace("_", " "), block_capacity.rate(one.rate), units.per_second(one.per_replica), count,
        _BASIS[one.basis],
    ]  # fmt: skip


def _advice(console: Console, found: CapacityAnswer) -> None:
    for run in found.runs:
        if run.governing is None or run.governing.advice is None:
            continue
        line(console, f"configure ({block_capacity.name(run.governing)} governs, {run.replicas} replicas measured):")
        for what, value, note in block_capacity.advice_rows(run, run.governing):
            line(console, f"  {what:<14} {value}{f' ({note})' if note else ''}")
