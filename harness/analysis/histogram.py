"""Percentiles of a Prometheus histogram, as far as its buckets tell: between two bounds, and no finer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis.stats import wilson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Bucket:
    """One bucket: `count` observations lie at or below `bound`, seconds. `le` is the bound as the system writes it."""

    le: str
    bound: float
    count: int


def cumulative(grew: Mapping[str, float]) -> list[Bucket]:
    """Return the buckets by bound, of how much each ``le`` grew; the last one, +Inf, counts everything."""
    return sorted((Bucket(le, float(le), round(count)) for le, count in grew.items() if le), key=lambda b: b.bound)


def percentile_bounds(buckets: Sequence[Bucket], share: float) -> tuple[float, float]:
    """Return bounds, seconds, that the percentile at `share` lies between, with 95 % confidence; inf beyond the last.

    It lies above a bound that certainly fewer than `share` of the observations lie below, and not above one that
    certainly more do (Wilson's interval of that share): Woodruff (JASA 47, 1952), at the bounds there are.
    """
    n = buckets[-1].count if buckets else 0
    inside = [(bucket.bound, *wilson(bucket.count, n)) for bucket in buckets]
    low = max((bound for bound, _, high in inside if high < share), default=0.0)
    return low, min((bound for bound, low_share, _ in inside if low_share >= share), default=math.inf)
