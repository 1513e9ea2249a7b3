"""One run against one: what the requests of two recordings say about each other, and nothing about other runs.

Percentiles and shares are resampled in blocks of consecutive requests (Carlstein 1986; Kuensch 1989), because requests
near each other are alike. What differs from run to run is not in it, so an interval is labelled "within-run only".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.compare import chosen, not_compared, on_scale, slack
from harness.analysis.dependence import CONFIDENCE, Array, effective_size, long_run, student
from harness.analysis.quantities import QUANTITIES, Figure, Quantity
from harness.model.comparison import Change
from harness.model.findings import Estimate
from harness.model.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REPLICATES = 1000
_MOST_BLOCKS = 200
_MOST_BINS = 512
"""Answers near a percentile are sorted into bins of equal counts before they are resampled; up to so many values each
has its own."""
_FAR = 6
"""Standard errors around a percentile that its replicates may reach."""


@dataclass(frozen=True)
class Series:
    """The measured requests of one recording, in due order: response times (ns; of lost ones, the time waited for), and
    what became of them. Dropped ones were never sent and are not in it."""

    response: Array
    answered: Array
    failed: Array
    degraded: Array

    def __len__(self) -> int:
        return len(self.response)


def within_run(
    base: Series,
    candidate: Series,
    figures: tuple[Mapping[str, Figure], Mapping[str, Figure]],
    tolerances: Mapping[str, float],
    random: np.random.Generator,
    metrics: Sequence[str] = (),
) -> list[Change]:
    """Return what two runs say about each quantity that can be read off their requests, or in `metrics`, if given.

    Each is inconclusive by itself; `agree` tells whether the two runs do, and is "unclear" of what was asked for and
    cannot be told. `figures` are those of their findings.
    """
    changes = []
    for name in chosen(figures, metrics):
        quantity = QUANTITIES[name]
        first, second = ([side[name]] if name in side else [] for side in figures)
        draws: list[Array | None] = []
        if not (first and second):
            why = "one of the two runs does not have it" if first or second else "neither run has it"
        elif name not in _RESAMPLED:
            why = "a single run's requests do not show how much it varies"
        else:
            draws = [_RESAMPLED[name](series, random) for series in (base, candidate)]
            why = "too few requests" if any(draw is None for draw in draws) else ""
        if not why:
            changes.append(_change(quantity, first + second, draws, tolerances))
        elif name in metrics:
            told = not_compared(quantity, tolerances.get(name, quantity.tolerance), first, second, why)
            changes.append(told.model_copy(update={"agree": "unclear"}))
    return changes


def _change(
    quantity: Quantity, figures: list[Figure], draws: Sequence[Array | None], tolerances: Mapping[str, float]
) -> Change:
    tolerance = tolerances.get(quantity.name, quantity.tolerance)
    n = sum(f.n for f in figures)
    first, second = (np.log(d) if quantity.scale == "ratio" else d for d in draws if d is not None)
    values = [quantity.linear(f.value) for f in figures]
    shift = quantity.sign * (values[1] - values[0])
    tails = (1 - CONFIDENCE) / 2
    low, high = np.quantile(quantity.sign * (second - first), [tails, 1 - tails])
    better, worse = (slack(quantity, figures[:1], figures[1:], side) for side in (-1, 1))
    low, high = min(float(low), shift) - better, max(float(high), shift) + worse
    agree, why = _agreement(low, high, quantity.limit(tolerance))
    unseen = quantity.worsening((high - low) / 2)
    if agree == "agree":
        unit = "%" if quantity.scale == "ratio" else "points"
        why += f"; a difference below {100 * unseen:.3g} {unit} would not be seen"
    return Change(
        metric=quantity.name,
        unit=quantity.unit,
        scale=quantity.scale,
        better=quantity.better,
        base=(figures[0].value,),
        candidate=(figures[1].value,),
        ratio=on_scale(quantity, shift, low, high, n),
        shift=Estimate(value=figures[1].value - figures[0].value, low=None, high=None, n=n),
        tolerance=tolerance,
        changed=None,
        p_changed=None,
        p_beyond=None,
        agree=agree,
        detectable=unseen,
        runs_needed=None,
        verdict=Verdict.INCONCLUSIVE,
        why=f"within-run only: {why}",
    )


def _agreement(low: float, high: float, limit: float) -> tuple[Literal["agree", "differ", "unclear"], str]:
    if low <= 0 <= high:
        return "agree", "the two agree within their intervals"
    if -limit <= low and high <= limit:
        return "agree", "the two differ by less than the tolerance"
    if high < -limit or low > limit:
        return "differ", "the two differ by more than the tolerance"
    return "unclear", "the two differ; whether by more than the tolerance is open"


# --- blocks ----------------------------------------------------------------------------------------------------------


def block_length(series: Array) -> int:
    """Return how many consecutive requests are resampled together: as `stats.long_run` chooses for the mean of
    `series`, at least the cube root of their number (Kuensch), and long enough that there are not too many blocks."""
    n = len(series)
    batch = max(1, n // 4096)
    batches = series[: n // batch * batch].reshape(-1, batch).mean(axis=1)
    correlated = batch * len(batches) / long_run(batches)[1] if len(batches) >= 8 else 1.0
    wanted = max(float(correlated), math.cbrt(n), n / _MOST_BLOCKS)
    return max(1, min(n // 5, math.ceil(wanted)))


def _weights(n: int, length: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Return where each block begins, and how often each is in each replicate."""
    starts = np.arange(0, n, length)
    if len(starts) > 1 and n - starts[-1] < length / 2:
        starts = starts[:-1]  # the rest is too short for a block of its own
    blocks = len(starts)
    return starts, random.multinomial(blocks, np.full(blocks, 1 / blocks), REPLICATES).astype(np.float64)


def _stretch(draws: Array, centre: float, blocks: int) -> Array:
    """Widen replicates as Student's t does a normal interval: few blocks know their own spread badly."""
    factor = student(max(1, blocks - 1)) / student(np.inf) * math.sqrt(blocks / max(1, blocks - 1))
    stretched: Array = centre * (draws / centre) ** factor if centre > 0 else draws
    return stretched


def _percentile(percent: float) -> Callable[[Series, np.random.Generator], Array | None]:
    """Draw a percentile. Only what its replicates can reach is resampled value by value, what lies below as one."""

    def draw(series: Series, random: np.random.Generator) -> Array | None:
        n, share = len(series), percent / 100
        if n < 20:
            return None
        ordered = np.sort(series.response)
        value = float(np.percentile(ordered, percent))
        below = series.response <= value
        reach = _FAR * math.sqrt(share * (1 - share) / effective_size(below)) + 2 / n
        first, last = (round((n - 1) * min(1.0, max(0.0, share + side * reach))) for side in (-1, 1))
        edges = np.unique(ordered[np.linspace(first, last, min(last - first + 1, _MOST_BINS)).round().astype(np.int64)])
        starts, weights = _weights(n, block_length(below.astype(np.float64)), random)
        block = np.searchsorted(starts, np.arange(n), side="right") - 1
        width = len(edges) + 1
        counts = np.bincount(block * width + np.searchsorted(edges, series.response), minlength=len(starts) * width)
        sums = np.cumsum(weights @ counts.reshape(len(starts), width).astype(np.float64), axis=1)
        places = np.minimum((sums < share * sums[:, -1:]).sum(axis=1), len(edges) - 1)
        return _stretch(np.maximum(edges[places], 1).astype(np.float64), value, len(starts))

    return draw


def _share(of: Callable[[Series], Array]) -> Callable[[Series, np.random.Generator], Array | None]:
    """Draw a share of the answered requests; the spread is at least that of drawing them one by one (Agresti)."""

    def draw(series: Series, random: np.random.Generator) -> Array | None:
        hits = of(series)[series.answered].astype(np.float64)
        n = len(hits)
        if n < 20:
            return None
        starts, weights = _weights(n, block_length(hits), random)
        sums = weights @ np.add.reduceat(hits, starts)
        drawn: Array = sums / (weights @ np.diff(np.append(starts, n)))
        smooth = (hits.sum() + 2) / (n + 4)
        least = math.sqrt(smooth * (1 - smooth) / (n + 4))
        return drawn if drawn.std() >= least else hits.mean() + least * random.standard_normal(REPLICATES)

    return draw


_RESAMPLED: Mapping[str, Callable[[Series, np.random.Generator], Array | None]] = {
    "response_time.p50": _percentile(50),
    "response_time.p95": _percentile(95),
    "response_time.p99": _percentile(99),
    "failed": _share(lambda series: series.failed),
    "degraded": _share(lambda series: series.degraded),
}
"""What can be read off the requests of a single run."""
