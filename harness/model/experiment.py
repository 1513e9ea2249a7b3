"""Experiments: faults on a timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, ConfigDict, Field, SerializeAsAny

from harness.model.base import Frozen, Name
from harness.model.threshold import Thresholds, parse_abort
from harness.model.units import PlanSeconds

if TYPE_CHECKING:
    from collections.abc import Iterator


class FaultSpec(Frozen):
    """What every fault has; each kind adds its own settings in `harness.faults`, which planfile validates with: what
    it is on, too, which is an `upstream` or a `service`.

    `at` counts from the end of the warm-up. The k-th repeat begins at ``at + k * every``.
    """

    # A recording is read without the fault catalogue; what is special about a kind is kept as it stands.
    model_config = ConfigDict(extra="allow")

    kind: str
    at: PlanSeconds
    for_s: PlanSeconds = Field(alias="for", gt=0)
    repeat: int = Field(default=1, ge=1)
    every: PlanSeconds | None = None

    @property
    def on(self) -> str:
        """Name of the upstream or the service that it is on."""
        return str(getattr(self, "upstream", None) or getattr(self, "service", ""))

    @property
    def needs_http(self) -> bool:
        """Whether the HTTP fault proxy must stand before what it is on."""
        return False

    def occurrences(self) -> Iterator[tuple[float, float]]:
        """Yield (begin, end) of each repeat, in seconds after the warm-up."""
        for k in range(self.repeat):
            begin = self.at + k * (self.every or 0.0)
            yield begin, begin + self.for_s


def _abort_conditions(conditions: tuple[str, ...]) -> tuple[str, ...]:
    for condition in conditions:
        parse_abort(condition)
    return conditions


class Experiment(Frozen):
    """One file of ``chaos/``."""

    experiment: Name
    about: str = ""
    faults: tuple[SerializeAsAny[FaultSpec], ...] = Field(min_length=1)
    abort: Annotated[tuple[str, ...], AfterValidator(_abort_conditions)] = ()
    """Thresholds that, once crossed for their window, stop load and heal: ``request_failed: rate>0.5 over 30s``."""
    thresholds: Thresholds = {}
