"""Memory of processes, and whether it grows."""

from __future__ import annotations

import contextlib
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_BLOCKS = 60
"""Samples are grouped into this many, of which each is its lowest, as in the report's own soaks: what comes and goes,
as a batch of rows does, is no growth. And neighbours within a block say the same thing twice: an interval that takes
them for independent is too narrow."""

PAGE_MIB = resource.getpagesize() / 2**20
"""What a process's memory is told in."""


def anonymous_mib(pids: list[int]) -> float:
    """Anonymous memory of all `pids` that are still there, MiB: what a process made, without the files it maps."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
    return total / 1024


@dataclass(frozen=True)
class Slope:
    """Theil-Sen slope with its 95 % interval (Sen 1968), in units of y per unit of x."""

    value: float
    low: float
    high: float

    def as_dict(self, scale: float) -> dict[str, float]:
        """The numbers, times `scale`."""
        return {"value": self.value * scale, "low": self.low * scale, "high": self.high * scale}


def slope(x: Array, y: Array, *, warm_up: float, step: float = 0.0) -> Slope:
    """The slope of y over x once the first share `warm_up` of x's range is dropped; over the lowest y of 60 blocks.

    `step` is what y is told in. Two readings of one truth may differ by it, so over the range of x it is how well a
    slope can be known at best, however even the readings are: the interval is wider by that at both ends.
    """
    kept = x >= x[0] + warm_up * (x[-1] - x[0])
    blocks: list[Any] = np.array_split(np.flatnonzero(kept), min(_BLOCKS, int(kept.sum())))
    xs, ys = ([float(of(values[block])) for block in blocks] for of, values in ((np.median, x), (np.min, y)))
    value, _, low, high = stats.theilslopes(ys, xs, 0.95)
    at_best = step / (xs[-1] - xs[0])
    return Slope(float(value), float(low) - at_best, float(high) + at_best)
