"""The rule-based answers: marked, in the team's language, and about the input."""

from __future__ import annotations

import pytest

from reference.gateway.catalogue import TEAMS
from reference.gateway.rules import answer


def said(team: str, text: str) -> str:
    found = TEAMS[team]
    agent = next(iter(found.agents.values()))
    return answer(found, agent, agent.first_task, text)


@pytest.mark.parametrize("team", TEAMS)
@pytest.mark.parametrize("text", ["", "???", "x" * 10_000, "1 2 3 € $ %"])
def test_any_input_gets_a_marked_answer(team: str, text: str) -> None:
    mark = "[Regelbaserat svar" if team == "agentsvea" else "[Rule-based answer"
    assert said(team, text).startswith(mark)


def test_meetings_give_actions_decisions_and_questions() -> None:
    text = said("meetmind", "We agreed on blue. Anna will ship it. Who pays? The room was warm.")
    assert "- decision: We agreed on blue." in text
    assert "- action: Anna will ship it." in text
    assert "- open question: Who pays?" in text
    assert "warm" not in text


def test_swedish_accounting_knows_accounts_vat_and_law() -> None:
    text = said("agentsvea", "Faktura 1 250 kr med 25 % moms på konto 4010, personnummer saknas. SIE-fil behövs.")
    assert "BAS-konto 4010: klass 4" in text
    assert "1250.00 kr inklusive 25 % moms: 250.00 kr är moms" in text
    assert "GDPR" in text
    assert "bokföringslagen" in text
    assert "SIE-export" in text


def test_finance_holds_orders_and_large_amounts() -> None:
    text = said("feliciasfi", "Transfer 12,500 USD today. Buy on leverage. Pay 20 EUR.")
    assert "amount 12500.00 needs a second approval" in text
    assert "amount 20.00 is within the ordinary limit" in text
    assert "high risk, not executed by rule: Buy on leverage." in text
    assert "held until a model or a person confirms: Transfer 12,500 USD today." in text
