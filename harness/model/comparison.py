"""A comparison: what two sets of runs say about each other. ``agentstorm compare --json``, schema 1.

Times are milliseconds unless the unit says otherwise; shares lie between 0 and 1.
"""

from __future__ import annotations

from typing import Literal

from harness.model.base import Frozen
from harness.model.findings import Estimate
from harness.model.verdict import Verdict

Scale = Literal["ratio", "points"]
"""`ratio`: candidate / base. `points`: candidate - base, of shares, which may be 0."""


class RunRef(Frozen):
    """A run that was compared."""

    recording: str
    run_id: int
    target: str
    engine: str
    seed: int
    valid: bool


class LeftOut(Frozen):
    """A run that was given and not compared."""

    recording: str
    reason: str


class Change(Frozen):
    """One figure of the runs, base against candidate."""

    metric: str
    unit: str
    scale: Scale
    better: Literal["low", "high"]
    base: tuple[float, ...]
    candidate: tuple[float, ...]
    """One value a run, in the order of the comparison's; runs without the figure are not in it."""
    ratio: Estimate
    """Candidate to base on the metric's scale, with its 95 % interval; `n` counts the runs of both (or, within one run
    each, the requests)."""
    shift: Estimate
    """Hodges-Lehmann: the median difference of a candidate run to a base run (of matched runs, the median mean of two
    differences), in `unit`, with its exact interval (null where so few runs have none)."""
    tolerance: float
    """How much worse, on the metric's scale, still passes."""
    changed: Literal["worse", "better"] | None
    """What is certain about the direction, whatever the tolerance (after Holm's correction)."""
    p_changed: float | None
    p_beyond: float | None
    """Of no change, and of no change beyond the tolerance; both after Holm's correction. Null within one run each."""
    agree: Literal["agree", "differ", "unclear"] | None = None
    """Of one run against one: whether the two figures agree within their intervals or the tolerance."""
    detectable: float | None
    """The smallest worsening, on the metric's scale, that so many runs find nine times in ten."""
    runs_needed: int | None
    """Runs of each side after which an equal candidate passes and one worse by twice the tolerance fails, nine times in
    ten; null where no number up to the most that is looked at does."""
    verdict: Verdict
    why: str


class Floor(Frozen):
    """What a metric does between runs of the same system."""

    metric: str
    unit: str
    scale: Scale
    values: tuple[float, ...]
    splits: int
    """Ways in which the runs were divided into two halves."""
    floor: float | None
    """Differences of equal halves lie below this in 95 % of them, on the metric's scale. Null: the metric was asked
    for, and not all of the runs have it."""
    tolerance: float
    runs_needed: int | None
    verdict: Verdict
    """`fail`: the tolerance is tighter than the noise; `inconclusive`: nobody knows the noise."""
    why: str


class Comparison(Frozen):
    """Base against candidate. Its verdict is `fail` if one metric fails, `pass` only if all pass."""

    schema_version: Literal[1] = 1
    kind: Literal["runs", "within-run"]
    """`within-run`: one run against one. It knows nothing of what differs from run to run and never passes."""
    matched: bool = False
    """Each base run was held against the candidate run with the same seed, and so the same questions; both sides are in
    the order of their seeds then, otherwise as given."""
    plan: str
    base: tuple[RunRef, ...]
    candidate: tuple[RunRef, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    """What differs between the runs besides what is compared."""
    warnings: tuple[str, ...]
    """What speaks against comparing them at all; with any, nothing passes."""
    changes: tuple[Change, ...]
    verdict: Verdict
    exit_code: int
    why: str


class NoiseFloor(Frozen):
    """The runs of one system against each other (A/A)."""

    schema_version: Literal[1] = 1
    kind: Literal["aa"] = "aa"
    matched: bool = False
    """Every seed was run twice, and one of these two is in either half."""
    plan: str
    base: tuple[RunRef, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    floors: tuple[Floor, ...]
    verdict: Verdict
    exit_code: int
    why: str
