"""Change points of a series with one value a night: E-divisive means.

Matteson & James (JASA 109, 2014), as MongoDB uses it for nightly performance (arXiv 2003.00584): the series is divided
where the energy distance between the two parts is largest, if a permutation within its segments rarely does as well;
then the parts again. Nothing is assumed about the distribution; nights must not depend on each other. A change is found
from `FEWEST` nights after it on, so that a single bad night is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.analysis.stats import Array

FEWEST = 3
"""Nights on each side of a change."""
SIGNIFICANCE = 0.01
_PERMUTATIONS = 999
_ENOUGH = 10
"""Permutations that do as well decide against a change once there are so many (Besag & Clifford 1991)."""
_AT_ONCE = 37
"""Permutations tried between two looks, of series that are not too long for that."""
_CELLS = 2_000_000
"""Distances held at once: what bounds the memory of long series."""


@dataclass(frozen=True)
class ChangePoint:
    """The series changes from `index` on: `before` and `after` are the means of the segments next to it."""

    index: int
    before: float
    after: float
    p: float


def change_points(
    values: Sequence[float] | Array, random: np.random.Generator, significance: float = SIGNIFICANCE
) -> list[ChangePoint]:
    """Return where a series changes, in order. `random` draws the permutations; fewer than six values never change."""
    series = np.asarray(values, dtype=np.float64)
    ends: list[tuple[int, float]] = []
    while True:
        cuts = [0, *sorted(index for index, _ in ends), len(series)]
        segments = list(pairwise(cuts))
        best = _best(series[None, :], segments)
        index, strength = int(best[0][0]), float(best[1][0])
        if index < 0:
            break
        p = _level(series, segments, strength, significance, random)
        if p > significance:
            break
        ends.append((index, p))
    cuts = [0, *sorted(index for index, _ in ends), len(series)]
    levels = dict(ends)
    return [
        ChangePoint(at, float(series[begin:at].mean()), float(series[at:end].mean()), levels[at])
        for begin, at, end in zip(cuts[:-2], cuts[1:-1], cuts[2:], strict=True)
    ]


def _level(
    series: Array, segments: list[tuple[int, int]], strength: float, significance: float, random: np.random.Generator
) -> float:
    """Return how rarely a division of shuffled segments is as strong; it stops early when that is not rare."""
    as_strong = tried = 0
    at_once = max(1, min(_AT_ONCE, _CELLS // len(series) ** 2))
    while tried < _PERMUTATIONS:
        shuffled = np.tile(series, (at_once, 1))
        for begin, end in segments:
            shuffled[:, begin:end] = random.permuted(shuffled[:, begin:end], axis=1)
        as_strong += int((_best(shuffled, segments)[1] >= strength * (1 - 1e-9)).sum())
        tried += at_once
        if as_strong > _ENOUGH and as_strong / tried > significance:
            break
    return (as_strong + 1) / (tried + 1)


def _best(rows: Array, segments: list[tuple[int, int]]) -> tuple[Array, Array]:
    """Return, for each row, where its strongest division lies (-1: there is none), and how strong that is."""
    places, strengths = np.full(len(rows), -1), np.full(len(rows), -np.inf)
    for begin, end in segments:
        if end - begin < 2 * FEWEST:
            continue
        found = _divergence(rows[:, begin:end])
        at = found.argmax(axis=1)
        strength = found[np.arange(len(rows)), at]
        better = strength > strengths
        places = np.where(better, begin + FEWEST + at, places)
        strengths = np.where(better, strength, strengths)
    return places, strengths


def _divergence(rows: Array) -> Array:
    """Return the scaled energy distance between the two parts of each row, for every place to divide it.

    Q = mn / (m + n) (2 E|X - Y| - E|X - X'| - E|Y - Y'|), as U-statistics; columns are m = `FEWEST` .. n - `FEWEST`.
    """
    length = rows.shape[1]
    distances = np.abs(rows[:, :, None] - rows[:, None, :])
    sums = distances.cumsum(axis=1).cumsum(axis=2)
    m = np.arange(FEWEST, length - FEWEST + 1)
    n = length - m
    inside = sums[:, m - 1, m - 1]
    across = sums[:, m - 1, -1] - inside
    beyond = sums[:, -1, -1][:, None] - inside - 2 * across
    energy: Array = 2 * across / (m * n) - inside / (m * (m - 1)) - beyond / (n * (n - 1))
    scaled: Array = m * n / length * energy
    return scaled
