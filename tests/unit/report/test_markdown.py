"""The pull-request summary."""

# ruff: noqa: RUF001 - typographic dashes are what is tested

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.model.verdict import Verdict, Verdicts
from harness.report.markdown import markdown
from tests.unit.report import story

if TYPE_CHECKING:
    from tests.unit.report.conftest import Reported


def text_of(told: Reported, verdicts: Verdicts) -> str:
    return markdown(told.recording, told.findings, verdicts).replace("\u00a0", " ")


def test_it_reads_verdict_why_checks_validity_outages_and_the_rest_folded(told: Reported) -> None:
    text = text_of(told, story.verdicts())
    assert text.startswith("## ✗ Fail: steady + bedrock-blackhole + bedrock-refuse\n\n**Users wait up to 2.78 s")
    parts = ("| threshold |", "believed", "### Outages", "<details>", "**Cache hits**", "</details>", "(report.html)")
    order = [text.index(w) for w in parts[:-2]] + [text.rindex(w) for w in parts[-2:]]
    assert order == sorted(order)
    assert text.count("<details>") == text.count("</details>") == 2
    assert "\n\n\n" not in text


def test_the_checks_table_is_worst_first_and_whole(told: Reported) -> None:
    lines = text_of(told, story.verdicts()).splitlines()
    first = lines.index("| --- | --- | ---: | ---: | ---: | ---: |") + 1
    rows = lines[first : first + len(story.CHECKS)]
    assert rows[0] == "| ✗ fail | response\\_time\\{phase:fault\\}: p(95)\\<2s | 2.78 s | 2.6 – 3.01 s | 1,360 | 2 s |"
    assert [row.split()[2] for row in rows] == ["fail"] + ["inconclusive"] * 3 + ["pass"] * 4


def test_outages_are_one_row_a_kind(told: Reported) -> None:
    text = text_of(told, story.verdicts())
    assert "| bedrock blackhole | 3 of 3 |" in text
    assert "| bedrock refuse | 2 of 2 |" in text
    assert "- claim, bedrock blackhole: ≥ 36.8 % of such outages at 95 % confidence" in text


def test_a_service_has_no_providers_times_and_each_kind_says_what_it_cost(parted: Reported) -> None:
    text = text_of(parted, story.verdicts())
    assert "| agents kill | 2 of 2 | " in text
    assert "| redis refuse | 2 of 2 | none | – | no harm | – | 0 | – |" in text
    assert "| cache slow" not in text, "what never bit has no times"
    for start in (
        "- Agents killed twice: none of 200",
        "- Redis refused connections twice",
        "- Slow on cache was never",
    ):
        assert start in text


def test_names_cannot_break_the_table(told: Reported) -> None:
    check = story.CHECKS[0].model_copy(update={"threshold": "a|b <img>\n: x"})
    text = text_of(told, story.verdicts().model_copy(update={"checks": (check,)}))
    assert "| a\\|b \\<img\\> : x |" in text


def test_without_checks_or_outages_there_are_no_empty_tables(told: Reported) -> None:
    findings = told.findings.model_copy(update={"failovers": (), "claims": ()})
    none = story.verdicts(Verdict.INVALID).model_copy(update={"checks": ()})
    text = markdown(told.recording, findings, none)
    assert "|" not in text


def test_who_is_at_a_limit_is_named(contained: Reported, told: Reported) -> None:
    assert "**At its limit**: Redis is at its memory limit" in text_of(contained, story.verdicts())
    assert "At its limit" not in text_of(told, story.verdicts())
