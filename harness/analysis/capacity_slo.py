"""The highest load at which the SLO is met, from a few levels of load.

Nobody knows how the share of bad requests grows between two levels; that it does not shrink as load grows is all that
is assumed. Then a load at which the SLO is shown to be met lies below the capacity, and one at which it is shown to be
missed above it: the ends of the interval are such levels (an interval for a quantile of a monotone dose-response,
found by inverting tests: Morris, JASA 83, 1988). No curve is fitted to find them, so none can be wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.optimize import isotonic_regression

from harness.analysis.stats import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray[Any, np.dtype[Any]]
State = Literal["bracketed", "at_least", "below", "undecided"]


@dataclass(frozen=True)
class Trial:
    """What became of the requests of one level, as many independent ones as they are worth."""

    load: float
    """Requests per second, or users."""
    bad: float
    n: float
    """Of known end."""
    unknown: float = 0.0
    """More that could have been either."""


@dataclass(frozen=True)
class Bracket:
    """Between which loads the capacity lies; a side that no level shows is None."""

    state: State
    low: float | None
    high: float | None
    value: float | None
    """Between the two, where levels let one expect it; None unless both are known."""
    contradicted: bool = False
    """A level was shown to miss the SLO below one that was shown to meet it."""


def bad_share(trials: Sequence[Trial]) -> tuple[float, float]:
    """Return between what the share of bad requests lies (Wilson, 95 %), if that of all these levels were the same."""
    bad, n = sum(t.bad for t in trials), sum(t.n + t.unknown for t in trials)
    unknown = sum(t.unknown for t in trials)
    return wilson(bad, n)[0], wilson(bad + unknown, n)[1]


def bracket(trials: Sequence[Trial], allowed: float) -> Bracket:
    """Return the capacity, where the share of bad requests exceeds what is `allowed`.

    As it does not shrink with load, what is shown of a level and higher ones together holds for it as an upper bound,
    and with lower ones together as a lower bound: short levels lend each other their requests.
    """
    levels = _by_load(trials)
    loads, n = [t.load for t in levels], len(levels)
    meets = [any(bad_share(levels[i : j + 1])[1] <= allowed for j in range(i, n)) for i in range(n)]
    misses = [any(bad_share(levels[j : i + 1])[0] > allowed for j in range(i + 1)) for i in range(n)]
    high = next((load for load, miss in zip(loads, misses, strict=True) if miss), None)
    met = [load for load, meet in zip(loads, meets, strict=True) if meet]
    below = [load for load in met if high is None or load < high]
    low = max(below, default=None)
    if low is not None and high is not None:
        value = _crossing(levels, allowed, low, high)
        return Bracket("bracketed", low, high, value, contradicted=len(below) < len(met))
    if low is not None:
        return Bracket("at_least", low, None, None)
    return Bracket("below" if high is not None else "undecided", None, high, None, contradicted=bool(met))


def _by_load(trials: Sequence[Trial]) -> list[Trial]:
    """Return one trial a load, ascending: levels run again are one."""
    loads = sorted({t.load for t in trials})
    same = [[t for t in trials if t.load == load] for load in loads]
    return [
        Trial(load, sum(t.bad for t in each), sum(t.n for t in each), sum(t.unknown for t in each))
        for load, each in zip(loads, same, strict=True)
    ]


def _crossing(levels: Sequence[Trial], allowed: float, low: float, high: float) -> float:
    """Return where the bad share crosses what is allowed: interpolated between levels on the scale of its odds over
    log load, made to grow with load first (isotonic regression: Barlow et al. 1972)."""
    inside = [t for t in levels if low <= t.load <= high]
    log_load = np.log([max(t.load, 1e-9) for t in inside])
    bad = np.array([t.bad + 0.5 for t in inside])
    n = np.array([t.n + 1.0 for t in inside])
    odds = np.log(bad / (n - bad + 1e-9))
    grown = isotonic_regression(odds, weights=bad * (n - bad) / n + 1e-9).x
    wanted = math.log(max(allowed, 1e-9) / (1 - allowed + 1e-9))
    if wanted <= grown[0] or wanted >= grown[-1]:
        return low if wanted <= grown[0] else high
    after = int(np.argmax(grown > wanted))
    share = (wanted - grown[after - 1]) / (grown[after] - grown[after - 1])
    return float(np.exp(log_load[after - 1] + share * (log_load[after] - log_load[after - 1])))
