"""How much each benchmark does: `FULL` is what ``RESULTS.md`` is made of, `QUICK` takes under five minutes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Counts and lengths of everything."""

    turns: int
    """Times every generator of the throughput benchmark has its turn."""
    window_s: float
    """Seconds of each turn that are looked at."""


QUICK = Sizes(turns=3, window_s=2)
FULL = Sizes(turns=15, window_s=5)
