"""Capacity from several recordings: their states and replicas taken together, and what a forecast needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis import analyse
from harness.analysis.capacity_plan import forecast, with_headroom
from harness.errors import AgentstormError
from harness.model.capacity import CapacityAnswer
from harness.paths import shown
from harness.recording.reader import Recording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.model.capacity import CapacityFindings, Forecast


def answer(
    directories: Sequence[Path], *, rate: float | None, users: float | None, think_s: float | None, headroom: float
) -> CapacityAnswer:
    """Return what the recordings show; AgentstormError says which of them has no levels, or what is missing to tell.

    `rate` (1/s) or `users` is the forecast, if there is one; `think_s` replaces the recordings' think time.
    """
    runs: list[CapacityFindings] = []
    invalid = []
    for directory in directories:
        findings, _ = analyse(Recording.open(directory))
        if findings.capacity is None:
            raise AgentstormError(
                f"{directory}: its load has no levels to find a capacity from; run a scenario whose load is of kind "
                "'capacity' or 'steps'"
            )
        runs.append(with_headroom(findings.capacity, headroom, think_s))
        invalid += [f"{shown(directory)}: {reason}" for reason in findings.validity.reasons[:1]]
    if users is not None and all(run.think_s is None and run.open_loop for run in runs):
        raise AgentstormError(
            "--users: nobody knows how long a user waits between requests, so users cannot be turned into requests; "
            "say it with --think, as in --think 30s (or load.think in the scenario), or give --rate"
        )
    found: list[Forecast] = []
    if rate is not None or users is not None:
        states = dict.fromkeys(state.state for run in runs for state in run.states)
        found = [one for state in states if (one := forecast(runs, state, rate=rate, users=users))]
    untold = {state.state for run in runs for state in run.states} - {one.state for one in found}
    worst = max(found, key=lambda one: (one.replicas is None, one.replicas or 0), default=None)
    return CapacityAnswer(
        headroom=headroom,
        runs=tuple(runs),
        invalid=tuple(invalid),
        forecasts=tuple(found),
        # A state that nobody knows the capacity of may need more than any other.
        replicas=None if worst is None or untold else worst.replicas,
        governs=None if worst is None or untold else worst.state,
    )
