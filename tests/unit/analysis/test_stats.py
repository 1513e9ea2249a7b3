"""Statistics against hand-computed truths, numpy and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from harness.analysis.dependence import effective_size, student
from harness.analysis.stats import (
    Share,
    Times,
    at_least,
    at_most,
    mean_ms,
    more_successes,
    needed_for,
    percentile,
    percentile_ms,
    percentiles,
    rank_interval,
    ratio_estimate,
    share_estimate,
    wilson,
)  # fmt: skip

Array = np.ndarray[Any, np.dtype[Any]]


def times(values: Any, lost: Any = None) -> Times:
    values = np.asarray(values, np.int64)
    return Times(values, np.zeros(len(values), bool) if lost is None else np.asarray(lost, bool))


@given(st.lists(st.integers(0, 2**45), min_size=1, max_size=300), st.floats(0.1, 99.9))
def test_percentiles_are_numpys_to_the_last_bit(values: list[int], percent: float) -> None:
    assert percentile_ms(times(values), percent).value == np.percentile(np.array(values), percent) / 1e6


@given(st.lists(st.integers(0, 2**45), min_size=1, max_size=300), st.floats(0.1, 99.9))
def test_a_percentile_lies_in_its_interval_and_in_the_sample(values: list[int], percent: float) -> None:
    estimate = percentile_ms(times(values), percent)
    assert estimate.value is not None
    assert min(values) / 1e6 <= (estimate.value if estimate.low is None else estimate.low) <= estimate.value
    assert estimate.value <= (estimate.value if estimate.high is None else estimate.high) <= max(values) / 1e6


@given(st.integers(1, 50_000), st.floats(0.01, 0.999))
def test_ranks_leave_at_most_half_of_five_percent_on_either_side(n: int, share: float) -> None:
    low, high = rank_interval(n, share)
    if low is not None:
        assert binom.cdf(low - 1, n, share) <= 0.025 + 1e-12
        assert binom.cdf(low, n, share) > 0.025 - 1e-12, "a higher rank would do too"
    if high is not None:
        assert binom.sf(high - 1, n, share) <= 0.025 + 1e-12
        assert binom.sf(high - 2, n, share) > 0.025 - 1e-12, "a lower rank would do too"


def test_a_small_sample_cannot_bound_its_tail() -> None:
    # P(all 367 below the p99) = 0.99^367 = 2.50 %, of 368 it is 2.48 %: from there on the maximum bounds p99.
    assert percentile_ms(times(range(367)), 99).high is None
    assert percentile_ms(times(range(368)), 99).high == 367 / 1e6
    assert percentile_ms(times([5_000_000]), 50).model_dump() == {"value": 5.0, "low": None, "high": None, "n": 1}
    assert percentile_ms(times([]), 50).value is None


def test_lost_requests_open_the_upper_side_and_stay_in_the_sample() -> None:
    values = np.arange(1, 1001) * 1_000_000
    lost = values > 960_000_000
    told, open_ended = percentile_ms(times(values), 95), percentile_ms(times(values, lost), 95)
    assert open_ended.value == told.value == pytest.approx(950.05)
    assert open_ended.low == told.low
    assert told.high is not None
    assert open_ended.high is None, "rank 964 is a lost request: nobody knows how long it would have taken"
    assert mean_ms(times(values, lost)).high is None


def test_an_autocorrelated_series_is_worth_less() -> None:
    random = np.random.default_rng(7)
    noise = random.standard_normal(20_000)
    assert effective_size(noise) > 15_000
    blocks = np.repeat(random.standard_normal(200), 100)  # 200 independent values, each a hundred times
    assert 100 <= effective_size(blocks) <= 400
    long = np.repeat(random.standard_normal(2_000), 500)  # a million values, batched first
    assert 1_000 <= effective_size(long) <= 4_000
    assert effective_size(np.ones(1000)) == 1000
    alternating = np.tile([0.0, 1.0], 500)
    assert effective_size(alternating) == 1000, "negative autocorrelation makes no sample worth more than it is"


def test_an_interval_is_widened_for_autocorrelation() -> None:
    random = np.random.default_rng(1)
    values = np.repeat(random.integers(1, 10**9, 500), 20)
    plain, bursty = percentile_ms(times(random.permutation(values)), 50), percentile_ms(times(values), 50)
    assert plain.value == bursty.value
    assert plain.low is not None
    assert plain.high is not None
    assert bursty.low is not None
    assert bursty.high is not None
    assert bursty.high - bursty.low > 2.5 * (plain.high - plain.low)


def test_wilson_against_published_values() -> None:
    # Brown, Cai & DasGupta 2001: 0 of 20 and 5 of 20.
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(5, 20) == pytest.approx((0.1119, 0.4687), abs=1e-4)
    assert wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_unknown_outcomes_widen_a_share_both_ways() -> None:
    plain, wide = share_estimate(Share(10, 90)), share_estimate(Share(10, 90, unknown=10))
    assert plain.value == wide.value == pytest.approx(1 / 9)
    assert wide.low is not None
    assert wide.high is not None
    assert wide.low < (plain.low or 0)
    assert wide.high == wilson(20, 100)[1]
    assert share_estimate(Share(0, 0)).value is None


@pytest.mark.parametrize(("n", "share"), [(29, 0.90), (59, 0.95), (299, 0.99)])
def test_n_of_n_supports_the_claim_and_one_less_does_not(n: int, share: float) -> None:
    assert at_least(n, n) >= share > at_least(n - 1, n - 1)
    assert at_least(n, n) == pytest.approx(0.05 ** (1 / n))


def test_clopper_pearson_with_misses() -> None:
    # Exact binomial tails: at the bound, seeing as many (as few) has probability 5 %.
    assert binom.sf(17, 20, at_least(18, 20)) == pytest.approx(0.05)
    assert binom.cdf(18, 20, at_most(18, 20)) == pytest.approx(0.05)
    assert (at_least(0, 5), at_most(5, 5)) == (0.0, 1.0)


def test_how_many_more_recoveries_a_claim_needs() -> None:
    assert more_successes(5, 5, 0.9) == 24
    assert more_successes(0, 0, 0.9) == 29
    assert more_successes(29, 29, 0.9) == 0
    assert more_successes(0, 0, 0.9999999) is None
    more = more_successes(28, 29, 0.9)
    assert more is not None
    assert at_least(28 + more, 29 + more) >= 0.9 > at_least(27 + more, 28 + more)


def test_observations_needed_before_a_percentile_can_pass() -> None:
    assert [needed_for(p) for p in (50, 95, 99, 99.9, 5)] == [6, 72, 2000, 20000, 72]


def test_spending_per_unit_gained_is_the_ratio_of_the_sums() -> None:
    found = ratio_estimate(np.array([2, 0, 1, 3]), np.array([1, 1, 0, 1]))
    assert (found.value, found.n) == (2.0, 3)
    assert found.high is not None
    assert found.low == 0.0, "nobody spends less than nothing"


def test_where_all_gain_one_it_is_the_mean() -> None:
    spent = np.random.default_rng(1).poisson(1.3, 400)
    found = ratio_estimate(spent, np.ones(400, bool))
    half = student(399) * spent.std(ddof=1) / 20
    assert (found.low, found.value, found.high) == pytest.approx(
        (spent.mean() - half, spent.mean(), spent.mean() + half)
    )


def test_the_interval_of_a_ratio_covers_the_truth() -> None:
    draw, covered = np.random.default_rng(2), 0
    for _ in range(400):
        gained = draw.random(80) < 0.8
        found = ratio_estimate(draw.poisson(1 + gained), gained)  # 1.8 spent for 0.8 gained
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 1.8 / 0.8 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.parametrize(("spent", "gained", "value"), [([], [], None), ([3, 1], [0, 0], None), ([3], [1], 3.0)])
def test_a_ratio_without_gain_or_with_one_request_has_no_interval(
    spent: list[int], gained: list[int], value: float | None
) -> None:
    found = ratio_estimate(np.array(spent, float), np.array(gained, bool))
    assert (found.value, found.low, found.high) == (value, None, None)


@given(
    st.lists(st.integers(0, 2**50), min_size=1, max_size=60),
    st.lists(st.sampled_from([0.0, 1.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0]), max_size=4),
)
def test_percentiles_of_plain_values_are_the_same(values: list[int], percents: list[float]) -> None:
    expected = [percentile(times(values), percent) for percent in percents]
    assert percentiles(np.array(values), percents) == expected
