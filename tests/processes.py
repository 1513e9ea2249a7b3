"""What tests know of processes beside what the harness does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.journal import Start


def another(start: Start | None) -> Start:
    """Return when another process of the same number would have started."""
    assert start is not None
    if isinstance(start, float):
        return start - 60
    boot, _, ticks = start.partition("/")
    return f"{boot}/{int(ticks) - 1}"


def file_table(pid: int | str = "self") -> int:
    """For how many open files the kernel has a table made in process `pid`: only Linux tells."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("only Linux tells how long a process's table of open files is")
    return int(status.read_text().partition("FDSize:")[2].split()[0])
