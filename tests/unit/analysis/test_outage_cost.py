"""What outages cost, on hand-made recordings whose truth is known: a fault from 20 s to 40 s of a minute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import analyse
from harness.model.findings import Estimate, Failover, Interval
from tests.recordings import RecordingBuilder, experiment, plan

Story = Callable[[RecordingBuilder], None]


def outage(path: Path, story: Story, *, kind: str = "refuse", upstream: str = "cache", **fault: Any) -> Failover:
    """Return the one outage of a run whose requests `story` writes."""
    slo = {"response_time": "1s", "window": "5s"}
    builder = RecordingBuilder(path, plan(slo=slo, experiments=[experiment()]))
    builder.phases(baseline=0, fault=20, recovery=40, cooldown=60)
    builder.fault("one", 20.0, 40.0, kind=kind, upstream=upstream, width_s=0.0, **fault)
    story(builder)
    (found,) = analyse(builder.close(61))[0].failovers
    return found


def steady(b: RecordingBuilder, begin: float, end: float, *, hits: int = 0, **how: Any) -> None:
    """Ten requests a second, of which the cache answers the first `hits` alone."""
    for i in range(round(begin * 10), round(end * 10)):
        if i % 10 < hits:
            b.request(i / 10, provider="cache", hits=1, **{"took_s": 0.05, **how})
        else:
            b.request(i / 10, **{"took_s": 0.05, **how})


def per_answer(found: Failover) -> list[float | None]:
    """Return provider calls healthy and during, tokens healthy and during."""
    calls, tokens = found.provider_calls_per_answer, found.tokens_per_answer
    assert calls is not None
    assert tokens is not None
    return [e.value for e in (calls.healthy, calls.during, tokens.healthy, tokens.during)]


def response(found: Failover) -> list[Estimate]:
    """Return p50 healthy and during, p95 healthy and during."""
    times = found.response_ms
    assert times is not None
    return [times.healthy.p50, times.during.p50, times.healthy.p95, times.during.p95]


def test_of_those_in_flight_some_are_lost(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 19.9)
        for how in ("ok", "degraded", "failed", "failed", "timeout"):
            b.request(19.95, 0.2, outcome=how)
        b.request(19.96, outcome="lost")
        b.request(19.97, outcome="dropped")
        b.request(19.97, 0.02, outcome="failed")  # answered before the fault
        steady(b, 20, 22, outcome="failed", took_s=0.001)
        steady(b, 22, 60)

    found = outage(tmp_path, story, kind="kill", upstream="agents")
    assert (found.in_flight, found.in_flight_failed) == (6, 4)
    assert found.failed_requests == 20, "those sent into it are counted apart"


def test_without_the_cache_every_answer_costs_a_call(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 20, hits=4)
        steady(b, 20, 40)
        steady(b, 40, 60, hits=4)

    found = outage(tmp_path, story)
    assert per_answer(found) == pytest.approx([0.6, 1.0, 180, 300])
    assert found.extra_provider_calls == 0, "every miss needs its call"
    assert (found.impact, found.answers) == (False, {"ok": 200, "degraded": 0, "failed": 0})
    calls = found.provider_calls_per_answer
    assert calls is not None
    assert calls.healthy.high is not None
    assert (calls.healthy.n, calls.during.n) == (200, 200)
    assert calls.healthy.high < 0.7
    assert (calls.during.low, calls.during.high) == (1.0, 1.0), "each answer took exactly one"


def test_response_times_double(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        for i in range(600):
            took = 0.1 + 0.001 * (i % 100)
            b.request(i / 10, took * (2 if 200 <= i < 400 else 1), outcome="ok" if i % 3 else "degraded")
            b.request(i / 10, 0.7, canary=True)  # ours, and nobody's answer

    found = outage(tmp_path, story)
    p50, p50_during, p95, p95_during = response(found)
    assert [e.value for e in (p50, p95)] == pytest.approx([149, 194], rel=0.005)  # the last answer is out after 20 s
    assert [e.value for e in (p50_during, p95_during)] == pytest.approx([299, 388.1])
    assert (p50.n, p50_during.n) == (199, 200)


def test_failures_are_no_fast_answers(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 20)
        steady(b, 20, 40, outcome="failed", took_s=0.001, provider="")
        steady(b, 40, 60)

    found = outage(tmp_path, story, kind="kill", upstream="agents")
    assert [e.n for e in response(found)] == [200, 0, 200, 0]
    assert per_answer(found) == [1.0, None, 300, None]
    assert (found.extra_provider_calls, found.extra_tokens) == (0, 0), "calls that were not made are no saving"


def test_calls_for_requests_that_got_nothing_are_paid_by_the_others(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 20)
        for i in range(200, 400):
            request_id = b.request(
                i / 10, 0.05, outcome="ok" if i % 2 else "failed", provider="bedrock" if i % 2 else ""
            )
            b.call("openai", i / 10, None, request_id, status="cancelled", tokens=(50, 0))
        steady(b, 40, 60)

    found = outage(tmp_path, story)
    assert per_answer(found) == pytest.approx([1.0, 3.0, 300, 400])
    assert (found.extra_provider_calls, found.extra_tokens) == (200, 10_000)


def _worse(b: RecordingBuilder) -> None:
    steady(b, 20, 60, took_s=0.9, outcome="degraded", provider="local")


def _gone(b: RecordingBuilder) -> None:
    steady(b, 20, 60, outcome="failed", provider="", took_s=0.001)


def _silent(b: RecordingBuilder) -> None:
    b.request(20.0, outcome="lost")


@pytest.mark.parametrize("after", [_worse, _gone, _silent, lambda b: steady(b, 20, 60, hits=10)])
@pytest.mark.parametrize("kind", ["kill", "refuse"])
def test_healthy_figures_do_not_depend_on_the_outage(tmp_path: Path, after: Story, kind: str) -> None:
    def healthy(path: Path, then: Story) -> list[Estimate]:
        def story(b: RecordingBuilder) -> None:
            for i in range(200):
                hit = i % 5 == 0
                b.request(i / 10, 0.02 + 0.001 * (i % 37), provider="cache" if hit else "bedrock", hits=int(hit))
            b.request(19.9, 5.0, outcome="failed")  # caught by the fault
            then(b)

        found = outage(path, story, kind=kind)
        assert found.provider_calls_per_answer is not None
        assert found.tokens_per_answer is not None
        return [*response(found)[::2], found.provider_calls_per_answer.healthy, found.tokens_per_answer.healthy]

    assert healthy(tmp_path / "one", after) == healthy(tmp_path / "other", lambda b: steady(b, 20, 60))


def test_without_a_joined_ledger_nobody_knows_the_price(tmp_path: Path) -> None:
    found = outage(tmp_path / "none", lambda b: steady(b, 0, 60, ledger=False))
    assert (found.provider_calls_per_answer, found.tokens_per_answer) == (None, None)
    assert response(found)[1].value == pytest.approx(50)


def test_a_killed_service_has_no_providers_times(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 20)
        steady(b, 20, 41.5, outcome="failed", provider="", took_s=0.001)
        steady(b, 41.5, 60)

    found = outage(tmp_path, story, kind="kill", upstream="agents", clearing_s=39.0)
    assert (found.detection_s, found.failover_s, found.failback_s, found.failback_censored) == (None, None, None, False)
    assert (found.impact, found.flaps) == (True, None)
    assert interval(found.recovery_s) == pytest.approx((21.4, 21.5))
    assert interval(found.recovery_after_clearing_s) == pytest.approx((2.4, 2.5))


def test_one_of_two_copies_may_be_missed_by_nobody(tmp_path: Path) -> None:
    found = outage(tmp_path, lambda b: steady(b, 0, 60), kind="kill", upstream="agents", clearing_s=39.0)
    assert (found.impact, found.censored, found.in_flight_failed) == (False, False, 0)
    assert found.recovery_after_clearing_s is None, "it was good all the time"


def test_a_breaker_of_the_cache_is_its_detection(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 60)
        b.breaker(21, "open", "closed", provider="cache", width_s=0.5)

    assert interval(outage(tmp_path, story).detection_s) == pytest.approx((0.75, 1.25))


def interval(of: Interval | None) -> tuple[float, float]:
    assert of is not None
    return of.low, of.high


def killed(b: RecordingBuilder) -> None:
    """Bedrock is killed at 20 s, what its ledger got since 19 s goes with it, and openai takes over at 22 s."""
    steady(b, 0, 19)
    steady(b, 19, 20, ledger=False)
    steady(b, 20, 22, outcome="failed", provider="", took_s=0.001)
    steady(b, 22, 42, provider="openai")
    steady(b, 42, 60)


def test_a_killed_providers_ledger_goes_with_it_and_what_it_cannot_know_is_null(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        killed(b)
        b.ledger_restarted(41.0, "bedrock")

    found = outage(tmp_path, story, kind="kill", upstream="bedrock")
    assert interval(found.failover_s) == pytest.approx((1.949, 2.049))
    assert interval(found.failback_s) == pytest.approx((1.9, 2.0), abs=0.002)
    assert per_answer(found) == pytest.approx([1.0, 1.0, 300, 300]), "answers whose calls are lost are left out"
    assert (found.extra_provider_calls, found.extra_tokens) == (None, None)


def test_when_others_answered_is_unknown_once_their_ledger_is_lost(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        killed(b)
        b.ledger_restarted(41.0, "openai")

    found = outage(tmp_path, story, kind="kill", upstream="bedrock")
    assert (found.failover_s, found.failback_s, found.failback_censored, found.flaps) == (None, None, False, None)
    assert found.recovery_s is not None, "users know"


@pytest.mark.parametrize("upstream", ["openai", "bedrock"])
@pytest.mark.parametrize("since", [1.0, 45.0, 60.5])
def test_when_others_answered_is_unknown_once_a_ledger_is_read_no_more(
    tmp_path: Path, upstream: str, since: float
) -> None:
    def story(b: RecordingBuilder) -> None:
        killed(b)
        b.ledger_unread(since, 62.0, upstream)

    found = outage(tmp_path, story, kind="kill", upstream="bedrock")
    told = (found.failover_s, found.failback_s, found.flaps, found.extra_provider_calls)
    assert [value is not None for value in told] == [since > 60] * 4, "by then the load was over"
    assert not found.failback_censored


@pytest.mark.parametrize(("found_at", "extra"), [(5.0, 0), (60.5, None)])
def test_a_ledger_lost_at_another_time_is_no_matter(tmp_path: Path, found_at: float, extra: int | None) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 60)
        b.ledger_restarted(found_at, "bedrock")

    assert outage(tmp_path, story).extra_provider_calls == extra, "found after the load's end, it may be the fault's"


def test_what_the_next_fault_caught_in_flight_is_not_the_one_befores(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(slo={"window": "5s"}, experiments=[experiment(repeat=2)]))
    builder.phases(baseline=0, fault=10, recovery=20, cooldown=60)
    for number, at in enumerate((10.0, 30.0)):
        builder.fault(f"kill#{number}", at, at + 5, kind="kill", upstream="agents", width_s=0.0)
    steady(builder, 0, 60)
    builder.request(29.9, 0.2, outcome="failed")
    first, second = analyse(builder.close(61))[0].failovers
    assert (first.in_flight_failed, first.failed_requests, first.unavailable_s) == (0, 0, 0.0)
    assert (second.in_flight_failed, second.failed_requests) == (1, 0)
