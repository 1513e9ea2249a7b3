"""Reading arrivals from a file: seconds from the start of the load, one a line, exact to the nanosecond."""

from __future__ import annotations

import csv
import hashlib
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import numpy as np

from harness.clock import NS_PER_MS, NS_PER_S
from harness.errors import PlanError
from harness.model.base import nearest
from harness.model.plan import Replayed

if TYPE_CHECKING:
    from pathlib import Path

    from harness.model.load import ReplayLoad
    from harness.traffic.pacer import Times

_DAYS = 31
_LIMIT_NS = _DAYS * 86_400 * NS_PER_S
"""No load lasts longer; what is beyond is the time of day, not the time since the start."""
_ALLOWED = "seconds from the start of the load, as in 0.25: not negative, ascending, below 31 days"


def read(path: Path, column: str | None = None) -> Times:
    """Return the times in `path`, ns, ascending. PlanError names the line, what stands there and what was allowed.

    Either one number on each line, or a header and under `column` (not needed when there is but one) the numbers.
    Empty lines and lines that begin with ``#`` are passed over.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [
                (number, row) for number, row in enumerate(csv.reader(file), 1) if row and any(map(str.strip, row))
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PlanError(f"cannot be read: {error}", where=str(path), hint="give a CSV file in UTF-8") from None
    lines = [(number, [cell.strip() for cell in row]) for number, row in lines if not row[0].lstrip().startswith("#")]
    if not lines:
        raise PlanError("holds no arrivals", where=str(path), hint=f"allowed: {_ALLOWED}")
    at = _column(path, *lines[0], column)
    rows = lines if at is None else lines[1:]
    if not rows:
        raise PlanError("has a header and no arrivals under it", where=str(path), hint=f"allowed: {_ALLOWED}")
    times: list[int] = []
    for number, row in rows:
        if len(row) <= (at or 0) or (at is None and len(row) > 1):
            width = "a number alone" if at is None else f"at least {at + 1} columns, as its header has"
            raise PlanError(f"the line has {len(row)} columns", where=f"{path}:{number}", hint=f"allowed: {width}")
        t_ns = _ns(path, number, row[at or 0])
        if times and t_ns < times[-1]:
            raise PlanError(
                f"{row[at or 0]!r} is earlier than the arrival before it ({times[-1] / 1e9:.9g} s)",
                where=f"{path}:{number}",
                hint=f"allowed: {_ALLOWED}; sort the file",
            )
        times.append(t_ns)
    return np.array(times, np.int64)


def fixed(load: ReplayLoad, folder: Path, scale: float) -> tuple[ReplayLoad, Replayed]:
    """Return the load, its durations scaled already, with its `hold` known, and the file (beside the scenario in
    `folder`) with how much of it is replayed. PlanError: `where` is the file's line, or the key at fault (``load...``).
    """
    path = (folder / load.file).resolve()
    if not path.is_file():
        found = tuple(p.name for p in sorted(folder.glob("*.csv")))
        hint = f"{nearest(load.file, found)}CSV files beside it: {', '.join(found) or 'none'}"
        raise PlanError(f"no file {load.file!r} beside the scenario", where="load.file", hint=hint)
    times = read(path, load.column)
    end_s = int(times[-1] // NS_PER_MS + 1) / 1000  # the last arrival is due before the end
    hold = load.hold
    if hold is None:
        if scale > 1:
            what = f"--scale {scale:g}: the load lasts as long as its file, which cannot be lengthened"
            raise PlanError(what, where="load.file", hint="give 'hold', or a scale of at most 1")
        hold = end_s * scale - load.warmup
        if hold <= 0:
            what = f"the last arrival of {load.file!r} comes at {end_s:g} s, within the warm-up"
            raise PlanError(what, where="load.warmup", hint="shorten the warm-up")
    load = load.model_copy(update={"hold": hold})
    count = int(np.searchsorted(times, round(load.total_s * NS_PER_S)))
    if not count:
        what = f"the first of its {len(times)} arrivals comes at {times[0] / NS_PER_S:g} s, after the load has ended"
        raise PlanError(what, where="load.file", hint=f"the load lasts {load.total_s:g} s")
    return load, Replayed(path=path, sha256=digest(path), arrivals=count, in_file=len(times))


def digest(path: Path) -> str:
    """Return the file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _column(path: Path, number: int, first: list[str], column: str | None) -> int | None:
    """Return which column holds the times; None when there is no header and each line is a number."""
    where = f"{path}:{number}"
    if column is not None:
        if column not in first:
            hint = f"{nearest(column, tuple(first))}columns: {', '.join(first)}"
            raise PlanError(f"the header has no column {column!r}", where=where, hint=hint)
        return first.index(column)
    if len(first) > 1:
        raise PlanError(
            f"the file has {len(first)} columns and nothing says which holds the times",
            where=where,
            hint=f"name it: load: {{kind: replay, file: {path.name}, column: NAME}}; first line: {', '.join(first)}",
        )
    try:
        Decimal(first[0])
    except InvalidOperation:
        return 0
    return None


def _ns(path: Path, number: int, text: str) -> int:
    try:
        value = Decimal(text).scaleb(9)
        t_ns = int(value.to_integral_value()) if value.is_finite() else -1
    except InvalidOperation:
        t_ns = -1
    if not 0 <= t_ns < _LIMIT_NS:
        since = "; for times of day, subtract the first" if t_ns >= _LIMIT_NS else ""
        raise PlanError(
            f"{text!r} is no time of an arrival", where=f"{path}:{number}", hint=f"allowed: {_ALLOWED}{since}"
        )
    return t_ns
