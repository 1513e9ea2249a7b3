"""Looking back over runs: ``agentstorm history --json``, schema 1."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from harness.model.base import Frozen
from harness.model.comparison import Scale


class Night(Frozen):
    """One run, as the store has it. `started` is UTC; `figures` are those of a comparison, one value each."""

    recording: str
    started: datetime
    scenario: str
    experiments: str
    target: str
    engine: str
    scale: float
    question: str
    """A hash of what was asked of the system: runs of one series have the same."""
    verdict: str
    valid: bool
    requests: int
    figures: dict[str, float]

    @property
    def series(self) -> tuple[str, ...]:
        """What must be the same for runs to be held against each other over time."""
        return self.question, self.target, self.engine


class Moved(Frozen):
    """A figure that is different from one run on."""

    metric: str
    unit: str
    scale: Scale
    since: str
    """The first recording after the change, and when it started."""
    started: datetime
    last_before: str
    before: float
    after: float
    """Means of the stretches next to the change, in `unit`."""
    p: float
    worse: bool


class Series(Frozen):
    """The runs of one scenario on one target, oldest first."""

    scenario: str
    experiments: str
    target: str
    engine: str
    scale: float
    nights: tuple[Night, ...]
    moved: tuple[Moved, ...]


class History(Frozen):
    """Everything the store knows."""

    schema_version: Literal[1] = 1
    series: tuple[Series, ...]
