"""The languages of the executive page: its words, its numbers, and what each piece of advice says.

A catalogue (`language_en`, `language_sv`) is plain data. Sentences have named places for values, which are said here in
the way of the language: ``3.4 s`` and ``1,203`` in English, ``3,4 s`` and ``1 203`` in Swedish.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.advice.case import PER_HOUR
from harness.report import block_soak, units
from harness.report.units import SPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.advice.case import Advice, Value
    from harness.model.verdict import Verdict


@dataclass(frozen=True)
class Advised:
    """What a rule says: the risk (empty when it is none), what to do, and why, with the figures and their limit."""

    risk: str
    title: str
    why: str


@dataclass(frozen=True)
class Phrases:
    """The fixed words of the page."""

    headlines: Mapping[Verdict, str]
    severities: tuple[str, str, str, str]
    capacity: str
    cost: str
    sla: str
    soak: str
    risks: str
    recommendations: str
    not_measured: str
    no_figures: str
    measured_by: str
    no_risks: str
    no_advice: str
    more_advice: tuple[str, str]
    """How many are left out, for one and for many."""
    evidence: str
    evidence_in: str
    measured_in: str
    runs: str
    overview: tuple[str, str]
    """Of one run and of several: how many, of which system."""
    unanimous: tuple[str, str]
    together: Mapping[Verdict, tuple[str, str]]
    """How many of several runs have a verdict, for one and for many."""
    columns: tuple[str, ...]
    """Of the table of runs."""
    verify: str
    verify_all: str
    contents: str
    target: str
    version: str
    images: str
    """Of the system."""
    load: str
    faults: str
    ran: str
    ran_for: str
    during: str
    """Of a fault: `{state}` is that of a search for capacity."""
    scale: str
    scale_note: str
    none: str
    carried: str
    carried_at: str
    at_least: str
    below: str
    undecided: str
    requests_per_s: str
    or_less: str
    users: str
    per_1k: str
    per_user_hour: str
    healthy: str
    in_outage: str
    cache_saves: str
    no_prices: str
    no_ledgers: str
    of_all: str
    recovered: str
    claim: str
    claim_nothing: str
    claim_next: str
    soak_verdicts: Mapping[str, str]
    points: str
    """Of shares, in which their slopes are said."""
    to_limit: str
    soak_length: str
    factor: str


@dataclass(frozen=True)
class Language:
    """How one language says everything on the page."""

    code: str
    phrases: Phrases
    advice: Mapping[str, Advised]
    kinds: Mapping[str, str]
    """What something does under each kind of fault: ``bedrock`` + ``hangs``."""
    states: Mapping[str, str]
    """States of a capacity test."""
    limits: Mapping[str, str]
    """What gives out as load grows (`model.capacity.LimitKind`), of `{owner}`."""
    series: Mapping[str, str]
    """What a soak watches."""
    nouns: Mapping[str, tuple[str, str]]
    """Counted things, one and many."""
    localise: Callable[[str], str]
    """Turns a number as `report.units` says it into the language's own way."""

    def say(self, value: float | None, unit: str) -> str:
        """Return a measured value in its unit; ``rate`` is requests per second, ``x`` a factor."""
        if unit == "rate_or_less":
            return self.phrases.or_less.format(value=self.say(value, "rate"))
        if value is not None and unit == "rate":
            return f"{self.localise(units.three(value))}{SPACE}{self.phrases.requests_per_s}"
        if value is not None and unit == "x":
            return self.phrases.factor.format(n=self.localise(units.three(value)))
        return self.localise(_number(value, unit))

    def around(self, low: float | None, high: float | None, unit: str) -> str:
        """Return an interval in brackets; empty when there is none."""
        if low is None or high is None:
            return ""
        said = units.between(low, high, unit)
        if unit == "number":
            said = f"{units.three(low)}{SPACE}{units.DASH} {units.three(high)}"
        return f"({self.localise(said)})"

    def value(self, value: Value) -> str:
        """Return any value of a piece of advice."""
        if isinstance(value.value, str):
            if value.unit == "kind":
                upstream, _, what = value.value.rpartition("/")
                return f"{upstream} {self.kinds.get(what, what)}"
            if value.unit == "limit":
                owner, _, what = value.value.rpartition("/")
                return self.limits[what].format(owner=owner)
            table = {"state": self.states, "series": self.series}.get(value.unit, {})
            return table.get(value.value, value.value)
        if value.unit.endswith(PER_HOUR):
            return self.slope(value.value, value.unit.removesuffix(PER_HOUR))
        if value.unit in self.nouns:
            return self.counted(value.value, value.unit)
        return self.say(value.value, value.unit)

    def slope(self, value: float, unit: str) -> str:
        """Return how much a series of a soak moves per hour: ``10.2 MiB/h``, ``0.6 points/h``."""
        said = block_soak.per_hour(value, unit, signed=False)
        return self.localise(said).replace("points", self.phrases.points)

    def counted(self, number: float, noun: str) -> str:
        """Return ``1 outage``, ``3 outages``."""
        one, many = self.nouns[noun]
        return f"{self.localise(units.count(number))}{SPACE}{one if number == 1 else many}"

    def fill(self, sentence: str, advice: Advice) -> str:
        """Return a sentence of a rule with its values said."""
        return sentence.format_map({key: self.value(value) for key, value in advice.values.items()})


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return units.NONE
    say = _UNITS.get(unit)
    return say(value) if say else units.say(value, unit)


_UNITS: Mapping[str, Callable[[float], str]] = {
    "number": units.three,
    "MiB": units.mib,
    "percentile": lambda value: f"p{value:g}",
    "count": lambda value: units.count(value) if value == round(value) else units.three(value),
    "points": lambda value: units.three(value * 100),
}
"""Units that only advice has, beside those of `units.FORMATS`."""

_GROUPED, _POINT = re.compile(r"(?<=\d),(?=\d{3})"), re.compile(r"(?<=\d)\.(?=\d)")


def english(text: str) -> str:
    """Return a number as it is."""
    return text


def swedish(text: str) -> str:
    """Return a number the Swedish way: a comma before decimals, a space that never breaks between thousands."""
    return _POINT.sub(",", _GROUPED.sub(SPACE, text))
