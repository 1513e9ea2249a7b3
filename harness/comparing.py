"""From recordings to a comparison: which runs may be compared, what the figures say, and the verdict of it all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.analysis.compare import compare as compare_runs
from harness.analysis.noise import FEWEST, noise_floor
from harness.analysis.within_run import within_run
from harness.errors import ExitCode, NotComparable
from harness.model.comparison import Change, Comparison, LeftOut, NoiseFloor
from harness.model.verdict import Verdict
from harness.paths import shown
from harness.runs import REST, Run, circumstances, differing, series
from harness.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.model.comparison import Floor

EXIT_CODES = {
    Verdict.PASS: ExitCode.PASS,
    Verdict.FAIL: ExitCode.FAIL,
    Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Verdict.INVALID: ExitCode.INVALID,
}


class _Sides:
    """The runs that are left to be compared, and all that is to be said about the choice."""

    def __init__(
        self,
        sides: Sequence[Sequence[Run]],
        *,
        force: bool,
        skip_invalid: bool,
        left_out: Sequence[LeftOut] = (),
        doubts: Sequence[str] = (),
    ) -> None:
        self.warnings: list[str] = [*doubts]
        self.left_out: list[LeftOut] = [*left_out]
        every = [run for side in sides for run in side]
        _refuse_twice(every)
        self._same_question(every, force=force)
        self.sides = [self._valid(side, force=force, skip=skip_invalid) for side in sides]
        self.notes = _differences(self.sides)

    def _same_question(self, runs: Sequence[Run], *, force: bool) -> None:
        first = runs[0]
        for run in runs[1:]:
            if not (apart := differing(first.plan, run.plan)):
                continue
            other = shown(first.recording.path)
            message = f"{shown(run.recording.path)} is a run of another plan than {other}: {'; '.join(apart)}"
            if not force:
                raise NotComparable(f"{message}\n  compare runs of one plan, or say --force")
            self.warnings.append(message)

    def _valid(self, side: Sequence[Run], *, force: bool, skip: bool) -> list[Run]:
        kept = []
        for run in side:
            reasons = "; ".join(run.findings.validity.reasons)
            if run.findings.validity.valid or force:
                kept.append(run)
                if not run.findings.validity.valid:
                    self.warnings.append(f"{shown(run.recording.path)} is invalid: {reasons}")
                continue
            if not skip:
                raise NotComparable(
                    f"{shown(run.recording.path)} is invalid: {reasons}\n"
                    "  an invalid run says nothing about its system; leave it out, or say --skip-invalid",
                    exit_code=ExitCode.INVALID,
                )
            self.left_out.append(LeftOut(recording=str(run.recording.path), reason=f"invalid: {reasons}"))
        if not kept:
            raise NotComparable("no valid run is left on one side", exit_code=ExitCode.INVALID)
        return kept


def _refuse_twice(runs: Sequence[Run]) -> None:
    seen: dict[int, Run] = {}
    for run in runs:
        twin = seen.setdefault(run.recording.run_id, run)
        if twin is not run:
            both = " and ".join(shown(one.recording.path) for one in (twin, run))
            raise NotComparable(f"{both} are one and the same run")


def _differences(sides: Sequence[Sequence[Run]]) -> list[str]:
    """Say what differs between the runs, besides what must not."""
    notes: list[str] = []
    told = [[circumstances(run) for run in side] for side in sides]
    for key in told[0][0]:
        values = [list(dict.fromkeys(one[key] for one in side)) for side in told]
        if key == REST and notes:  # no wonder
            continue
        if len({value for side in values for value in side}) > 1:
            notes.append(f"{key}: {' against '.join(', '.join(side) for side in values)}")
    return notes


def check(runs: Sequence[Run]) -> None:
    """Refuse runs that nothing can be compared with: invalid ones, one given twice, those of different plans.

    NotComparable says which and why.
    """
    _Sides((runs,), force=False, skip_invalid=False)


def compare(  # noqa: PLR0913 - how runs are chosen, and what is known besides
    base: Sequence[Run],
    candidate: Sequence[Run],
    tolerances: Mapping[str, float],
    metrics: Sequence[str] = (),
    *,
    force: bool = False,
    skip_invalid: bool = False,
    agree: bool = False,
    left_out: Sequence[LeftOut] = (),
    doubts: Sequence[str] = (),
) -> Comparison:
    """Compare runs of one plan; NotComparable says why they cannot be.

    `force` compares runs of different plans and invalid ones all the same: nothing then passes. `skip_invalid` leaves
    invalid ones out. With `agree`, one run against one is asked whether the two agree (as two load generators should),
    not whether a candidate may be released: it passes or fails by that. `left_out` are runs that were made and are not
    given, `doubts` what of these speaks against the candidate: with any, nothing passes.
    """
    chosen = _Sides((base, candidate), force=force, skip_invalid=skip_invalid, left_out=left_out, doubts=doubts)
    sides: Sequence[Sequence[Run]] = chosen.sides
    single, matches = all(len(side) == 1 for side in sides), 0
    if single:
        changes = _within(sides[0][0], sides[1][0], tolerances, metrics)
    else:
        matches, sides = _matches(*sides)
        told = [[run.figures for run in side] for side in sides]
        changes = compare_runs(told[0], told[1], tolerances, metrics, matches=matches)
    if agree and not single:
        raise NotComparable("agreement is a question to one run against one; leave --agree out")
    decide = _agreement if agree else _alone if single else _worst
    because = "a run that speaks against the candidate was made again" if doubts else _APART
    verdict, why = _warned(*decide(changes), chosen.warnings, because)
    return Comparison(
        kind="within-run" if single else "runs",
        matched=bool(matches),
        plan=sides[0][0].plan.title,
        base=tuple(run.ref for run in sides[0]),
        candidate=tuple(run.ref for run in sides[1]),
        left_out=tuple(chosen.left_out),
        notes=tuple(chosen.notes),
        warnings=tuple(chosen.warnings),
        changes=tuple(changes),
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        why=why,
    )


def may_match(*seeds: Sequence[int]) -> bool:
    """Whether the runs of two sides, with these seeds, can be held against each other two by two: both ran the same
    seeds, two at least, each of them equally often, and one side only once."""
    often = [Counter(side) for side in seeds]
    times = [set(side.values()) for side in often]
    return len(often[0]) >= 2 and often[0].keys() == often[1].keys() and {1} in times and max(map(len, times)) == 1


def _matches(*sides: Sequence[Run]) -> tuple[int, Sequence[Sequence[Run]]]:
    """Return how many seeds both sides ran, and the runs in their order: those with one seed were asked the same.

    0, and the runs as they were, unless they match.
    """
    if not may_match(*([run.plan.seed for run in side] for side in sides)):
        return 0, sides
    ordered = [sorted(side, key=lambda run: run.plan.seed) for side in sides]
    return len({run.plan.seed for run in sides[0]}), ordered


_APART = "these runs should not be compared"


def _warned(verdict: Verdict, why: str, warnings: Sequence[str], because: str = _APART) -> tuple[Verdict, str]:
    """Runs that were compared in spite of warnings never pass."""
    if verdict is Verdict.PASS and warnings:
        return Verdict.INCONCLUSIVE, f"Inconclusive, because {because}. {why}"
    return verdict, why


def _within(base: Run, candidate: Run, tolerances: Mapping[str, float], metrics: Sequence[str]) -> list[Change]:
    random = generator(base.plan.seed ^ candidate.recording.run_id & 0xFFFFFFFF, "compare")
    told = series(base.recording), series(candidate.recording)
    return within_run(*told, (base.figures, candidate.figures), tolerances, random, metrics)


def _worst(changes: Sequence[Change]) -> tuple[Verdict, str]:
    for verdict, word in ((Verdict.FAIL, "Fails"), (Verdict.INCONCLUSIVE, "Inconclusive")):
        found = [change for change in changes if change.verdict is verdict]
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            return verdict, f"{word}: {found[0].metric} {found[0].why}{more}."
    if not changes:
        return Verdict.INCONCLUSIVE, "Inconclusive: nothing was measured that could be compared."
    return Verdict.PASS, f"Passes: none of {len(changes)} figures is worse than its tolerance allows."


def _alone(changes: Sequence[Change]) -> tuple[Verdict, str]:
    by_word = {word: [change.metric for change in changes if change.agree == word] for word in _AGREEMENT}
    told = [f"{said}: {', '.join(by_word[word])}" for word, said in _AGREEMENT.items() if by_word[word]]
    said = f" Within the runs {'; '.join(told)}." if told else ""
    return Verdict.INCONCLUSIVE, f"Inconclusive: one run against one does not show what differs from run to run.{said}"


_AGREEMENT = {"agree": "agree", "differ": "differ", "unclear": "may do either"}
"""How a within-run agreement is said."""


def _agreement(changes: Sequence[Change]) -> tuple[Verdict, str]:
    apart = [change.metric for change in changes if change.agree == "differ"]
    unclear = [change.metric for change in changes if change.agree == "unclear"]
    if apart:
        return Verdict.FAIL, f"Fails: the two runs differ by more than the tolerance in {', '.join(apart)}."
    if not changes:
        return Verdict.INCONCLUSIVE, "Inconclusive: nothing was measured that could be compared."
    if unclear:
        return Verdict.INCONCLUSIVE, f"Inconclusive: the two runs may agree or differ in {', '.join(unclear)}."
    blind = max(changes, key=lambda change: change.detectable or 0.0)
    return Verdict.PASS, f"Passes: the two runs agree in all {len(changes)} figures. {blind.metric}: {blind.why}."


def noise(
    runs: Sequence[Run],
    tolerances: Mapping[str, float],
    metrics: Sequence[str] = (),
    *,
    force: bool = False,
    skip_invalid: bool = False,
    left_out: Sequence[LeftOut] = (),
    one_by_one: bool = False,
) -> NoiseFloor:
    """Measure what differs between runs of one system (A/A); a tolerance tighter than that fails.

    Where every seed was run twice, as by `gate --aa`, it is what differs between two runs with the same seed; unless
    the runs are held `one_by_one` against others with seeds of their own. NotComparable: runs of different plans,
    invalid ones, or fewer than four.
    """
    chosen = _Sides((runs,), force=force, skip_invalid=skip_invalid, left_out=left_out)
    kept = chosen.sides[0]
    if len(kept) < FEWEST:
        raise NotComparable(f"{len(kept)} runs; a noise floor needs {FEWEST}: two halves of two")
    random = generator(kept[0].plan.seed, "noise-floor")
    twins = None if one_by_one else _twins(kept)
    floors = noise_floor([run.figures for run in twins or kept], tolerances, random, metrics, matched=bool(twins))
    verdict, why = _warned(*_floor_verdict(floors), chosen.warnings)
    return NoiseFloor(
        matched=bool(twins),
        plan=kept[0].plan.title,
        base=tuple(run.ref for run in kept),
        left_out=tuple(chosen.left_out),
        notes=tuple(chosen.notes),
        warnings=tuple(chosen.warnings),
        floors=tuple(floors),
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        why=why,
    )


def _twins(runs: Sequence[Run]) -> list[Run] | None:
    """Return the runs, those with one seed beside each other; None unless there are two with each."""
    if set(Counter(run.plan.seed for run in runs).values()) != {2}:
        return None
    return sorted(runs, key=lambda run: run.plan.seed)


def _floor_verdict(floors: Sequence[Floor]) -> tuple[Verdict, str]:
    tight = [floor.metric for floor in floors if floor.verdict is Verdict.FAIL]
    if tight:
        return (
            Verdict.FAIL,
            f"Refused: the tolerance of {', '.join(tight)} is tighter than the noise between equal runs.",
        )
    unknown = [floor for floor in floors if floor.verdict is Verdict.INCONCLUSIVE]
    if unknown:
        return Verdict.INCONCLUSIVE, f"Inconclusive: {'; '.join(f'{floor.metric} {floor.why}' for floor in unknown)}."
    if not floors:
        return Verdict.INCONCLUSIVE, "Inconclusive: nothing was measured in all of the runs."
    return Verdict.PASS, f"Passes: the tolerances of all {len(floors)} figures lie above the noise between equal runs."
