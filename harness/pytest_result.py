"""What a run found, for tests: typed findings and verdicts, and checks whose failures say what was seen."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from harness.analysis import analyse
from harness.assess import assess
from harness.errors import AgentstormError, ExitCode
from harness.judge import judge
from harness.model.findings import Findings
from harness.model.threshold import parse_threshold
from harness.model.verdict import Verdict, Verdicts
from harness.paths import shown
from harness.recording import layout
from harness.recording.reader import Recording
from harness.wording import quantity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.model.plan import Plan
    from harness.model.verdict import Check
    from harness.pytest_plugin import Notes


class InvalidRun(AgentstormError):
    """The instrument was at its limit, or a fault did not bite: the run says nothing, neither good nor bad."""

    exit_code = ExitCode.INVALID


class ThresholdFailed(AssertionError):
    """One threshold or more is certain not to hold."""


class Result:
    """A judged recording. Whatever is asked of it is noted for the test that asks (JUnit properties, summary)."""

    def __init__(self, path: Path, root: Path, notes: Notes, exit_code: int | None = None) -> None:
        self.path = path
        """Where the recording is; ``report.html`` is in it."""
        self._root, self._notes = root, notes
        self._findings, self._verdicts = _judged(path)
        self.exit_code = self._verdicts.exit_code if exit_code is None else exit_code
        """Of ``agentstorm run``: 0 pass, 99 fail, 75 inconclusive, 98 invalid."""
        self._asked: dict[tuple[str, str], Check] = {}

    @property
    def plan(self) -> Plan:
        """The plan as it was run."""
        self.note()
        return self._plan

    @cached_property
    def _plan(self) -> Plan:
        return Recording.open(self.path).plan

    @property
    def findings(self) -> Findings:
        """All numbers, as in ``findings.json``."""
        self.note()
        return self._findings

    @property
    def verdicts(self) -> Verdicts:
        """The plan's own thresholds, judged, as in ``verdicts.json``."""
        self.note()
        return self._verdicts

    @property
    def verdict(self) -> Verdict:
        """The verdict of the run by the plan's own thresholds."""
        return self.verdicts.verdict

    def assert_valid(self) -> None:
        """Raise InvalidRun when the run says nothing."""
        __tracebackhide__ = True
        self.note()
        if not self._findings.validity.valid:
            reasons = "\n  ".join(self._findings.validity.reasons)
            raise InvalidRun(f"the run is invalid: it can neither pass nor fail\n  {reasons}\n{self._where()}")

    def assert_pass(self) -> None:
        """Hold the plan's own thresholds against the run: ThresholdFailed names all that fail; if none does, those that
        are inconclusive make the test so. InvalidRun when the run says nothing."""
        __tracebackhide__ = True
        self.assert_valid()
        if not self._verdicts.checks:
            self._decide(self._verdicts.verdict, self._verdicts.why)
        self._hold(self._verdicts.checks)

    def check(self, threshold: str, *, metric: str | None = None, **tags: str) -> Check:
        """Hold one more threshold against the run, and return what was seen.

        As in a plan file, ``check("response_time{phase:fault}: p(95)<3s")`` or
        ``check("p(95)<3s", metric="response_time", phase="fault")``. Raises like `assert_pass`, and ValueError for
        what is no threshold.
        """
        __tracebackhide__ = True
        self.assert_valid()
        name, check = _named(threshold, metric, tags)
        if (name, check) not in self._asked:
            parse_threshold(name, check)
            self._asked[name, check] = _ask(self.path, name, check)
        found = self._asked[name, check]
        self._hold([found])
        return found

    def _hold(self, checks: Sequence[Check]) -> None:
        __tracebackhide__ = True
        for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
            these = [check for check in checks if check.verdict is verdict]
            if these:
                self._decide(verdict, "\n".join(_told(check) for check in these))
                return

    def _decide(self, verdict: Verdict, said: str) -> None:
        __tracebackhide__ = True
        if verdict is Verdict.FAIL:
            raise ThresholdFailed(f"{said}\n{self._where()}")
        self._notes.undecided(f"{said}\n{self._where()}")

    def note(self) -> None:
        """Note it for the test that is on."""
        self._notes.seen(self._shown, self._verdicts.verdict.value)

    @property
    def _shown(self) -> str:
        return shown(self.path, self._root)

    def _where(self) -> str:
        plan = self._plan
        return f"  run        {plan.title} on {plan.target.target}, seed {plan.seed}\n  recording  {self._shown}"


def _judged(path: Path) -> tuple[Findings, Verdicts]:
    recording = Recording.open(path)
    try:
        findings = Findings.model_validate_json((path / layout.FINDINGS).read_bytes())
        return findings, Verdicts.model_validate_json((path / layout.VERDICTS).read_bytes())
    except (OSError, ValueError):  # none yet, or those of another version: the recording has it all
        return assess(recording)


def _ask(path: Path, name: str, check: str) -> Check:
    """Judge one threshold that the plan does not have."""
    recording = Recording.open(path)
    scenario = recording.plan.scenario.model_copy(update={"thresholds": {name: (check,)}})
    asked = recording.plan.model_copy(update={"scenario": scenario})
    findings, measure = analyse(recording, asked)
    return judge(asked, findings, measure).checks[0]


def _named(threshold: str, metric: str | None, tags: dict[str, str]) -> tuple[str, str]:
    """Return metric with tags, and check, of a threshold written in either way."""
    if metric is None:
        metric, colon, threshold = threshold.rpartition(": ")
        if not colon or tags:
            raise ValueError(
                f"{threshold!r}: of which metric? check('p(95)<3s', metric='response_time', phase='fault') "
                "or check('response_time{phase:fault}: p(95)<3s')"
            )
    told = ",".join(f"{tag}:{value}" for tag, value in tags.items())
    return (f"{metric}{{{told}}}" if told else metric), threshold


def _told(check: Check) -> str:
    """Say what was seen of one threshold: an interval without a side is open there."""
    lines = [f"{check.threshold}  {check.verdict.upper()}"]
    if check.observed is not None:
        sides = [None if side is None else quantity(side, check.unit) for side in (check.low, check.high)]
        low, high = (side or "open" for side in sides)
        lines += [f"observed   {quantity(check.observed, check.unit)}", f"interval   {low} to {high} (95 %)"]
    lines += [f"limit      {quantity(check.limit, check.unit)}", f"n          {check.n:,}", f"why        {check.why}"]
    if check.scope != "scenario":
        lines.append(f"set by     {check.scope}")
    return "\n  ".join(lines)
