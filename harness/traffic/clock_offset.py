"""How far another host's clock is from ours, from exchanges of messages: pure, no clock.

NTP's method (RFC 5905, sections 8 and 10): an exchange has four times, and its offset cannot be wrong by more than half
the time it was under way, because both legs take some. So the fastest exchange tells most. An old one tells less with
every second, as clocks drift apart.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

DRIFT = 30e-6
"""How fast two clocks may drift apart: 15 ppm each, RFC 5905's frequency tolerance PHI."""
_KEPT = 64


class Exchange(NamedTuple):
    """A question and its answer. ns; `sent` and `back` by our clock, `received` and `answered` by the other one."""

    sent: int
    received: int
    answered: int
    back: int

    @property
    def under_way(self) -> int:
        """How long the two messages took together."""
        return (self.back - self.sent) - (self.answered - self.received)

    @property
    def offset(self) -> int:
        """What must be added to our clock to get the other's, if both messages took equally long."""
        return ((self.received - self.sent) + (self.answered - self.back)) // 2


class Estimate(NamedTuple):
    """The other clock is ours plus `offset_ns`, give or take `uncertainty_ns`."""

    offset_ns: int
    uncertainty_ns: int


class ClockOffset:
    """The last exchanges, and what the best of them says."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=_KEPT)

    def __len__(self) -> int:
        return len(self._exchanges)

    def add(self, exchange: Exchange) -> None:
        """Take an exchange in."""
        self._exchanges.append(exchange)

    def estimate(self, now_ns: int) -> Estimate:
        """Return what is known at `now_ns` of our clock. ValueError before the first exchange."""
        bounds = [(x.under_way / 2 + DRIFT * max(0, now_ns - x.back), x.offset) for x in self._exchanges]
        uncertainty, offset = min(bounds)
        return Estimate(offset, round(uncertainty) + 1)
