"""Failover timelines of hand-made outages; the scripted ones are in `tests/calibrate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis import analyse, recovery, scan
from harness.model.findings import Failover, Interval
from harness.recording.reader import Recording
from tests.recordings import RecordingBuilder, Script, experiment, plan, storm

Story = Callable[[RecordingBuilder], None]


def outage(path: Path, story: Story, *, fault: bool = True, hold_s: float = 60, **slo: object) -> Failover:
    """Return the one failover of a run with a fault from 20 s to 40 s, told by `story`."""
    window = {"response_time": "1s", "window": "5s", **slo}
    builder = RecordingBuilder(path, plan(hold_s=hold_s, slo=window, experiments=[experiment()]))
    builder.phases(baseline=0, fault=20, recovery=40, cooldown=hold_s)
    if fault:
        builder.fault("one", 20.0, 40.0, width_s=0.0)
    story(builder)
    (found,) = analyse(builder.close(hold_s + 1))[0].failovers
    return found


def span(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high


def steady(builder: RecordingBuilder, begin: float, end: float, **how: object) -> None:
    """Ten requests a second, at .0, .1, ..."""
    for i in range(round(begin * 10), round(end * 10)):
        builder.request(i / 10, **{"took_s": 0.05, **how})  # type: ignore[arg-type]


def test_no_harm_is_no_longer_than_the_resolution_never_zero(tmp_path: Path) -> None:
    found = outage(tmp_path, lambda b: steady(b, 0, 60))
    assert (found.impact, found.impact_s, found.censored) == (False, None, False)
    assert span(found.recovery_s) == pytest.approx((0.0, found.resolution_s))
    assert found.resolution_s == pytest.approx(0.1, rel=0.01)
    assert (found.failed_requests, found.unavailable_s, found.flaps) == (0, 0.0, 0)
    assert found.failback_s is not None
    assert found.failback_s.high <= 0.11, "it never went away: back at once"


def test_failures_from_the_fault_on_and_back(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 22)
        steady(b, 22, 25, outcome="failed", provider="")
        steady(b, 25, 60, provider="openai")

    found = outage(tmp_path, story)
    assert span(found.impact_s) == pytest.approx((1.9, 2.0))
    assert span(found.recovery_s) == pytest.approx((4.9, 5.0))
    assert span(found.failover_s) == pytest.approx((4.949, 5.049))
    assert (found.failback_s, found.failback_censored) == (None, True)
    assert found.failback_beyond_s == pytest.approx(15, abs=0.01), "cleared at 40, watched to 60, a window of 5"
    assert found.failed_requests == 30
    assert found.unavailable_s == pytest.approx(3.0)
    assert found.worst_stall_s == pytest.approx(3.1)
    assert found.answers == {"ok": 170, "degraded": 0, "failed": 30}


def test_cache_hits_bound_no_time_of_the_providers(tmp_path: Path) -> None:
    """Of ten requests a second only those at .0 and .5 ask a provider, which fails from 21 to 25 s: harm and failover
    may lie anywhere between two of those."""

    def story(b: RecordingBuilder) -> None:
        for i in range(600):
            t = i / 10
            if i % 5:
                b.request(t, 0.05, provider="cache", hits=1)
            elif 21 <= t < 25:
                b.request(t, 0.05, outcome="failed", provider="")
            else:
                b.request(t, 0.05, provider="openai" if t >= 25 else "bedrock")

    found = outage(tmp_path, story)
    assert span(found.impact_s) == pytest.approx((0.5, 1.0))
    assert span(found.failover_s) == pytest.approx((4.549, 5.049))


def test_a_return_whose_window_is_cut_off_is_no_flap(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 20)
        for begin, end, provider in ((20, 45, "openai"), (45, 47, "bedrock"), (47, 56, "openai"), (56, 60, "bedrock")):
            steady(b, begin, end, provider=provider)

    found = outage(tmp_path, story)
    assert (found.failback_s, found.failback_censored) == (None, True)
    assert found.failback_beyond_s == pytest.approx(15, abs=0.01)
    assert found.flaps == 2, "there and away again; whether it stays the second time, nobody saw"


def test_slow_requests_and_those_in_flight_at_t0(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 20)
        b.request(19.5, 3.0)
        b.request(19.6, outcome="lost")
        steady(b, 20, 23, took_s=2.0, provider="openai")
        steady(b, 23, 60, provider="openai")

    found = outage(tmp_path, story)
    assert (found.slow_requests, found.failed_requests, found.in_flight) == (30, 0, 2)
    assert found.impact_s is not None
    assert found.impact_s.high == pytest.approx(0.0, abs=0.001)
    assert found.failover_s is not None
    assert found.failover_s.high == pytest.approx(1.999)


def test_not_recovered_before_the_end_is_censored(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 20)
        steady(b, 20, 56, outcome="timeout", provider="")
        steady(b, 56, 60)  # four good seconds are no window of five

    found = outage(tmp_path, story)
    assert found.censored
    assert found.recovery_s is None
    assert found.failover_s is None
    assert found.observed_s == pytest.approx(40.0)
    assert found.unavailable_s == pytest.approx(36.0)


def test_while_users_hang_and_ask_for_nothing_service_is_not_available(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 19.9)
        for _ in range(10):
            b.request(19.95, 15.05, outcome="timeout", provider="")
        steady(b, 35, 38, outcome="failed", provider="")
        steady(b, 38, 60)

    found = outage(tmp_path, story)
    assert found.unavailable_s == pytest.approx(18.0), "from the fault on, not from the first request due after it"


def test_an_observation_shorter_than_a_window(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 20)
        steady(b, 20, 23, outcome="failed")

    found = outage(tmp_path, story, hold_s=23)
    assert found.censored
    assert found.observed_s == pytest.approx(3.0)


def test_degraded_answers_are_good_but_told(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 20)
        steady(b, 20, 40, outcome="degraded", provider="local")
        steady(b, 40, 60)

    found = outage(tmp_path, story)
    assert not found.impact
    assert found.answers == {"ok": 0, "degraded": 200, "failed": 0}
    assert found.failover_s is None, "its own rules are no provider"
    assert found.failback_s is not None
    assert found.failback_s.high == pytest.approx(0.001, abs=0.002)


def test_failures_at_the_clearing_belong_to_the_clearing(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 40)
        steady(b, 40.1, 40.5, outcome="failed")
        steady(b, 40.5, 60)

    found = outage(tmp_path, story)
    assert not found.impact
    assert found.failed_requests == 4


def test_stray_failures_within_the_slo_are_no_outage(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 60)
        b.request(28.05, outcome="failed")

    found = outage(tmp_path, story, good_share=0.95)
    assert found.impact_s is not None
    assert found.impact_s.high == pytest.approx(8.05)
    assert found.recovery_s is not None
    assert found.recovery_s.low == 0.0


def test_service_slower_than_the_baseline_is_not_recovered(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 20)
        steady(b, 20, 30, took_s=0.2)
        steady(b, 30, 60, took_s=0.07)

    found = outage(tmp_path, story)
    assert not found.impact
    assert found.recovery_s is not None
    assert found.recovery_s.high == pytest.approx(10.0), "0.2 s is within the SLO but not within 50 % of 0.05 s"


def test_what_nobody_asked_for_did_not_recover(tmp_path: Path) -> None:
    found = outage(tmp_path, lambda b: steady(b, 0, 20))
    assert (found.bit, found.impact, found.recovery_s, found.censored) == (True, False, None, True)


def test_a_fault_that_did_not_bite_has_no_times(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        b.fault("one", None, None, injecting_s=20.0)
        steady(b, 0, 60)

    found = outage(tmp_path, story, fault=False)
    assert not found.bit
    assert (found.effective_ns, found.recovery_s, found.failover_s) == (None, None, None)
    assert not found.censored


def test_breakers_of_other_providers_and_times_do_not_count(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        b.breaker(10, "open", "closed", width_s=0.5)
        b.breaker(21, "open", "closed", provider="openai")
        b.breaker(22, "half_open", "closed", width_s=0.5)
        b.breaker(23, "open", "half_open")
        steady(b, 0, 60)

    found = outage(tmp_path, story)
    assert span(found.detection_s) == pytest.approx((1.75, 2.25))
    assert found.breaker_seen


@pytest.mark.parametrize(
    ("metric", "label", "provider", "at", "value", "seen"),
    [
        ("llm_circuit_state", "provider", "bedrock", 25.0, 0, True),
        ("llm_circuit_status", "provider", "bedrock", 25.0, 0, False),  # misspelt in the target's file
        ("llm_circuit_state", "name", "bedrock", 25.0, 0, False),
        ("llm_circuit_state", "provider", "openai", 25.0, 0, False),
        ("llm_circuit_state", "provider", "bedrock", 25.0, 7, False),  # which stands for no state
        ("llm_circuit_state", "provider", "bedrock", 10.0, 0, False),
        ("llm_circuit_state", "provider", "bedrock", 50.0, 0, False),
    ],
)
def test_a_breaker_that_nobody_read_was_not_seen(
    tmp_path: Path, metric: str, label: str, provider: str, at: float, value: float, *, seen: bool
) -> None:
    def story(b: RecordingBuilder) -> None:
        b.sample(at, "metrics", metric, value, **{label: provider})
        steady(b, 0, 60)

    found = outage(tmp_path, story)
    assert (found.detection_s, found.breaker_seen) == (None, seen)


def test_a_secondary_provider_has_nothing_to_fail_over_from(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(experiments=[experiment(upstream="openai")]))
    builder.phases(baseline=0, fault=20, recovery=40, cooldown=60)
    builder.fault("one", 20.0, 40.0, upstream="openai")
    steady(builder, 0, 60)
    (found,) = analyse(builder.close(61))[0].failovers
    assert (found.failover_s, found.failback_s, found.failback_censored) == (None, None, False)


def test_others_that_answer_now_and_then_are_no_failover(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        for i in range(600):
            moved = 250 <= i < 400 or i % 10 == 0
            b.request(i / 10, 0.05, provider="openai" if moved else "bedrock")

    found = outage(tmp_path, story)
    first, second = 4.949, 5.149  # the first of the run may be one of theirs as well, the second hardly
    assert span(found.failover_s) == pytest.approx((first, second)), "not the chance answers at 0 s, 1 s, ..."


def test_extra_calls_and_tokens(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 20)
        for i in range(200, 400):
            request_id = b.request(i / 10, 0.05, provider="openai")
            if i % 2:
                b.call("bedrock", i / 10, None, request_id, status="cancelled", tokens=(100, 0))
        steady(b, 40, 60)

    found = outage(tmp_path, story)
    assert (found.extra_provider_calls, found.extra_tokens) == (100, 10_000)


def test_without_a_ledger_nobody_knows_who_answered(tmp_path: Path) -> None:
    found = outage(tmp_path, lambda b: steady(b, 0, 60, ledger=False))
    assert (found.failover_s, found.failback_s, found.extra_provider_calls) == (None, None, None)
    assert (found.failback_censored, found.flaps) == (False, None)


def test_requests_in_flight_at_t0_are_the_faults_cost_not_the_baselines(tmp_path: Path) -> None:
    def story(b: RecordingBuilder) -> None:
        steady(b, 0, 60)
        for i in range(30):  # bedrock answered, the fault kept it back, openai was asked again
            request_id = b.request(19.9 + i / 1000, 2.3, provider="openai")
            b.call("bedrock", 19.95, 20.2, request_id)

    found = outage(tmp_path, story)
    assert (found.extra_provider_calls, found.in_flight) == (30, 30)
    assert found.recovery_s is not None, "30 slow requests due before t0 do not raise the baseline's p95"


@pytest.mark.parametrize("script", [Script(), Script(hanging_outcome="failed", flaps=2), Script(outages=1, lasts=60.0)])
def test_times_are_the_same_however_little_is_held_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    recording = storm(tmp_path, script)
    at_once = analyse(recording)[0]
    monkeypatch.setattr(recovery, "ROWS", 20)
    monkeypatch.setattr(scan, "BLOCK", 32)
    assert analyse(Recording.open(tmp_path))[0] == at_once
