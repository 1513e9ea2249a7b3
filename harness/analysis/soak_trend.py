"""The slope of a series whose noise depends on its past, and whether its growth levels off. Pure numbers.

A trend test alone cries wolf: Mann-Kendall finds "aging" in most healthy systems, because warm-ups grow and noise is
autocorrelated (Machida, Andrzejak, Matias & Vicente, ISSREW 2013). Here are the slope with an interval that counts
autocorrelation, to be held against a practical threshold, and the rival that a warm-up is: growth that saturates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from harness.analysis.dependence import long_run, student

if TYPE_CHECKING:
    from harness.analysis.dependence import Array

FEWEST = 12
"""Windows below which no slope is given."""
_POWER = 0.8
_MOST_CORRELATED = 0.98
_TOO_FEW, _LEAST_WORTH = 3, 8
"""Independent windows below which a slope has no interval, and below which no curve is told from a line."""
_DECISIVE = 10.0
"""AICc by which the saturating curve must be better: then a straight line has "essentially no support" (Burnham &
Anderson, Model Selection and Multimodel Inference, 2002, 2.6). A leak is not to be explained away by chance."""
_APART = 0.2
"""Share of the length up to which a time constant can be told from a slope that goes on."""
_TAUS = np.geomspace(0.02, 1.0, 40)
"""Time constants tried, as shares of the series' length: a longer one is a straight line as far as can be seen."""


@dataclass(frozen=True)
class Trend:
    """A straight line through a series; `t` in hours, slopes per hour."""

    slope: float
    level: float
    """Of the line at t = 0."""
    worth: float
    """Independent windows that the windows are worth."""
    error: float
    """Standard error of the slope; infinite where too few are independent."""
    slack: float
    """What steps of one quantum hide, on either side."""

    @property
    def half(self) -> float:
        """Half of the 95 % interval's width."""
        return student(self._freedom) * self.error + self.slack

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.slope - self.half

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.slope + self.half

    @property
    def _freedom(self) -> float:
        return max(1.0, self.worth - 2)

    def at(self, t: float) -> float:
        """Return the line's value."""
        return self.level + self.slope * t

    def beyond(self, threshold: float) -> float:
        """Return the two-sided p-value of the slope lying within +- `threshold`."""
        excess = abs(self.slope) - threshold - self.slack
        if excess <= 0:
            return 1.0
        return min(1.0, 2 * float(special.stdtr(self._freedom, -excess / self.error))) if self.error else 0.0

    def detectable(self, threshold: float, confidence: float) -> float:
        """Return the slope that would be found beyond a threshold in 8 of 10 series like this."""
        sure = student(self._freedom, confidence) + float(special.ndtri(_POWER))
        return threshold + self.slack + sure * self.error


def trend(t: Array, y: Array, quantum: float = 0.0) -> Trend | None:
    """Return the Theil-Sen line through (`t` hours, `y`); None for fewer than `FEWEST` points.

    The slope is the median of those of all pairs (Sen, JASA 63, 1968). Sen's interval, between their order statistics,
    gives its standard error for independent noise; that of autocorrelated noise is sqrt(n / n') times as large, with
    Student's t for n' - 2 (Hamed & Rao, J. Hydrology 204, 1998, and Santer et al., JGR 105, 2000, for n').
    The interval is widened by `quantum` over the length: what comes in steps of that size may have been one step short
    of the next at either end.
    """
    n = len(t)
    if n < FEWEST:
        return None
    slack = quantum / float(t[-1] - t[0])
    if y.min() == y.max():
        return Trend(0.0, float(y[0]), float(n), 0.0, slack)
    first, second = _pairs(n)
    slopes = np.sort((y[second] - y[first]) / (t[second] - t[first]))
    slope = float(np.median(slopes))
    level = float(np.median(y - slope * t))
    worth = independent(y - slope * t - level)
    off = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)  # Kendall's S, its standard deviation
    below, above = math.floor((len(slopes) - off) / 2), math.ceil((len(slopes) + off) / 2)
    error = float(slopes[above] - slopes[below]) / 2 * math.sqrt(n / worth) if worth > _TOO_FEW else math.inf
    return Trend(slope, level, worth, error, slack)


@lru_cache(maxsize=8)
def _pairs(n: int) -> tuple[Array, Array]:
    return np.triu_indices(n, 1)


def independent(residuals: Array) -> float:
    """Return how many independent observations the slope through a series with these residuals is worth.

    The smaller of two answers: n (1 - r) / (1 + r) with the autocorrelation at lag 1 (Bartlett 1935), freed from its
    bias, which in short series without their trend is large (Kendall, Biometrika 41, 1954: about -(2 + 4 r) / n); and
    that of a block bootstrap (`dependence.long_run`), which sees what is no first-order process.
    """
    n = len(residuals)
    centred = residuals - residuals.mean()
    whole = float(centred @ centred)
    if whole <= 0:
        return float(n)
    r = float(centred[1:] @ centred[:-1]) / whole
    r = min(_MOST_CORRELATED, max(0.0, (n * r + 2) / (n - 4)))
    blocks = n * (whole / n) / long_run(residuals)[0]
    return float(min(n, n * (1 - r) / (1 + r), blocks))


@dataclass(frozen=True)
class Levelling:
    """Growth (or decline) that levels off: a + `b` (1 - exp(-t / `tau`)) + `slope` t; t in hours from the first."""

    b: float
    tau: float
    slope: float
    """Of what goes on under it; 0 where a curve without it says as much."""

    def until(self, slope: float) -> float:
        """Return when (hours) the part that levels off is flatter than a slope."""
        steepest = abs(self.b) / self.tau
        return self.tau * math.log(steepest / slope) if steepest > slope > 0 else 0.0


def levelling(t: Array, y: Array) -> Levelling | None:
    """Return the curve, if it says decisively more than a straight line; None if not.

    Least squares over a grid of `tau`; compared by AICc (Hurvich & Tsai, Biometrika 76, 1989) with as many
    observations as the curve's residuals are worth, because autocorrelated ones are fitted by anything.
    """
    if len(t) < FEWEST or y.min() == y.max():
        return None
    x = t - t[0]
    taus = _TAUS * float(x[-1])
    bent = -np.expm1(-x / taus[:, None])
    whole = np.ones((1, len(x)))
    line = np.vstack([whole, x])
    misfit = float((_without(line, y[None, :]) ** 2).sum())
    plain, going_on = _misfits(whole, bent, y), _misfits(line, bent[taus <= _APART * x[-1]], y)
    one, both = int(np.argmin(plain)), int(np.argmin(going_on))
    best = _without(np.vstack([line, bent[both]]) if going_on[both] < plain[one] else np.vstack([whole, bent[one]]), y)
    worth = independent(best)
    if worth <= _LEAST_WORTH or misfit <= 0:
        return None

    def unlikely(left: float, parameters: int) -> float:
        return worth * math.log(max(left / misfit, 1e-12)) + 2 * parameters * worth / (worth - parameters - 1)

    found = min((unlikely(float(plain[one]), 4), one, whole), (unlikely(float(going_on[both]), 5), both, line),
                key=lambda fit: fit[0])  # fmt: skip
    if unlikely(misfit, 3) - found[0] < _DECISIVE:
        return None
    _, at, under = found
    b, *rest = np.linalg.lstsq(np.vstack([bent[at], under]).T, y, rcond=None)[0]
    return Levelling(float(b), float(taus[at]), float(rest[1]) if len(rest) > 1 else 0.0)


def _without(columns: Array, y: Array) -> Array:
    """Return what is left of each row of `y` that the rows of `columns` do not explain."""
    basis = np.linalg.qr(columns.T)[0]
    left: Array = y - (y @ basis) @ basis.T
    return left


def _misfits(under: Array, curves: Array, y: Array) -> Array:
    """Return the sum of squares that is left when `y` is explained by `under` and each curve (Frisch & Waugh 1933)."""
    left, bent = _without(under, y), _without(under, curves)
    misfits: Array = left @ left - (bent @ left) ** 2 / np.maximum((bent**2).sum(axis=1), 1e-30)
    return misfits
