"""Verdicts: three values, with evidence, in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis import analyse
from harness.analysis.claims import claims
from harness.analysis.stats import Share, Times
from harness.evidence import Case, evidence_for
from harness.judge import abort_crossed, judge
from harness.model.findings import Estimate, Failover, Findings, Interval, Validity
from harness.model.plan import Slo
from harness.model.threshold import parse_abort, parse_threshold
from harness.model.verdict import Check, Verdict, Verdicts
from harness.wording import quantity
from tests.recordings import RecordingBuilder, experiment, plan, storm
from tests.unit.advice.builders import capacity


class Sample:
    """Measures that are what the test says."""

    def __init__(self, ms: Any = (), *, baseline_ms: Any = (), share: Share | None = None, sent: int = 0) -> None:
        self._ms, self._baseline = np.asarray(ms, float), np.asarray(baseline_ms, float)
        self._share, self._sent = share or Share(0, 0), sent

    def times(self, metric: str, tags: tuple[tuple[str, str], ...], experiment: str | None = None) -> Times:
        values = self._baseline if ("phase", "baseline") in tags else self._ms
        return Times((values * 1e6).astype(np.int64), np.zeros(len(values), bool))

    def share(self, metric: str, tags: tuple[tuple[str, str], ...], experiment: str | None = None) -> Share:
        return self._share

    def sent(self, tags: tuple[tuple[str, str], ...], experiment: str | None = None) -> tuple[int, float]:
        return self._sent, 60.0


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    builder = RecordingBuilder(tmp_path_factory.mktemp("empty"))
    builder.phases(steady=0, cooldown=60)
    return analyse(builder.close(61))[0].model_copy(update={"validity": Validity(valid=True)})


def outage(recovery: tuple[float, float] | None, **more: Any) -> Failover:
    found = {
        "fault": "f", "kind": "blackhole", "upstream": "bedrock", "experiment": "bedrock-blackhole",
        "injecting_ns": 0, "effective_ns": 0, "cleared_ns": 0, "effective_s": None, "impact_s": None,
        "detection_s": None, "failover_s": None, "failback_s": None, "impact": True,
        "recovery_s": None if recovery is None else Interval(low=recovery[0], high=recovery[1]),
        "censored": recovery is None, "failback_censored": False, "observed_s": 40.0, "flaps": 0,
        "failed_requests": 0, "slow_requests": 0, "in_flight": 0, "answers": {"ok": 0, "degraded": 0, "failed": 0},
        "unavailable_s": 0.0, "worst_stall_s": 0.0, "extra_provider_calls": None, "extra_tokens": None,
        "resolution_s": 0.03, "bit": True,
    }  # fmt: skip
    return Failover(**(found | more))


def verdicts(findings: Findings, measure: Sample, thresholds: dict[str, Any], *outages: Failover) -> Verdicts:
    return judge(plan(thresholds=thresholds), findings.model_copy(update={"failovers": outages}), measure)


def check(findings: Findings, measure: Sample, name: str, text: str, *outages: Failover) -> Check:
    (found,) = verdicts(findings, measure, {name: [text]}, *outages).checks
    return found


NOISE = np.random.default_rng(5).lognormal(0, 0.3, 4000) * 1000


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("p(95)<3s", Verdict.PASS), ("p(95)<1s", Verdict.FAIL), ("p(95)<1.64s", Verdict.INCONCLUSIVE),
        ("p(99)<3s", Verdict.PASS), ("med<1.1s", Verdict.PASS), ("avg<1.1s", Verdict.PASS), ("avg>2s", Verdict.FAIL),
        ("max<10s", Verdict.PASS), ("max<2s", Verdict.FAIL), ("min>1s", Verdict.FAIL),
        ("p(99.9)<10s", Verdict.INCONCLUSIVE),
    ],
)  # fmt: skip
def test_a_trend_passes_fails_or_is_inconclusive(empty: Findings, text: str, verdict: Verdict) -> None:
    found = check(empty, Sample(NOISE), "response_time", text)
    assert found.verdict is verdict, found.why
    assert found.n == 4000


def test_a_p99_of_few_requests_can_fail_but_not_pass(empty: Findings) -> None:
    good = check(empty, Sample(NOISE[:1999]), "response_time", "p(99)<10s")
    assert good.verdict is Verdict.INCONCLUSIVE
    assert "needs 2,000 requests to pass and 1,999 were seen" in good.why
    assert check(empty, Sample(NOISE[:2000]), "response_time", "p(99)<10s").verdict is Verdict.PASS
    assert check(empty, Sample(NOISE[:500]), "response_time", "p(99)<1s").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("response_time", "p(95)<3s"), ("response_time{agent:typo}", "max<3s"), ("request_failed", "rate<0.01"),
        ("request_failed", "count<1"), ("cache_hit", "rate<1"), ("recovery_time", "max<5s"),
        ("failover_claim", "0.1 at 0.5 under 99s"), ("response_time", "p(95)<2x vs baseline"),
    ],
)  # fmt: skip
def test_no_data_never_passes(empty: Findings, name: str, text: str) -> None:
    found = check(empty, Sample(), name, text)
    assert (found.verdict, found.observed, found.n) == (Verdict.INCONCLUSIVE, None, 0)


@pytest.mark.parametrize(
    ("share", "text", "verdict"),
    [
        (Share(0, 500), "rate<0.01", Verdict.PASS),  # Wilson: 0 of 500 is at most 0.76 %
        (Share(0, 100), "rate<0.01", Verdict.INCONCLUSIVE),
        (Share(50, 500), "rate<0.01", Verdict.FAIL),
        (Share(0, 500, unknown=20), "rate<0.01", Verdict.INCONCLUSIVE),  # lost requests may all have failed
        (Share(0, 5), "count==0", Verdict.PASS),
        (Share(0, 5, unknown=1), "count==0", Verdict.INCONCLUSIVE),
        (Share(2, 5, unknown=1), "count==0", Verdict.FAIL),
        (Share(1, 5), "count!=0", Verdict.PASS),
    ],
)
def test_rates_and_counts(empty: Findings, share: Share, text: str, verdict: Verdict) -> None:
    found = check(empty, Sample(share=share), "request_failed", text)
    assert found.verdict is verdict, found.why


def test_what_failed_by_little_is_not_told_as_its_own_limit(empty: Findings) -> None:
    found = check(empty, Sample(share=Share(999_700, 1_000_000)), "request_ok", "rate>=0.9999")
    assert found.why == "Fails: 99.97 % of requests get a full answer; limit 99.99 %."


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.9997, "share", "99.97 %"), (0.0123, "share", "1.23 %"), (1234.5, "per_s", "1,230/s"), (999.6, "ms", "1 s"),
        (1.5, "x", "1.5x"), (150, "s", "2 min 30 s"), (1500, "count", "1,500"), (2.25, "count", "2.2"),
        (12_345, "MiB/h", "12,300 MiB/h"),
    ],
)  # fmt: skip
def test_a_sentence_says_numbers_as_the_tables_do(value: float, unit: str, said: str) -> None:
    assert quantity(value, unit) == said


def test_a_capacity_in_users_is_told_in_full() -> None:
    found = capacity()
    (state,) = found.states
    users = Estimate(value=1499.7, low=1400.0, high=1499.9, n=4)
    many = state.model_copy(update={"capacity": state.capacity.model_copy(update={"users": users})})
    larger = found.model_copy(update={"states": (many,)})
    case = Case(parse_threshold("capacity", "users>1500"), Sample(), (), capacity=larger)
    assert evidence_for(case).said == "the system carries 1,499.7 users within its SLO in state healthy; limit 1,500"
    case = Case(parse_threshold("capacity", "rate>1500"), Sample(), (), capacity=found)
    assert evidence_for(case).said == "the system carries 20 requests/s within its SLO in state healthy; limit 1,500"


def test_requests_are_facts(empty: Findings) -> None:
    assert check(empty, Sample(sent=1000), "requests", "rate>16.5").verdict is Verdict.PASS
    found = check(empty, Sample(sent=1000), "requests", "rate>16.7")
    assert (found.verdict, found.unit) == (Verdict.FAIL, "per_s")
    assert found.why == "Fails: 16.7/s requests were sent; limit 16.7/s."


def test_that_none_was_sent_is_known_and_can_fail_but_passes_nothing(empty: Findings) -> None:
    found = check(empty, Sample(), "requests", "rate>16.5")
    assert (found.verdict, found.observed, found.n) == (Verdict.FAIL, 0.0, 0)
    for text in ("count<10", "rate<1", "count==0"):
        found = check(empty, Sample(), "requests", text)
        assert (found.verdict, found.observed) == (Verdict.INCONCLUSIVE, 0.0), text
        assert "requests that were never sent prove nothing" in found.why
    missed = check(empty, Sample(), "requests{phase:fault}", "rate>0.5x vs baseline")
    assert missed.verdict is Verdict.INCONCLUSIVE, "the baseline was as silent"


def test_against_the_baseline(empty: Findings) -> None:
    same = Sample(NOISE, baseline_ms=NOISE[:2000])
    found = check(empty, same, "response_time{phase:fault}", "p(95)<1.5x vs baseline")
    assert (found.verdict, found.unit, found.limit) == (Verdict.PASS, "x", 1.5)
    assert found.observed == pytest.approx(1.0, abs=0.1)
    twice = Sample(NOISE * 2, baseline_ms=NOISE[:2000])
    assert check(empty, twice, "response_time", "p(95)<1.5x vs baseline").verdict is Verdict.FAIL
    few = check(empty, Sample(NOISE, baseline_ms=NOISE[:50]), "response_time", "p(95)<5x vs baseline")
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "in the baseline" in few.why
    none = check(empty, Sample(), "recovery_time", "max<2x vs baseline", outage((1, 2)))
    assert none.why == "Inconclusive: recovery_time has no baseline to be held against."


GOOD = [outage((1.0 + i / 10, 1.1 + i / 10)) for i in range(5)]


@pytest.mark.parametrize(
    ("text", "outages", "verdict"),
    [
        ("max<5s", GOOD, Verdict.PASS),
        ("max<5s", [*GOOD, outage((4.9, 5.1))], Verdict.INCONCLUSIVE),
        ("max<5s", [*GOOD, outage((5.1, 5.2))], Verdict.FAIL),
        ("max<5s", [*GOOD, outage(None)], Verdict.FAIL),
        ("max<90s", [*GOOD, outage(None, observed_s=3.0)], Verdict.FAIL),
        ("avg<5s", GOOD, Verdict.PASS),
        ("avg<5s", [*GOOD, outage(None)], Verdict.FAIL),
        ("p(95)<5s", GOOD, Verdict.INCONCLUSIVE),
        ("p(95)<1s", GOOD, Verdict.FAIL),
        ("p(95)<5s", [*GOOD, outage(None)], Verdict.FAIL),
        ("p(95)<5s", [*GOOD * 100, outage(None)], Verdict.PASS),
        ("count>4", GOOD, Verdict.PASS),
        ("max<5s", [outage((1, 2), bit=False)], Verdict.INCONCLUSIVE),
    ],
)
def test_outages(empty: Findings, text: str, outages: list[Failover], verdict: Verdict) -> None:
    found = check(empty, Sample(), "recovery_time", text, *outages)
    assert found.verdict is verdict, found.why


@pytest.mark.parametrize("metric", ["detection_time", "failover_time"])
@pytest.mark.parametrize("aggregator", ["min", "max", "avg", "med"])
def test_the_outages_that_were_measured_do_not_speak_for_the_others(
    empty: Findings, metric: str, aggregator: str
) -> None:
    seen = {"detection_s": Interval(low=1, high=1), "failover_s": Interval(low=1, high=1)}
    measured = [outage((1, 2), **seen)] * 50
    found = check(empty, Sample(), metric, f"{aggregator}<5s", *measured, outage((1, 2)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "measured on 50 of 51 outages" in found.why
    assert check(empty, Sample(), metric, f"{aggregator}<5s", *measured).verdict is Verdict.PASS


def test_an_outage_without_harm_has_no_first_harm_to_measure(empty: Findings) -> None:
    harmed = outage((1, 2), impact_s=Interval(low=1, high=1))
    assert check(empty, Sample(), "impact_delay", "max<5s", harmed, outage((0, 0.03))).verdict is Verdict.PASS


def test_percentiles_of_few_outages_point_to_what_can_be_claimed(empty: Findings) -> None:
    found = check(empty, Sample(), "recovery_time", "p(95)<5s", *GOOD)
    assert "use max<TIME, or failover_claim" in found.why


def test_outages_by_tag(empty: Findings) -> None:
    both = [outage((1, 2)), outage((7, 8), kind="refuse", upstream="openai", fault="r")]
    for tag, verdict in (
        ("", Verdict.FAIL), ("{fault:blackhole}", Verdict.PASS), ("{fault:r}", Verdict.FAIL),
        ("{upstream:bedrock}", Verdict.PASS), ("{upstream:openai,fault:refuse}", Verdict.FAIL),
        ("{upstream:gemini}", Verdict.INCONCLUSIVE),
    ):  # fmt: skip
        assert check(empty, Sample(), f"recovery_time{tag}", "max<5s", *both).verdict is verdict, tag


def test_what_never_came_is_said(empty: Findings) -> None:
    gone = outage(None, failback_censored=True, failback_beyond_s=9.5)
    assert check(empty, Sample(), "failback_time", "max<9s", gone).verdict is Verdict.FAIL
    assert check(empty, Sample(), "failback_time", "max<10s", gone).verdict is Verdict.INCONCLUSIVE
    assert check(empty, Sample(), "failover_time", "max<9s", gone).verdict is Verdict.FAIL
    local = outage((0.1, 0.2))  # served by its own rules: no failover, and nothing wrong with that
    assert check(empty, Sample(), "failover_time", "max<9s", local).verdict is Verdict.INCONCLUSIVE
    assert check(empty, Sample(), "flaps", "max<3", outage((1, 2), flaps=2)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("failback_time", "the provider had not served its share again 9.5 s after clearing"),
        ("unavailable_time", "service was bad for at least 8 s"),
        ("worst_stall", "nobody got an answer for at least 8 s"),
    ],
)
@pytest.mark.parametrize("aggregator", ["min", "max", "avg", "med"])
def test_what_had_not_ended_is_not_told_as_if_it_had(empty: Findings, metric: str, said: str, aggregator: str) -> None:
    cut = outage(None, failback_censored=True, failback_beyond_s=9.5, unavailable_s=8, worst_stall_s=8)
    found = check(empty, Sample(), metric, f"{aggregator}<9s", cut)
    assert found.at_least
    assert said in found.why
    over = outage((7, 8), failback_s=Interval(low=9, high=9.5), unavailable_s=8, worst_stall_s=8)
    ended = check(empty, Sample(), metric, f"{aggregator}<9s", over)
    assert not ended.at_least
    assert "at least" not in ended.why
    assert " had not " not in ended.why


def test_where_nobody_could_see_a_change_of_provider_none_is_not_zero(empty: Findings) -> None:
    unseen = outage((1, 2), flaps=None)
    found = check(empty, Sample(), "flaps", "max<3", unseen, unseen)
    assert (found.verdict, found.observed, found.n) == (Verdict.INCONCLUSIVE, None, 0)
    found = check(empty, Sample(), "flaps", "max<3", unseen, outage((1, 2), flaps=0))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "measured on 1 of 2 outages" in found.why
    assert check(empty, Sample(), "flaps", "max<3", unseen, outage((1, 2), flaps=4)).verdict is Verdict.FAIL


@pytest.mark.parametrize("metric", ["unavailable_time", "worst_stall"])
def test_what_had_not_ended_when_the_observation_did_is_a_lower_bound(empty: Findings, metric: str) -> None:
    def decided(text: str, *outages: Failover) -> Verdict:
        return check(empty, Sample(), metric, text, *outages).verdict

    over, cut = outage((7, 8), unavailable_s=8, worst_stall_s=8), outage(None, unavailable_s=8, worst_stall_s=8)
    found = check(empty, Sample(), metric, "max<10s", cut)
    assert (found.verdict, found.observed, found.low, found.high) == (Verdict.INCONCLUSIVE, 8, 8, None), found.why
    assert [decided(text, over, cut) for text in ("max<10s", "max<5s", "avg<10s", "med<10s", "min<10s")] == [
        Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE, Verdict.PASS,
    ]  # fmt: skip
    assert decided("max<10s", over) is Verdict.PASS
    assert decided("p(95)<10s", *[over] * 500, cut) is Verdict.PASS
    assert decided("p(95)<10s", *[over] * 10, *[cut] * 90) is Verdict.INCONCLUSIVE
    nobody = check(empty, Sample(), metric, "max<10s", outage(None, resolution_s=40.0))
    assert (nobody.verdict, nobody.observed) == (Verdict.INCONCLUSIVE, None)


def test_claims(empty: Findings) -> None:
    n29 = [outage((1, 2))] * 29
    assert check(empty, Sample(), "failover_claim", "0.90 at 0.95 under 5s", *n29).verdict is Verdict.PASS
    short = check(empty, Sample(), "failover_claim", "0.90 at 0.95 under 5s", *GOOD)
    assert short.verdict is Verdict.INCONCLUSIVE
    assert short.why == (
        "Inconclusive: 5 of 5 outages recovered under 5 s, which supports at least 54.9 % at 95 % confidence; claimed "
        "90 %, for which 24 more recoveries in a row are needed."
    )
    # 28 of 28 support 89.85 %: told as 90 %, what was claimed would seem to be met.
    n28 = check(empty, Sample(), "failover_claim", "0.90 at 0.95 under 5s", *[outage((1, 2))] * 28)
    assert "at least 89.8 % at 95 % confidence; claimed 90 %, for which 1 more recovery in a row is needed." in n28.why
    most = check(empty, Sample(), "failover_claim", "0.999 at 0.95 under 5s", *n29)
    assert "claimed 99.9 %" in most.why
    assert (short.limit, short.unit, short.observed) == (0.9, "share", 1.0)
    misses = [outage(None)] * 10
    assert check(empty, Sample(), "failover_claim", "0.90 at 0.95 under 5s", *misses).verdict is Verdict.FAIL
    straddles = [outage((4.9, 5.1))] * 29
    assert check(empty, Sample(), "failover_claim", "0.90 at 0.95 under 5s", *straddles).verdict is Verdict.FAIL


def test_a_claim_is_about_one_kind_of_outage_on_one_thing() -> None:
    agents = [outage((1, 2), kind="kill", upstream="agents")] * 3 + [outage((6, 7), kind="kill", upstream="agents")]
    redis = [outage((0.1, 0.2), kind="kill", upstream="redis")] * 5
    missed = [outage((1, 2), kind="kill", upstream="redis", bit=False)] * 9
    strict = experiment("kill", "redis", thresholds={"failover_claim": ["0.50 at 0.90 under 1s"]})
    found = claims(plan(experiments=[strict]), [*agents, *redis, *missed])
    assert [(c.upstream, c.kind, c.recovered, c.outages, c.limit_s, c.confidence) for c in found] == [
        ("agents", "kill", 3, 4, 5.0, 0.95), ("redis", "kill", 5, 5, 1.0, 0.9),
    ]  # fmt: skip
    assert found[1].share == pytest.approx((1 - 0.9) ** (1 / 5))


def test_an_experiments_thresholds_are_about_its_own_faults(empty: Findings) -> None:
    slow = experiment("slow", thresholds={"recovery_time": ["max<5s"]})
    hang = experiment("blackhole", thresholds={"recovery_time": ["max<5s"]})
    outages = (outage((7, 8), experiment="bedrock-slow", kind="slow"), outage((1, 2)))
    found = judge(plan(experiments=[slow, hang]), empty.model_copy(update={"failovers": outages}), Sample())
    assert [(c.scope, c.verdict) for c in found.checks] == [
        ("bedrock-slow", Verdict.FAIL), ("bedrock-blackhole", Verdict.PASS),
    ]  # fmt: skip


def test_the_run(empty: Findings) -> None:
    passing, open_, failing = {"response_time": ["max<10s"]}, {"cache_hit": ["rate>0.2"]}, {"service_time": ["max<1s"]}
    measure = Sample(NOISE)
    for thresholds, verdict, code in (
        (passing, Verdict.PASS, 0), (passing | open_, Verdict.INCONCLUSIVE, 75),
        (passing | open_ | failing, Verdict.FAIL, 99), ({}, Verdict.INCONCLUSIVE, 75),
    ):  # fmt: skip
        found = verdicts(empty, measure, thresholds)
        assert (found.verdict, found.exit_code) == (verdict, code)
    worst = verdicts(empty, measure, {"response_time": ["max<2s", "p(95)<100ms", "max<3ms"]})
    assert worst.why.endswith("limit 3 ms (and 2 more).")


def test_an_invalid_run_never_passes(empty: Findings) -> None:
    invalid = empty.model_copy(update={"validity": Validity(valid=False, reasons=("The clock stopped.", "More."))})
    found = verdicts(invalid, Sample(NOISE), {"response_time": ["max<10s", "max<1s"]})
    assert (found.verdict, found.exit_code) == (Verdict.INVALID, 98)
    assert found.why == "Invalid: The clock stopped (and 1 more)."
    assert [c.verdict for c in found.checks] == [Verdict.INCONCLUSIVE, Verdict.FAIL]
    assert found.checks[0].why.startswith("Inconclusive, because the run is invalid.")


def test_a_sentence_to_repeat(empty: Findings) -> None:
    found = check(
        empty, Sample(np.full(1000, 10_230.0)), "response_time{phase:fault,agent:architect}", "p(95)<8s", outage((1, 2))
    )
    assert found.why == "Fails: users wait up to 10.2 s (p95) while bedrock hangs for architect; limit 8 s."


@given(
    st.lists(st.floats(1, 20_000), min_size=0, max_size=200),
    st.sampled_from(["p(50)", "p(95)", "p(99)", "avg", "min", "max"]), st.sampled_from("<>"), st.integers(1, 20_000),
)  # fmt: skip
def test_a_pass_and_a_fail_are_never_both_possible(
    empty: Findings, values: list[float], aggregator: str, operator: str, limit: int
) -> None:
    """Turning the comparison round turns pass into fail; and the observed value agrees with the verdict."""
    opposite = {"<": ">=", ">": "<="}[operator]
    one = check(empty, Sample(values), "response_time", f"{aggregator}{operator}{limit}ms")
    other = check(empty, Sample(values), "response_time", f"{aggregator}{opposite}{limit}ms")
    assert (one.verdict, other.verdict) not in ((Verdict.PASS, Verdict.PASS), (Verdict.FAIL, Verdict.FAIL))
    if one.verdict is not Verdict.INCONCLUSIVE and one.observed is not None:
        good = parse_threshold("response_time", f"{aggregator}{operator}{limit}ms").holds(one.observed)
        assert good is (one.verdict is Verdict.PASS)


def test_a_real_recording_is_judged_by_tags(tmp_path: Path) -> None:
    recording = storm(tmp_path)
    slow = {"response_time{phase:fault}": ["max>2s"], "response_time{phase:recovery}": ["max<2s"]}
    thresholds = slow | {"requests{phase:fault}": ["rate>16"], "cache_hit{tenant:meetmind}": ["rate>0.2"]}
    recording.plan = plan(thresholds=thresholds)
    findings, measure = analyse(recording)
    found = judge(recording.plan, findings, measure)
    assert [c.verdict for c in found.checks] == [Verdict.PASS] * 4, found


def window(tmp_path: Path, outcomes: str, took_s: float = 0.3, *, hung: bool = False) -> pa.Table:
    """Return requests a tenth of a second apart; with `hung`, one that had waited for a minute is over among them."""
    builder = RecordingBuilder(tmp_path)
    if hung:
        builder.request(-60, 60.5)
    for i, letter in enumerate(outcomes):
        builder.request(i / 10, took_s, outcome="failed" if letter == "x" else "ok", agent="ab"[i % 2])
    return builder.close().requests


@pytest.mark.parametrize(
    ("condition", "outcomes", "observed"),
    [
        ("request_failed: rate>0.5 over 30s", "x" * 10, 1.0),
        ("request_failed: rate>0.5 over 30s", "x", None),  # one of one may be bad luck
        ("request_failed: rate>0.5 over 30s", "xxxxx.....", None),
        ("request_failed: rate>0.5 over 30s", "", None),
        ("request_failed{agent:b}: rate>0.5 over 30s", ".x" * 10, 1.0),
        ("request_failed: count>=3 over 30s", "xx.x", 3.0),
        ("response_time: p(50)>200ms over 10s", "." * 20, 300.0),
        ("response_time: p(50)>400ms over 10s", "." * 20, None),
        ("response_time: max>200ms over 10s", ".", 300.0),
        ("requests: rate<1 over 30s", "." * 20, 20 / 30),
        ("requests: rate<0.97 over 30s", "." * 29, None),  # not all of the last second has come in: may be 1 a second
        ("requests: rate<1 over 30s", "", 0.0),
        ("requests{agent:b}: rate<1 over 30s", ".", 0.0),
        ("requests: count<5 over 10s", "", 0.0),
        ("requests: rate>1 over 30s", "", None),
        ("requests: rate<5 over 1s", "." * 2, None),  # a second of which nothing is known
    ],
)
def test_abort_conditions(tmp_path: Path, condition: str, outcomes: str, observed: float | None) -> None:
    found = abort_crossed(parse_abort(condition), window(tmp_path, outcomes), Slo())
    assert found == (None if observed is None else pytest.approx(observed, rel=1e-6))


@pytest.mark.parametrize("hung", [False, True])
def test_requests_are_divided_by_the_window_however_long_one_of_them_took(tmp_path: Path, hung: bool) -> None:
    """They count when they are over; divided by the time since the first was due, one time-out stopped runs."""
    busy = window(tmp_path, "." * 300, hung=hung)
    for condition, crossed in (("rate<5", False), ("rate>9", True), ("rate<11", True), ("rate>11", False)):
        found = abort_crossed(parse_abort(f"requests: {condition} over 30s"), busy, Slo())
        assert found == (pytest.approx((300 + hung) / 30) if crossed else None), condition
