"""The gate: runs of two system versions in turns (A B B A), so that what drifts on the host drifts for both alike.

Each pair of runs has a seed of its own: the same questions at the same times for both sides, others in the next pair.
Where stored runs are the baseline, theirs are taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.analysis.safety import sick_before
from harness.assess import assess
from harness.conduct import conduct
from harness.errors import AgentstormError, ExitCode, GateStopped, NotComparable
from harness.history import remember
from harness.model.comparison import LeftOut
from harness.paths import shown
from harness.recording.reader import Recording
from harness.report import write_all
from harness.runs import Run, differing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from harness.model.plan import Plan


@dataclass(frozen=True)
class Side:
    """One of the systems: what its runs are called, and its plan for a seed. What a `judged` one does to its runs is
    held against it."""

    name: str
    plan: Callable[[int], Plan]
    judged: bool = False


@dataclass(frozen=True)
class Made:
    """The valid runs of each side, and the invalid ones that others were made for."""

    runs: list[list[Run]]
    remade: list[LeftOut] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    """What of the latter speaks against the side that is judged."""


def turns(sides: int, runs: int, *, interleave: bool = True) -> Iterator[tuple[int, int]]:
    """Yield (side, number of the run) in the order they are made: A B, B A, A B ..., or all A and then all B."""
    if not interleave:
        yield from ((side, number) for side in range(sides) for number in range(runs))
        return
    for number in range(runs):
        order = range(sides) if number % 2 == 0 else range(sides - 1, -1, -1)
        yield from ((side, number) for side in order)


def make(
    sides: Sequence[Side], seeds: Sequence[int], folder: Path, console: Console, *, spare: int, interleave: bool = True
) -> Made:
    """Make a valid run of each side with each seed in `folder`, and return them; an invalid one is made again.

    GateStopped: a run did not go to its end, a service of its system died, or more than `spare` were invalid; what was
    recorded stays.
    """
    made = Made([[] for _ in sides])
    total = len(seeds) * len(sides)
    for turn, (side, number) in enumerate(turns(len(sides), len(seeds), interleave=interleave), 1):
        tries = 1
        while True:
            name = f"{sides[side].name}-{number + 1}" + (f"-try{tries}" if tries > 1 else "")
            console.print(f"gate: run {turn} of {total}: {name}", style="bold")
            run = _run(sides[side].plan(seeds[number]), folder / name, console)
            if run.findings.validity.valid:
                break
            _refuse_dead(run, sides[side])
            reasons = "; ".join(run.findings.validity.reasons)
            if not spare:
                raise GateStopped(f"{shown(folder / name)} is invalid: {reasons}", ExitCode.INVALID)
            spare, tries = spare - 1, tries + 1
            console.print(f"gate: {name} is invalid and made again: {reasons}", style="yellow")
            made.remade.append(LeftOut(recording=str(run.recording.path), reason=f"made again: {reasons}"))
            if sides[side].judged and _only_sick(run):
                made.doubts.append(f"{shown(run.recording.path)}: nothing was wrong but the system: {reasons}")
        made.runs[side].append(run)
    return made


def _refuse_dead(run: Run, side: Side) -> None:
    """Raise GateStopped if a service of the system died: whoever makes runs until it does not has only good ones."""
    for event in run.recording.events:
        if event.kind == "system" and event.data.get("state") == "died" and not event.data.get("ours"):
            where = f"{shown(run.recording.path)}: {event.subject} died during the run"
            said = event.data.get("message", "see logs/")
            if side.judged:
                raise GateStopped(f"{where}, and this is the system that is judged\n  {said}", ExitCode.FAIL)
            raise GateStopped(f"{where}, and with it what there was to judge by\n  {said}", ExitCode.INVALID)


def _only_sick(run: Run) -> bool:
    """Whether the system was sick before the first fault, for certain, and no reason lies with the instrument."""
    return run.findings.validity.reasons == tuple(sick_before(run.recording.events))


def _run(plan: Plan, folder: Path, console: Console) -> Run:
    ended = conduct(plan, folder, console)
    try:
        recording = Recording.open(ended.recording)
        findings, verdicts = assess(recording)
        write_all(recording, findings, verdicts)
        remember(folder, lambda text: console.print(text, style="yellow"))
    except (AgentstormError, OSError) as error:
        if ended.exit_code == ExitCode.PASS:
            raise
        raise GateStopped(f"{shown(folder)}: {ended.message}\n{error}", ended.exit_code) from error
    if ended.exit_code != ExitCode.PASS:
        raise GateStopped(f"{shown(folder)}: {ended.message}", ended.exit_code)
    return Run(Recording.open(recording.path), findings)  # opened anew: without the tables of the whole run


def check_same_question(plan: Plan, stored: Sequence[Run]) -> None:
    """Refuse, before anything is started, a plan that the stored runs are not about."""
    for run in stored:
        if apart := differing(plan, run.plan):
            raise NotComparable(
                f"{shown(run.recording.path)} is a run of another plan: {'; '.join(apart)}\n"
                "  give the gate the scenario, scale, chaos and settings that the baseline was made with"
            )
