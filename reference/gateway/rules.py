"""Answers without a model: simple rules over the input, one set per team, always marked as such."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reference.gateway.catalogue import Agent, Task, Team

MODEL = "rule-based"
_MARK = {
    "en": "[Rule-based answer: no language model was available]",
    "sv": "[Regelbaserat svar: ingen språkmodell var tillgänglig]",
}
_MAX_QUOTED = 5

# The classes of the BAS chart of accounts, by first digit.
_BAS_CLASSES = {
    "1": "tillgångar",
    "2": "eget kapital och skulder",
    "3": "rörelsens inkomster",
    "4": "varor, material och underentreprenad",
    "5": "övriga externa kostnader",
    "6": "övriga externa kostnader",
    "7": "personal och avskrivningar",
    "8": "finansiella poster och resultat",
}
_VAT_RATES = (25, 12, 6)
_LARGE_AMOUNT = 10_000.0

Rules = Callable[[str], list[str]]


def answer(team: Team, agent: Agent, task: Task, text: str) -> str:
    """What can be said about `text` by rule alone, in the team's language."""
    lines = [_MARK[team.language], f"{agent.name} / {task.name}:"]
    lines += _BY_TEAM[team.name](text) or [_NOTHING[team.language]]
    return "\n".join(lines)


_NOTHING = {
    "en": "No rule applies to this input; ask again when a model is available.",
    "sv": "Ingen regel passar underlaget; fråga igen när en modell är tillgänglig.",
}


def _meeting(text: str) -> list[str]:
    actions = _sentences_with(text, r"\b(will|shall|must|should|todo|action|follow up|by \w+day)\b")
    decisions = _sentences_with(text, r"\b(decided|agreed|approved|rejected|chose)\b")
    questions = [sentence for sentence in _sentences(text) if sentence.endswith("?")][:_MAX_QUOTED]
    return (
        [f"- action: {sentence}" for sentence in actions]
        + [f"- decision: {sentence}" for sentence in decisions]
        + [f"- open question: {sentence}" for sentence in questions]
    )


def _swedish_accounting(text: str) -> list[str]:
    lines = [
        f"- BAS-konto {account}: klass {account[0]}, {_BAS_CLASSES[account[0]]}"
        for account in dict.fromkeys(re.findall(r"\b[1-8]\d{3}\b", text))
    ]
    rate = next((rate for rate in _VAT_RATES if re.search(rf"\b{rate}\s*%", text)), None)
    if rate is not None:
        lines += [
            f"- {amount:.2f} kr inklusive {rate} % moms: {amount * rate / (100 + rate):.2f} kr är moms"
            for amount in _amounts(text, r"kr|sek")
        ]
    if re.search(r"personnummer|personuppgift|\b\d{6}[-+]\d{4}\b", text, re.IGNORECASE):
        lines.append("- personuppgifter: rättslig grund och gallringstid krävs (GDPR artikel 5 och 6)")
    if re.search(r"verifikation|kvitto|faktura|bokför", text, re.IGNORECASE):
        lines.append("- räkenskapsinformation: bevaras i sju år (bokföringslagen 7 kap. 2 §)")
    if re.search(r"\bsie\b", text, re.IGNORECASE):
        lines.append("- SIE-export: typ 4 innehåller verifikationer, typ 1 endast årssaldon")
    return lines[: 2 * _MAX_QUOTED]


def _finance(text: str) -> list[str]:
    lines = []
    for amount in _amounts(text, r"usd|eur|sek|kr|\$|€"):
        verdict = "needs a second approval" if amount >= _LARGE_AMOUNT else "is within the ordinary limit"
        lines.append(f"- amount {amount:.2f} {verdict}")
    risky = _sentences_with(text, r"\b(leverage|margin|short|option|crypto|volatil\w*|all[- ]in)\b")
    lines += [f"- high risk, not executed by rule: {sentence}" for sentence in risky]
    orders = _sentences_with(text, r"\b(buy|sell|transfer|pay|rebalance)\b")
    lines += [f"- held until a model or a person confirms: {sentence}" for sentence in orders]
    return lines[: 2 * _MAX_QUOTED]


_BY_TEAM: dict[str, Rules] = {"meetmind": _meeting, "agentsvea": _swedish_accounting, "feliciasfi": _finance}


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n", text) if part.strip()]


def _sentences_with(text: str, pattern: str) -> list[str]:
    return [part for part in _sentences(text) if re.search(pattern, part, re.IGNORECASE)][:_MAX_QUOTED]


def _amounts(text: str, currencies: str) -> list[float]:
    number = r"(\d{1,3}(?:[ ,]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    found = re.findall(rf"{number}\s*(?:{currencies})|(?:{currencies})\s*{number}", text, re.IGNORECASE)
    return [float(re.sub(r"[ ,]", "", before or after)) for before, after in found[:_MAX_QUOTED]]
