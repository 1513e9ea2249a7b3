"""Experiments: faults on a timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationInfo

from harness.model.base import Frozen
from harness.model.threshold import Thresholds
from harness.model.units import PlanSeconds

if TYPE_CHECKING:
    from collections.abc import Iterator


class FaultSpec(Frozen):
    """What every fault has; each kind adds its own settings in `harness.faults`.

    `at` counts from the end of the warm-up. The k-th repeat begins at ``at + k * every``.
    """

    # A recording is read without the fault catalogue; what is special about a kind is kept as it stands.
    model_config = ConfigDict(extra="allow")

    kind: str
    upstream: str
    at: PlanSeconds
    for_s: PlanSeconds = Field(alias="for", gt=0)
    repeat: int = Field(default=1, ge=1)
    every: PlanSeconds | None = None

    def occurrences(self) -> Iterator[tuple[float, float]]:
        """Yield (begin, end) of each repeat, in seconds after the warm-up."""
        for k in range(self.repeat):
            begin = self.at + k * (self.every or 0.0)
            yield begin, begin + self.for_s


def _with_kind(value: object, info: ValidationInfo) -> object:
    kinds: dict[str, type[FaultSpec]] = (info.context or {}).get("fault_kinds", {})
    if not isinstance(value, dict) or not kinds:
        return value
    kind = value.get("kind")
    if kind not in kinds:
        raise ValueError(f"{kind!r} is no fault kind; known: {', '.join(sorted(kinds))}")
    return kinds[str(kind)].model_validate(value)


Fault = Annotated[SerializeAsAny[FaultSpec], BeforeValidator(_with_kind)]


class Experiment(Frozen):
    """One file of ``chaos/``."""

    experiment: str
    about: str = ""
    faults: tuple[Fault, ...] = Field(min_length=1)
    abort: tuple[str, ...] = ()
    """Thresholds that, once crossed for their window, stop load and heal: ``request_failed: rate>0.5 over 30s``."""
    thresholds: Thresholds = {}
