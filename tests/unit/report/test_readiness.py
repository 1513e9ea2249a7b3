"""The audit, answered, as people read it: every answer has its words in both languages, every row its place."""

# ruff: noqa: RUF001 - typographic dashes are what is tested

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from harness.analysis.audit import readiness
from harness.analysis.audit_evidence import EVIDENCE, TOGETHER
from harness.analysis.audit_seen import Seen
from harness.auditing import open_audit
from harness.model.audit import Answer, AuditVerdict
from harness.model.load import SpikeLoad
from harness.report import audit_words, block_audit
from harness.report.audit_sentences import NOTES, SAID
from harness.report.html import page
from harness.report.markdown import markdown
from harness.report.readiness import document
from tests.unit.report import story

if TYPE_CHECKING:
    from harness.model.audit import Readiness
    from harness.report.audit_words import Language
    from tests.unit.report.conftest import Reported

LANGUAGES: tuple[Language, ...] = ("en", "sv")


@pytest.fixture(scope="module")
def answered(told: Reported) -> Readiness:
    return readiness(open_audit("happyos"), [Seen("run_1", told.recording.plan, told.findings)])


def test_both_languages_say_the_same_facts() -> None:
    for key, texts in SAID.items():
        # What a soak says in English words is in that language only.
        facts = [set(re.findall(r"\{\w+(?:[:~]\w+)?\}", text)) - {"{why}"} for text in texts]
        assert facts[0] == facts[1], key


def test_every_sentence_can_be_said_with_and_without_its_facts() -> None:
    for key, texts in SAID.items():
        places = audit_words._PLACE.findall("".join(texts))
        facts = {name: 0.5 for name, _, unit in places if unit} | {name: "x" for name, _, unit in places if not unit}
        for language in LANGUAGES:
            for some in (facts, {}):
                found = Answer(verdict=AuditVerdict.PASS, key=key, facts=some, notes=tuple(NOTES))
                assert not set("{}") & set(audit_words.said(found, language)), key


def test_numbers_are_written_as_the_language_does() -> None:
    facts = {"share": 0.4356, "low": 0.4, "high": 0.5, "n": 11025, "limit": 0.2, "tenant": "a", "tenant_share": 0.3,
             "agent": "b.c", "agent_share": 0.2}  # fmt: skip
    found = Answer(verdict=AuditVerdict.PASS, key="cache", facts=facts)
    plain = [audit_words.said(found, language).replace("\u00a0", " ") for language in LANGUAGES]
    assert plain[0].startswith("43.6 % (40 – 50 %) of 11,025 lookups hit")
    assert plain[1].startswith("43,6 % (40 – 50 %) av 11 025 uppslag träffade")
    assert "agent b.c 20 %" in plain[1]


@pytest.mark.parametrize(
    ("sides", "english", "swedish"),
    [
        ({"low": 0.12}, "50 % (12 % or more) of", "50 % (12 % eller mer) av"),
        ({"high": 0.625}, "50 % (up to 62.5 %) of", "50 % (högst 62,5 %) av"),
        ({"low": 0.12, "high": 0.625}, "50 % (12 – 62.5 %) of", "50 % (12 – 62,5 %) av"),
        ({}, "50 % of", "50 % av"),
    ],
)
def test_an_open_interval_is_said_in_the_words_of_the_language(
    sides: dict[str, float], english: str, swedish: str
) -> None:
    found = Answer(verdict=AuditVerdict.PASS, key="trace", facts={"share": 0.5, "n": 10, **sides})
    said = [audit_words.said(found, language).replace("\u00a0", " ") for language in LANGUAGES]
    assert said[0].startswith(english)
    assert said[1].startswith(swedish)


@pytest.mark.parametrize("key", ["failover", "breakers"])
def test_what_outages_support_is_never_rounded_up(key: str) -> None:
    found = Answer(verdict=AuditVerdict.INCONCLUSIVE, key=key, facts={"least": 0.8989, "share": 0.9})
    assert "at least 89.8 %" in audit_words.said(found).replace("\u00a0", " ")
    assert "minst 89,8 %" in audit_words.said(found, "sv").replace("\u00a0", " ")


def test_a_soak_in_which_something_got_better_does_not_say_that_nothing_moved() -> None:
    found = Answer(verdict=AuditVerdict.PASS, key="soak_flat", facts={"seconds": 14_400.0, "tested": 9})
    assert audit_words.said(found).startswith("nothing leaked, or drifted for the worse, in 4")
    assert audit_words.said(found, "sv").startswith("inget läckte, eller drev åt fel håll, på 4")


def test_what_there_is_none_of_is_left_out() -> None:
    facts = {"done": 1, "n": 2, "passed": 1, "failed": "", "missing": "LOAD-SOAK"}
    found = Answer(verdict=AuditVerdict.INCONCLUSIVE, key="together", facts=facts)
    made = "1 of 2 loads were made at full length, 1 passed"
    assert audit_words.said(found) == f"{made}; not at full length: LOAD-SOAK"
    assert audit_words.said(found, "sv") == (
        "1 av 2 laster gjordes i full längd, 1 godkända; inte i full längd: LOAD-SOAK"
    )
    failed = found.model_copy(update={"facts": facts | {"failed": "LOAD-RATE", "missing": ""}})
    assert audit_words.said(failed) == f"{made}; failed: LOAD-RATE"


@pytest.mark.parametrize(
    ("key", "facts", "english", "swedish"),
    [
        (
            "tenants",
            {"wrong": 0, "n": 41678, "faulted": 33937, "most": 0.0001, "limit": 0.001},
            (
                "0 of 41,678 provider calls carried another tenant than their request (at most 0.01 %, limit 0.1 %); "
                "33,937 of the 41,678 were made while a fault was on; what is cached or stored is not seen"
            ),
            (
                "0 av 41 678 leverantörsanrop bar en annan hyresgäst än sin begäran (högst 0,01 %, gräns 0,1 %); "
                "33 937 av de 41 678 gjordes under ett fel; vad som cachas eller lagras syns inte"
            ),
        ),
        (
            "providers_silent",
            {"who": "openai 5, bedrock 0", "silent": "bedrock"},
            "answered under load: openai 5, bedrock 0; no answer names bedrock",
            "svarade under last: openai 5, bedrock 0; inget svar nämner bedrock",
        ),
        (
            "health",
            {"good": 1, "n": 2, "limit": 5, "false_ok": 4, "alarms": None, "looks": 60},
            (
                "the page noticed 1 of 2 outages within 5 s, and said that all was well for 4 s while something was "
                "broken (60 looks)"
            ),
            (
                "sidan märkte 1 av 2 avbrott inom 5 s, och sade att allt var bra i 4 s medan något var trasigt "
                "(60 avläsningar)"
            ),
        ),
        (
            "health_alarms",
            {"alarms": 9, "looks": 600},
            "nothing was broken while the page was read; its false alarms: 9 (600 looks)",
            "inget var trasigt medan sidan lästes; dess falsklarm: 9 (600 avläsningar)",
        ),
        (
            "soak_moved",
            {"what": "response_p95", "who": "", "seconds": 7200, "tested": 9, "why": "it grows"},
            "p95 of response times moved in 2 h (9 series)",
            "p95 för svarstiden rörde sig på 2 h (9 serier)",
        ),
        (
            "soak_moved",
            {"what": "memory", "who": "agents", "seconds": 7200, "tested": 9, "why": "it grows"},
            "memory of agents moved in 2 h (9 series)",
            "minne för agents rörde sig på 2 h (9 serier)",
        ),
        (
            "capacity",
            {"rate": 20, "state": "healthy", "users_low": 400, "first": "bedrock rate limit", "levels": 9, "states": 2},
            (
                "20 /s at SLO in state healthy; users at least 400; first at its limit: bedrock rate limit; 9 levels, "
                "2 states"
            ),
            (
                "20 /s vid SLO i läget allt friskt; användare minst 400; först vid sin gräns: bedrock: anropsgräns; "
                "9 nivåer, 2 lägen"
            ),
        ),
        (
            "pool",
            {"resource": "whole machine cpu", "rate": 20, "levels": 9},
            "whole machine cpu was used up at 20 /s (9 levels)",
            "hela maskinens CPU tog slut vid 20 /s (9 nivåer)",
        ),
    ],
)
def test_what_is_said_is_what_was_seen(key: str, facts: dict[str, Any], english: str, swedish: str) -> None:
    found = Answer(verdict=AuditVerdict.INCONCLUSIVE, key=key, facts=facts)
    said = [audit_words.said(found, language).replace("\u00a0", " ") for language in LANGUAGES]
    assert said == [english, swedish]


def test_a_run_without_a_healthy_everyday_load_is_told_to_make_one(told: Reported) -> None:
    load = SpikeLoad.model_validate({"kind": "spike", "users": 50, "ramp": "60s", "hold": "2m"})
    scenario = told.recording.plan.scenario.model_copy(update={"load": load})
    spike = told.recording.plan.model_copy(update={"scenario": scenario})
    found = readiness(open_audit("happyos"), [Seen("spike", spike, told.findings)])
    rows = {line.row.id: line.said for line in block_audit.lines(found)}
    for row in ("PERF-1", "AVAILABILITY"):
        assert rows[row].startswith("a steady load while nothing is broken"), rows[row]


def test_every_kind_says_what_it_would_need() -> None:
    assert set(block_audit.WOULD) == {*EVIDENCE, TOGETHER}


def test_every_row_has_its_place_once(answered: Readiness) -> None:
    parts = block_audit.folded(block_audit.lines(answered))
    ids = [line.row.id for part in parts for line in part]
    assert sorted(ids) == sorted(row.id for row in answered.audit.rows)
    assert len(ids) == 40 + 35 + 6 + 30
    assert {line.found.verdict for line in parts[3]} == {AuditVerdict.SILENT}
    verdicts = [line.found.verdict for line in parts[0]]
    assert verdicts == sorted(verdicts, key=[AuditVerdict.FAIL, AuditVerdict.INCONCLUSIVE, AuditVerdict.PASS].index)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_document_holds_all_of_it_and_the_sums(language: Language, answered: Readiness) -> None:
    text = document(answered, language)
    for row in answered.audit.rows:
        assert audit_words.title(row, language).split(" < ")[0].split(" > ")[0] in text.replace("\\", ""), row.id
        assert row.id in text
    assert text.count("<details>") == text.count("</details>")
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| ? ")}
    assert len(widths) == 1
    score = next(s for s in answered.scores if s.category == "performance")
    assert score.after != score.before
    assert block_audit.arithmetic(score) in text
    points = " + ".join(f"{after:g}" for _, _, after in score.points)
    assert block_audit.arithmetic(score) == f"({points}) / 5 = {sum(p[2] for p in score.points) / 5:.3g}"


def test_swedish_is_swedish(answered: Readiness) -> None:
    text = document(answered, "sv")
    assert text.startswith("# Beredskap: HappyOS Produktionsberedskapsanalys")
    english = (" of ", " the ", "limit ", " requests", "inconclusive", "not measured", " and ", "which ")
    lower = text.lower()
    for row in answered.audit.rows:  # titles are the audit's own, and it mixes
        lower = lower.replace(row.original.lower(), "")
    assert [word for word in english if word in lower] == []


def test_with_several_recordings_the_one_that_decides_is_named(told: Reported) -> None:
    seen = [Seen(name, told.recording.plan, told.findings) for name in ("run_1", "run_2")]
    text = document(readiness(open_audit("happyos"), seen))
    assert "are answered by 2 recordings" in text
    assert "| run\\_1 |" in text


def test_the_page_and_the_summary_have_a_section(told: Reported, answered: Readiness) -> None:
    html = page(told.recording, told.findings, story.verdicts(), told.figures, answered)
    section = html[html.index('<section id="audit">') : html.index('<section id="made">')]
    assert "The audit, answered" in section
    assert section.count("<tr") == section.count("</tr>")
    assert "Not measured" in section
    assert 'id="audit"' not in told.page
    text = markdown(told.recording, told.findings, story.verdicts(), answered)
    assert "### The audit, answered" in text
    assert "[All of it](readiness.md)" in text
    assert text.count("<details>") == text.count("</details>")


def test_names_cannot_break_the_page(told: Reported) -> None:
    audit = open_audit("happyos")
    row = audit.gaps[0].model_copy(update={"title": "<img src=x> | `a`"})
    broken = audit.model_copy(update={"gaps": (row, *audit.gaps[1:])})
    answered = readiness(broken, [Seen("a|b", told.recording.plan, told.findings)])
    assert "<img" not in page(told.recording, told.findings, story.verdicts(), told.figures, answered)
    assert "\\<img src=x\\> \\| \\`a\\`" in document(answered)
