"""The pacer, without a clock: tables of what is known, and properties of what is drawn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import NS_PER_S
from harness.model.units import parse_rate
from harness.seeds import generator
from harness.traffic import pacer

RATES = st.floats(0.1, 2000)
SPANS = st.floats(0.1, 30)
SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("rate", "seconds", "times_ms"),
    [
        (2.0, 2.0, [0, 500, 1000, 1500]),
        (10.0, 0.25, [0, 100, 200]),
        (1.0, 1.0, [0]),
        (1.0, 0.5, [0]),
        (0.3, 5.0, [0, 10_000 / 3]),
        (3.0, 1.0, [0, 1000 / 3, 2000 / 3]),
    ],
)
def test_constant_arrivals(rate: float, seconds: float, times_ms: list[float]) -> None:
    assert pacer.constant(rate, seconds).tolist() == [round(ms * 1e6) for ms in times_ms]


@pytest.mark.parametrize("text", ["1000/min", "16.7/s", "50/h", "7/min", "999/min", "1234/s"])
def test_every_whole_minute_of_four_hours_has_its_exact_number(text: str) -> None:
    rate = parse_rate(text)
    hours = 4 if rate < 100 else 0.05
    times = pacer.constant(rate, hours * 3600)
    assert len(times) == pytest.approx(rate * hours * 3600, abs=1)
    per_hour = np.bincount(times // (3600 * NS_PER_S))
    if text == "1000/min":
        assert set(np.bincount(times // (60 * NS_PER_S))) == {1000}
    if text == "50/h":
        assert set(per_hour) == {50}


@given(RATES, SPANS)
def test_constant_arrivals_are_as_many_as_asked_and_evenly_spaced(rate: float, seconds: float) -> None:
    times = pacer.constant(rate, seconds)
    assert abs(len(times) - rate * seconds) < 1 + 1e-6
    assert (times >= 0).all()
    assert (times < seconds * NS_PER_S + 1).all()
    assert np.ptp(np.diff(times)) <= 1 if len(times) > 2 else True


@given(RATES, SPANS, SEEDS)
def test_poisson_arrivals_ascend_within_the_span(rate: float, seconds: float, seed: int) -> None:
    times = pacer.poisson(rate, seconds, generator(seed, "arrivals"))
    assert (np.diff(times) >= 0).all()
    assert ((times >= 0) & (times < seconds * NS_PER_S)).all()
    assert np.array_equal(times, pacer.poisson(rate, seconds, generator(seed, "arrivals")))


@pytest.mark.parametrize("seed", range(5))
def test_poisson_counts_are_dispersed_as_poisson_counts_are(seed: int) -> None:
    """Mean and variance of the counts per second are equal; gaps are exponential (mean = standard deviation)."""
    rate, seconds = 50.0, 4000.0
    times = pacer.poisson(rate, seconds, generator(seed, "arrivals"))
    counts = np.bincount(times // NS_PER_S, minlength=int(seconds))
    assert len(times) == pytest.approx(rate * seconds, abs=5 * np.sqrt(rate * seconds))
    # The index of dispersion of n counts has standard deviation sqrt(2 / (n - 1)).
    assert counts.var(ddof=1) / counts.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / (seconds - 1)))
    gaps = np.diff(times)
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.02)


@given(st.integers(1, 500), st.floats(0.5, 200), SEEDS)
def test_one_user_starts_in_each_slot(users: int, spawn: float, seed: int) -> None:
    times = pacer.starts(users, spawn, generator(seed, "users"))
    slots = times / NS_PER_S * spawn
    assert (np.abs(slots - (np.arange(users) + 0.5)) <= 0.5 + 1e-6).all()
    assert (np.diff(times) >= 0).all()


def test_starts_are_on_no_grid() -> None:
    """100 users at 10/s that then pace themselves by 1 s must not share ten phases."""
    phases = pacer.starts(100, 10, generator(1, "users")) % NS_PER_S
    assert len(set(phases // (NS_PER_S // 1000))) > 80


@given(RATES, SPANS, st.integers(1, 7))
def test_the_shares_of_all_workers_are_the_schedule(rate: float, seconds: float, workers: int) -> None:
    times = pacer.constant(rate, seconds)
    shares = [pacer.share(times, worker, workers) for worker in range(workers)]
    assert np.array_equal(np.sort(np.concatenate(shares)), times)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("count", "weights", "fixed", "order"),
    [
        (4, [1], (), [0, 0, 0, 0]),
        (4, [1, 1], (), [0, 1, 0, 1]),
        (4, [3, 1], (), [0, 0, 1, 0]),
        (5, [1, 1], (2, 0), [0, 0, 1, 1, 1]),
        (1, [1, 1], (2, 0), [0]),
        (5, [1, 1], (2, 1), [0, 0, 1]),
        (3, [0.5, 1.5], (), [1, 0, 1]),
    ],
)
def test_users_are_dealt_to_classes(count: int, weights: list[float], fixed: tuple[int, ...], order: list[int]) -> None:
    assert pacer.deal(count, weights, fixed) == order


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 60))
def test_every_beginning_of_a_deal_keeps_the_weights(weights: list[int], count: int) -> None:
    order = pacer.deal(count, weights)
    assert len(order) == count
    for kind, weight in enumerate(weights):
        share = weight / sum(weights)
        dealt = [order[:m].count(kind) for m in range(count + 1)]
        assert all(abs(n - m * share) < len(weights) for m, n in enumerate(dealt))
        assert all(0 <= after - before <= 1 for before, after in pairwise(dealt))


def test_arrivals_get_their_classes_by_weight() -> None:
    kinds = pacer.kinds(20_000, [3, 0, 1], generator(1, "user-classes"))
    share = np.bincount(kinds, minlength=3) / len(kinds)
    assert share == pytest.approx([0.75, 0, 0.25], abs=0.015)
    assert pacer.kinds(3, [2], generator(1, "user-classes")).tolist() == [0, 0, 0]


LEVELS = st.lists(st.builds(pacer.Level, st.floats(0, 300), st.floats(0, 5), st.floats(0.1, 5)), min_size=1, max_size=5)


def expected(levels: list[pacer.Level], until_s: float) -> float:
    """The integral of the rate up to `until_s`."""
    total, begin, before = 0.0, 0.0, 0.0
    for level in levels:
        inside = min(max(until_s - begin, 0), level.ramp_s)
        if level.ramp_s:
            total += inside * before + (level.level - before) * inside**2 / (2 * level.ramp_s)
        total += min(max(until_s - begin - level.ramp_s, 0), level.hold_s) * level.level
        begin, before = begin + level.ramp_s + level.hold_s, level.level
    return total


@given(LEVELS, st.floats(0, 1))
def test_arrivals_of_changing_rates_follow_the_integral_of_the_rate(levels: list[pacer.Level], share: float) -> None:
    times = pacer.ramps(levels)
    end = sum(level.ramp_s + level.hold_s for level in levels)
    assert (np.diff(times) >= 0).all()
    for until_s in (share * end, end):
        assert abs((times <= until_s * NS_PER_S).sum() - expected(levels, until_s)) <= 1 + 1e-3


def test_whole_steps_begin_on_an_arrival() -> None:
    levels = [pacer.Level(10, 0, 1), pacer.Level(1000 / 60, 0, 60), pacer.Level(0, 0, 1), pacer.Level(20, 1, 1)]
    times = pacer.ramps(levels).tolist()
    assert times[:10] == [k * 10**8 for k in range(10)]
    assert times[10:1010] == [10**9 + round(k * 6e7) for k in range(1000)]
    assert times[1010] == 62 * NS_PER_S
    assert len(times) == 1040


@pytest.mark.parametrize("seed", range(3))
def test_poisson_arrivals_of_changing_rates_are_dispersed_as_poisson_counts_are(seed: int) -> None:
    levels = [pacer.Level(20, 0, 500), pacer.Level(80, 500, 500)]
    times = pacer.ramps(levels, generator(seed, "arrivals"))
    counts = np.bincount(times // NS_PER_S, minlength=1500)
    mean = np.array([expected(levels, t + 1) - expected(levels, t) for t in range(1500)])
    pearson = ((counts - mean) ** 2 / mean).sum() / 1500
    assert pearson == pytest.approx(1, abs=5 * np.sqrt(2 / 1500))


@given(st.lists(st.builds(pacer.Level, st.integers(0, 40), st.floats(0, 5), st.floats(0.1, 5)), max_size=6), SEEDS)
def test_users_of_each_level_are_the_first_places(levels: list[pacer.Level], seed: int) -> None:
    start, stop, place = pacer.lives(levels, generator(seed, "users"))
    assert (np.diff(start) >= 0).all()
    end = np.where(stop < 0, np.iinfo(np.int64).max, stop)
    assert (end >= start).all()
    begin = 0.0
    for level in levels:
        middle = (begin + level.ramp_s + level.hold_s / 2) * NS_PER_S
        assert sorted(place[(start <= middle) & (end > middle)].tolist()) == list(range(int(level.level)))
        begin += level.ramp_s + level.hold_s


@pytest.mark.parametrize("users", [2, 10, 100, 1000])
def test_every_beginning_of_the_phases_is_even(users: int) -> None:
    found = sorted(pacer.phases([0] * users, [0.3]))
    gaps = np.diff([*found, found[0] + 1])
    assert 0.3 / users < gaps.min() < gaps.max() < 2.7 / users


def test_each_class_has_phases_of_its_own() -> None:
    found = pacer.phases([0, 1, 0, 1], [0.0, 0.5])
    assert found == pytest.approx([0, 0.5, 0.618, 0.118], abs=1e-3)
