"""Looking back over runs: ``agentstorm history --json``, schema 1."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal

from harness.model.base import Frozen
from harness.model.comparison import Scale


def series_of(question: str, target: str, engine: str, settings: dict[str, str] | None) -> tuple[str, ...]:
    """Return what must be the same for runs to be held against each other over time."""
    return question, target, engine, json.dumps(settings, sort_keys=True)


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
    settings: dict[str, str] | None = None
    """What the system was set to (`harness.settings`); null where nobody knows (the recording is gone)."""
    asked: dict[str, str] | None = None
    """What was asked of it (`runs.asked`), likewise."""

    @property
    def series(self) -> tuple[str, ...]:
        """Of which series it is."""
        return series_of(self.question, self.target, self.engine, self.settings)


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
    """The runs of one scenario on one target with the same settings, oldest first."""

    scenario: str
    experiments: str
    target: str
    engine: str
    scale: float
    settings: dict[str, str] | None = None
    apart: tuple[str, ...] = ()
    """What tells it from others of the same names: ``load.rate=50/s``, ``NAME=value``, ``NAME unset``."""
    nights: tuple[Night, ...]
    moved: tuple[Moved, ...]


class History(Frozen):
    """Everything the store knows."""

    schema_version: Literal[1] = 1
    series: tuple[Series, ...]
