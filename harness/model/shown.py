"""What the system's own metrics said while nothing was broken: the baseline that alerts are made of."""

from __future__ import annotations

from harness.model.base import Frozen


class GaugeUse(Frozen):
    """A gauge of one process over the healthy time, all its series added up; `n` looks."""

    mean: float
    max: float
    n: int


class ShownMetrics(Frozen):
    """The metrics that the target names and the system showed, over the healthy time of a recording."""

    healthy_s: float
    looks: int
    """Times its metrics were read."""
    looks_failed: int
    names: tuple[str, ...]
    """Every metric there was a sample of, at any time of the run."""
    grew: dict[str, dict[str, float]]
    """By metric, and by value of the label it is told apart by: how much a counter grew, over all processes."""
    busiest: dict[str, float]
    """By metric: how much a counter grew in the process where it grew most."""
    gauges: dict[str, GaugeUse]
    """By metric, of the process where it was highest."""
    breakers: dict[str, float]
    """By whose breaker it is: the share of looks that found it open."""
