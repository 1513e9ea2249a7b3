"""Experiments: faults on a timeline, or at a trigger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, SerializeAsAny, model_validator

from harness.model.base import Frozen, Name, located
from harness.model.threshold import SteadyState, Thresholds, parse_abort
from harness.model.trigger import AtLoad, During, Moment, Recovered, Trigger, When, WhenMet
from harness.model.units import PlanSeconds

if TYPE_CHECKING:
    from collections.abc import Iterator


def names_of(fault_id: str, kind: str) -> tuple[str, str, str]:
    """Return all that a threshold's tag `fault` may call an occurrence: its id, its kind, what the fault is called."""
    return fault_id, kind, fault_id.rpartition("-")[0]


class FaultSpec(Frozen):
    """What every fault has; each kind adds its own settings in `harness.faults`, which planfile validates with: what
    it is on, too, which is an `upstream` or a `service`.

    `at` counts from the end of the warm-up. The k-th repeat begins at ``at + k * every``. Instead of a time it may have
    a trigger (`model.trigger`): then 0 is when that fires.
    """

    # A recording is read without the fault catalogue; what is special about a kind is kept as it stands.
    model_config = ConfigDict(extra="allow")

    kind: str
    name: Name | None = None
    """What others call it; its occurrences are ``name-1``, ``name-2`` ..."""
    at: Moment | None = None
    after: Recovered | None = None
    when: WhenMet | None = None
    during: During | None = None
    """Of a `capacity` load: while it searches in a state. `for` can be left out; the plan has the load's length."""
    for_s: PlanSeconds = Field(alias="for", gt=0, default=0.0)
    repeat: int = Field(default=1, ge=1)
    every: PlanSeconds | None = None
    spaced_by: Literal["clock", "recovery"] = "clock"
    """`recovery`: instead of `every` so many seconds, the next repeat begins once service is good again for the SLO's
    window and whoever was broken serves again. Such faults on one upstream or service take turns; `at` is when the
    first may begin."""

    @property
    def on(self) -> str:
        """Name of the upstream or the service that it is on."""
        return str(getattr(self, "upstream", None) or getattr(self, "service", ""))

    @property
    def needs_http(self) -> bool:
        """Whether the HTTP fault proxy must stand before what it is on."""
        return False

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        given = [key for key in ("at", "after", "when", "during") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            what = "a fault begins 'at', 'after' or 'when', or is on 'during' a state: one of these; found"
            raise located((given or ["at"])[-1], f"{what} {found}")
        if not self.for_s and self.during is None:
            raise located("for", "key 'for' is missing: how long it is on, as in for: 30s")
        if self.during is not None and (self.repeat > 1 or self.every is not None):
            raise located("repeat", "a fault that is on 'during' a state is on once, from its beginning to its end")
        return self

    @model_validator(mode="after")
    def _one_spacing(self) -> Self:
        if self.spaced_by == "recovery" and self.every is not None:
            raise located("every", "a fault that is spaced by recovery has no 'every': leave one of the two out")
        if self.spaced_by == "recovery" and not isinstance(self.at, float):
            raise located("at", "a fault that is spaced by recovery begins 'at' a time: its turn is its trigger")
        return self

    @property
    def trigger(self) -> Trigger | None:
        """What it waits for; None when it begins by the clock."""
        if isinstance(self.at, AtLoad):
            return self.at
        return self.after or (When(self.when) if self.when else None) or self.during

    @property
    def called(self) -> str:
        """What it is called by: its name, or ``kind-upstream``."""
        return self.name or f"{self.kind}-{self.on}"

    def occurrences(self) -> Iterator[tuple[float, float]]:
        """Yield (begin, end) of each repeat, in seconds after the warm-up or after its trigger."""
        first = self.at if isinstance(self.at, float) and self.spaced_by == "clock" else 0.0
        for k in range(self.repeat):
            begin = first + k * (self.every or 0.0)
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
    standby: bool = False
    """What is broken is a spare that nobody need call while all is well; else a run in which nobody does is invalid."""
    steady_state: SteadyState | None = None
    """What holds of a system that is well: checked before the first fault and after the last. Left out: what the
    scenario's SLO says. Empty: nothing is checked."""
    thresholds: Thresholds = {}
