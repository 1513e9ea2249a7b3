"""When requests are due and users start: pure functions of a load profile and a random stream, no clock.

Times are nanoseconds from the start of the load (numpy int64, ascending). With several workers, worker i of n takes
every n-th: ``share(times, i, n)``; together they are exactly the schedule of one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

Times = NDArray[np.int64]

# rate * seconds is a float product: 1000/min over 60 s must be 1000, not 1001.
_SLACK = 1e-6


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


def starts(users: int, spawn: float, random: np.random.Generator) -> Times:
    """Return the start of each of `users` users, `spawn` per second: one at a random moment of each 1/spawn slot.

    Evenly spread, but not on a grid: users that start on one and pace themselves fire in lockstep for ever, and the
    queue they make is the generator's, not the system's. A ramp from 0 to n users in T seconds is ``spawn = n / T``.
    """
    return ((np.arange(users) + random.random(users)) * (NS_PER_S / spawn)).astype(np.int64)


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
