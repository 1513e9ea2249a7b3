"""What tests make of a process's start time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.journal import Start


def another(start: Start | None) -> Start:
    """Return when another process of the same number would have started."""
    assert start is not None
    if isinstance(start, float):
        return start - 60
    boot, _, ticks = start.partition("/")
    return f"{boot}/{int(ticks) - 1}"
