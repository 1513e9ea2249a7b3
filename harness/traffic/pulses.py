"""What makes a pulse, and the last pulses of all workers of a load, summed up for who watches it."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from harness.clock import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from harness.traffic.base import Pulse


def p99_ms(values: list[int]) -> float:
    """Return the 99th percentile (nearest rank) of ns as ms; 0 of nothing."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1] / NS_PER_MS if values else 0.0


class Pulses:
    """The last pulses of each worker, and what they come to."""

    def __init__(self, keep: int) -> None:
        self._pulses: defaultdict[str, deque[Pulse]] = defaultdict(lambda: deque(maxlen=keep))

    def add(self, pulse: Pulse) -> None:
        """Take a pulse in."""
        self._pulses[pulse.worker].append(pulse)

    @property
    def users(self) -> int:
        """Users of all workers."""
        return sum(pulses[-1].users for pulses in self._pulses.values())

    @property
    def in_flight(self) -> int:
        """Requests in flight of all workers."""
        return sum(pulses[-1].in_flight for pulses in list(self._pulses.values()))

    @property
    def dropped(self) -> int:
        """Requests that all workers had to drop so far."""
        return sum(pulses[-1].dropped for pulses in self._pulses.values())

    @property
    def complete_ns(self) -> int:
        """Moment up to which every worker has told of all its requests that were over; 0 before the first word."""
        return min((pulses[-1].t_ns for pulses in self._pulses.values()), default=0)

    @property
    def troubles(self) -> list[str]:
        """Why workers cannot write their rows just now."""
        return [pulses[-1].trouble for pulses in self._pulses.values()]

    @property
    def rate_per_s(self) -> float:
        """Requests sent per second over the last pulses; rows come later, when their answers are in."""
        return sum(
            (last.sent - first.sent) * NS_PER_S / (last.t_ns - first.t_ns)
            for first, last in ((pulses[0], pulses[-1]) for pulses in self._pulses.values())
            if last.t_ns > first.t_ns
        )
