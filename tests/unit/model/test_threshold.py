"""k6's grammar, with our tags, windows and claims; and every mistake named."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.threshold import METRICS, parse_abort, parse_threshold


def test_a_percentile_of_a_time_is_in_milliseconds() -> None:
    threshold = parse_threshold("response_time{phase:fault, agent:coordinator}", "p(95)<3s")
    assert (threshold.metric, threshold.limit, threshold.unit, threshold.percentile) == (
        "response_time",
        3000,
        "ms",
        95,
    )
    assert threshold.tags == (("phase", "fault"), ("agent", "coordinator"))
    assert threshold.holds(2999)
    assert not threshold.holds(3000)


@pytest.mark.parametrize(
    ("name", "check", "limit", "unit"),
    [
        ("request_failed", "rate<0.01", 0.01, "share"),
        ("request_failed", "rate<1%", 0.01, "share"),
        ("request_failed", "count<5", 5, "count"),
        ("cache_hit", "rate>0.20", 0.2, "share"),
        ("recovery_time", "max<5s", 5, "s"),
        ("recovery_time", "p(95)<5000ms", 5, "s"),
        ("flaps", "max<=1", 1, "count"),
        ("requests", "rate>=16", 16, "per_s"),
        ("service_time", "med<250ms", 250, "ms"),
        ("time_to_first_token", "p(95)<1s", 1000, "ms"),
        ("inter_token_latency", "p(99)<80ms", 80, "ms"),
        ("tokens_per_second", "p(5)>20", 20, "per_s"),
        ("tokens_per_second", "med>1.5x vs baseline", 1.5, "per_s"),
        ("leak", "count==0", 0, "count"),
        ("memory_slope{container:agents}", "max<10MiB/h", 10, "MiB/h"),
        ("memory_slope", "max<1GiB/h", 1024, "MiB/h"),
        ("fds_slope", "max<4/h", 4, "/h"),
    ],
)
def test_limits_are_in_the_metrics_unit(name: str, check: str, limit: float, unit: str) -> None:
    threshold = parse_threshold(name, check)
    assert threshold.limit == pytest.approx(limit)
    assert threshold.unit == unit


def test_a_claim() -> None:
    claim = parse_threshold("failover_claim", "0.90 at 0.95 under 5s")
    assert (claim.share, claim.confidence, claim.limit) == (0.90, 0.95, 5)


def test_against_the_baseline_the_limit_is_a_multiple() -> None:
    threshold = parse_threshold("response_time{phase:fault}", "p(95)<1.5x vs baseline")
    assert threshold.vs_baseline
    assert threshold.limit == 1.5


def test_an_abort_condition_needs_its_window() -> None:
    assert parse_abort("request_failed: rate>0.5 over 30s").window_s == 30
    assert parse_abort("time_to_first_token: med>5s over 10s").limit == 5000
    assert parse_abort("request_failed{agent:banking}: rate>0.5 over 30s").tags == (("agent", "banking"),)
    for windowless in ("request_failed: rate>0.5", "request_failed: rate>0.5 over 0s"):
        with pytest.raises(ValueError, match="window"):
            parse_abort(windowless)
    with pytest.raises(ValueError, match="abort condition"):
        parse_abort("rate>0.5")


@pytest.mark.parametrize(
    "condition",
    [
        "recovery_time: max<5s over 30s",
        "failover_claim: 0.90 at 0.95 under 5s",
        "response_time: p(95)>2x vs baseline over 30s",
        "request_failed{phase:fault}: rate>0.5 over 30s",
        "inter_token_latency: p(95)>1s over 30s",
    ],
)
def test_what_is_only_known_after_the_run_cannot_abort_it(condition: str) -> None:
    with pytest.raises(ValueError, match="only known after the run"):
        parse_abort(condition)


@pytest.mark.parametrize(
    ("name", "check", "says"),
    [
        ("respons_time", "p(95)<3s", "did you mean 'response_time'"),
        ("response_time", "rate<3", "cannot be aggregated by 'rate'"),
        ("response_time", "p(95)<3", "needs a unit of time"),
        ("response_time", "p(0)<3s", "between 0 and 100"),
        ("response_time", "p(95)", "is no threshold"),
        ("response_time{agnt:x}", "p(95)<3s", "did you mean 'agent'"),
        ("response_time{agent}", "p(95)<3s", "tag:value"),
        ("response_time{", "p(95)<3s", "is no metric name"),
        ("request_failed", "rate<1s", "unexpected unit"),
        ("failover_claim", "p(95)<5s", "is no claim"),
        ("response_time", "p(95)<3s vs baseline", "multiple"),
        ("response_time", "p(95)<3s over 10s", "only abort conditions have a window"),
        ("response_time{phase:fualt}", "p(95)<3s", "did you mean 'fault'"),
        ("recovery_time{agent:x}", "max<5s", "is about outages"),
        ("request_failed", "rate<5", "between 0 and 1"),
        ("request_failed", "rate<101%", "between 0 and 1"),
        ("failover_claim", "0.0 at 0.95 under 5s", "is no claim"),
        ("failover_claim", "0.9 at 0.0 under 5s", "is no claim"),
        ("failover_claim", "1.0 at 0.95 under 5s", "is no claim"),
        ("failover_claim{phase:fault}", "0.9 at 0.95 under 5s", "is about outages"),
        ("memory_slope", "max<10MiB", "growth per hour, as in 10MiB/h"),
        ("memory_slope", "max<10/h", "growth per hour, as in 10MiB/h"),
        ("memory_slope", "max<10parsec/h", "is no size"),
        ("fds_slope", "max<4MiB/h", "growth per hour, as in 4/h"),
        ("memory_slope", "p(95)<10MiB/h", "cannot be aggregated by 'p(95)'"),
        ("memory_slope{agent:x}", "max<10MiB/h", "has no 'agent'; its tags: process, container"),
        ("leak", "count==1x vs baseline", "has no baseline"),
        ("response_time{process:x}", "p(95)<3s", "is about requests and has no 'process'"),
    ],
)
def test_every_mistake_is_named(name: str, check: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_threshold(name, check)
    assert says in str(caught.value)


@given(st.text(max_size=40), st.text(max_size=40))
def test_nothing_but_a_value_error_ever_comes_out(name: str, check: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_threshold(name, check).metric in METRICS
