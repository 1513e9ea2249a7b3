"""Verdicts: what the findings mean for a plan's thresholds. `verdicts.json`."""

from __future__ import annotations

from enum import StrEnum

from harness.model.base import Frozen


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
    """Where it comes from: ``scenario`` or the experiment's name."""
    observed: float | None
    low: float | None
    high: float | None
    n: int
    limit: float
    unit: str
    verdict: Verdict
    why: str


class Verdicts(Frozen):
    """The run's verdict: fail outranks inconclusive outranks pass; an invalid run is `invalid`."""

    verdict: Verdict
    exit_code: int
    checks: tuple[Check, ...]
    why: str
    """One sentence a release manager can repeat."""
