"""The Universal Scalability Law, fitted to levels of load: X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1)).

Gunther, Guerrilla Capacity Planning (2007), ch. 4 and 6; the law as a model of queues: Gunther, Puglia & Tomasette,
"Hadoop superlinear scalability" (2015). N / X is linear in 1 / lambda, sigma / lambda and kappa / lambda (none of them
negative), so the best fit is that of linear least squares over the sets of them that may be zero: no start values, no
iterations that might not end. Residuals are relative, as measuring errors of a throughput are; what was counted from
few requests weighs less.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.dependence import CONFIDENCE
from harness.model.capacity import CurvePoint, Usl
from harness.model.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Array = np.ndarray[Any, np.dtype[Any]]

LEAST = 4
"""Points a fit needs: one more than it has parameters, or nothing tells how far it is off."""
REPLICATES = 2000
REWEIGHTED = 5
CURVE_POINTS = 41
MISFIT = 0.1
"""How far a level may lie from the law (or three times what counting lets it) before that is called no fit: a pool or a
quota makes a corner, not a curve."""
ELSE = 0.01
"""What a throughput is off by besides counting: the shape of the errors, not their size, which residuals tell."""
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Points:
    """What was measured: requests in flight N, throughput X (1/s), and how many requests each X was counted from."""

    in_flight: Array
    rate: Array
    requests: Array

    def __len__(self) -> int:
        return len(self.in_flight)


def joined_points(parts: Sequence[Points]) -> Points:
    """Return points of several levels as one."""
    none = Points(*(np.zeros(0) for _ in range(3)))
    every = [none, *parts]
    return Points(
        np.concatenate([p.in_flight for p in every]),
        np.concatenate([p.rate for p in every]),
        np.concatenate([p.requests for p in every]),
    )


@dataclass(frozen=True)
class _Law:
    """One law, or as many as there are replicates."""

    lambda_: Array
    sigma: Array
    kappa: Array

    @property
    def peak(self) -> Array:
        """N*; endless where nothing pulls throughput down."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Array = np.sqrt(np.maximum(1 - self.sigma, 0) / self.kappa)
        return np.maximum(np.where(self.kappa > 0, found, np.inf), 1.0)

    def rate(self, n: Array) -> Array:
        """Return X(N), 1/s."""
        rate: Array = self.lambda_ * n / (1 + self.sigma * (n - 1) + self.kappa * n * (n - 1))
        return rate

    @property
    def peak_rate(self) -> Array:
        """X(N*); where N* is endless, what X comes ever nearer to."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ceiling = np.where(self.sigma > 0, self.lambda_ / self.sigma, np.inf)
            return np.where(np.isfinite(self.peak), self.rate(self.peak), ceiling)


def fit(points: Points, random: np.random.Generator) -> Usl | None:
    """Return the law with its 95 % intervals; None with fewer than `LEAST` points of different N.

    Intervals are those of a parametric bootstrap (Efron & Tibshirani 1993, 6.5): throughputs are drawn around the
    fitted law and fitted again. How far they scatter is itself only known from a few residuals, so each replicate has
    a spread of its own, drawn from what those residuals leave open (scaled chi-squared): that gives a linear model
    Student's intervals. N* and its throughput beyond the highest N tested are not given, whatever the fit says.
    """
    if len(np.unique(points.in_flight)) < LEAST or (points.rate <= 0).any():
        return None
    n, ratio = points.in_flight, points.in_flight / points.rate
    columns = np.stack([np.ones_like(n), n - 1, n * (n - 1)], axis=1)
    error = np.sqrt(1 / np.maximum(points.requests, 1) + ELSE**2)
    around = ratio
    for _ in range(REWEIGHTED):  # relative to the law, not to what was measured: else low ones weigh more
        scaled = 1 / (around * error)
        coefficients = _least_squares(columns * scaled[:, None], (ratio * scaled)[None, :])
        around = columns @ coefficients[0]
    freedom = len(points) - 3
    # Never better than counting lets it be: a few residuals may all be small by chance.
    spread2 = max(float((((ratio / around - 1) / error) ** 2).sum()) / freedom, 1.0)
    spreads = np.sqrt(spread2 * freedom / random.chisquare(freedom, REPLICATES))
    noise = np.maximum(1 + spreads[:, None] * error * random.standard_normal((REPLICATES, len(points))), 0.01)
    coefficients_drawn = _least_squares(columns / (around * error)[:, None], noise / error)
    best, drawn = _law(coefficients), _law(coefficients_drawn)
    off = np.abs(points.rate / best.rate(n) - 1)
    return _findings(points, best, drawn, float(off.max()), fits=bool((off <= np.maximum(MISFIT, 3 * error)).all()))


def scaling(counts: Array, rates: Array) -> Callable[[Array], Array] | None:
    """Return the best law through throughputs by number of replicas; None when it does not fit them (`MISFIT`)."""
    columns = np.stack([np.ones_like(counts), counts - 1, counts * (counts - 1)], axis=1)
    ratio = counts / rates
    law = _law(_least_squares(columns / ratio[:, None], np.ones((1, len(counts)))))
    return law.rate if float(np.abs(rates / law.rate(counts) - 1).max()) <= MISFIT else None


def _least_squares(columns: Array, values: Array) -> Array:
    """Return, for each row of `values`, the coefficients that fit it best: the first above 0, none below.

    Non-negative least squares by trying every set of coefficients that may be zero: three leave four sets.
    """
    best = np.zeros((len(values), 3))
    least = np.full(len(values), np.inf)
    for chosen in ([0, *(c for c, use in zip((1, 2), used, strict=True) if use)] for used in product((0, 1), repeat=2)):
        some = columns[:, chosen]
        found = values @ np.linalg.pinv(some).T
        error = ((values - found @ some.T) ** 2).sum(axis=1)
        better = (found >= 0).all(axis=1) & (found[:, 0] > 0) & (error < least)
        least[better] = error[better]
        best[better] = 0.0
        best[np.ix_(better, chosen)] = found[better]
    return best[least < np.inf]


def _law(coefficients: Array) -> _Law:
    first, second, third = coefficients.T
    return _Law(1 / first, second / first, third / first)


def _findings(points: Points, best: _Law, drawn: _Law, misfit: float, *, fits: bool) -> Usl:
    lowest, highest = float(points.in_flight.min()), float(points.in_flight.max())
    peak = float(best.peak[0])
    low, high = (float(q) for q in _quantiles(drawn.peak))
    seen, certain = peak <= highest, high <= highest
    rate_low, rate_high = (float(q) for q in _quantiles(drawn.peak_rate))
    at = np.geomspace(lowest, highest, CURVE_POINTS)
    lines = drawn.rate(at[:, None])
    band = np.quantile(lines, _TAILS, axis=1)
    line, n = best.rate(at), len(points)
    return Usl(
        lambda_=_estimate(best.lambda_, drawn.lambda_, n),
        sigma=_estimate(best.sigma, drawn.sigma, n),
        kappa=_estimate(best.kappa, drawn.kappa, n),
        peak_in_flight=Estimate(
            value=peak if seen else None, low=min(low, peak), high=max(high, peak) if certain else None, n=n
        ),
        peak_rate=Estimate(
            value=float(best.peak_rate[0]) if seen else None,
            low=min(rate_low, float(best.peak_rate[0])),
            high=max(rate_high, float(best.peak_rate[0])) if certain else None,
            n=n,
        ),
        past_knee=certain,
        misfit=misfit,
        fits=fits,
        tested_in_flight=(lowest, highest),
        levels=n,
        curve=tuple(
            CurvePoint(in_flight=float(x), rate=float(y), low=min(float(a), float(y)), high=max(float(b), float(y)))
            for x, y, a, b in zip(at, line, *band, strict=True)
        ),
    )


def _quantiles(drawn: Array) -> Array:
    """Return both ends; those of order statistics, because some may be endless."""
    ends: Array = np.quantile(drawn, _TAILS, method="inverted_cdf")
    return ends


def _estimate(best: Array, drawn: Array, n: int) -> Estimate:
    value, (low, high) = float(best[0]), _quantiles(drawn)
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value), n=n)
