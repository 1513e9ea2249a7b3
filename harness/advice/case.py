"""What a rule is given, and what it says. Numbers keep their units: words are made where the language is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from shlex import quote
from typing import TYPE_CHECKING

from harness.analysis.searched import is_search
from harness.model.capacity import CapacityFindings
from harness.model.soak import SoakFindings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.model.capacity import LimitKind
    from harness.model.findings import Findings
    from harness.model.plan import Plan
    from harness.model.verdict import Verdicts


@dataclass(frozen=True)
class Value:
    """A value to be said: in a unit of `report.units`, as a counted noun (``outages``), or, with `name`, as it is."""

    value: float | str
    unit: str


def name(text: str) -> Value:
    """Return a name, said as it is in every language."""
    return Value(text, "name")


def kind(upstream: str, what: str) -> Value:
    """Return a kind of outage: ``bedrock hangs``."""
    return Value(f"{upstream}/{what}", "kind")


def limit(owner: str, what: LimitKind) -> Value:
    """Return something of `owner` that gives out as load grows: ``the CPU of gateway``."""
    return Value(f"{owner}/{what}", "limit")


PER_HOUR = " per hour"


def per_hour(value: float, unit: str) -> Value:
    """Return a slope per hour of what a soak watches, in its unit (`model.soak.SoakSeries`)."""
    return Value(value, unit + PER_HOUR)


class Severity(IntEnum):
    """How much a reader should care; what is worse comes first."""

    KNOW = 1
    """Nothing is wrong with the system; the run says less than it could."""
    WATCH = 2
    """It costs money, or will hurt later."""
    HARM = 3
    """Users were harmed, or nearly."""
    STOP = 4
    """A promise is broken, or nothing can be said at all."""


@dataclass(frozen=True)
class Advice:
    """One finding that calls for something to be done: what was seen, against which limit, and how to check the cure.

    The words belong to the rule, in each language (`report.language`); `values` fill them.
    """

    rule: str
    severity: Severity
    excess: float
    """How many times beyond its limit: orders advice of the same severity."""
    values: Mapping[str, Value]
    evidence: tuple[str, ...]
    """Ids on the page where the figure or table behind it is; the first one that is there counts."""
    verify: str
    """The command that shows whether it helped."""
    run: int = 0
    """Which of the runs that were looked at together it rests on."""


@dataclass(frozen=True)
class Case:
    """A run as it was planned, found and judged."""

    plan: Plan
    findings: Findings
    verdicts: Verdicts

    @property
    def capacity(self) -> CapacityFindings | None:
        """How much the system carries; None where the load did not ask."""
        found: object = self.findings.capacity
        return found if isinstance(found, CapacityFindings) else None

    @property
    def searched(self) -> bool:
        """Whether the load went past what the system carries on purpose, to find out."""
        return is_search(self.plan)

    @property
    def soak(self) -> SoakFindings | None:
        """What drifted; None where the load was no soak."""
        found: object = self.findings.soak
        return found if isinstance(found, SoakFindings) else None

    @property
    def again(self) -> str:
        """The command that makes the same run once more; where the recording does not tell its files, by the names that
        they have in a folder like ours."""
        plan, files = self.plan, self.plan.files
        given = (("engine", plan.engine, "locust"), ("workers", plan.workers, 1), ("replicas", plan.replicas, 1),
                 ("scale", f"{plan.scale:g}", "1"))  # fmt: skip
        options = "".join(f" --{option} {value}" for option, value, usual in given if value != usual)
        if files is None:
            return self.command(plan.scenario.scenario, *(e.experiment for e in plan.experiments), options=options)
        chaos = "".join(f" --chaos {quote(path)}" for path in files.experiments)
        options += "".join(f" --set {quote(text)}" for text in files.overrides)
        return f"agentstorm run {quote(files.scenario)}{chaos}{self._on}{options}"

    @property
    def full_length(self) -> str:
        """The same, with no duration shortened."""
        return self.again.replace(f" --scale {self.plan.scale:g}", "")

    def command(self, scenario: str, *experiments: str, options: str = "") -> str:
        """Return the command that runs our `scenario` with our `experiments` on this target."""
        chaos = "".join(f" --chaos chaos/{file_name(experiment)}.yaml" for experiment in experiments)
        return f"agentstorm run scenarios/{file_name(scenario)}.yaml{chaos}{self._on}{options}"

    @property
    def _on(self) -> str:
        target = self.plan.target.target.removeprefix("reference-")
        path = self.plan.files.target if self.plan.files else f"targets/{file_name(target)}.yaml"
        return "" if path == "targets/local.yaml" else f" --target {quote(path)}"


def file_name(text: str) -> str:
    """Return what the file of a scenario, experiment or target is called: ``bedrock_slow`` of ``bedrock-slow``."""
    return text.replace("-", "_")


def slug(*words: str) -> str:
    """Return an id of the page made of words: letters, digits and hyphens."""
    return "-".join("".join(c if c.isascii() and c.isalnum() else "-" for c in word.lower()) for word in words)


def outage_id(upstream: str, what: str) -> str:
    """Return the id of the page's entry on a kind of outage."""
    return slug("outage", upstream, what)


def check_id(number: int) -> str:
    """Return the id of the page's row on the check that stands at `number` in `verdicts.json`."""
    return f"check-{number}"
