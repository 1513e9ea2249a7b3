"""Every rule speaks when it should, with the right figures, and is silent when it should be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.advice import MOST_RECOMMENDATIONS, MOST_RISKS, RULES, advise, recommendations, risks
from harness.advice.case import Advice, Case, Severity
from harness.model.plan import Files
from harness.model.verdict import Verdict
from harness.report.block_executive import _sla
from harness.report.language_en import ENGLISH
from tests.recordings import plan
from tests.unit.advice.builders import (
    calls,
    capacity,
    check,
    container,
    cost,
    health,
    slow,
    soak,
    usage,
    verdicts,
    witness,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.model.capacity import CapacityFindings
    from harness.model.findings import Failover, HealthFindings

    Change = Callable[[Case], dict[str, Any]]
    """What is different about a healthy case, as `altered` takes it."""

FAIL, UNSURE = Verdict.FAIL, Verdict.INCONCLUSIVE


def outages(change: Callable[[Failover], Failover]) -> Change:
    return lambda case: {"findings": {"failovers": tuple(change(o) for o in case.findings.failovers)}}


def told(**fields: Any) -> Change:
    """Outages with such fields."""
    return outages(lambda o: o.model_copy(update=fields))


def kinds(**fields: Any) -> Change:
    """Kinds of outage with such fields."""
    return lambda case: {
        "findings": {"outage_kinds": tuple(k.model_copy(update=fields) for k in case.findings.outage_kinds)}
    }


def found(**findings: Any) -> Change:
    return lambda _: {"findings": findings}


def judged(*args: Any, **more: Any) -> Change:
    return lambda _: {"verdicts": verdicts(check(*args, **more))}


def untold(case: Case) -> dict[str, Any]:
    """No failing cache check, and a system that shows nothing of its cache."""
    return {"verdicts": {"checks": ()}, "findings": {"cache": {"answers": "unsupported", "measured": "unsupported"}}}


def cached(rate: float) -> Change:
    cache = {"answers": witness(rate), "metrics": witness(rate), "ledger": witness(rate), "measured": witness(rate),
             "by_tenant": {"a": witness(rate), "b": witness(rate / 2)}}  # fmt: skip
    return lambda _: {"verdicts": {"checks": ()}, "findings": {"cache": cache}}


def _cold(case: Case) -> dict[str, Any]:
    """A warm-up in which the cache hit nothing; the measured part is judged."""
    return {"verdicts": {"checks": ()}, "findings": {"cache": {"answers": witness(0.1), "measured": witness(0.3)}}}


def _unseen(case: Case) -> dict[str, Any]:
    """An outage that was over before anybody looked at the page."""
    found = health(noticed_s=None, false_ok_s=0.0)
    outages = tuple(o.model_copy(update={"looks": 0}) for o in found.outages)
    return {"findings": {"health": found.model_copy(update={"outages": outages})}}


def invalid(*reasons: str, **instrument: float) -> Change:
    return lambda case: {
        "findings": {
            "validity": {
                "valid": not reasons, "reasons": reasons,
                "instrument": case.findings.validity.instrument | instrument,
            }
        }
    }  # fmt: skip


def _of_service(outage: Failover) -> Failover:
    gone = {"failover_s": None, "failback_s": None, "upstream": "redis", "kind": "kill"}
    return slow(outage, 9.0, None).model_copy(update=gone)


def _overlapping() -> HealthFindings:
    """Two things broken for the same 30 s, and a page that never says so."""
    one = health(noticed_s=None, false_ok_s=30.0)
    return one.model_copy(update={"outages": one.outages * 2})


def _late_redis(case: Case) -> dict[str, Any]:
    claims = tuple(c.model_copy(update={"upstream": "redis", "kind": "kill"}) for c in case.findings.claims)
    return {"findings": {"failovers": tuple(map(_of_service, case.findings.failovers)), "claims": claims}}


def _resets(case: Case) -> dict[str, Any]:
    """Bedrock resets connections, and it takes 9 s to be well again."""
    late = tuple(slow(o, 9.0, 8.0).model_copy(update={"kind": "reset"}) for o in case.findings.failovers)
    claims = tuple(c.model_copy(update={"kind": "reset"}) for c in case.findings.claims)
    return {"findings": {"failovers": late, "claims": claims}}


def _slow_agent(p95: float) -> Change:
    """A failed check on times, nothing broken, and one agent with such a p95 (ms); the others as they were."""

    def make(case: Case) -> dict[str, Any]:
        by = dict(case.findings.load.by)
        agents = dict(by["agent"])
        worst = agents["architect"]
        p95_ms = {"value": p95, "low": p95 - 1, "high": p95 + 1, "n": 300}
        times = worst.response_ms.model_copy(update={"p95": type(worst.response_ms.p95).model_validate(p95_ms)})
        by["agent"] = agents | {"architect": worst.model_copy(update={"response_ms": times})}
        load = case.findings.load.model_copy(update={"by": by})
        failed = check("response_time: p(95)<300ms", FAIL, 318.0, 300.0)
        return {"findings": {"load": load, "failovers": ()}, "verdicts": verdicts(failed)}

    return make


def _before_any_fault(text: str, **healthy_ms: float) -> Change:
    """A check on times that failed with 9 s where 6 s were allowed, and what the baseline's percentiles were."""

    def make(case: Case) -> dict[str, Any]:
        by = dict(case.findings.load.by)
        baseline = by["phase"]["baseline"]
        times = baseline.response_ms
        known = {p: getattr(times, p).model_copy(update={"value": value}) for p, value in healthy_ms.items()}
        baseline = baseline.model_copy(update={"response_ms": times.model_copy(update=known)})
        by["phase"] = by["phase"] | {"baseline": baseline}
        load = case.findings.load.model_copy(update={"by": by})
        return {"findings": {"load": load}, "verdicts": verdicts(check(text, FAIL, 9000.0, 6000.0))}

    return make


def _closed(state: str) -> CapacityFindings:
    return capacity(state).model_copy(update={"open_loop": False})


SHORT = {"unit": "ms", "n": 500, "low": 400.0, "high": 900.0}
SPEAKS: list[tuple[str, Change, dict[str, Any]]] = [
    ("generator_cpu", invalid("busy", cpu_sustained=0.83), {"seen": 0.83, "limit": 0.6, "workers": 2}),
    ("generator_lag", invalid("late", lag_p99_ms=480.0), {"seen": 480.0, "limit": 5.0}),
    ("generator_lateness", invalid("late", lateness_p99_ms=90.0), {"seen": 90.0, "limit": 50.0}),
    ("invalid", invalid("Fault f did not bite."), {"reason": "Fault f did not bite", "reasons": 1}),
    (
        "never_recovered",
        told(censored=True, recovery_s=None),
        {"never": 3, "all": 3, "watched": pytest.approx(40, 0.01)},
    ),
    (
        "recovery_hang",
        outages(lambda o: slow(o, 9.0, 8.0)),
        {"worst": 9.0, "limit": 5.0, "late": 3, "timeout": pytest.approx(3.99)},
    ),
    ("recovery_error", _resets, {"worst": 9.0, "limit": 5.0, "upstream": "bedrock"}),
    # What comes after the breaker opens takes longer than the SLA: no time-out helps.
    ("recovery_error", outages(lambda o: slow(o, 9.0, 1.0)), {"worst": 9.0}),
    ("recovery_part", _late_redis, {"worst": 9.0, "upstream": "redis"}),
    (
        "failed_times_outage",
        judged("response_time: p(95)<1s", FAIL, 2000.0, 1000.0),
        {"observed": 2000.0, "healthy": pytest.approx(318, 0.01), "statistic": "p95"},
    ),
    (
        "failed_times_outage",
        _before_any_fault("response_time{phase:fault}: p(99)<6s", p95=1000.0, p99=5000.0),
        {"healthy": 5000.0, "statistic": "p99"},
    ),
    ("failed_times_agent", _slow_agent(2000.0), {"agent": "architect", "agent_p95": 2000.0, "limit": 300.0}),
    ("failed_times", _slow_agent(319.0), {"observed": 318.0}),
    (
        "failed_share",
        judged("request_failed: rate<0.01", FAIL, 0.05, 0.01, unit="share"),
        {"observed": 0.05, "n": 2500},
    ),
    (
        "failed_share_full",
        judged("request_ok: rate>=0.99", FAIL, 0.95, 0.99, unit="share"),
        {"observed": 0.95, "limit": 0.99, "n": 2500},
    ),
    ("failed_share_full", judged("stream_complete: rate>0.9", FAIL, 0.5, 0.9, unit="share"), {"observed": 0.5}),
    (
        "not_steady_again",
        judged("response_time: p(95)<1s", FAIL, 3200.0, 1000.0, scope="x, steady state"),
        {"check": "response_time: p(95)<1s", "observed": 3200.0, "limit": 1000.0},
    ),
    (
        "not_steady_again",
        judged("request_failed: rate<0.01", FAIL, 0.05, 0.01, unit="share", scope="x, steady state"),
        {"observed": 0.05},
    ),
    ("capacity_below", found(capacity=capacity("below")), {"rate": 21.5, "state": "healthy"}),
    ("capacity_below", found(capacity=capacity("below", untold=10.0)), {"rate": 21.5}),
    ("capacity_below", found(capacity=_closed("below")), {"rate": 430}),
    (
        "unanswered",
        kinds(answered={"ok": 0.9, "degraded": 0.05, "failed": 0.05}),
        {"failed": 0.05, "limit": pytest.approx(0.01)},
    ),
    ("breaker_silent", outages(lambda o: slow(o, 3.0, None)), {"harmed": 21, "all": 3}),
    (
        "health_false_ok",
        found(health=health(noticed_s=None, false_ok_s=19.0)),
        {"false_ok": 19.0, "late": 1, "limit": 5.0},
    ),
    ("health_false_ok", found(health=health(noticed_s=5.5, false_ok_s=5.0)), {"false_ok": 5.0}),
    ("health_false_ok", found(health=_overlapping()), {"false_ok": 30.0, "late": 2}),
    (
        "saturated_cpu",
        found(resources={"a": container(cpu_of_limit=usage(0.9), saturated=("cpu",))}),
        {"share": 0.9, "limit": 0.8, "owner": "a"},
    ),
    (
        "saturated_throttled",
        found(resources={"a": container(throttled=usage(0.4), saturated=("throttled",))}),
        {"share": 0.4, "limit": 0.1},
    ),
    (
        "saturated_memory",
        found(resources={"a": container(memory_of_limit=usage(0.97), saturated=("memory",))}),
        {"share": 0.97, "limit": 0.9},
    ),
    ("leak", found(soak=soak()), {"slope": 12.0, "owner": "gateway", "what": "memory"}),
    ("leak_limit", found(soak=soak(to_limit_h={"value": 20.0, "low": 15.0, "high": None})), {"left": 72_000.0}),
    ("drift", found(soak=soak("drift", "response_p95", unit="ms")), {"what": "response_p95"}),
    ("restarted", found(resources={"a": container(restarts=2)}), {"restarts": 2, "owner": "a"}),
    ("degraded", kinds(answered={"ok": 0.6, "degraded": 0.4, "failed": 0.0}), {"degraded": 0.4, "limit": 0.3}),
    (
        "budget",
        kinds(budget_spent=0.6, unavailable_s=1555.2),
        {"spent": pytest.approx(0.2), "unavailable": pytest.approx(518.4)},
    ),
    ("retries", told(provider_calls_per_answer=calls(0.75, 1.5)), {"ratio": 2.0, "limit": 1.5}),
    ("price", found(cost=cost(bedrock__blackhole=3.0)), {"ratio": 1.5, "during": 3.0, "healthy": 2.0}),
    ("flapping", told(flaps=2), {"flaps": 6, "all": 3}),
    ("no_failback", told(failback_censored=True, failback_beyond_s=60.0, failback_s=None), {"never": 3}),
    ("breaker_false_alarm", found(health=health(breaker_false_alarms=2)), {"false": 2, "all": 3}),
    ("health_false_alarm", found(health=health(false_alarms=1, false_alarm_s=4.0)), {"alarms": 1, "lasted": 4.0}),
    ("cache_low", cached(0.1), {"hits": 0.1, "limit": 0.2, "worst": "b", "worst_hits": 0.05}),
    (
        "cache_low",
        judged("cache_hit: rate>0.40", FAIL, 0.25, 0.4, unit="share"),
        {"hits": 0.25, "limit": 0.4, "n": 2500},
    ),
    ("cache_disagree", found(cache={"metrics": witness(0.39)}), {"low": pytest.approx(0.25, 0.01), "high": 0.39}),
    ("capacity_limit", found(capacity=capacity()), {"rate": 13.0, "full_rate": 22.0, "resource": "gateway/cpu"}),
    ("capacity_limit_would", found(capacity=capacity(extrapolated=True)), {"rate": 13.0, "resource": "gateway/cpu"}),
    (
        "capacity_limit",
        found(capacity=capacity(resource="redis memory", kind="memory")),
        {"resource": "redis/memory", "owner": "redis"},
    ),
    ("capacity_machine", found(capacity=capacity(resource="whole machine cpu")), {"full": 0.8, "full_rate": 22.0}),
    (
        "capacity_machine_would",
        found(capacity=capacity(resource="whole machine cpu", extrapolated=True)),
        {"full_rate": 22.0},
    ),
    (
        "capacity_rate_limit",
        found(capacity=capacity(resource="bedrock rate limit", kind="rate_limit", full_at=0.01)),
        {"owner": "bedrock", "full": 0.01, "full_rate": 22.0},
    ),
    ("capacity_pool", found(capacity=capacity(resource="bedrock pool", kind="pool")), {"owner": "bedrock"}),
    (
        "capacity_throttled",
        found(capacity=capacity(resource="agents throttling", kind="throttled", full_at=0.1)),
        {"owner": "agents", "full": 0.1},
    ),
    (
        "undecided",
        judged("response_time: p(95)<500ms", UNSURE, 450.0, 500.0, low=400.0, high=600.0),
        {"factor": pytest.approx(9), "side": 600.0, "length": 1260},
    ),
    ("at_limit", judged("response_time: p(95)<500ms", UNSURE, 499.0, 500.0, low=400.0, high=600.0), {"side": 600.0}),
    (
        "too_few",
        judged("response_time: p(99)<6s", UNSURE, 500.0, 6000.0, n=500),
        {"needed": 2000, "factor": 4.0, "length": 560},
    ),
    ("no_data", judged("time_to_first_token: p(95)<1s", UNSURE, None, 1000.0, n=0), {"checks": 1}),
    ("claim", lambda _: {}, {"more": 26, "share": 0.368, "wanted": 0.9}),
    ("soak_short", found(soak=soak("inconclusive", needed_s=14_400.0)), {"needed": 14_400.0, "length": 7200.0}),
    ("capacity_beyond", found(capacity=capacity("at_least")), {"rate": 18.5}),
    ("capacity_beyond", found(capacity=_closed("at_least")), {"rate": 370}),
    ("capacity_untold", found(capacity=capacity("at_least", untold=40.0)), {"rate": 18.5, "levels": 1}),
    ("shortened", lambda _: {"plan": {"scale": 0.1}}, {"full": 1400.0, "length": 140.0}),
    ("unpriced", found(cost=cost().model_copy(update={"unpriced": {"gpt-9": 12}})), {"models": "gpt-9", "calls": 12}),
]
SILENT: list[tuple[str, Change]] = [
    ("generator_cpu", invalid("Fault f did not bite.", cpu_sustained=0.5)),
    ("generator_lag", invalid(lag_p99_ms=480.0)),  # a valid run was judged in spite of it
    ("generator_lateness", invalid("x", lateness_p99_ms=20.0)),
    ("invalid", invalid("busy", cpu_sustained=0.83)),
    ("never_recovered", told(bit=False, censored=True)),
    ("recovery_hang", outages(lambda o: slow(o, 4.9, 4.0))),
    ("recovery_error", outages(lambda o: slow(o, 9.0, 8.0))),
    ("recovery_part", outages(lambda o: slow(o, 9.0, 8.0))),
    ("failed_times_outage", judged("response_time: p(95)<300ms", FAIL, 500.0, 300.0)),
    # A baseline that breaks the promise by itself, and checks that it says nothing about.
    ("failed_times_outage", _before_any_fault("response_time: p(99)<6s", p95=1000.0, p99=7000.0)),
    ("failed_times_outage", _before_any_fault("response_time: max<6s", p95=1000.0, p99=2000.0)),
    ("failed_times_outage", _before_any_fault("response_time{phase:baseline}: p(95)<6s", p95=1000.0, p99=2000.0)),
    ("failed_times_outage", _before_any_fault("response_time{agent:architect}: p(95)<6s", p95=1000.0, p99=2000.0)),
    ("failed_times_agent", _slow_agent(319.0)),
    ("failed_times", judged("response_time: p(95)<1s", Verdict.PASS, 900.0, 1000.0)),
    ("failed_share", judged("request_failed: rate<0.01", UNSURE, 0.05, 0.01, unit="share")),
    ("failed_share", judged("request_ok: rate>=0.99", FAIL, 0.95, 0.99, unit="share")),
    ("failed_share_full", judged("request_failed: rate<0.01", FAIL, 0.05, 0.01, unit="share")),
    # The last seconds after the last fault say nothing of the whole run, nor does the whole run of them.
    ("failed_share", judged("request_failed: rate<0.01", FAIL, 0.05, 0.01, unit="share", scope="x, steady state")),
    ("failed_times_outage", judged("response_time: p(95)<1s", FAIL, 3200.0, 1000.0, scope="x, steady state")),
    ("failed_times", judged("response_time: p(95)<300ms", FAIL, 3200.0, 300.0, scope="x, steady state")),
    ("not_steady_again", judged("response_time: p(95)<1s", FAIL, 3200.0, 1000.0)),
    ("not_steady_again", judged("response_time: p(95)<1s", UNSURE, 3200.0, 1000.0, scope="x, steady state")),
    ("capacity_below", found(capacity=capacity())),
    ("unanswered", kinds(answered={"ok": 0.995, "degraded": 0.0, "failed": 0.005})),
    ("breaker_silent", outages(lambda o: slow(o, 3.0, 2.0))),
    # Nobody could see a breaker: its gauge was misspelt, or is not there.
    ("breaker_silent", outages(lambda o: slow(o, 3.0, None).model_copy(update={"breaker_seen": False}))),
    ("health_false_ok", found(health=health(noticed_s=4.5, false_ok_s=4.0))),
    ("health_false_ok", _unseen),
    ("saturated_cpu", found(resources={"a": container(cpu_of_limit=usage(0.7))})),
    ("saturated_throttled", found(resources={"a": container(throttled=usage(0.05))})),
    ("saturated_memory", found(resources={"a": container(memory_of_limit=usage(0.8))})),
    ("leak", found(soak=soak("saturating"))),
    ("leak", found(soak=soak(instrument=True))),
    ("leak_limit", found(soak=soak())),
    ("drift", found(soak=soak("drift", worse=False))),
    ("restarted", found(resources={"a": container(restarts=0), "bedrock-1": container(restarts=None)})),
    ("degraded", kinds(answered={"ok": 0.75, "degraded": 0.25, "failed": 0.0})),
    ("budget", kinds(budget_spent=0.1)),
    ("retries", told(provider_calls_per_answer=calls(0.75, 1.5, half=0.9))),  # within chance
    ("retries", told(provider_calls_per_answer=calls(0.75, 1.0))),
    ("price", found(cost=cost(bedrock__blackhole=2.2))),
    ("flapping", told(flaps=0)),
    ("flapping", told(flaps=None)),
    ("no_failback", told(failback_censored=False)),
    ("no_failback", told(failback_censored=True, failback_beyond_s=59.0, failback_s=None)),
    ("breaker_false_alarm", found(health=health())),
    ("health_false_alarm", found(health=health())),
    ("cache_low", cached(0.21)),
    ("cache_low", _cold),
    ("cache_low", untold),
    ("cache_disagree", found(cache={"metrics": witness(0.26)})),
    ("capacity_limit", found(capacity=capacity(limited=False))),
    ("capacity_limit", found(capacity=capacity(resource="bedrock rate limit", kind="rate_limit"))),
    ("capacity_limit", found(capacity=capacity(extrapolated=True))),
    ("capacity_limit_would", found(capacity=capacity())),
    ("capacity_machine", found(capacity=capacity())),
    ("capacity_machine_would", found(capacity=capacity(extrapolated=True))),
    ("capacity_rate_limit", found(capacity=capacity())),
    ("capacity_pool", found(capacity=capacity())),
    ("capacity_throttled", found(capacity=capacity())),
    ("undecided", judged("response_time: p(95)<500ms", UNSURE, 499.0, 500.0, low=400.0, high=600.0)),
    ("at_limit", judged("response_time: p(95)<500ms", UNSURE, 450.0, 500.0, low=400.0, high=600.0)),
    ("too_few", judged("response_time: p(99)<6s", UNSURE, 5900.0, 6000.0, n=2500, high=6100.0)),
    # A longer run has no more seconds after its last fault.
    ("too_few", judged("response_time: p(99)<6s", UNSURE, 500.0, 6000.0, n=500, scope="x, steady state")),
    (
        "undecided",
        judged("response_time: p(95)<500ms", UNSURE, 450.0, 500.0, low=400.0, high=600.0, scope="x, steady state"),
    ),
    ("no_data", judged("response_time: p(95)<6s", UNSURE, 5900.0, 6000.0)),
    (
        "claim",
        lambda c: {"findings": {"claims": tuple(k.model_copy(update={"share": 0.91}) for k in c.findings.claims)}},
    ),
    ("soak_short", found(soak=soak("flat"))),
    ("capacity_beyond", found(capacity=capacity())),
    ("capacity_beyond", found(capacity=capacity("at_least", untold=40.0))),
    ("capacity_untold", found(capacity=capacity("at_least"))),
    ("shortened", lambda _: {"plan": {"scale": 1.0}}),
    ("unpriced", found(cost=cost())),
]


def _said(case: Case) -> dict[str, Advice]:
    return {one.rule: one for one in advise(case)}


@pytest.mark.parametrize(
    ("rule", "change", "values"), SPEAKS, ids=[f"{rule}-{i}" for i, (rule, *_) in enumerate(SPEAKS)]
)
def test_a_rule_speaks_with_its_figures(
    healthy: Case,
    altered: Callable[..., Case],
    rule: str,
    change: Change,
    values: dict[str, Any],
) -> None:
    advice = _said(altered(**change(healthy)))
    assert rule in advice
    assert {key: advice[rule].values[key].value for key in values} == values
    assert advice[rule].evidence
    assert advice[rule].verify.startswith("agentstorm ")


def test_what_was_full_on_the_lowest_level_already_is_told_as_a_bound(
    healthy: Case, altered: Callable[..., Case]
) -> None:
    for at_most, unit in ((False, "rate"), (True, "rate_or_less")):
        advice = _said(altered(**found(capacity=capacity(at_most=at_most))(healthy)))
        assert advice["capacity_limit"].values["full_rate"].unit == unit


@pytest.mark.parametrize(("rule", "change"), SILENT, ids=[f"{rule}-{i}" for i, (rule, _) in enumerate(SILENT)])
def test_a_rule_is_silent_without_its_reason(
    healthy: Case, altered: Callable[..., Case], rule: str, change: Change
) -> None:
    assert rule not in _said(altered(**change(healthy)))


def test_every_rule_is_seen_to_speak_and_to_be_silent() -> None:
    spoken, silent = {rule for rule, *_ in SPEAKS}, {rule for rule, _ in SILENT}
    assert spoken == silent
    for name in RULES:
        assert any(rule.startswith(name) or name in ("slow_recovery", "undecided") for rule in spoken), name


def test_a_healthy_run_gets_next_to_no_advice(healthy: Case) -> None:
    assert [one.rule for one in advise(healthy)] == ["claim"]
    assert risks(advise(healthy)) == ()


def test_an_invalid_run_gets_no_advice_on_its_figures(healthy: Case, altered: Callable[..., Case]) -> None:
    broken = invalid("busy", cpu_sustained=0.83)(healthy)
    broken["findings"]["failovers"] = tuple(slow(o, 9.0, 8.0) for o in healthy.findings.failovers)
    assert [one.rule for one in advise(altered(**broken))] == ["generator_cpu"]


def test_the_worst_comes_first_and_there_is_an_end_to_it(healthy: Case, altered: Callable[..., Case]) -> None:
    everything: dict[str, Any] = {
        "health": health(noticed_s=None, false_ok_s=19.0, false_alarms=2, breaker_false_alarms=1),
        "soak": soak(), "capacity": capacity(), "cost": cost(bedrock__blackhole=4.0),
        "failovers": tuple(slow(o, 9.0, 8.0).model_copy(update={"flaps": 2}) for o in healthy.findings.failovers),
        "resources": {"a": container(cpu_of_limit=usage(0.9), saturated=("cpu",), restarts=1)},
    }  # fmt: skip
    advice = advise(altered(findings=everything))
    assert len(advice) > MOST_RECOMMENDATIONS
    severities = [one.severity for one in advice]
    assert severities == sorted(severities, reverse=True)
    assert len(risks(advice)) == MOST_RISKS
    assert len(recommendations(advice)) == MOST_RECOMMENDATIONS
    assert all(one.severity > Severity.KNOW for one in risks(advice))
    assert len({one.rule for one in advice}) == len(advice)


def test_commands_name_files_by_convention_and_what_was_not_usual(altered: Callable[..., Case]) -> None:
    case = altered(plan={"workers": 3, "scale": 0.5, "target": {"target": "reference-compose"}})
    assert case.again == (
        "agentstorm run scenarios/steady.yaml --chaos chaos/bedrock_blackhole.yaml --target targets/compose.yaml "
        "--workers 3 --scale 0.5"
    )
    assert case.full_length == case.again.removesuffix(" --scale 0.5")
    files = Files(scenario="my s.yaml", experiments=("a/b.yaml",), target="t.yaml", overrides=("load.users=5",))
    case = replace(case, plan=case.plan.model_copy(update={"files": files}))
    assert case.again == (
        "agentstorm run 'my s.yaml' --chaos a/b.yaml --target t.yaml --workers 3 --scale 0.5 --set load.users=5"
    )
    assert case.command("soak") == "agentstorm run scenarios/soak.yaml --target t.yaml"
    local = altered(plan={"target": {"target": "reference-local"}})
    assert local.command("soak") == "agentstorm run scenarios/soak.yaml"


def test_a_longer_run_is_longer_at_its_scale_too(healthy: Case, altered: Callable[..., Case]) -> None:
    short = check("response_time: p(99)<6s", UNSURE, 500.0, 6000.0, n=500)
    whole = _said(altered(verdicts=verdicts(short)))["too_few"]
    assert whole.verify.endswith(" --set load.hold=560s")
    tenth = _said(altered(verdicts=verdicts(short), plan={"scale": 0.1}))["too_few"]
    assert tenth.verify.endswith(" --scale 0.1 --set load.hold=5600s")


def test_a_search_is_held_to_no_promise(healthy: Case, altered: Callable[..., Case]) -> None:
    """It drives the system past what it carries: how long it then takes to recover is no property of the outage."""
    alarmed = health(false_alarms=1, breaker_false_alarms=1)
    late = tuple(slow(o, 9.0, 8.0) for o in healthy.findings.failovers)
    broken = altered(findings={"failovers": late, "health": alarmed})
    rules = [one.rule for one in advise(broken)]
    assert {"health_false_alarm", "breaker_false_alarm"} <= set(rules)
    assert any(rule.startswith("recovery_") for rule in rules)
    load = plan(load={"kind": "capacity", "min": "5/s", "max": "50/s", "hold": "10s", "budget": "600s"}).scenario.load
    scenario = broken.plan.scenario.model_copy(update={"load": load})
    searched = replace(broken, plan=broken.plan.model_copy(update={"scenario": scenario}))
    assert [one.rule for one in advise(searched) if one.rule in rules and one.severity > Severity.KNOW] == []
    tile = _sla(searched, ENGLISH, "")
    assert (tile.figure, bool(tile.command)) == ("", True)
    assert _sla(broken, ENGLISH, "").figure
