"""When requests are due and users start: pure functions of a load profile and a random stream, no clock.

Times are nanoseconds from the start of the load (numpy int64, ascending). With several workers, worker i of n takes
every n-th: ``share(times, i, n)``; together they are exactly the schedule of one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness import seeds
from harness.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Times = NDArray[np.int64]

# rate * seconds is a float product: 1000/min over 60 s must be 1000, not 1001.
_SLACK = 1e-6
_GOLDEN = (math.sqrt(5) - 1) / 2
FIRST_OF_LEVEL = 2**32
"""Arrivals of level n of a search are numbered from n times this: none shares its random stream with another."""


class Level(NamedTuple):
    """A number of users or a rate per second, reached within `ramp_s` seconds and held for `hold_s`."""

    level: float
    ramp_s: float
    hold_s: float


def levels(steps: Iterable[tuple[float, float, float]], warmup: float) -> list[Level]:
    """Return the levels of a `steps` load, given (level, ramp, hold) of each step: the warm-up lengthens the first."""
    first, *others = [Level(*step) for step in steps]
    return [first._replace(hold_s=first.hold_s + warmup), *others]


def constant(rate: float, seconds: float) -> Times:
    """Return arrivals at ``i / rate``: exactly ``rate * seconds`` of them, and as many in every whole period.

    `rate` is per second. Each time is rounded by itself, so that errors never add up: at 1000/min arrival 1000 is
    due at 60 s to the nanosecond, and every minute has exactly 1000.
    """
    count = math.ceil(rate * seconds - _SLACK)
    times: Times = np.rint(np.arange(count) * (NS_PER_S / rate)).astype(np.int64)
    return times


def poisson(rate: float, seconds: float, random: np.random.Generator) -> Times:
    """Return the arrivals of a Poisson process of `rate` per second within `seconds` (exponential gaps)."""
    end, last, parts = seconds * NS_PER_S, 0.0, [np.empty(0)]
    chunk = max(16, math.ceil(rate * seconds * 1.1))
    while last < end:
        part = last + np.cumsum(random.exponential(NS_PER_S / rate, chunk))
        parts.append(part)
        last = float(part[-1])
    times = np.concatenate(parts)
    return times[times < end].astype(np.int64)


def level(arrivals: str, rate: float, seconds: float, seed: int, number: int) -> Times:
    """Return the arrivals of level `number` of a search, from its own beginning; none at a rate of 0.

    `arrivals` is ``constant``, or ``poisson`` in a random stream of the level's own: the same whatever came before.
    """
    if not rate:
        return np.empty(0, np.int64)
    if arrivals == "constant":
        return constant(rate, seconds)
    return poisson(rate, seconds, seeds.generator(seed, f"arrivals/{number}"))


def starts(users: int, spawn: float, random: np.random.Generator) -> Times:
    """Return the start of each of `users` users, `spawn` per second: one at a random moment of each 1/spawn slot.

    Evenly spread, but not on a grid: users that start on one and pace themselves fire in lockstep for ever, and the
    queue they make is the generator's, not the system's. A ramp from 0 to n users in T seconds is ``spawn = n / T``.
    """
    return ((np.arange(users) + random.random(users)) * (NS_PER_S / spawn)).astype(np.int64)


def ramps(levels: Sequence[Level], random: np.random.Generator | None = None) -> Times:
    """Return the arrivals of rates that change: in each level's ``ramp_s`` linearly from the level before (0 at the
    start) to its `level` per second, which is then held for ``hold_s``.

    The n-th arrival is due where the integral of the rate reaches n; with `random`, where it reaches the n-th arrival
    of a Poisson process of rate 1 (time rescaling), which makes it one of the changing rate. Levels (and ramps) that
    hold whole numbers of arrivals begin on one, to the nanosecond.
    """
    parts, total, begin, before = [np.empty(0)], 0.0, 0.0, 0.0
    segments = []
    for level in levels:
        for seconds, rate_0, rate_1 in ((level.ramp_s, before, level.level), (level.hold_s, level.level, level.level)):
            count = seconds * (rate_0 + rate_1) / 2
            segments.append((begin, seconds, rate_0, rate_1, total, count))
            begin, total = begin + seconds, total + count
        before = level.level
    if random is None:
        marks = np.arange(math.ceil(total - _SLACK), dtype=float)
    else:
        marks = poisson(1.0, total, random) / NS_PER_S
    for start, seconds, rate_0, rate_1, first, count in segments:
        if not count:
            continue
        low, high = np.searchsorted(marks, [first - _SLACK, first + count - _SLACK])
        share = np.clip(marks[low:high] - first, 0, count)
        slope = (rate_1 - rate_0) / seconds
        # The root of rate_0 t + slope t^2 / 2 = share, in the form that does not cancel.
        below = rate_0 + np.sqrt(np.maximum(rate_0**2 + 2 * slope * share, 0))
        parts.append(start + np.divide(2 * share, below, out=np.zeros_like(share), where=share > 0))
    times: Times = np.rint(np.concatenate(parts) * NS_PER_S).astype(np.int64)
    return times


def lives(levels: Sequence[Level], random: np.random.Generator) -> tuple[Times, Times, NDArray[np.int64]]:
    """Return (start, stop, place) of every user of changing numbers, in the order they start; stop is -1 for one that
    stays to the end. ns from the start of the load.

    A change is spread over the level's ``ramp_s`` as `starts` spreads it. Places are numbered from 0 and the highest
    are left first, so that those taken are always the first so many: class and phase go with the place, and the mix of
    both is kept at every level. A place that is taken again has a new user.
    """
    start: list[int] = []
    stop: list[int] = []
    places: list[int] = []
    here: list[int] = []  # who is at place 0, 1, ...
    begin = 0.0
    for level in levels:
        change = int(level.level) - len(here)
        spread = (np.arange(abs(change)) + random.random(abs(change))) * (level.ramp_s / max(1, abs(change)))
        for t_ns in ((begin + spread) * NS_PER_S).astype(np.int64).tolist():
            if change > 0:
                places.append(len(here))
                here.append(len(start))
                start.append(t_ns)
                stop.append(-1)
            else:
                stop[here.pop()] = t_ns
        begin += level.ramp_s + level.hold_s
    return np.array(start, np.int64), np.array(stop, np.int64), np.array(places, np.int64)


def phases(classes: Sequence[int], shifts: Sequence[float]) -> list[float]:
    """Return where in its period each user belongs, in [0, 1), given its class and a random shift for each class.

    The n-th user of a class is at ``n / golden ratio`` (mod 1): of all sequences the one whose every beginning is
    spread most evenly (Kronecker; Knuth, TAOCP 6.4), so users that pace themselves never fire together, however many
    there are and whoever has stopped.
    """
    seen = [0] * len(shifts)
    found = []
    for kind in classes:
        found.append((shifts[kind] + seen[kind] * _GOLDEN) % 1.0)
        seen[kind] += 1
    return found


def kinds(count: int, weights: Sequence[float], random: np.random.Generator) -> NDArray[np.int16]:
    """Return the class (an index into `weights`) of each of `count` arrivals, drawn independently by weight.

    They depend on their number alone: a worker that makes every n-th arrival finds the classes that one would.
    """
    edges = np.cumsum(weights) / np.sum(weights)
    drawn: NDArray[np.int16] = np.searchsorted(edges[:-1], random.random(count), side="right").astype(np.int16)
    return drawn


def share(times: Times, worker: int, workers: int) -> Times:
    """Return the part of a schedule that falls to worker number `worker` (from 0) of `workers`."""
    return times[worker::workers]


def deal(count: int, weights: Sequence[float], fixed: Sequence[int] = ()) -> list[int]:
    """Return the class (an index into `weights`) of each of `count` users: by weight, evenly interleaved.

    The first users fill the `fixed` counts, if any; classes with one take no part in the weights. Of any first m
    of the others, class k has within one of ``m * weights[k] / sum(weights)`` (smooth weighted round-robin).
    """
    left = list(fixed) if fixed else [0] * len(weights)
    free = [0.0 if n else w for n, w in zip(left, weights, strict=True)]
    order = [k for k, n in enumerate(left) for _ in range(n)][:count]
    total, credit = sum(free), [0.0] * len(weights)
    while len(order) < count and total > 0:
        credit = [c + w for c, w in zip(credit, free, strict=True)]
        best = max(range(len(credit)), key=credit.__getitem__)
        credit[best] -= total
        order.append(best)
    return order
