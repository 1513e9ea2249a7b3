"""The executive page: four answers, risks, what to do; measured or said how to, in both languages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from harness.advice import MOST_RECOMMENDATIONS, advise
from harness.advice.case import Case
from harness.model.cost import CacheSaving
from harness.model.verdict import Verdict
from harness.report import block_executive
from harness.report.block_executive import Told, executive
from harness.report.html import page
from harness.report.language_en import ENGLISH
from harness.report.language_sv import SWEDISH
from tests.unit.advice.builders import capacity, cost, slow, soak
from tests.unit.report import story

if TYPE_CHECKING:
    from harness.report.language import Language
    from tests.unit.report.conftest import Reported


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def tiles(told: Reported, language: Language = ENGLISH, **findings: Any) -> dict[str, Any]:
    found = told.findings.model_copy(update=findings)
    case = Case(told.recording.plan, found, story.verdicts())
    return dict(
        zip(("capacity", "cost", "sla", "soak"), executive([Told(case, "LOAD")], language)["tiles"], strict=True)
    )


def rows(tile: Any) -> list[tuple[str, str]]:
    return [(plain(name), plain(value)) for name, value in tile.rows]


def head(text: str) -> str:
    """Return the executive page of a page, on one line and without tags."""
    whole = text[text.index('<header id="verdict"') : text.index("</header>")]
    return plain(" ".join(re.sub(r"<[^>]+>", " ", whole).split()))


def test_what_was_not_measured_says_how_to(told: Reported) -> None:
    made = tiles(told)
    assert made["capacity"].figure == ""
    assert plain(made["capacity"].note) == "This run had LOAD, 18.5 requests/s."
    assert made["capacity"].command == "agentstorm run scenarios/capacity.yaml --target targets/synthetic.yaml"
    assert made["soak"].command == "agentstorm run scenarios/soak.yaml --target targets/synthetic.yaml"
    assert made["cost"].command.endswith("--set target.prices=audit")
    unsupported = tiles(told, cost="unsupported")["cost"]
    assert (unsupported.note, unsupported.command) == ("No ledger tells whose calls they were.", "")
    without = tiles(told, claims=())["sla"]
    assert without.command == (
        "agentstorm run scenarios/rate.yaml --chaos chaos/failover_sla.yaml --target targets/synthetic.yaml"
    )


def test_the_capacity_of_each_state(told: Reported) -> None:
    known = tiles(told, capacity=capacity())["capacity"]
    assert (plain(known.figure), known.of) == ("400", "users, healthy")
    assert rows(known) == [("healthy", "400 (370 – 430) users, 20 requests/s (18.5 – 21.5)")]  # noqa: RUF001
    beyond = tiles(told, capacity=capacity("at_least"))["capacity"]
    assert rows(beyond) == [("healthy", "at least 370 users, at least 18.5 requests/s")]
    below = tiles(told, capacity=capacity("below", "primary_down"))["capacity"]
    assert rows(below) == [("primary provider gone", "below 430 users, below 21.5 requests/s")]
    assert rows(tiles(told, capacity=capacity("undecided"))["capacity"]) == [("healthy", "not decided")]


def test_no_state_stands_for_a_worst_one_that_nobody_knows(told: Reported) -> None:
    healthy, down = capacity(), capacity("undecided", "primary_down").states
    found = healthy.model_copy(update={"states": (*healthy.states, *down), "worst": None})
    tile = tiles(told, capacity=found)["capacity"]
    assert (plain(tile.figure), tile.of) == ("not decided", "users, primary provider gone")
    assert [name for name, _ in rows(tile)] == ["healthy", "primary provider gone"]
    assert rows(tile)[1][1] == "not decided"


def test_the_cost_of_each_state(told: Reported) -> None:
    saving = CacheSaving(saved=1.0, share=0.271, hits=100)
    found = cost(bedrock__blackhole=3.0, openai__refuse=2.5, redis__kill=9.0).model_copy(update={"cache": saving})
    tile = tiles(told, cost=found)["cost"]
    assert (plain(tile.figure), tile.of) == ("2 USD", "per 1,000 requests")
    assert rows(tile) == [
        ("per user and hour", "0.5 USD"), ("healthy", "2 USD"), ("while redis is killed", "9 USD"),
        ("while bedrock hangs", "3 USD"), ("the cache saves", "27.1 %"),
    ]  # fmt: skip


def test_the_promise_is_that_of_the_worst_kind(told: Reported) -> None:
    tile = tiles(told)["sla"]
    assert plain(tile.figure) == "2 of 2"
    assert plain(tile.of) == "recovered under 5 s, bedrock refuses connections"
    assert rows(tile)[1] == (
        "bedrock hangs",
        "3 of 3: supports ≥ 36.8 % of outages, at 95 % confidence; 2 more in a row for 50 %",
    )
    nothing = told.findings.claims[0].model_copy(update={"recovered": 0, "share": 0.0})
    assert rows(tiles(told, claims=(nothing,))["sla"])[0][1].startswith("supports no promise yet; ")


def test_what_drifts(told: Reported) -> None:
    tile = tiles(told, soak=soak(to_limit_h={"value": 20.0, "low": 15, "high": None}))["soak"]
    assert (tile.figure, plain(tile.of), tile.command) == ("Leak", "over 2 h", "")
    assert rows(tile) == [("gateway: memory", "12 MiB/h; at its limit in 20 h")]
    short = tiles(told, soak=soak("inconclusive"))["soak"]
    assert short.figure == "Too short to tell"
    assert short.command.startswith("agentstorm run scenarios/soak.yaml")
    assert tiles(told, soak=soak("flat"))["soak"].figure == "Steady"


@pytest.mark.parametrize(
    ("what", "unit", "slope", "said", "swedish"),
    [
        ("provider_calls", "calls", 0.06, "0.06/h", "0,06/h"),
        ("failed", "share", 0.006, "0.6 points/h", "0,6 procentenheter/h"),
        ("response_p95", "ms", 120.0, "120 ms/h", "120 ms/h"),
    ],
)
def test_what_drifts_is_told_by_the_hour_in_its_own_unit(
    told: Reported, what: str, unit: str, slope: float, said: str, swedish: str
) -> None:
    about = {"low": slope * 0.9, "high": slope * 1.1, "value": slope}
    drifting = soak("drift", what, unit=unit, slope=about, threshold=slope / 10)
    assert rows(tiles(told, soak=drifting)["soak"])[0][1] == said
    assert rows(tiles(told, SWEDISH, soak=drifting)["soak"])[0][1] == swedish
    findings = told.findings.model_copy(update={"soak": drifting})
    (advice,) = (one for one in advise(Case(told.recording.plan, findings, story.verdicts())) if one.rule == "drift")
    assert plain(ENGLISH.fill(ENGLISH.advice["drift"].why, advice)).startswith(f"It moves by {said}; up to ")
    assert plain(SWEDISH.fill(SWEDISH.advice["drift"].why, advice)).startswith(f"Det ändras med {swedish}; upp till ")


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("lang", ["en", "sv"])
def test_every_verdict_has_an_executive_page_in_each_language(told: Reported, verdict: Verdict, lang: str) -> None:
    valid = verdict is not Verdict.INVALID
    reasons = () if valid else ("The generator was 480 ms late at p99 (limit 100 ms).",)
    validity = told.findings.validity.model_copy(update={"valid": valid, "reasons": reasons})
    findings = told.findings.model_copy(update={"validity": validity})
    text = page(told.recording, findings, story.verdicts(verdict), told.figures, lang=lang)
    language = {"en": ENGLISH, "sv": SWEDISH}[lang]
    assert f'<html lang="{lang}">' in text
    assert f"<h1>{language.phrases.headlines[verdict]}</h1>" in text
    assert f"<title>{language.phrases.headlines[verdict]}: " in text
    said = head(text)
    for phrase in (language.phrases.capacity, language.phrases.risks, language.phrases.recommendations):
        assert phrase in said
    assert (language.advice["invalid"].title in said) == (not valid)
    assert said.count(language.phrases.no_figures) == (0 if valid else 4)
    assert not re.search(r"[{}]", said.replace("{phase:fault}", ""))


def test_a_swedish_page_is_swedish_to_the_fold_and_english_below(told: Reported) -> None:
    late = tuple(slow(o, 9.25, 8.0) for o in told.findings.failovers)
    findings = told.findings.model_copy(update={"failovers": late})
    text = page(told.recording, findings, story.verdicts(), told.figures, lang="sv")
    said = head(text)
    for phrase in (
        "50 användare i 4 min 50 s",
        "23 november 2026 kl. 10.00 UTC, under 5 min",
        "3 av 3: styrker ≥ 36,8 % av avbrotten, med 95 % säkerhet; 2 till i rad för 50 %",
        "När bedrock hänger sig saknar användarna god service i upp till 9,25 s; SLA:n är 5 s.",
        "Avbryt anrop till bedrock efter mindre än 3,74 s, omförsök inräknade.",
    ):
        assert phrase in said
    # Figures of ours have no point left in them; names, commands and thresholds keep theirs.
    assert not re.search(r"\d\.\d+ (s|ms|%|anrop)\b", said)
    body = text[text.index("</header>") :]
    assert '<div lang="en">' in body
    assert "What do users feel?" in body


def test_risks_and_recommendations_link_to_their_evidence(told: Reported) -> None:
    late = tuple(slow(o, 9.25, 8.0) for o in told.findings.failovers)
    text = page(told.recording, told.findings.model_copy(update={"failovers": late}), story.verdicts(), told.figures)
    advice = text[text.index('<div class="advice">') : text.index("</header>")]
    risk, first = re.findall(r"<li.*?</li>", advice)[0], advice[advice.index('<li id="advice-') :]
    assert '<b class="severity stop">stop</b>' in risk
    assert 'href="#outage-bedrock-blackhole"' in risk
    assert first.startswith('<li id="advice-recovery_hang">')
    assert "Give up calls to bedrock after less than 3.74" in first
    assert advice.count(">evidence</a>") == advice.count("<li")
    assert advice.count("Verify with the same run again:") == 1


@pytest.mark.parametrize(
    ("left_out", "english", "swedish"),
    [
        (0, "", ""),
        (1, "1 more of less weight is left out.", "1 mindre viktig är utelämnad."),
        (2, "2 more of less weight are left out.", "2 mindre viktiga är utelämnade."),
    ],
)
def test_what_is_left_out_is_counted(
    told: Reported, monkeypatch: pytest.MonkeyPatch, left_out: int, english: str, swedish: str
) -> None:
    case = Case(told.recording.plan, told.findings, story.verdicts())
    one = advise(case)[0]
    monkeypatch.setattr(block_executive, "advise", lambda *_, **__: (one,) * (MOST_RECOMMENDATIONS + left_out))
    for language, said in ((ENGLISH, english), (SWEDISH, swedish)):
        assert executive([Told(case, "LOAD")], language)["more"] == said


def test_a_healthy_run_says_that_there_is_nothing_to_do(told: Reported) -> None:
    clean = {"failovers": (), "claims": (), "outage_kinds": (), "health": None}
    verdicts = story.verdicts(Verdict.PASS).model_copy(update={"checks": story.CHECKS[:1]})
    findings = told.findings.model_copy(update=clean)
    text = head(page(told.recording, findings, verdicts, told.figures))
    assert "None was seen." in text
    assert "Nothing: no reason was found to change anything." in text
