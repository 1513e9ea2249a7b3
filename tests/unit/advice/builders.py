"""Findings that one rule or another is about, made to measure."""

from __future__ import annotations

from typing import Any

from harness.model.capacity import CapacityFindings
from harness.model.cost import CostFindings, Spend
from harness.model.findings import (
    CacheWitness,
    Estimate,
    Failover,
    HealthFindings,
    HealthOutage,
    Interval,
    PerAnswer,
    Resources,
    Usage,
)
from harness.model.soak import SoakFindings
from harness.model.verdict import Check, Verdict, Verdicts


def spend(per_1k: float) -> Spend:
    return Spend(spent=per_1k, requests=1000, answers=1000, calls=750, tokens_in=1000, tokens_out=2000,
                 per_1k_requests=per_1k, per_answer=per_1k / 1000)  # fmt: skip


def cost(**outages: float) -> CostFindings:
    """A healthy 2 USD per 1,000 requests; others by state, with ``__`` for the space."""
    states = {"healthy": spend(2.0)} | {name.replace("__", " "): spend(price) for name, price in outages.items()}
    return CostFindings(
        currency="USD", total=spend(2.0), per_user_hour=0.5, per_user_hour_by_state={}, by_state=states, by_tenant={},
        by_agent={}, by_upstream={}, by_model={}, canary=0.0, cache=None, unpriced={},
    )  # fmt: skip


def about(value: float, half: float = 0.01) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=500)


def calls(healthy: float, during: float, half: float = 0.01) -> PerAnswer:
    return PerAnswer(healthy=about(healthy, half), during=about(during, half))


def slow(outage: Failover, recovery: float, detection: float | None) -> Failover:
    """The outage recovered from after so long, with the breaker open after so long."""

    def around(at: float) -> Interval:
        return Interval(low=at - 0.01, high=at)

    return outage.model_copy(
        update={
            "recovery_s": around(recovery), "detection_s": None if detection is None else around(detection),
            "impact": True, "impact_s": around(0.1), "worst_stall_s": recovery / 2, "slow_requests": 7,
        }
    )  # fmt: skip


def health(*, noticed_s: float | None = 2.0, false_ok_s: float = 1.0, **more: Any) -> HealthFindings:
    outage = HealthOutage(
        fault="f#1", kind="blackhole", upstream="bedrock",
        noticed_s=None if noticed_s is None else Interval(low=noticed_s - 1, high=noticed_s),
        noticed_while_on=noticed_s is not None, well_again_s=None, false_ok_s=false_ok_s, looks=20,
    )  # fmt: skip
    facts: dict[str, Any] = {"false_alarms": 0, "false_alarm_s": 0.0, "breakers_opened": 3, "breaker_false_alarms": 0}
    return HealthFindings(looks=100, gap_s=1.0, outages=(outage,), false_ok_s=false_ok_s, **(facts | more))


def usage(value: float) -> Usage:
    return Usage(mean=value, p95=value, max=value)


def container(**used: Any) -> Resources:
    return Resources(cpu=usage(0.4), memory_mib=usage(100), net=None, **used)


def witness(rate: float, n: int = 1000) -> CacheWitness:
    return CacheWitness(hit_rate=rate, hits=round(rate * n), n=n)


def check(threshold: str, verdict: Verdict, observed: float | None, limit: float, **more: Any) -> Check:
    facts: dict[str, Any] = {"scope": "scenario", "low": None, "high": None, "n": 2500, "unit": "ms", "why": "it is so"}
    return Check(threshold=threshold, verdict=verdict, observed=observed, limit=limit, **(facts | more))


def verdicts(*checks: Check) -> Verdicts:
    worst = Verdict.FAIL if any(c.verdict is Verdict.FAIL for c in checks) else Verdict.INCONCLUSIVE
    return Verdicts(verdict=worst, exit_code=99, checks=checks, why=checks[0].why)


def _level(rate: float, slo: str) -> dict[str, Any]:
    e = {"value": rate, "low": rate, "high": rate, "n": 100}
    return {
        "level": 1, "rate": rate, "users": None, "begin_s": 0, "end_s": 60, "settled": True, "counts": True,
        "requests": 100, "dropped": 0, "offered": rate, "achieved": e, "in_flight": 3, "response_mean_ms": e,
        "response_ms": {"p50": e, "p95": e, "p99": e}, "good_share": e, "slo": slo, "why": "",
        "little": {"in_flight": 3, "expected": 3, "off": 0, "holds": True},
    }  # fmt: skip


_SHOWN = {
    "bracketed": ((18.5, "meets"), (21.5, "misses")), "at_least": ((10.0, "meets"), (18.5, "meets")),
    "below": ((21.5, "misses"), (25.0, "misses")), "undecided": ((10.0, "inconclusive"),),
}  # fmt: skip


def capacity(
    state: str = "bracketed", name: str = "healthy", *, limited: bool = True, untold: float | None = None, **limit: Any
) -> CapacityFindings:
    """20 requests per second and 400 users in one state; the gateway's CPU gives out at 22, or what else `limit` says.
    A level of `untold` requests per second tells nothing."""
    known = state == "bracketed"
    rate = {"value": 20.0 if known else None, "low": 18.5 if state in ("bracketed", "at_least") else None,
            "high": 21.5 if state in ("bracketed", "below") else None, "n": 4}  # fmt: skip
    users = {key: value if key == "n" or value is None else value * 20 for key, value in rate.items()}
    first = {"resource": "gateway cpu", "kind": "cpu", "of": "its limit", "full_at": 0.8, "highest": 0.85, "rate": 22.0,
             "extrapolated": False, "evidence": "it was seen"} | limit  # fmt: skip
    levels = [*_SHOWN[state], *([] if untold is None else [(untold, "inconclusive")])]
    one = {
        "state": name, "levels": [_level(*level) for level in levels], "usl": None,
        "capacity": {"state": state, "rate": rate, "users": users, "untold": int(untold is not None)},
        "limits": [first] if limited else [],
        "advice": {"rate": 13.0, "shown": True, "users": 260, "rate_per_replica": 13.0, "in_flight_per_replica": 4,
                   "cpu": {}},
    }  # fmt: skip
    return CapacityFindings.model_validate(
        {"open_loop": True, "slo_response_s": 3, "slo_good_share": 0.99, "think_s": 20, "headroom": 0.7, "replicas": 1,
         "states": [one], "worst": name}
    )  # fmt: skip


def soak(verdict: str = "leak", what: str = "memory", **more: Any) -> SoakFindings:
    """Two hours in which the gateway grows by 12 MiB an hour, or what else is said."""
    series: dict[str, Any] = {
        "owner": "process:gateway", "instrument": False, "what": what, "unit": "MiB", "metric": "anon_mib",
        "verdict": verdict, "why": "it grows", "worse": True, "level": 200, "threshold": 1.0, "detectable": 0.5,
        "slope": {"value": 12.0, "low": 10, "high": 14}, "needed_s": None, "n": 100, "independent": 80, "window_s": 60,
    } | more  # fmt: skip
    return SoakFindings.model_validate(
        {"length_s": 7200, "scale": 1, "verdict": verdict, "why": "", "tested": 1, "left_out_s": 0, "series": [series]}
    )
