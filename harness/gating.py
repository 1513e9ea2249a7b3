"""What a gate is asked for, from its baseline to its verdict. `gate` makes the runs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import comparing
from harness.analysis.noise import FEWEST
from harness.baselines import Baselines
from harness.clock import utc_stamp
from harness.errors import NotComparable, PlanError
from harness.gate import Made, Side, check_same_question, make
from harness.model.verdict import Verdict
from harness.planfile import resolve
from harness.report.comparison import markdown
from harness.runs import Run, differing
from harness.seeds import fresh_seed
from harness.store import APART, REPORTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from harness.model.comparison import Comparison, NoiseFloor
    from harness.model.plan import Plan

_APART = (
    "gate: its runs are kept out of `agentstorm history`: they are of two targets, "
    "and those of one could pass for nights of the other"
)
"""What is said once of the runs of a gate between two targets."""


@dataclass(frozen=True)
class Request:
    """What the command line asked for. `options` are those of `planfile.resolve` but for target and seed."""

    options: Mapping[str, Any]
    target: str
    baseline_target: str | None
    baseline: str | None
    runs: int
    spare: int
    seed: int | None
    aa: bool
    interleave: bool
    tolerances: Mapping[str, float]
    metrics: Sequence[str]

    @property
    def named(self) -> str | None:
        """The baseline's name, if runs made now get it rather than being held against it."""
        return self.baseline if self.aa or self.baseline_target else None

    def plan(self, target: str, seed: int) -> Plan:
        """Return the plan of one run."""
        return resolve(target=target, seed=seed, **self.options)


@dataclass(frozen=True)
class Ended:
    """Where the runs are, and what they said."""

    folder: Path
    found: tuple[Comparison | NoiseFloor, ...]

    @property
    def exit_code(self) -> int:
        """Return what the first says, unless another fails: an A/A gate measures noise, and shall raise no alarm."""
        failed = any(found.verdict is Verdict.FAIL for found in self.found)
        return comparing.EXIT_CODES[Verdict.FAIL if failed else self.found[0].verdict]


def perform(request: Request, out: Path | None, console: Console) -> Ended:
    """Make the runs and compare them; everything is written to a folder of its own.

    Everything that can be refused is refused before the first run: a name that no baseline can have, stored runs that
    are invalid or about another plan or without a figure that was asked for, a tolerance tighter than their noise.
    """
    if request.named:
        Baselines().check(request.named)
    seed = fresh_seed() if request.seed is None else request.seed
    seeds: Sequence[int] = range(seed, seed + request.runs)
    plan = request.plan(request.target, seed)
    sides = [Side("candidate", lambda seed: request.plan(request.target, seed), judged=True)]
    stored: list[Run] = []
    if request.aa:
        sides = [Side(name, sides[0].plan) for name in ("a", "b")]
    elif request.baseline_target:
        base = request.baseline_target
        if apart := differing(request.plan(base, seed), plan):
            raise NotComparable(f"{base} and {request.target} make runs of different plans: {'; '.join(apart)}")
        sides.insert(0, Side("base", lambda seed: request.plan(base, seed)))
    else:
        stored, seeds = _stored(request, plan, seeds)
    folder = out or REPORTS / f"{utc_stamp()}_gate_{plan.scenario.scenario}"
    if folder.exists():
        raise PlanError(f"{folder} exists already", where="--out", hint="give a directory that does not exist yet")
    with _for_runs(folder, console, apart=bool(request.baseline_target)):
        made = make(sides, seeds, folder, console, spare=request.spare, interleave=request.interleave)
    found = _judge(request, made, stored)
    _keep(request, made.runs, folder, found, console)
    return Ended(folder, found)


@contextmanager
def _for_runs(folder: Path, console: Console, *, apart: bool) -> Iterator[None]:
    """Keep runs of two systems that may go by one name apart from the history of either, and say so. Where not one was
    made nothing stays, so that the same can be asked for again."""
    mark = folder / APART
    if apart:
        folder.mkdir(parents=True)
        mark.write_text("Runs of a gate of two systems: `agentstorm history` leaves out what lies in here.\n")
    try:
        yield
    finally:
        if folder.is_dir() and not set(folder.iterdir()) - {mark}:
            mark.unlink(missing_ok=True)
            folder.rmdir()
        elif apart:
            console.print(_APART, style="dim")


def _stored(request: Request, plan: Plan, seeds: Sequence[int]) -> tuple[list[Run], Sequence[int]]:
    """Return the baseline's runs, and the seeds to make others with: its own, if there are as many as runs to make and
    nobody asked for others. Runs with one seed can be held against each other."""
    runs = [Run.open(path) for path in Baselines().get(request.baseline or "")]
    check_same_question(plan, runs)
    comparing.check(runs)
    unknown = [name for name in request.metrics if not any(name in run.figures for run in runs)]
    if unknown:
        raise NotComparable(f"no run of {request.baseline!r} has {', '.join(unknown)}; leave --metric of it out")
    theirs = list(dict.fromkeys(run.plan.seed for run in runs))
    if request.seed is None and len(theirs) == len(seeds):
        seeds = theirs
    _refuse_noise(request, runs, matched=comparing.may_match([run.plan.seed for run in runs], seeds))
    return runs, seeds


def _refuse_noise(request: Request, runs: Sequence[Run], *, matched: bool) -> None:
    """Refuse a tolerance tighter than the noise between runs, of matched ones that within a match."""
    if len(runs) < FEWEST:
        return
    floor = comparing.noise(runs, request.tolerances, request.metrics, one_by_one=not matched)
    if matched and not floor.matched:  # each seed was run once: nobody knows what two runs with it differ by
        return
    tight = {f.metric: f.floor for f in floor.floors if f.floor is not None and f.verdict is Verdict.FAIL}
    if not tight:
        return
    wider = " ".join(f"--tolerance {name}={100 * value * 1.1:.2g}%" for name, value in tight.items())
    others = [f.metric for f in floor.floors if f.verdict is Verdict.PASS]
    alone = " ".join(f"--metric {name}" for name in others)
    raise NotComparable(
        f"the runs of {request.baseline!r} differ among themselves by more than the tolerance: "
        + ", ".join(f"{name} by {100 * value:.2g} %" for name, value in tight.items())
        + f"\n  such a gate would cry wolf; {wider}"
        + (f"\n  or judge only what is steadier: {alone}" if others else "")
        + "\n  or longer runs, on a quieter host"
    )


def _judge(request: Request, made: Made, stored: Sequence[Run]) -> tuple[Comparison | NoiseFloor, ...]:
    base, candidate = (made.runs[0], made.runs[1]) if len(made.runs) > 1 else (stored, made.runs[0])
    asked = (request.tolerances, request.metrics)
    compared = comparing.compare(base, candidate, *asked, left_out=made.remade, doubts=made.doubts)
    if request.aa and len(base) + len(candidate) >= FEWEST:
        return comparing.noise([*base, *candidate], *asked, left_out=made.remade), compared
    return (compared,)


def _keep(
    request: Request,
    made: Sequence[Sequence[Run]],
    folder: Path,
    found: tuple[Comparison | NoiseFloor, ...],
    console: Console,
) -> None:
    """Write what was found beside the runs, and give those made now the baseline's name."""
    for one in found:
        name = "noise" if one.kind == "aa" else "comparison"
        (folder / f"{name}.json").write_text(one.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (folder / f"{name}.md").write_text(markdown(one), encoding="utf-8")
    if request.named:
        kept = [run.recording.path for side in (made if request.aa else made[:1]) for run in side]
        Baselines().set(request.named, kept)
        console.print(f"baseline {request.named}: {len(kept)} runs", style="dim")
