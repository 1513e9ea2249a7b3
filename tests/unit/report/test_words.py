"""Answers as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.analysis.outages import alike
from harness.model.findings import Attribution, CacheWitness, Claim, Resources, Usage
from harness.model.load import RateLoad, ReplayLoad, SpikeLoad, StepsLoad, UsersLoad
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
        (ReplayLoad(kind="replay", file="monday.csv", hold="10m"), "the arrivals of monday.csv for 10 min"),
        (StepsLoad.model_validate({"kind": "steps", "steps": [{"users": n, "hold": "60s"} for n in (5, 9)]}),
         "2 steps in 2 min: 5, 9 users"),
        (StepsLoad.model_validate({"kind": "steps", "steps": [{"rate": "60/min", "hold": "5m"}]}),
         "1 step in 5 min: 1 requests/s (constant arrivals)"),
        (SpikeLoad(kind="spike", users=500, ramp="1m", hold="5m"), "0 to 500 users in 60 s, held for 5 min"),
    ],
)  # fmt: skip
def test_load_in_words(load: Load, text: str) -> None:
    assert said(words.load(load)) == text


def test_a_claim_is_never_rounded_up() -> None:
    claim = Claim(upstream="bedrock", kind="blackhole", recovered=29, outages=29, limit_s=5, confidence=0.95,
                  share=0.90186, next_share=0.95, more_needed=30)  # fmt: skip
    assert said(words.claim(claim)) == "≥ 90.1 % of such outages at 95 % confidence; 30 more in a row for 95 %"


@pytest.mark.parametrize(
    ("counts", "times", "text"),
    [
        ({"ok": 100}, (300, 900, 1200),
         "Half of all requests were answered within 300 ms, 95 % within 900 ms, 99 % within 1.2 s; none failed."),
        ({"ok": 90, "failed": 6, "lost": 4}, (300, 900, 60_000),
         ("Half of all requests were answered within 300 ms, 95 % within 900 ms, 1 % took at least 60 s; "
          "6 % failed, 4 were never answered.")),
        ({"ok": 39, "timeout": 1, "lost": 60}, (60_000, 60_000, 60_000),
         ("Half of all requests took at least 60 s, 5 % at least 60 s, 1 % at least 60 s; "
          "6 % failed, 60 were never answered.")),
        ({"lost": 1, "dropped": 20}, (None, None, None),
         "No request was answered: 1 was sent and never answered, 20 were never sent."),
        ({"dropped": 20}, (None, None, None), "No request was answered: 20 were never sent."),
    ],
)  # fmt: skip
def test_what_was_never_answered_was_not_answered_within_a_time(
    told: Reported, counts: dict[str, int], times: tuple[float | None, ...], text: str
) -> None:
    load = told.findings.load
    none = dict.fromkeys(("ok", "degraded", "failed", "timeout", "lost", "dropped"), 0)
    percentiles = {
        name: getattr(load.response_ms, name).model_copy(update={"value": value})
        for name, value in zip(("p50", "p95", "p99"), times, strict=True)
    }
    group = load.model_copy(
        update={
            **none, **counts, "requests": sum(counts.values()),
            "response_ms": load.response_ms.model_copy(update=percentiles),
            "failed_share": load.failed_share.model_copy(update={"value": 0.06}),
        }
    )  # fmt: skip
    assert said(words.users(group)) == text


def test_one_answer_is_not_all_of_them(told: Reported) -> None:
    one = told.findings.model_copy(update={"attribution": Attribution(compared=1, agree=1, examples=())})
    assert words.attribution(one) == "The one answer compared names the provider whose ledger has it."


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
    groups = alike(told.findings.failovers)
    assert {key: len(group) for key, group in groups.items()} == {("bedrock", "blackhole"): 3, ("bedrock", "refuse"): 2}
    hung = groups["bedrock", "blackhole"]
    assert (
        said(words.outage("bedrock", "blackhole", hung, None)) == "bedrock blackhole: 3 of 3 recovered while observed"
    )
    claim = words.claim_of(told.findings, "bedrock", "blackhole")
    assert said(words.outage("bedrock", "blackhole", hung, claim)) == "bedrock blackhole: 3 of 3 recovered under 5 s"


def test_what_never_bit_did_not_recover(parted: Reported) -> None:
    (missed,) = alike(parted.findings.failovers)["cache", "slow"]
    killed = alike(parted.findings.failovers)["agents", "kill"]
    assert words.outage("cache", "slow", [missed], None) == "cache slow: not seen to bite"
    both = [*killed, missed.model_copy(update={"kind": "kill"})]
    assert words.outage("agents", "kill", both, None).endswith("2 of 2 recovered while observed; 1 not seen to bite")


def test_a_claim_is_about_what_was_broken(parted: Reported) -> None:
    assert words.claim_of(parted.findings, "agents", "kill") is not None
    assert words.claim_of(parted.findings, "bedrock", "kill") is None


def used(**more: Any) -> Resources:
    """Return a container's use: half of its CPU limit and a quarter of its memory limit, unless told otherwise."""

    def flat(value: float) -> Usage:
        return Usage(mean=value, p95=value, max=value)

    shares = {"cpu_of_limit": 0.5, "memory_of_limit": 0.25, "throttled": 0.0} | {
        key: more.pop(key) for key in ("cpu_of_limit", "memory_of_limit", "throttled") if key in more
    }
    limits = {"cpu_limit": 0.5, "memory_limit_mib": 256.0} | more
    return Resources(cpu=flat(0.25), memory_mib=flat(64), net=None, **{k: flat(v) for k, v in shares.items()}, **limits)


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        ({"agents-1": used(cpu_of_limit=0.97, throttled=0.4, saturated=("cpu", "throttled")), "redis": used()},
         "agents-1 is at its CPU limit: 97 % of 0.5 cores at p95, throttled in 40 % of periods"),
        ({"agents-1": used(throttled=0.2, saturated=("throttled",))},
         "agents-1 is held back by its CPU limit: 50 % of 0.5 cores at p95, throttled in 20 % of periods"),
        ({"redis": used(cpu_of_limit=0.9, memory_of_limit=0.95, cpu_limit=1.0, saturated=("cpu", "memory"))},
         "redis is at its memory limit: 95 % of 256 MiB at most, and at its CPU limit: 90 % of 1 core at p95"),
        ({"a": used(cpu_of_limit=0.99, limits_changed=("cpu",), saturated=("cpu",))},
         "a is at its CPU limit: 99 % of a changed limit at p95"),
        ({"a": used(), "b": used(cpu_of_limit=0.7, cpu_limit=1), "c": used(memory_of_limit=0.8, memory_limit_mib=1024)},
         "no container was at a limit; closest: b's CPU (70 % of 1 core at p95) and c's memory (80 % of 1 GiB at most)"
        ),
        ({"gateway": Resources(cpu=Usage(mean=1, p95=1.5, max=2), memory_mib=Usage(mean=1, p95=1, max=9), net=None)},
         "gateway used most CPU: 1.5 cores at p95; gateway most memory: 9 MiB at most"),
        ({}, ""),
    ],
)  # fmt: skip
def test_limits_in_words(told: Reported, resources: dict[str, Resources], sentence: str) -> None:
    assert said(words.limits(told.findings.model_copy(update={"resources": resources}))) == sentence


def test_many_saturated_containers_are_named_fullest_first(told: Reported) -> None:
    shares = {"a": 0.81, "b": 0.99, "c": 0.9, "d": 0.95, "e": 0.8}
    every = {name: used(cpu_of_limit=share, saturated=("cpu",)) for name, share in shares.items()}
    clause = words.saturated(told.findings.model_copy(update={"resources": every}))
    assert [part[0] for part in clause.split("; ")] == ["b", "d", "c", "s"]
    assert clause.endswith("so are a, e")


def test_restarts_in_words(told: Reported) -> None:
    every = {"a": used(restarts=1), "b": used(restarts=0), "c": used(), "d": used(restarts=3)}
    assert words.restarts(told.findings.model_copy(update={"resources": every})) == (
        "started anew during the run: a once, d 3 times"
    )
    assert words.restarts(told.findings) == ""
