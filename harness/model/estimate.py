"""A value with its uncertainty: what every finding is made of."""

from __future__ import annotations

from harness.model.base import Frozen


class Estimate(Frozen):
    """A value with its 95 % interval. `low`/`high` are null where the sample cannot bound that side."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class Percentiles(Frozen):
    """Exact percentiles with distribution-free intervals, milliseconds."""

    p50: Estimate
    p95: Estimate
    p99: Estimate
