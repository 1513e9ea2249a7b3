"""The catalogues: the same things said in every language, with the same figures, each in its own way."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import pytest

from harness.advice.case import Advice, Severity, Value, kind, limit, name, per_hour
from harness.model.capacity import LimitKind
from harness.model.experiment import FaultSpec
from harness.model.findings import Failover
from harness.model.load import Load, RateLoad, SpikeLoad, StepsLoad, UsersLoad
from harness.model.soak import SoakVerdict, SoakWhat
from harness.model.threshold import _AGGREGATORS, METRICS, Threshold, parse_threshold
from harness.model.verdict import Check, Verdict, Verdicts
from harness.report import language_sv_checks, units
from harness.report.language import Phrases, swedish
from harness.report.language_en import ENGLISH
from harness.report.language_sv import SWEDISH
from harness.report.languages import LANGUAGES, _lasts
from harness.wording import observation
from tests.unit.advice.test_rules import SPEAKS
from tests.unit.report import story

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.report.conftest import Reported

NBSP = units.SPACE


def places(sentence: str) -> set[str]:
    return {found for _, found, _, _ in string.Formatter().parse(sentence) if found}


def test_both_languages_say_all_advice_with_the_same_figures() -> None:
    assert ENGLISH.advice.keys() == SWEDISH.advice.keys()
    for rule, english in ENGLISH.advice.items():
        theirs = SWEDISH.advice[rule]
        assert bool(english.risk) == bool(theirs.risk), rule
        for ours, other in ((english.risk, theirs.risk), (english.title, theirs.title), (english.why, theirs.why)):
            assert places(ours) == places(other), (rule, ours, other)
        assert english.title
        assert english.why


def test_there_are_words_for_every_rule_that_speaks_and_no_other() -> None:
    assert ENGLISH.advice.keys() == {rule for rule, *_ in SPEAKS}


def _texts(phrases: Phrases) -> Iterator[tuple[str, str]]:
    for field in fields(phrases):
        yield from _flat(field.name, getattr(phrases, field.name))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield every text in a phrase, be it one, several, or a table of them."""
    if isinstance(value, str):
        yield name, value
        return
    for number, part in enumerate(value.values() if isinstance(value, Mapping) else value):
        yield from _flat(f"{name} {number}", part)


def test_both_languages_have_all_phrases_with_the_same_places() -> None:
    ours, theirs = dict(_texts(ENGLISH.phrases)), dict(_texts(SWEDISH.phrases))
    assert ours.keys() == theirs.keys()
    assert {key: places(text) for key, text in ours.items()} == {key: places(text) for key, text in theirs.items()}
    assert all(theirs.values())


@pytest.mark.parametrize("table", ["kinds", "states", "limits", "series", "nouns"])
def test_both_languages_know_the_same_things(table: str) -> None:
    assert getattr(ENGLISH, table).keys() == getattr(SWEDISH, table).keys()


def test_all_that_can_give_out_has_words() -> None:
    assert set(get_args(LimitKind)) == ENGLISH.limits.keys()


def test_the_soaks_words_are_known() -> None:
    assert set(get_args(SoakWhat)) == ENGLISH.series.keys()
    assert set(get_args(SoakVerdict)) == ENGLISH.phrases.soak_verdicts.keys()


def test_swedish_loads_are_all_loads_there_are() -> None:
    kinds = {get_args(profile.model_fields["kind"].annotation)[0] for profile in get_args(get_args(Load)[0])}
    assert kinds <= language_sv_checks.LOADS.keys()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("1,203", f"1{NBSP}203"),
        ("12,345,678", f"12{NBSP}345{NBSP}678"),
        ("3.14", "3,14"),
        ("1,234.5", f"1{NBSP}234,5"),
        ("0.0315 %", "0,0315 %"),
        ("12", "12"),
    ],
)
def test_swedish_numbers(number: str, said: str) -> None:
    assert swedish(number) == said


@pytest.mark.parametrize(
    ("value", "english", "swedish_"),
    [
        (Value(3.42, "s"), "3.42 s", "3,42 s"),
        (Value(1234, "requests"), "1,234 requests", "1 234 anrop"),
        (Value(1, "outages"), "1 outage", "1 avbrott"),
        (Value(2.5, "x"), "2.5 times", "2,5 gånger"),
        (Value(15.87, "rate"), "15.9 requests/s", "15,9 anrop/s"),
        (Value(15.87, "rate_or_less"), "15.9 requests/s or less", "15,9 anrop/s eller mindre"),
        (Value(0.0132, "USD"), "0.0132 USD", "0,0132 USD"),
        (Value(0.999, "share"), "99.9 %", "99,9 %"),
        (Value(0.02, "points"), "2", "2"),
        (Value(12.5, "MiB"), "12.5 MiB", "12,5 MiB"),
        (Value(99, "percentile"), "p99", "p99"),
        (kind("bedrock", "blackhole"), "bedrock hangs", "bedrock hänger sig"),
        (kind("my/cache", "odd"), "my/cache odd", "my/cache odd"),
        (Value("primary_down", "state"), "primary provider gone", "huvudleverantören borta"),
        (Value("memory", "series"), "memory", "minne"),
        (limit("gateway", "cpu"), "the CPU of gateway", "CPU:n i gateway"),
        (limit("my/cache", "rate_limit"), "the rate limit of my/cache", "anropsgränsen hos my/cache"),
        (name("gpt-4.1, x"), "gpt-4.1, x", "gpt-4.1, x"),  # a name is no number
        (per_hour(0.06, "calls"), "0.06/h", "0,06/h"),
        (per_hour(0.006, "share"), "0.6 points/h", "0,6 procentenheter/h"),
        (per_hour(-1250.5, "ms"), "−1,250 ms/h", "−1 250 ms/h"),  # noqa: RUF001
        (per_hour(12.5, "MiB"), "12.5 MiB/h", "12,5 MiB/h"),
        (per_hour(1, "count"), "1/h", "1/h"),
    ],
)
def test_a_value_is_said_in_each_language(value: Value, english: str, swedish_: str) -> None:
    assert ENGLISH.value(value).replace(NBSP, " ") == english
    assert SWEDISH.value(value).replace(NBSP, " ") == swedish_


def test_a_sentence_takes_its_values() -> None:
    values = {"failed": Value(0.334, "share"), "requests": Value(1001, "requests"), "limit": Value(0.01, "share")}
    advice = Advice("unanswered", Severity.HARM, 1, values, (), "")
    said = SWEDISH.fill(SWEDISH.advice["unanswered"].why, advice).replace(NBSP, " ")
    assert said == "33,4 % av 1 001 anrop under tiden misslyckades; målet tillåter 1 %."


# --- the verdict's sentence in Swedish -------------------------------------------------------------------------------


def check(threshold: str, observed: float | None, limit: float, unit: str = "ms", **more: Any) -> Check:
    facts: dict[str, Any] = {
        "scope": "scenario",
        "low": None,
        "high": None,
        "n": 3,
        "verdict": Verdict.FAIL,
        "why": "w",
    }
    return Check(threshold=threshold, observed=observed, limit=limit, unit=unit, **(facts | more))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (check("response_time: p(95)<8s", 10_200, 8000), "användarna väntar 10,2 s (p95); gränsen är 8 s"),
        (
            check("response_time{phase:fault}: p(95)<8s", 10_200, 8000),
            "användarna väntar 10,2 s (p95) medan bedrock hänger sig eller bedrock nekar anslutningar; gränsen är 8 s",
        ),
        (
            check("response_time{fault:refuse,agent:architect}: med<8s", 9000, 8000),
            "användarna väntar 9 s (median) medan bedrock nekar anslutningar för architect; gränsen är 8 s",
        ),
        (check("request_failed: rate<0.01", 0.034, 0.01, "share"), "3,4 % av anropen misslyckas; gränsen är 1 %"),
        (
            check("cache_hit{phase:baseline}: rate>0.2", 0.1, 0.2, "share"),
            "10 % av cacheuppslagen träffar före felen; gränsen är 20 %",
        ),
        (check("recovery_time: max<5s", 9.1, 5, "s"), "tjänsten var bra igen efter 9,1 s (högst); gränsen är 5 s"),
        (check("recovery_time: max<5s", None, 5, "s"), "tjänsten återhämtade sig inte; gränsen är 5 s"),
        (
            check("failover_claim: 0.90 at 0.95 under 5s", 2 / 3, 0.9, "share", low=0.135),
            "2 av 3 avbrott avhjälptes i tid, vilket styrker minst 13,5 %; kravet är 90 %",
        ),
        (
            check("response_time: p(95)<1.5x vs baseline", 2.1, 1.5, "x"),
            "response_time är 2,1 gånger så hög som före felen; gränsen är 1,5 gånger",
        ),
        (
            check("response_time: p(99)<6s", 5000, 6000, verdict=Verdict.INCONCLUSIVE),
            "användarna väntar 5 s (p99); gränsen är 6 s, men underlaget räcker inte för att avgöra det",
        ),
        (
            check("failover_claim: 0.90 at 0.95 under 5s", 1.0, 0.9, "share", low=0.8989, n=28),
            "28 av 28 avbrott avhjälptes i tid, vilket styrker minst 89,8 %; kravet är 90 %",
        ),
        (
            check("response_time: p(95)<3s", 3200, 3000, scope="bedrock-blackhole, steady state"),
            "efter det sista felet: användarna väntar 3,2 s (p95); gränsen är 3 s",
        ),
        (check("failover_time: max<5s", None, 5, "s"), "ingen annan leverantör svarade; gränsen är 5 s"),
        (
            check("worst_stall: max<30s", 40, 30, "s", at_least=True),
            "ingen fick svar på minst 40 s (som värst); gränsen är 30 s",
        ),
        (
            check("failback_time: med<9s", 40, 9, "s", at_least=True),
            "leverantören hade inte tagit tillbaka sin andel 40 s efter att felet var borta (median); gränsen är 9 s",
        ),
        (
            check("tokens_per_second: p(5)>20", 12.5, 20, "per_s"),
            "svaren strömmar med 12,5 token/s (p5); gränsen är 20 token/s",
        ),
        (check("time_to_first_token: med<1s", 2000, 1000), "första token dröjer 2 s (median); gränsen är 1 s"),
        (check("requests: rate>20", 16.7, 20, "per_s"), "16,7 anrop/s gjordes; gränsen är 20 anrop/s"),
        (check("requests: count>2000", 1203, 2000, "count"), "1 203 anrop gjordes; gränsen är 2 000 anrop"),
        (check("recovery_time: count>4", 3, 4, "count"), "recovery_time mättes på 3 avbrott; gränsen är 4"),
        (
            check("capacity: rate>20", 12.5, 20, "per_s", low=11, high=14),
            "systemet klarar 12,5 anrop/s inom sitt mål i det sämsta läget; gränsen är 20 anrop/s",
        ),
        (
            check("capacity{state:cache_cold}: users>500", 370, 500, "count", low=370),
            "systemet klarar minst 370 användare inom sitt mål i läget kall cache; gränsen är 500 användare",
        ),
        (
            check("capacity: rate>20", 8, 20, "per_s", low=0, high=8),
            "systemet klarar mindre än 8 anrop/s inom sitt mål i det sämsta läget; gränsen är 20 anrop/s",
        ),
        (check("leak: count==0", 1, 0, "count", n=7), "1 av 7 serier läcker; gränsen är 0"),
        (check("drift: count==0", 2, 0, "count", n=5), "2 av 5 serier glider åt fel håll; gränsen är 0"),
        (
            check("memory_slope{container:agents}: max<10MiB/h", 12.5, 10, "MiB/h"),
            "minnet växer med 12,5 MiB/h (högst) för agents; gränsen är 10 MiB/h",
        ),
        (check("fds_slope: max<4/h", 6, 4, "/h"), "de öppna filerna ökar med 6/h (högst); gränsen är 4/h"),
        (
            check("time_to_first_token: p(95)<1s", None, 1000, verdict=Verdict.INCONCLUSIVE),
            "inget mättes för time_to_first_token: p(95)<1s",
        ),
    ],
)
def test_a_check_in_swedish(told: Reported, said: Check, sentence: str) -> None:
    outages: tuple[Failover, ...] = told.findings.failovers
    assert language_sv_checks.check(said, outages).replace(NBSP, " ") == sentence


_LIMITS = {"ms": "3s", "s": "3s", "share": "0.5", "MiB/h": "10MiB/h", "/h": "4/h"}
_OWN: Mapping[str, tuple[str, str]] = {
    "response_time": ("users wait", "användarna väntar"),
    "service_time": ("answers take", "svaren tar"),
    "time_to_first_byte": ("first byte", "första byten"),
    "time_to_first_token": ("first token", "första token"),
    "inter_token_latency": ("next token", "nästa token"),
    "tokens_per_second": ("tokens at", "token/s"),
    "request_failed": ("of requests fail", "misslyckas"),
    "request_ok": ("full answer", "fullständigt svar"),
    "request_degraded": ("rule-based", "regelbaserade"),
    "stream_complete": ("complete", "hela"),
    "cache_hit": ("hit", "träffar"),
    "requests": ("requests were sent", "anrop/s gjordes"),
    "impact_delay": ("first harm", "första skadan"),
    "detection_time": ("breaker opened", "brytaren löste ut"),
    "failover_time": ("another provider", "annan leverantör"),
    "recovery_time": ("good again", "bra igen"),
    "failback_time": ("served its share again", "bar sin andel igen"),
    "unavailable_time": ("bad for", "dålig i"),
    "worst_stall": ("nobody got an answer", "ingen fick svar"),
    "flaps": ("provider changed", "leverantören byttes"),
    "failover_claim": ("", "styrker minst"),
    "capacity": ("", "systemet klarar"),
    "leak": ("", "läcker"),
    "drift": ("", "glider"),
    "memory_slope": ("memory grows", "minnet växer"),
    "fds_slope": ("open files grow", "öppna filerna ökar"),
    "threads_slope": ("threads grow", "trådarna ökar"),
    "connections_slope": ("connections grow", "anslutningarna ökar"),
}
"""What a sentence on each metric has to say; of those without English words the judge has the whole sentence."""


def _thresholds(metric: str) -> Iterator[str]:
    """Yield a check of a metric by each aggregator it may have."""
    if metric == "failover_claim":
        yield "failover_claim: 0.90 at 0.95 under 5s"
    for aggregator in _AGGREGATORS[METRICS[metric].kind]:
        counted = aggregator in ("count", "users")
        limit = "3" if counted else _LIMITS.get(METRICS[metric].unit, "3")
        yield f"{metric}: {aggregator.replace('p(N)', 'p(95)')}<{limit}"


def test_every_metric_has_words_that_can_be_checked() -> None:
    assert _OWN.keys() == METRICS.keys() - {"error_budget"}, "which only abort conditions and triggers may name"


@pytest.mark.parametrize("metric", _OWN)
def test_every_metric_is_told_as_what_it_is_in_both_languages(metric: str) -> None:
    english, swedish_ = _OWN[metric]
    for text in _thresholds(metric):
        name_, _, rest = text.partition(": ")
        threshold: Threshold = parse_threshold(name_, rest)
        judged = check(text, 0.5, 0.75, threshold.unit, low=0.25, high=0.6)
        said = language_sv_checks.check(judged, ()).replace(NBSP, " ")
        assert "None" not in said
        assert ("gjordes" in said) == (metric == "requests"), said
        if threshold.aggregator in ("count", "users"):
            assert metric not in ("leak", "drift", "capacity") or swedish_ in said
            continue
        assert swedish_ in said, said
        if english:
            heard = observation(threshold, 0.5, threshold.unit, 3)
            once = threshold.aggregator in ("min", "max") and METRICS[metric].kind == "trend"
            assert once or english in heard, heard


def _why(verdicts: Verdicts, told: Reported) -> tuple[str, str]:
    text, quoted = language_sv_checks.why(verdicts, told.findings)
    return text.replace(NBSP, " "), quoted


def test_the_verdict_in_swedish(told: Reported) -> None:
    assert _why(story.verdicts(Verdict.PASS), told)[0] == "Alla 4 krav är uppfyllda."
    assert _why(story.verdicts(Verdict.FAIL), told)[0].startswith(
        "Användarna väntar 2,78 s (p95) medan bedrock hänger sig; gränsen är"
    )
    text, quoted = _why(story.verdicts(Verdict.INVALID), told)
    assert text == "Körningen går inte att bedöma. Skälet, på engelska:"
    assert quoted == "The generator was 480 ms late at p99 (limit 100 ms)."
    nothing = Verdicts(verdict=Verdict.INCONCLUSIVE, exit_code=75, checks=(), why="no thresholds")
    assert _why(nothing, told)[0] == "Planen ställer inga krav, så det finns inget att godkänna."


def test_the_swedish_sentence_is_about_the_check_the_judge_tells_of(told: Reported) -> None:
    first = check("request_failed: rate<0.01", 0.02, 0.01, "share", why="Fails: 2 % of requests fail.")
    worst = check("response_time: p(95)<1s", 9000, 1000, why="Fails: users wait up to 9 s (p95).")
    both = Verdicts(verdict=Verdict.FAIL, exit_code=99, checks=(first, worst),
                    why="Fails: users wait up to 9 s (p95) (and 1 more).")  # fmt: skip
    assert _why(both, told)[0] == "Användarna väntar 9 s (p95); gränsen är 1 s (och 1 krav till)."


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (UsersLoad.model_validate({"kind": "users", "users": 1000, "hold": "10m"}), "1 000 användare i 10 min"),
        (RateLoad.model_validate({"kind": "rate", "rate": "16.7/s", "hold": "90s"}), "16,7 anrop/s i 90 s"),
        (
            SpikeLoad.model_validate({"kind": "spike", "users": 500, "ramp": "60s", "hold": "2m"}),
            "0 till 500 användare på 60 s, kvar i 2 min",
        ),
        (
            StepsLoad.model_validate({"kind": "steps", "steps": [{"users": n, "hold": "60s"} for n in (1, 2)]}),
            "2 steg under 2 min",
        ),
    ],
)
def test_loads_in_swedish(profile: Load, said: str) -> None:
    assert language_sv_checks.load(profile).replace(NBSP, " ") == said


def test_the_state_a_fault_lasts_for_is_named_in_the_language(told: Reported) -> None:
    fault = FaultSpec.model_validate({"kind": "blackhole", "on": "bedrock", "during": {"state": "primary_down"}})
    assert _lasts(fault, ENGLISH) == "during primary provider gone"
    assert _lasts(fault, SWEDISH) == "i läget huvudleverantören borta"
    other = FaultSpec.model_validate({"kind": "blackhole", "on": "bedrock", "during": {"state": "half_cold"}})
    assert _lasts(other, SWEDISH) == "i läget half_cold"


def test_moments_and_titles(told: Reported) -> None:
    when = datetime(2026, 5, 3, 9, 7, tzinfo=UTC)
    assert LANGUAGES["sv"].moment(when) == "3 maj 2026 kl. 09.07 UTC"
    assert LANGUAGES["en"].moment(when) == "3 May 2026, 09:07 UTC"
    short = told.recording.plan.model_copy(update={"scale": 0.1})
    assert LANGUAGES["sv"].title(short).endswith("+ bedrock-refuse (skala 0,1: inte full längd)")
    assert LANGUAGES["en"].title(short) == short.title
