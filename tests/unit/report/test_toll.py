"""What an outage cost, as one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis.outages import per_answer, told_apart
from harness.model.findings import AnswerTimes, Estimate, Failover, Interval, PerAnswer, ResponseShift
from harness.report import units
from harness.report.toll import toll, unharmed


def about(value: float, half: float | None = 0.01, n: int = 200) -> Estimate:
    if half is None:
        return Estimate(value=value, low=None, high=None, n=n)
    return Estimate(value=value, low=value - half, high=value + half, n=n)


def shift(healthy: float, during: float, half: float | None = 1.0) -> ResponseShift:
    """Return p95s, ms; medians half as long. Without `half` there are too few answers for a p95."""
    sides = (AnswerTimes(p50=about(p95 / 2, 1.0), p95=about(p95, half)) for p95 in (healthy, during))
    return ResponseShift(healthy=next(sides), during=next(sides))


def price(healthy: float, during: float, half: float = 0.01, n: int = 200) -> PerAnswer:
    return PerAnswer(healthy=about(healthy, half), during=about(during, half, n))


def outage(recovery: tuple[float, float] | None = (3.0, 3.1), **more: Any) -> Failover:
    found = {
        "fault": "f", "kind": "kill", "upstream": "agents", "experiment": "e", "injecting_ns": 0, "effective_ns": 0,
        "cleared_ns": 2 * 10**9, "effective_s": None, "impact_s": Interval(low=0.1, high=0.2), "detection_s": None,
        "failover_s": None, "failback_s": None, "impact": True,
        "recovery_s": None if recovery is None else Interval(low=recovery[0], high=recovery[1]),
        "censored": recovery is None, "failback_censored": False, "observed_s": 40.0, "flaps": 0,
        "failed_requests": 0, "slow_requests": 0, "in_flight": 0, "answers": {"ok": 40, "degraded": 0, "failed": 0},
        "unavailable_s": 0.0, "worst_stall_s": 0.0, "extra_provider_calls": None, "extra_tokens": None,
        "resolution_s": 0.03, "bit": True,
    }  # fmt: skip
    return Failover(**(found | more))


QUIET: dict[str, Any] = {"recovery": (0.0, 0.04), "impact": False, "impact_s": None}
UNBITTEN = outage(None, bit=False, censored=False, impact=False)


@pytest.mark.parametrize(
    ("upstream", "kind", "outages", "sentence"),
    [
        ("redis", "refuse",
         [outage(**QUIET, response_ms=shift(380, 410), provider_calls_per_answer=price(1.1, 1.52),
                 tokens_per_answer=price(200, 276, 1.0))] * 3,
         ("redis refused connections 3 times: every request made meanwhile was answered, p95 410 ms instead of "
         "380 ms, provider calls "
         "per answer 1.52 instead of 1.1 (+38 % tokens); no harm was seen")),
        ("agents", "kill",
         [outage(in_flight=2, in_flight_failed=k, recovery_after_clearing_s=Interval(low=1.1, high=1.2 - k / 10),
                 answers={"ok": 1, "degraded": 0, "failed": 9}) for k in (2, 2, 0)],
         ("agents killed 3 times: 27 of 30 requests failed; 4 of 6 requests already in flight were lost; "
         "service was good "
         "again within 1.2 s of being started again each time")),
        ("agents", "pause", [outage(answers={"ok": 0, "degraded": 0, "failed": 1}, in_flight=1, in_flight_failed=1)],
         ("agents frozen once: the only request failed; the one request already in flight was lost; service was good "
         "again within 3.1 s")),
        ("agents", "cpu", [outage(answers={"ok": 0, "degraded": 0, "failed": 0}, in_flight=4), outage(None)],
         ("agents short of CPU twice: every request made meanwhile was answered; all 4 requests already in "
         "flight survived; service was good "
         "again within 3.1 s in 1 of 2")),
        ("bedrock", "stop", [outage(**QUIET, answers={"ok": 10, "degraded": 30, "failed": 0},
                                    response_ms=shift(380, 390, None), provider_calls_per_answer=price(1.1, 0.9, 0.5),
                                    tokens_per_answer=price(200, 180, 50))],
         ("bedrock stopped once: every request made meanwhile was answered, 30 of 40 by the system's own rules "
         "only, median 195 ms "
         "instead of 190 ms, provider calls per answer 0.9 (before 1.1: within chance); no request failed or came "
         "late")),
        ("bedrock", "reset", [outage(answers={"ok": 4, "degraded": 0, "failed": 0}, recovery=(0.0, high))
                              for high in (0.03, 0.04, 14.0)],
         ("bedrock reset connections 3 times: every request made meanwhile was answered; service was good again "
         "within 14 s each "
         "time, half of the time within 40 ms")),
        ("bedrock", "blackhole", [outage(None)],
         ("bedrock hung once: every request made meanwhile was answered; service was not good again while it was "
          "watched")),
        ("cache", "slow", [UNBITTEN], "slow on cache was never seen to bite, so nothing was tested"),
        ("cache", "corrupt", [UNBITTEN, outage(**QUIET, answers={"ok": 0, "degraded": 0, "failed": 0})],
         "cache under corrupt once: no request was due meanwhile; no harm was seen"),
    ],
)  # fmt: skip
def test_the_sentence(upstream: str, kind: str, outages: list[Failover], sentence: str) -> None:
    assert toll(upstream, kind, outages).replace(units.SPACE, " ") == sentence


def test_several_outages_count_every_answer_once() -> None:
    few, many = price(1.0, 3.0, 0.3, n=100), price(1.0, 2.0, 0.4, n=300)
    outages = [outage(provider_calls_per_answer=p) for p in (few, many, None)]
    found = per_answer(outages, lambda f: f.provider_calls_per_answer)
    assert found is not None
    assert (found.healthy, found.during.value, found.during.n) == (few.healthy, 2.25, 400)
    assert found.during.high == pytest.approx(2.25 + ((0.3 * 100) ** 2 + (0.4 * 300) ** 2) ** 0.5 / 400)
    assert per_answer(outages[2:], lambda f: f.provider_calls_per_answer) is None


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        (about(1.0, 0.3), about(1.5, 0.3), True),
        (about(1.5, 0.3), about(1.0, 0.3), True),
        (about(1.0, 0.4), about(1.5, 0.4), False),
        (about(1.0, None), about(9.0, 0.1), False),
        (Estimate(value=None, low=None, high=None, n=0), about(1.0), False),
        (Estimate(value=1, low=None, high=1.1, n=9), Estimate(value=2, low=1.9, high=None, n=9), True),
    ],
)
def test_what_chance_explains_is_no_difference(one: Estimate, other: Estimate, apart: bool) -> None:
    assert told_apart(one, other) is apart


def test_who_lost_a_request_in_flight_was_harmed() -> None:
    assert unharmed(outage(**QUIET))
    assert not unharmed(outage(**QUIET, in_flight=1, in_flight_failed=1))
    assert not unharmed(outage((1.0, 2.0), impact=False))
    assert not unharmed(UNBITTEN)
