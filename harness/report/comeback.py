"""From which loads service came back after one kind of outage: a sentence, and a row for each load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report import units

if TYPE_CHECKING:
    from harness.model.goodput import Comeback, LoadLevel

COLUMNS = ("load", "came back", "at the latest after", "good answers at the end", "calls per answer")


def said(found: Comeback | None) -> str:
    """Return what is known, as a clause; empty where a single load was tried and service came back, which the times
    of recovery tell."""
    if found is None or (found.not_from_per_s is None and len(found.levels) < 2):
        return ""
    highest = units.per_second(found.levels[-1].offered_per_s)
    if found.not_from_per_s is None:
        return f"service came back by itself at every load tried, up to {highest}"
    failing = next(level for level in found.levels if level.came_back < level.outages)
    watched = units.seconds(failing.watched_s)
    known = found.back_up_to_per_s
    up_to = f"by itself up to {units.per_second(known)}, but " if known is not None else ""
    return (
        f"service came back {up_to}not at {units.per_second(found.not_from_per_s)}, within {watched} of the fault's end"
    )


def rows(found: Comeback | None) -> list[tuple[str, ...]]:
    """Return the cells of `COLUMNS` for each load; empty where `said` is."""
    return [_row(level) for level in found.levels] if found and said(found) else []


def _row(level: LoadLevel) -> tuple[str, ...]:
    longest = units.seconds(level.longest_s)
    return (
        units.per_second(level.offered_per_s),
        f"{level.came_back:,} of {level.outages:,}",
        "at once" if level.longest_s == 0 else longest,
        units.share(level.good_share),
        units.multiple(level.amplification),
    )
