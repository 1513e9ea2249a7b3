"""Percentiles of a histogram: between two of its bounds as often as promised, whatever the distribution."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.histogram import cumulative, percentile_bounds

BOUNDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SERIES = 1000


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("at", [0.5, 1.0, 2.0])
def test_the_true_percentile_lies_between_the_bounds(share: float, at: float) -> None:
    # The hardest case: the percentile lies just beside a bound, so chance decides on which side it seems to be.
    for beside, nudge in (("above", 1.001), ("below", 0.999)):
        true = at * nudge
        rng = np.random.default_rng(round(1e6 * share + at))
        z = {0.5: 0.0, 0.95: 1.6448536, 0.99: 2.3263479}[share]
        inside = 0
        for _ in range(SERIES):
            seconds = true * np.exp(0.8 * (rng.standard_normal(2000) - z))
            counts = {str(bound): float((seconds <= bound).sum()) for bound in BOUNDS} | {"+Inf": 2000.0}
            low, high = percentile_bounds(cumulative(counts), share)
            inside += low < true <= high
        assert inside / SERIES >= 0.93, beside


def test_a_percentile_far_from_every_bound_is_known_to_its_bucket() -> None:
    counts = {"0.5": 900.0, "1.0": 9800.0, "2.0": 9990.0, "+Inf": 10000.0}
    assert percentile_bounds(cumulative(counts), 0.95) == (0.5, 1.0)
    assert percentile_bounds(cumulative(counts), 0.99) == (1.0, 2.0)


def test_what_lies_beyond_the_last_bound_has_no_upper_one() -> None:
    counts = {"0.5": 900.0, "1.0": 950.0, "+Inf": 1000.0}
    low, high = percentile_bounds(cumulative(counts), 0.99)
    assert (low, high) == (1.0, np.inf)
    assert percentile_bounds([], 0.5) == (0.0, np.inf)
