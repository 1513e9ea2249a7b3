"""What the report says of cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.model.cost import CacheSaving, CostFindings, Spend
from harness.report import block_cost, units
from harness.report.html import page
from tests.unit.report import story

if TYPE_CHECKING:
    from tests.unit.report.conftest import Reported


def spend(spent: float, requests: int = 1000) -> Spend:
    return Spend(
        spent=spent, requests=requests, answers=requests, calls=requests, tokens_in=5, tokens_out=7,
        per_1k_requests=1000 * spent / requests, per_answer=spent / requests,
    )  # fmt: skip


def bill(**how: Any) -> CostFindings:
    about: dict[str, Any] = {
        "currency": "USD", "total": spend(4.0), "per_user_hour": 0.36, "per_user_hour_by_state": {},
        "by_state": {"healthy": spend(3.0), "bedrock blackhole": spend(6.6)}, "by_tenant": {"meetmind": spend(4.0)},
        "by_agent": {}, "by_upstream": {}, "by_model": {}, "canary": 0.1,
        "cache": CacheSaving(saved=1.0, share=0.2, hits=250), "unpriced": {},
    }  # fmt: skip
    return CostFindings(**(about | how))


def test_the_answer_says_what_users_cost_and_what_outages_make_of_it(told: Reported) -> None:
    findings = told.findings.model_copy(update={"cost": bill()})
    assert block_cost.said(findings).replace("\u00a0", " ") == (
        "1,000 requests cost 4 USD, a user 0.36 USD an hour; 2.2 times the healthy price under bedrock blackhole; "
        "the cache saves about 20 %."
    )


def test_an_open_loop_has_no_users_and_a_model_without_price_is_named(told: Reported) -> None:
    cost = bill(per_user_hour=None, cache=None, by_state={}, unpriced={"gpt-9": 3})
    said = block_cost.said(told.findings.model_copy(update={"cost": cost}))
    assert said.replace("\u00a0", " ") == (
        "1,000 requests cost 4 USD; calls of gpt-9 have no price and are counted as free."
    )


def test_what_is_not_known_is_said_so(told: Reported) -> None:
    assert block_cost.cost(told.findings) is None
    block = block_cost.cost(told.findings.model_copy(update={"cost": "unsupported"}))
    assert block is not None
    assert block["answer"].startswith("Not known")


def test_a_state_says_what_its_users_cost_and_a_tenant_does_not(told: Reported) -> None:
    def rows(**how: Any) -> dict[str, list[str]]:
        block = block_cost.cost(told.findings.model_copy(update={"cost": bill(**how)}))
        assert block is not None
        assert block["columns"][-1] == "per user and hour"
        for columns, part in (("columns", "rows"), ("folded_columns", "folded")):
            assert {len(cells) for _, _, cells in block[part]} == {len(block[columns])}
        return {name or kind: [text.replace("\u00a0", " ") for text, _ in cells] for kind, name, cells in block["rows"]}

    closed = rows(per_user_hour_by_state={"healthy": 0.3, "bedrock blackhole": 0.66})
    assert {name: cells[-1] for name, cells in closed.items()} == {
        "whole run": "0.36 USD", "healthy": "0.3 USD", "bedrock blackhole": "0.66 USD"
    }  # fmt: skip
    opened = rows(per_user_hour=None)
    assert {cells[-1] for cells in opened.values()} == {units.NONE}


def test_the_page_has_the_column_and_its_fold_has_not(told: Reported) -> None:
    found = told.findings.model_copy(update={"cost": bill()})
    text = page(told.recording, found, story.verdicts(), told.figures)
    section = text[text.index('<section id="cost">') :].partition("</section>")[0]
    states, folded = section.split("<details>")
    assert states.count("<th ") + states.count("<th>") == 2 + 8
    assert folded.count("<th ") + folded.count("<th>") == 2 + 7
