"""What recordings answer to an audit, as people read it: English, and Swedish for the audit's own readers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from harness.advice.case import Value
from harness.analysis.capacity_use import MACHINE
from harness.model.audit import AuditVerdict
from harness.report import units
from harness.report.audit_sentences import NOTES, SAID
from harness.report.language_en import ENGLISH
from harness.report.language_sv import SWEDISH
from harness.report.units import DASH, SPACE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.model.audit import Answer, Answered, Fact, Row

Language = Literal["en", "sv"]

MARKS = {
    AuditVerdict.PASS: "✓", AuditVerdict.FAIL: "✗", AuditVerdict.INCONCLUSIVE: "?",
    AuditVerdict.NOT_MEASURED: DASH, AuditVerdict.SILENT: " ",
}  # fmt: skip
VERDICTS: Mapping[Language, Mapping[AuditVerdict, str]] = {
    "en": {v: v.value for v in AuditVerdict},
    "sv": {
        AuditVerdict.PASS: "godkänt", AuditVerdict.FAIL: "underkänt", AuditVerdict.INCONCLUSIVE: "obestämt",
        AuditVerdict.NOT_MEASURED: "inte mätt", AuditVerdict.SILENT: "kan inte mätas",
    },
}  # fmt: skip

_CATALOGUES = {"en": ENGLISH, "sv": SWEDISH}
_RESOURCES = {
    "cpu": "CPU", "memory": "minne", "throttling": "strypt CPU", "rate limit": "anropsgräns", "pool": "anslutningspool",
}  # fmt: skip
"""Swedish for what stands after the owner in `model.capacity.Limit.resource`."""

_PLACE = re.compile(r"\{(\w+)(?:([:~])(\w+))?\}")
_LEFT_OUT = re.compile(r"\[([^\[\]]*)\]")


def said(found: Answer, language: Language = "en") -> str:
    """Return an answer as a clause, without capital and full stop."""
    template = _LEFT_OUT.sub(lambda m: _if_told(found.facts, m[1]), SAID[found.key][language == "sv"])
    text = _PLACE.sub(lambda m: _fact(found.facts, m[1], m[2], m[3], language), template)
    return "; ".join([text, *(NOTES[note][language == "sv"] for note in found.notes)])


def _if_told(facts: Mapping[str, Fact], part: str) -> str:
    """Return a part of a sentence that is left out where one of its facts is empty."""
    return part if all(facts.get(place[1]) not in (None, "") for place in _PLACE.finditer(part)) else ""


def _fact(facts: Mapping[str, Fact], name: str, how: str | None, unit: str | None, language: Language) -> str:
    value = facts.get(name)
    if unit and value and isinstance(value, str):
        return _resource(value, language) if unit == "resource" else _CATALOGUES[language].value(Value(value, unit))
    if unit is None or isinstance(value, str):
        return units.NONE if value in (None, "") else _thousands(str(value), language)
    text = _say(value, unit)
    if how == "~":
        sides = [facts.get(f"{name}_{side}", facts.get(side)) for side in ("low", "high")]
        low, high = (side if isinstance(side, (int, float)) else None for side in sides)
        around = _between(low, high, unit, language)
        text += f" ({around})" if around and around != text else ""
    return number(text, language)


def _resource(text: str, language: Language) -> str:
    """Return the name of a resource: in Swedish its owner and its kind, apart."""
    if language == "en":
        return text
    if text == MACHINE:
        return "hela maskinens CPU"
    kind = next((kind for kind in _RESOURCES if text.endswith(f" {kind}")), None)
    return text if kind is None else f"{text.removesuffix(kind).strip()}: {_RESOURCES[kind]}"


def _between(low: float | None, high: float | None, unit: str, language: Language) -> str:
    if language == "sv" and (low is None) != (high is None):  # numbers are the same in both, the words are not
        return f"högst {units.say(high, unit)}" if low is None else f"{units.say(low, unit)} eller mer"
    return units.between(low, high, unit)


def _say(value: float | None, unit: str) -> str:
    if unit == "supported":  # a share that is never rounded up
        return units.NONE if value is None else units.share(units.supported(value))
    if unit == "number":
        return units.NONE if value is None else units.three(value)
    return units.say(value, unit)


def number(text: str, language: Language) -> str:
    """Write the numbers of a text as the language does: in Swedish a decimal comma, and a space before thousands."""
    if language == "en":
        return text
    return re.sub(r"(?<=\d)\.(?=\d)", ",", _thousands(text, language))


def _thousands(text: str, language: Language) -> str:
    return text if language == "en" else re.sub(r"(?<=\d),(?=\d{3})", SPACE, text)


def verdict(found: Answered, row: Row, language: Language = "en") -> str:
    """Return a row's verdict in words; a pass of a part is one in part."""
    word = VERDICTS[language][found.verdict]
    if found.verdict is AuditVerdict.PASS and (row.answers == "part" or (found.answer and not found.answer.whole)):
        return f"{word} ({'in part' if language == 'en' else 'delvis'})"
    return word


def title(row: Row, language: Language = "en") -> str:
    """Return what a row is called."""
    return row.original if language == "sv" and row.original else row.title
