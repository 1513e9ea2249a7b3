"""Load profiles: how much traffic, by kind. Times count from the start of the load; `warmup` comes first
and is recorded but not judged.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.model.base import Frozen
from harness.model.units import PerSecond, PlanPerSecond, PlanSeconds, Seconds


class _Profile(Frozen):
    hold: PlanSeconds = Field(gt=0)
    """Measured seconds, after the warm-up (for `spike`: after the ramp, which is measured too)."""
    warmup: PlanSeconds = 0.0
    drain: Seconds = 35.0
    """How long requests in flight at the end may take before they are written as `lost`, seconds."""

    @property
    def measured_s(self) -> float:
        """Seconds from the end of the warm-up to the end of the load."""
        return self.hold

    @property
    def total_s(self) -> float:
        """Seconds from the first to the last moment new requests are made."""
        return self.warmup + self.measured_s


class UsersLoad(_Profile):
    """Closed loop: `users` virtual users, each waiting its own think time between requests."""

    kind: Literal["users"]
    users: int = Field(gt=0)
    spawn: PlanPerSecond = Field(default=10.0, gt=0)
    """Users started per second, evenly spread."""


class RateLoad(_Profile):
    """Open loop: one arrival per due time, whatever the answers do."""

    kind: Literal["rate"]
    rate: PerSecond = Field(gt=0)
    arrivals: Literal["constant", "poisson"] = "constant"
    max_in_flight: int = Field(default=5000, gt=0)
    """Arrivals that find this many requests in flight are written as `dropped`, never silently skipped."""


class SpikeLoad(_Profile):
    """Closed loop: from 0 to `users` in `ramp`, then held. The ramp is what is measured."""

    kind: Literal["spike"]
    users: int = Field(gt=0)
    ramp: PlanSeconds = Field(gt=0)

    @property
    def measured_s(self) -> float:
        """Seconds of ramp and hold."""
        return self.ramp + self.hold


Load = Annotated[UsersLoad | RateLoad | SpikeLoad, Field(discriminator="kind")]
