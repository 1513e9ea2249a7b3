"""The noise floor: what a comparison shows when nothing changed (A/A).

The runs of one system are divided into two halves in every possible way; what the halves differ by is noise. Of matched
runs one of each two is in either half.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from harness.analysis.compare import binomial_floor, chosen, linear, needed_for
from harness.analysis.dependence import CONFIDENCE, Array
from harness.analysis.quantities import QUANTITIES, Figure
from harness.model.comparison import Floor
from harness.model.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FEWEST = 4
"""Runs that a noise floor needs: two halves of two."""
_MOST_SPLITS = 20_000
"""More than these are drawn from, not gone through."""


def noise_floor(
    runs: Sequence[Mapping[str, Figure]],
    tolerances: Mapping[str, float],
    random: np.random.Generator,
    metrics: Sequence[str] = (),
    *,
    matched: bool = False,
) -> list[Floor]:
    """Return the noise of every quantity that all of at least `FEWEST` runs have, or in `metrics`, if given.

    The floor is that of halves: of n/2 runs against n/2. `random` draws splits where there are too many. With `matched`
    the first run belongs to the second, the third to the fourth, and so on. What was asked for and is not in all of the
    runs has no floor and is inconclusive.
    """
    names = chosen(runs, metrics)
    whole = [name for name in names if all(name in run for run in runs)]
    halves = _one_of_each(len(runs) // 2, random) if matched else _halves(len(runs), random)
    return [
        _floor(name, [run[name] for run in runs], halves, tolerances, len(whole), matched=matched)
        if name in whole
        else _unknown(name, [run[name] for run in runs if name in run], len(runs), tolerances)
        for name in names
        if name in whole or name in metrics
    ]


def _halves(n: int, random: np.random.Generator) -> Array:
    """Return ways to choose half of n runs (the odd one may be on either side), one a row, as masks."""
    if math.comb(n, n // 2) > _MOST_SPLITS:
        rows = random.permuted(np.tile(np.arange(n), (2000, 1)), axis=1)[:, : n // 2]
    else:
        rows = np.array(list(combinations(range(n), n // 2)))
        rows = rows[rows[:, 0] == 0] if n % 2 == 0 else rows  # of two equal halves, the one with the first run
    masks = np.zeros((len(rows), n), bool)
    np.put_along_axis(masks, rows, values=True, axis=1)
    return masks


def _one_of_each(matches: int, random: np.random.Generator) -> Array:
    """Return ways to choose one of every two runs, one a row, as masks."""
    if 2 ** (matches - 1) > _MOST_SPLITS:
        second = random.integers(0, 2, (2000, matches), dtype=bool)
    else:  # of two equal halves, the one with the first run
        second = (np.arange(2 ** (matches - 1))[:, None] >> np.arange(matches) & 1).astype(bool)
    return np.stack([~second, second], axis=2).reshape(len(second), 2 * matches)


def _unknown(name: str, figures: Sequence[Figure], runs: int, tolerances: Mapping[str, float]) -> Floor:
    quantity = QUANTITIES[name]
    return Floor(
        metric=name,
        unit=quantity.unit,
        scale=quantity.scale,
        values=tuple(f.value for f in figures),
        splits=0,
        floor=None,
        tolerance=tolerances.get(name, quantity.tolerance),
        runs_needed=None,
        verdict=Verdict.INCONCLUSIVE,
        why=f"has no noise floor: {len(figures) or 'none'} of the {runs} runs have it",
    )


def _floor(
    name: str,
    figures: Sequence[Figure],
    halves: Array,
    tolerances: Mapping[str, float],
    metrics: int,
    *,
    matched: bool,
) -> Floor:
    quantity = QUANTITIES[name]
    tolerance = tolerances.get(name, quantity.tolerance)
    values = linear(quantity, figures)
    n = len(values)
    first = halves @ values / (n // 2)
    second = ~halves @ values / (n - n // 2)
    difference = float(np.quantile(np.abs(second - first), CONFIDENCE, method="higher"))
    drawing = binomial_floor(quantity, figures) * n  # the variance of one run's share
    floor = quantity.worsening(max(difference, float(special.ndtri((1 + CONFIDENCE) / 2)) * math.sqrt(4 * drawing / n)))
    spread, freedom = float(values.std(ddof=1)), n - 1
    if matched:  # nothing differs in truth, so that the mean of the differences is known: 0
        spread, freedom = math.sqrt(float(((values[1::2] - values[::2]) ** 2).mean()) / 2), n // 2
    needed = needed_for(quantity, tolerance, max(spread, math.sqrt(drawing)), freedom, metrics, matched=matched)
    tight = tolerance < floor
    why = "the tolerance is above the noise"
    if tight:
        why = "the tolerance is tighter than the noise: " + (
            f"widen it, or take {needed} runs of each side"
            if needed
            else "widen it; no number of runs up to 100 will do"
        )
    return Floor(
        metric=name,
        unit=quantity.unit,
        scale=quantity.scale,
        values=tuple(f.value for f in figures),
        splits=len(halves),
        floor=floor,
        tolerance=tolerance,
        runs_needed=needed,
        verdict=Verdict.FAIL if tight else Verdict.PASS,
        why=why,
    )
