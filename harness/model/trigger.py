"""What a fault may wait for instead of the clock, so that one experiment works at every scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from harness.model.base import Frozen, Name
from harness.model.threshold import Threshold, parse_live
from harness.model.units import PlanSeconds, parse_share


class AtLoad(Frozen):
    """When so much of the load's peak (users, or requests per second) is reached, after the warm-up at the earliest."""

    load: Annotated[float, BeforeValidator(parse_share), Field(gt=0, le=1)]

    def __str__(self) -> str:
        return f"at {self.load * 100:.4g} % of the peak load"


class Recovered(Frozen):
    """When service is good again after a fault of this name was cleared for the last time, and `delay` longer."""

    recovered: Name
    delay: PlanSeconds = Field(default=0.0, ge=0)

    def __str__(self) -> str:
        return (f"{self.delay:g} s " if self.delay else "") + f"after {self.recovered} has recovered"


class InTurn(Frozen):
    """When service is good again after the fault of this id, and who was broken by it serves again; for the first of
    those that are spaced by recovery (`after` empty), at its time."""

    after: str = ""
    at_s: float = 0.0

    def __str__(self) -> str:
        return f"after {self.after} has recovered" if self.after else f"at {self.at_s:g} s"


class During(Frozen):
    """While a `capacity` load searches in the state of this name: from before its first level to after its last."""

    state: Name

    def __str__(self) -> str:
        return f"when state {self.state} begins"


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

Trigger = AtLoad | Recovered | When | During | InTurn
