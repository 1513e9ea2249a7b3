"""The figures of a run that are compared with those of other runs and followed over nights.

Each is one number a run, read off its findings. Times, throughput and cost are compared as ratios; shares may be 0 and
are compared by their difference, in points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

from harness.model.base import nearest
from harness.model.cost import CostFindings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.model.comparison import Scale
    from harness.model.findings import Estimate, Findings, LoadFindings

TOLERANCE = 0.05
"""How much worse a candidate may be if nobody says otherwise."""
_FAILURES = 0.005
"""The same, of requests that fail, in points: half a per cent more failures is worse than 5 % more time."""


@dataclass(frozen=True)
class Figure:
    """A quantity of one run. Of a share: how many of `n` it is, which bounds its spread from below; `below` and `above`
    are how far the share may lie from `value` because of requests nobody knows the outcome of (Manski's bounds)."""

    value: float
    n: int = 0
    below: float = 0.0
    above: float = 0.0


@dataclass(frozen=True)
class Quantity:
    """What is compared: its name, its unit, which direction is better, and where the findings have it."""

    name: str
    unit: str
    better: Literal["low", "high"]
    scale: Scale
    read: Callable[[Findings], Figure | None]
    tolerance: float = TOLERANCE

    @property
    def sign(self) -> int:
        """What a difference is multiplied by to be positive when it is for the worse."""
        return 1 if self.better == "low" else -1

    def linear(self, value: float) -> float:
        """Return a value on the scale where differences add up: the logarithm of what is compared as a ratio."""
        return math.log(value) if self.scale == "ratio" else value

    def limit(self, tolerance: float) -> float:
        """Return a tolerance on that scale, as a positive difference."""
        if self.scale == "points":
            return tolerance
        return math.log1p(tolerance) if self.better == "low" else -math.log1p(-tolerance)

    def worsening(self, difference: float) -> float:
        """Return a positive difference on that scale as people say it: 0.1 is 10 % (of ratios) or 10 points worse."""
        if self.scale == "points":
            return difference
        return math.expm1(difference) if self.better == "low" else -math.expm1(-difference)


def _percentile(kind: Literal["response_ms", "service_ms"], name: str) -> Callable[[Findings], Figure | None]:
    def read(findings: Findings) -> Figure | None:
        return _positive(getattr(getattr(findings.load, kind), name))

    return read


def _positive(estimate: Estimate) -> Figure | None:
    return Figure(estimate.value, estimate.n) if estimate.value else None


def _share_of(hits: Callable[[LoadFindings], int]) -> Callable[[Findings], Figure | None]:
    """Read a share of the answered requests; the lost ones could have been any of them."""

    def read(findings: Findings) -> Figure | None:
        load = findings.load
        answered = load.answered
        if not answered:
            return None
        value, whole = hits(load) / answered, answered + load.lost
        return Figure(value, answered, value - hits(load) / whole, (hits(load) + load.lost) / whole - value)

    return read


def _cache(findings: Findings) -> Figure | None:
    witness = findings.cache.measured
    if witness == "unsupported" or witness.hit_rate is None:
        return None
    return Figure(witness.hit_rate, witness.n)


def _throughput(findings: Findings) -> Figure | None:
    """Answers (ok or degraded) per second of the measured part."""
    load = findings.load
    sent = load.requests - load.dropped
    answers = load.ok + load.degraded
    return Figure(load.rate_per_s * answers / sent, answers) if load.rate_per_s and answers else None


def _recovered(findings: Findings) -> Figure | None:
    bit = [f for f in findings.failovers if f.bit]
    return Figure(sum(not f.censored for f in bit) / len(bit), len(bit)) if bit else None


def _recovery(findings: Findings) -> Figure | None:
    """The median over outages that ended; how many did is a figure of its own. No shorter than what can be resolved."""
    times = [
        max((f.recovery_s.low + f.recovery_s.high) / 2, f.resolution_s)
        for f in findings.failovers
        if f.bit and f.recovery_s is not None
    ]
    value = median(times) if times else 0.0
    return Figure(value, len(times)) if value > 0 else None


def _cost(findings: Findings) -> Figure | None:
    """None with calls of models without a price: they are counted as free, and a dearer version could be cheaper so."""
    found = findings.cost
    if not isinstance(found, CostFindings) or found.unpriced or not found.total.per_1k_requests:
        return None
    return Figure(found.total.per_1k_requests)


QUANTITIES: Mapping[str, Quantity] = {
    q.name: q
    for q in (
        Quantity("response_time.p50", "ms", "low", "ratio", _percentile("response_ms", "p50")),
        Quantity("response_time.p95", "ms", "low", "ratio", _percentile("response_ms", "p95")),
        Quantity("response_time.p99", "ms", "low", "ratio", _percentile("response_ms", "p99")),
        Quantity("service_time.p95", "ms", "low", "ratio", _percentile("service_ms", "p95")),
        Quantity("failed", "share", "low", "points", _share_of(lambda load: load.failed + load.timeout), _FAILURES),
        Quantity("degraded", "share", "low", "points", _share_of(lambda load: load.degraded), _FAILURES),
        Quantity("cache_hit", "share", "high", "points", _cache),
        Quantity("throughput", "per_s", "high", "ratio", _throughput),
        Quantity("recovery_time", "s", "low", "ratio", _recovery),
        Quantity("recovered", "share", "high", "points", _recovered),
        Quantity("cost", "per 1,000 requests", "low", "ratio", _cost),
    )
}


def figures(findings: Findings) -> dict[str, Figure]:
    """Return every quantity that the findings of a run have."""
    read = {name: quantity.read(findings) for name, quantity in QUANTITIES.items()}
    return {name: figure for name, figure in read.items() if figure is not None}


def known(name: str) -> str:
    """Return `name` if it is a quantity; ValueError says which there are."""
    if name not in QUANTITIES:
        names = tuple(QUANTITIES)
        raise ValueError(f"unknown metric {name!r}; {nearest(name, names)}known: {', '.join(names)}")
    return name


def tolerances(texts: tuple[str, ...]) -> dict[str, float]:
    """Return the tolerances that ``--tolerance 10%`` and ``--tolerance failed=1%`` ask for, by metric.

    Without a name it is that of every ratio. Shares, whose tolerance is in points, keep their own unless they are
    named: whoever lets answers take 10 % longer has not said that one request in ten may fail. ValueError says what is
    wrong and what is known.
    """
    ratios = [quantity.name for quantity in QUANTITIES.values() if quantity.scale == "ratio"]
    found: dict[str, float] = {}
    for text in sorted(texts, key=lambda t: "=" in t):  # the ones with a name are the closer ones
        name, equals, value = text.rpartition("=")
        tolerance = _share(value, text)
        found.update(dict.fromkeys([known(name)] if equals else ratios, tolerance))
    return found


def _share(value: str, text: str) -> float:
    number = value.strip().removesuffix("%").strip()
    try:
        share = float(number) / (100 if value.strip().endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise ValueError(f"{text!r} is no tolerance; write a share above 0 and below 100 %, as in 5% or metric=0.05")
    return share
