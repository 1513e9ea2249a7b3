"""From a recording to the answer of ``agentstorm soak``: its verdict, and what is different from an earlier run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis.soak import LONG_S, STEADY, asked
from harness.assess import assess
from harness.errors import ExitCode, NotComparable
from harness.model.history import series_of
from harness.model.soak import Slope, SoakChange, SoakReport
from harness.model.verdict import Verdict
from harness.paths import shown
from harness.runs import Run, differing, question_hash
from harness.settings import settings
from harness.store import Store

if TYPE_CHECKING:
    from harness.model.history import Night
    from harness.model.soak import SoakFindings, SoakSeries

LAST_GOOD, NONE = "last-good", "none"
"""What a run is held against, if it is no directory: the newest earlier run of the same that passed, or nothing."""
_EXIT_CODES = {
    Verdict.PASS: ExitCode.PASS,
    Verdict.FAIL: ExitCode.FAIL,
    Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Verdict.INVALID: ExitCode.INVALID,
}


def tell(path: Path, against: str = LAST_GOOD) -> SoakReport:
    """Return the verdict on the run in `path`, held `against` a directory, ``last-good`` or ``none``.

    RecordingError: there is no recording. NotComparable: the directory holds a run of another plan.
    """
    run = _opened(path)
    verdict, why = _verdict(run)
    earlier, note = _earlier(run, against)
    then, now = earlier.findings.soak if earlier else None, run.findings.soak
    if earlier is not None and then is None:
        note = "it was not asked whether anything drifted there"
    return SoakReport(
        recording=str(path),
        verdict=verdict.value,
        exit_code=int(_EXIT_CODES[verdict]),
        why=why,
        soak=now,
        against=str(earlier.recording.path) if earlier else None,
        against_note=note,
        changes=changes(then, now) if then and now else (),
    )


def _opened(path: Path) -> Run:
    """Open a run; findings of a version that did not ask are made anew."""
    run = Run.open(path)
    return Run(run.recording, assess(run.recording)[0]) if run.findings.soak is None and asked(run.plan) else run


def _verdict(run: Run) -> tuple[Verdict, str]:
    found, reasons = run.findings.soak, run.findings.validity.reasons
    if reasons:
        return Verdict.INVALID, f"the run is invalid: {reasons[0]}"
    if found is None:
        load = run.plan.scenario.load
        if load.kind not in STEADY:
            return Verdict.INCONCLUSIVE, f"a load of kind {load.kind} changes, and what it is on with it"
        least = f"{LONG_S / 60:g} min"
        return Verdict.INCONCLUSIVE, (
            f"too short to ask whether anything drifts: loads of {least} and more are asked, and shorter ones that "
            "have a threshold on it (leak, drift, memory_slope, ...)"
        )
    if any(s.worse for s in found.series if not s.instrument):
        return Verdict.FAIL, found.why
    return (Verdict.INCONCLUSIVE if found.verdict == "inconclusive" else Verdict.PASS), found.why


def _earlier(run: Run, against: str) -> tuple[Run | None, str]:
    """Return the run to hold this one against, or why there is none."""
    if against == NONE:
        return None, ""
    if against == LAST_GOOD:
        store = Store()
        night = last_good(store.nights(), run)
        if night is None:
            return None, "no earlier run of the same scenario on the same target with the same settings passed"
        path = store.path.parent / night.recording
        if not path.exists():
            return None, f"the last good run, {shown(path)}, is gone"
        return _opened(path), ""
    other = _opened(Path(against))
    if apart := differing(run.plan, other.plan):
        raise NotComparable(f"{against} is a run of another plan than {shown(run.recording.path)}: {'; '.join(apart)}")
    if other.recording.run_id == run.recording.run_id:
        raise NotComparable(f"{against} and {shown(run.recording.path)} are one and the same run")
    invalid = other.findings.validity.reasons
    return other, f"it is invalid: {invalid[0]}" if invalid else ""


def last_good(nights: list[Night], run: Run) -> Night | None:
    """Return the newest run of the same series (question, target, engine, settings) that passed and began before this
    one."""
    plan = run.plan
    series = series_of(question_hash(plan), plan.target.target, plan.engine, settings(plan))
    began = run.started
    good = [n for n in nights if n.series == series and n.valid and n.verdict == Verdict.PASS.value]
    return max((n for n in good if n.started < began), key=lambda n: n.started, default=None)


def changes(then: SoakFindings, now: SoakFindings) -> tuple[SoakChange, ...]:
    """Return every series that both runs have a slope of; those that are certainly steeper first."""
    before = {(s.owner, s.what): s for s in then.series}
    found = [
        change
        for s in now.series
        if (old := before.get((s.owner, s.what))) is not None and (change := _change(old, s)) is not None
    ]
    return tuple(sorted(found, key=lambda change: not change.steeper))


def _change(then: SoakSeries, now: SoakSeries) -> SoakChange | None:
    if then.slope is None or now.slope is None:
        return None
    value = now.slope.value - then.slope.value
    halves = [_half(s) for s in (then.slope, now.slope)]
    half = None if None in halves else math.hypot(*(h for h in halves if h is not None))
    low, high = (None, None) if half is None else (value - half, value + half)
    bad = -1 if now.what == "cache_hit" else 1
    certain = half is not None and bad * value - half > now.threshold
    return SoakChange(
        owner=now.owner, what=now.what, unit=now.unit, name=now.name, level_before=then.level, level_now=now.level,
        slope_before=then.slope, slope_now=now.slope, difference=Slope(value=value, low=low, high=high),
        steeper=certain,
    )  # fmt: skip


def _half(slope: Slope) -> float | None:
    """Return half of an interval's width. Of two independent slopes the squares of these add up."""
    return None if slope.low is None or slope.high is None else (slope.high - slope.low) / 2
