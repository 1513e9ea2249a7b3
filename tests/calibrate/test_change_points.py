"""Change points against planted ones: how often one is seen that is none, and how near a step is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.analysis.change_points import change_points
from harness.seeds import generator

Array = np.ndarray[Any, np.dtype[Any]]
SERIES, NIGHTS, NOISE = 200, 40, 0.03
DRAWS: dict[str, Callable[[np.random.Generator], Array]] = {
    "normal": lambda random: random.standard_normal(NIGHTS),
    "skewed": lambda random: random.exponential(size=NIGHTS),
    "heavy": lambda random: random.standard_t(3, NIGHTS),
    "coarse": lambda random: random.integers(0, 3, NIGHTS).astype(np.float64),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_what_does_not_change_raises_no_alarm(kind: str) -> None:
    random = generator(1, kind)
    alarms = [bool(change_points(100 * np.exp(NOISE * DRAWS[kind](random)), random)) for _ in range(SERIES)]
    assert np.mean(alarms) <= 0.05


@pytest.mark.parametrize("step", [0.10, -0.10])
def test_a_step_is_found_within_a_night(step: float) -> None:
    random = generator(2, f"step{step}")
    near, alone = [], []
    for _ in range(100):
        at = int(random.integers(8, NIGHTS - 5))
        values = 100 * np.exp(NOISE * random.standard_normal(NIGHTS)) * np.where(np.arange(NIGHTS) >= at, 1 + step, 1)
        found = change_points(values, random)
        near.append(any(abs(change.index - at) <= 1 for change in found))
        alone.append(len(found) == 1)
    assert np.mean(near) >= 0.95
    assert np.mean(alone) >= 0.93


def test_a_step_of_the_last_three_nights_is_found() -> None:
    random = generator(3, "last")
    found = []
    for _ in range(50):
        values = 100 + NOISE * 100 * random.standard_normal(NIGHTS)
        values[-3:] *= 1.25
        found.append([change.index for change in change_points(values, random)] == [NIGHTS - 3])
    assert np.mean(found) >= 0.9


def test_two_steps_and_their_sizes_are_found_and_one_bad_night_is_none() -> None:
    random = generator(4, "two")
    values = 100 + random.standard_normal(60)
    values[20:] += 20
    values[40:] -= 10
    first, second = change_points(values, random)
    assert (first.index, second.index) == (20, 40)
    assert first.before == pytest.approx(100, abs=1)
    assert first.after == pytest.approx(120, abs=1)
    assert second.after == pytest.approx(110, abs=1)
    lonely = 100 + random.standard_normal(40)
    lonely[20] = 300
    assert change_points(lonely, random) == []


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0, 9.0, 9.0, 9.0], [5.0] * 30])
def test_what_is_too_short_or_constant_never_changes(values: list[float]) -> None:
    assert change_points(values, generator(5, "short")) == []


def test_the_same_seed_says_the_same() -> None:
    values = [*(100 + generator(6, "x").standard_normal(30)), *(103 + generator(7, "y").standard_normal(30))]
    assert change_points(values, generator(1, "z")) == change_points(values, generator(1, "z"))
