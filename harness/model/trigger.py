"""What a fault may wait for instead of the clock, so that one experiment works at every scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from harness.model.base import Frozen, Name
from harness.model.threshold import Threshold, parse_live
from harness.model.units import PlanSeconds


def _share(value: object) -> object:
    """Return a share for ``80%`` or ``0.8``."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            pass
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"{value!r} is no share of the load; write a percentage, as in 80%")


class AtLoad(Frozen):
    """When so much of the load's peak (users, or requests per second) is reached, after the warm-up at the earliest."""

    load: Annotated[float, BeforeValidator(_share), Field(gt=0, le=1)]

    def __str__(self) -> str:
        return f"at {self.load * 100:.4g} % of the peak load"


class Recovered(Frozen):
    """When service is good again after a fault of this name was cleared for the last time, and `delay` longer."""

    recovered: Name
    delay: PlanSeconds = Field(default=0.0, ge=0)

    def __str__(self) -> str:
        return (f"{self.delay:g} s " if self.delay else "") + f"after {self.recovered} has recovered"


def _one_condition(value: dict[str, str]) -> dict[str, str]:
    if len(value) != 1:
        raise ValueError("one condition is expected, as in {cache_hit: rate>0.3 over 10s}")
    ((name, check),) = value.items()
    parse_live(name, check)
    return value


WhenMet = Annotated[dict[str, str], AfterValidator(_one_condition)]
"""A condition as it stands in a file: ``{cache_hit: rate>0.3 over 10s}``."""


@dataclass(frozen=True)
class When:
    """When a condition is certain to be met by the requests of its window."""

    condition: dict[str, str]

    @property
    def threshold(self) -> Threshold:
        """The condition."""
        ((name, check),) = self.condition.items()
        return parse_live(name, check)

    def __str__(self) -> str:
        return f"when {self.threshold.text}"


def _which(value: Any) -> str:
    return "<load>" if isinstance(value, (dict, AtLoad)) else "<clock>"


Moment = Annotated[Annotated[PlanSeconds, Tag("<clock>")] | Annotated[AtLoad, Tag("<load>")], Discriminator(_which)]
"""A time after the warm-up, or ``{load: 80%}``."""

Trigger = AtLoad | Recovered | When
