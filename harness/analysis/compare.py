"""Base runs against candidate runs: is the candidate worse than the tolerance allows?

The unit is the run, not the request: what differs from run to run (a cold cache, a neighbour on the host) moves all of
its requests together, and pooling them raises false alarms. Per metric one value a run; the interval of the ratio of
the two sides (Student's on logarithms, Welch 1947; of matched runs, of their differences) against the tolerance: wholly
inside passes, wholly outside fails (if it also stands Holm's correction for the number of metrics), across it is
inconclusive. Pure; nothing is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.quantities import QUANTITIES, Figure, Quantity
from harness.analysis.two_samples import FEWEST_RUNS, LEVEL, Contrast, Matched, Pair, holm, runs_needed
from harness.model.comparison import Change
from harness.model.findings import Estimate
from harness.model.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.analysis.stats import Array


@dataclass(frozen=True)
class _Held:
    """A quantity of both sides, and what the difference between them rests on."""

    quantity: Quantity
    tolerance: float
    base: tuple[Figure, ...]
    candidate: tuple[Figure, ...]
    pair: Pair
    contrast: Contrast
    shift: tuple[float, float | None, float | None]
    """In the quantity's unit, with its interval."""

    @property
    def limit(self) -> float:
        return self.quantity.limit(self.tolerance)

    @property
    def best(self) -> Contrast:
        """The difference if whatever is not known of the requests speaks for the candidate."""
        return self._if_known(-1)

    @property
    def worst(self) -> Contrast:
        """The difference if it speaks against the candidate."""
        return self._if_known(1)

    def _if_known(self, side: Literal[-1, 1]) -> Contrast:
        return replace(
            self.contrast, shift=self.contrast.shift + side * slack(self.quantity, self.base, self.candidate, side)
        )

    @property
    def beyond(self) -> float:
        """p-value of "not worse than the tolerance"."""
        return self.best.above(self.limit)

    @property
    def within(self) -> float:
        """p-value of "at least as much worse as the tolerance"."""
        return _within(self.worst, self.limit)

    @property
    def changed(self) -> float:
        """p-value of "there is no difference"."""
        if self.best.shift * self.worst.shift <= 0:
            return 1.0 if self.best.shift != self.worst.shift else self.contrast.other_than_none
        return max(self.best.other_than_none, self.worst.other_than_none)


def compare(
    base: Sequence[Mapping[str, Figure]],
    candidate: Sequence[Mapping[str, Figure]],
    tolerances: Mapping[str, float],
    metrics: Sequence[str] = (),
    *,
    matches: int = 0,
) -> list[Change]:
    """Return what changed in every quantity that a run has, or in `metrics`, if given.

    Both sides have at least one run, together at least three; `tolerances` replace the quantities' own. With `matches`
    the runs are so many times two or more that belong together: the first (or first few) of one side to those of the
    other, and so on. A quantity that one of them lacks is compared as if they did not. A quantity that only one side
    has, too few runs, or none although it was asked for, is inconclusive.
    """
    names = chosen((*base, *candidate), metrics)
    held = {name: _hold(QUANTITIES[name], tolerances, base, candidate, matches) for name in names}
    whole = [one for one in held.values() if isinstance(one, _Held)]
    beyond = dict(zip((h.quantity.name for h in whole), holm([h.beyond for h in whole]), strict=True))
    changed = dict(zip((h.quantity.name for h in whole), holm([h.changed for h in whole]), strict=True))
    return [
        one if isinstance(one, Change) else _change(one, beyond[name], changed[name], len(whole))
        for name, one in held.items()
    ]


def chosen(runs: Sequence[Mapping[str, Figure]], metrics: Sequence[str]) -> list[str]:
    """Return the names of the quantities to look at, in their order: those asked for, whether a run has them or not, so
    that none passes unseen; else all that any of the runs has."""
    return [name for name in QUANTITIES if (name in metrics if metrics else any(name in run for run in runs))]


def linear(quantity: Quantity, figures: Sequence[Figure]) -> Array:
    """Return the values of runs on the scale where differences add up, larger ones being worse."""
    return quantity.sign * np.array([quantity.linear(f.value) for f in figures])


def slack(quantity: Quantity, base: Sequence[Figure], candidate: Sequence[Figure], side: Literal[-1, 1]) -> float:
    """Return how much worse (`side` 1) or better (-1) the difference of the means can be than the one observed, because
    nobody knows what became of some requests: each of them is taken as it suits the one side, then the other (Manski,
    *Partial Identification of Probability Distributions*, 2003, ch. 1). 0 where all are known."""
    up, down = (candidate, base) if side * quantity.sign > 0 else (base, candidate)
    return float(np.mean([f.above for f in up]) + np.mean([f.below for f in down]))


def _within(contrast: Contrast, limit: float) -> float:
    return replace(contrast, shift=-contrast.shift).above(-limit)


def binomial_floor(quantity: Quantity, *sides: Sequence[Figure]) -> float:
    """Return the variance that a difference of shares has at least: that of drawing so many requests.

    With two hits and two misses added (Agresti & Coull 1998), so that no failure in a hundred requests is not taken
    for proof that none can be. 0 for ratios.
    """
    if quantity.scale == "ratio":
        return 0.0
    variance = 0.0
    for side in sides:
        n = sum(f.n for f in side)
        share = (sum(f.value * f.n for f in side) + 2) / (n + 4)
        variance += share * (1 - share) / (n + 4)
    return variance


def _hold(
    quantity: Quantity,
    tolerances: Mapping[str, float],
    base: Sequence[Mapping[str, Figure]],
    candidate: Sequence[Mapping[str, Figure]],
    matches: int,
) -> _Held | Change:
    tolerance = tolerances.get(quantity.name, quantity.tolerance)
    one, other = (tuple(run[quantity.name] for run in side if quantity.name in run) for side in (base, candidate))
    if not one or not other or len(one) + len(other) < 3:
        return not_compared(quantity, tolerance, one, other, _lacking(one, other))
    if len(one) < len(base) or len(other) < len(candidate):
        matches = 0
    pair = _pair(linear(quantity, one), linear(quantity, other), matches)
    contrast = pair.contrast(binomial_floor(quantity, one, other))
    shift = _pair(_values(one), _values(other), matches).shift()
    return _Held(quantity, tolerance, one, other, pair, contrast, shift)


def _values(figures: Sequence[Figure]) -> Array:
    return np.array([figure.value for figure in figures])


def _pair(base: Array, candidate: Array, matches: int) -> Pair:
    return Matched.of(base, candidate, matches) if matches else Pair(base, candidate)


def _lacking(base: Sequence[Figure], candidate: Sequence[Figure]) -> str:
    if not base and not candidate:
        return "no run has it"
    missing = "base" if not base else "candidate"
    return "only one run of each side has it" if base and candidate else f"no {missing} run has it"


def not_compared(
    quantity: Quantity, tolerance: float, base: Sequence[Figure], candidate: Sequence[Figure], why: str
) -> Change:
    """Return what there is to say about a quantity that cannot be compared: the values there are, and why."""
    nothing = Estimate(value=None, low=None, high=None, n=len(base) + len(candidate))
    return Change(
        metric=quantity.name, unit=quantity.unit, scale=quantity.scale, better=quantity.better,
        base=tuple(f.value for f in base), candidate=tuple(f.value for f in candidate), ratio=nothing, shift=nothing,
        tolerance=tolerance, changed=None, p_changed=None, p_beyond=None, detectable=None, runs_needed=None,
        verdict=Verdict.INCONCLUSIVE, why=f"cannot be compared: {why}",
    )  # fmt: skip


def _change(held: _Held, beyond: float, changed: float, metrics: int) -> Change:
    quantity, contrast = held.quantity, held.contrast
    n = len(held.base) + len(held.candidate)
    low, high = held.best.interval()[0], held.worst.interval()[1]
    certain = changed <= 2 * LEVEL
    pair = held.pair
    needed = needed_for(quantity, held.tolerance, _spread(held), pair.freedom, metrics, matched=pair.matched)
    verdict, why = _judge(held, beyond, needed)
    return Change(
        metric=quantity.name,
        unit=quantity.unit,
        scale=quantity.scale,
        better=quantity.better,
        base=tuple(f.value for f in held.base),
        candidate=tuple(f.value for f in held.candidate),
        ratio=on_scale(quantity, contrast.shift, low, high, n),
        shift=Estimate(**dict(zip(("value", "low", "high"), held.shift, strict=True)), n=n),
        tolerance=held.tolerance,
        changed=None if not certain else "worse" if contrast.shift > 0 else "better",
        p_changed=changed,
        p_beyond=beyond,
        detectable=quantity.worsening(contrast.detectable),
        runs_needed=needed,
        verdict=verdict,
        why=why,
    )


def _spread(held: _Held) -> float:
    """Return how much runs differ, of shares at least as much as drawing so many requests makes them."""
    least = binomial_floor(held.quantity, held.base, held.candidate)
    return max(held.pair.spread, math.sqrt(least / (1 / len(held.base) + 1 / len(held.candidate))))


def on_scale(quantity: Quantity, shift: float, low: float, high: float, n: int) -> Estimate:
    """Return a worsening with its interval as candidate to base: a ratio, or a difference of shares."""
    ends = sorted((quantity.sign * low, quantity.sign * high))
    told = [math.exp(x) if quantity.scale == "ratio" else x for x in (quantity.sign * shift, *ends)]
    return Estimate(value=told[0], low=told[1], high=told[2], n=n)


def needed_for(
    quantity: Quantity, tolerance: float, spread: float, freedom: int, metrics: int, *, matched: bool
) -> int | None:
    """Return the runs of each side at which equal ones pass and ones worse by twice the tolerance fail."""
    limit = quantity.limit(tolerance)
    twice = quantity.limit(min(2 * tolerance, (1 + tolerance) / 2))  # a share that is lost cannot be lost twice
    return runs_needed(spread, freedom, (limit, twice - limit), metrics, matched=matched)


def _judge(held: _Held, beyond: float, needed: int | None) -> tuple[Verdict, str]:
    fewest = min(len(held.base), len(held.candidate))
    more = f"about {needed} runs of each side would tell" if needed else "no number of runs up to 100 would tell"
    if (
        held.contrast.above(held.limit) <= LEVEL < held.beyond
        or _within(held.contrast, held.limit) <= LEVEL < held.within
    ):
        more = "what became of the lost requests would tell"
    if beyond <= LEVEL:
        return Verdict.FAIL, "is worse than the tolerance allows"
    if held.beyond <= LEVEL:
        return (
            Verdict.INCONCLUSIVE,
            "is worse than the tolerance allows, but not certain among so many metrics: " + more,
        )
    if held.within > LEVEL:
        return Verdict.INCONCLUSIVE, f"may or may not be worse than the tolerance allows: {more}"
    if fewest < FEWEST_RUNS:
        return Verdict.INCONCLUSIVE, f"is within the tolerance, but {FEWEST_RUNS} runs of each side are needed to pass"
    return Verdict.PASS, "is within the tolerance"
