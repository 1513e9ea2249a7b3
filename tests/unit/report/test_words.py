"""Answers as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.model.findings import CacheWitness, Claim
from harness.model.load import RateLoad, SpikeLoad, UsersLoad
from harness.report import units, words
from tests.unit.report import story

if TYPE_CHECKING:
    from harness.model.load import Load
    from tests.unit.report.conftest import Reported


def said(text: str) -> str:
    return text.replace(units.SPACE, " ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("users wait", "Users wait."),
        ("p99 needs more", "p99 needs more."),
        ("Why?", "Why?"),
        ("", ""),
        ("a, b", "A, b."),
    ],
)
def test_a_sentence_has_a_capital_and_a_stop(text: str, sentence: str) -> None:
    assert words.sentence(text) == sentence


def test_the_verdicts_word_is_not_said_twice() -> None:
    for text in ("Fails: users wait", "users wait", "Invalid: users wait", "inconclusive: users wait"):
        assert words.why(story.verdicts().model_copy(update={"why": text})) == "Users wait."


@pytest.mark.parametrize(
    ("load", "text"),
    [
        (UsersLoad(kind="users", users=100, hold="10m"), "100 users for 10 min"),
        (RateLoad(kind="rate", rate="1000/min", hold="1h"), "16.7 requests/s (constant arrivals) for 1 h"),
        (SpikeLoad(kind="spike", users=500, ramp="1m", hold="5m"), "0 to 500 users in 60 s, held for 5 min"),
    ],
)  # fmt: skip
def test_load_in_words(load: Load, text: str) -> None:
    assert said(words.load(load)) == text


def test_a_claim_is_never_rounded_up() -> None:
    claim = Claim(kind="blackhole", recovered=29, outages=29, limit_s=5, confidence=0.95, share=0.90186,
                  next_share=0.95, more_needed=30)  # fmt: skip
    assert said(words.claim(claim)) == "≥ 90.1 % of such outages at 95 % confidence; 30 more in a row for 95 %"


def test_the_error_budget_is_a_months() -> None:
    assert said(words.budget(2592.0)) == "100 %"
    assert said(words.budget(2.592)) == "0.1 %"


@pytest.mark.parametrize(
    ("rates", "text"),
    [
        ((0.27, 0.28, 0.275), "3 witnesses agree on the cache hit rate: 27 % to 28 %."),
        ((0.27, 0.10, None), "2 witnesses disagree about the cache hit rate: 10 % to 27 %."),
        ((0.27, None, None), "The cache hit rate was 27 %, as the answers say; no other witness."),
        ((None, None, None), "Nothing shows whether the cache was hit."),
    ],
)  # fmt: skip
def test_witnesses_are_heard_together(told: Reported, rates: tuple[float | None, ...], text: str) -> None:
    heard = {
        name: "unsupported" if rate is None else CacheWitness(hit_rate=rate, hits=round(rate * 100), n=100)
        for name, rate in zip(("answers", "metrics", "ledger"), rates, strict=True)
    }
    findings = told.findings.model_copy(update={"cache": told.findings.cache.model_copy(update=heard)})
    assert said(words.cache(findings)) == text


def test_outages_are_grouped_by_what_was_broken_how(told: Reported) -> None:
    groups = words.kinds(told.findings)
    assert {key: len(group) for key, group in groups.items()} == {("bedrock", "blackhole"): 3, ("bedrock", "refuse"): 2}
    hung = groups["bedrock", "blackhole"]
    assert (
        said(words.outage("bedrock", "blackhole", hung, None)) == "bedrock blackhole: 3 of 3 recovered while observed"
    )
    claim = words.claim_of(told.findings, "blackhole")
    assert said(words.outage("bedrock", "blackhole", hung, claim)) == "bedrock blackhole: 3 of 3 recovered under 5 s"
