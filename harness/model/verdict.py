"""Verdicts: what the findings mean for a plan's thresholds. `verdicts.json`."""

from __future__ import annotations

from enum import StrEnum

from harness.model.base import Frozen

STEADY_STATE = ", steady state"
"""What stands after the experiment's name in the scope of a check of its steady state."""


class Verdict(StrEnum):
    """Three values for a check; a whole run can also be `invalid`."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


class Check(Frozen):
    """One threshold held against the recording. `observed`, `low`, `high`, `limit` are in `unit`."""

    threshold: str
    scope: str
    """Where it comes from: ``scenario``, the experiment's name, or that and ``, steady state``."""
    observed: float | None
    low: float | None
    high: float | None
    n: int
    limit: float
    unit: str
    verdict: Verdict
    why: str
    at_least: bool = False
    """Of outages: what was observed had not come to its end, so `observed` is what it lasted at least."""

    @property
    def of_steady_state(self) -> bool:
        """Whether it is about the last seconds of a run, which a longer one has no more of."""
        return self.scope.endswith(STEADY_STATE)


class Verdicts(Frozen):
    """The run's verdict: fail outranks inconclusive outranks pass; an invalid run is `invalid`."""

    verdict: Verdict
    exit_code: int
    checks: tuple[Check, ...]
    why: str
    """One sentence a release manager can repeat."""
