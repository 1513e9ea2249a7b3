"""The audit, answered: its own arithmetic, which recording decides, and every kind of evidence on planted numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness.analysis import analyse
from harness.analysis.audit import readiness
from harness.analysis.audit_evidence import EVIDENCE, TOGETHER
from harness.analysis.audit_seen import Seen
from harness.auditing import open_audit
from harness.model.audit import Ask, Audit, AuditVerdict
from harness.model.cost import CostFindings, Spend
from harness.model.findings import (
    CacheFindings,
    CacheWitness,
    Estimate,
    Failover,
    Group,
    HealthFindings,
    HealthOutage,
    Interval,
    Percentiles,
)
from tests.recordings import experiment, plan, storm

if TYPE_CHECKING:
    from harness.model.audit import Answer
    from harness.model.findings import Findings
    from harness.model.plan import Plan

PASS, FAIL, OPEN = AuditVerdict.PASS, AuditVerdict.FAIL, AuditVerdict.INCONCLUSIVE
STEADY = {"kind": "users", "users": 100, "hold": "10m"}
ASK = Ask.model_validate(
    {"kind": "carries", "users": 100, "hold": "10m", "under": "3s", "below": "1%"}
)  # what PERF-4 asks


@pytest.fixture(scope="module")
def happyos() -> Audit:
    return open_audit("happyos")


@pytest.fixture(scope="module")
def stormy(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A scripted run with three outages of Bedrock (`recordings.Script`), analysed."""
    recording = storm(tmp_path_factory.mktemp("storm") / "run")
    return Seen("storm", recording.plan, analyse(recording)[0])


def percentiles(p95: float, spread: float = 0.1, n: int = 5000) -> Percentiles:
    value = Estimate(value=p95, low=p95 * (1 - spread), high=p95 * (1 + spread), n=n)
    return Percentiles(p50=value, p95=value, p99=value)


def group(p95: float = 900, *, n: int = 5000, failed: int = 0, degraded: int = 0, seconds: float = 600) -> Group:
    share = failed / n
    half = 2 * (share * (1 - share) / n) ** 0.5 + 2 / n
    return Group(
        requests=n, ok=n - failed - degraded, degraded=degraded, failed=failed, timeout=0, lost=0, dropped=0,
        rate_per_s=n / seconds, response_ms=percentiles(p95, n=n), service_ms=percentiles(p95, n=n),
        failed_share=Estimate(value=share, low=max(0, share - half), high=share + half, n=n),
    )  # fmt: skip


def seen(base: Seen, the_plan: Plan | None = None, name: str = "run", **findings: Any) -> Seen:
    """Return a recording that found what is planted; `load` is a group, `by` its parts."""
    load = findings.pop("load", None) or group()
    by = findings.pop("by", {})
    whole = base.findings.load.model_copy(update={**dict(load), "by": by})
    update = {"load": whole, "failovers": (), "health": None, "cost": None, **findings}
    return Seen(name, the_plan or plan(load=STEADY), base.findings.model_copy(update=update))


def ask(kind: str, **limits: Any) -> Ask:
    return Ask.model_validate({"kind": kind, **limits})


def look(ask_: Ask, recording: Seen) -> Answer | None:
    return EVIDENCE[ask_.kind].look(recording, ask_)


def told(ask_: Ask, recording: Seen) -> Answer:
    found = look(ask_, recording)
    assert found is not None
    return found


# --- the audit's own arithmetic --------------------------------------------------------------------------------------

PRINTED = {
    "llm": 92, "infrastructure": 90, "testing": 96, "monitoring": 60, "security": 66, "deployment": 70,
    "documentation": 78, "performance": 42,
}  # fmt: skip
HEADINGS = {
    "llm": 92, "infrastructure": 85, "testing": 88, "monitoring": 70, "security": 65, "deployment": 75,
    "documentation": 82, "performance": 60,
}  # fmt: skip
"""Seven of the eight headings are not what the audit's own tables come to, and its overall score is of the headings."""


def test_the_printed_scores_of_all_eight_categories_come_out(happyos: Audit) -> None:
    found = readiness(happyos, [])
    assert {s.category: s.before for s in found.scores} == PRINTED == {c.id: c.printed for c in happyos.categories}
    assert {s.category: s.after for s in found.scores} == PRINTED, "nothing was measured"


def test_the_overall_score_is_that_of_the_headings_not_of_the_rows(happyos: Audit) -> None:
    found = readiness(happyos, [])
    assert {c.id: c.heading for c in happyos.categories} == HEADINGS
    assert sum(c.weight for c in happyos.categories) == pytest.approx(1)
    # It adds up rounded terms: 12.8 for 12.75 and 9.8 for 9.75, so it prints 78.3.
    assert found.heading_overall == pytest.approx(78.2)
    assert round(found.heading_overall) == happyos.overall == 78
    assert found.before == pytest.approx(76.6)


def test_the_appendix_does_not_add_up_to_the_categories_it_stands_for(happyos: Audit) -> None:
    means = {c.id: sum(r.points for r in c.detailed) / len(c.detailed) for c in happyos.categories if c.detailed}
    assert means == pytest.approx({"llm": 2000 / 23, "infrastructure": 1120 / 12})  # printed there: 92 and 85


def test_every_row_and_every_gap_of_the_audit_is_there(happyos: Audit) -> None:
    assert [gap.id for gap in happyos.gaps] == [f"GAP-{n:03}" for n in sorted(int(g.id[4:]) for g in happyos.gaps)]
    assert len(happyos.gaps) == 30
    assert [len(c.checks) for c in happyos.categories] == [5] * 8
    assert [len(c.detailed) for c in happyos.categories] == [23, 12, 0, 0, 0, 0, 0, 0]
    severities = [gap.severity for gap in happyos.gaps]
    assert [severities.count(s) for s in ("critical", "high", "medium", "low")] == [3, 8, 13, 6]  # it says 12 and 7
    assert all(row.original for row in happyos.rows)
    assert all(row.reason for row in happyos.rows if row.needs or row.silent)


def test_measured_rows_change_the_score_and_nothing_else_does(happyos: Audit, stormy: Seen) -> None:
    parts = {"agent": {"meetmind.architect": group(800)}, "provider": {"bedrock": group(900)}}
    cache = witnesses(0.3)
    found = readiness(happyos, [seen(stormy, load=group(900), by=parts, cache=cache)])
    score = next(s for s in found.scores if s.category == "performance")
    assert {row: after for row, _, after in score.points} == {
        "PERF-1": 100, "PERF-2": 100, "PERF-3": 20, "PERF-4": 100, "PERF-5": 60,
    }  # fmt: skip
    assert score.after == (100 + 100 + 20 + 100 + 60) / 5 == 76
    assert found.after == pytest.approx(76.6 + 0.1 * (76 - 42))


def test_a_failure_costs_the_points_and_a_part_that_passes_gains_none(happyos: Audit, stormy: Seen) -> None:
    found = readiness(happyos, [seen(stormy, load=group(4000), cache=witnesses(0.05))])
    points = {row: after for s in found.scores for row, _, after in s.points}
    assert (points["PERF-1"], points["PERF-2"], points["PERF-4"]) == (20, 20, 20)
    health = HealthFindings(looks=600, gap_s=1, outages=(noticed(1.5),), false_ok_s=1, false_alarms=0,
                            false_alarm_s=0, breakers_opened=1, breaker_false_alarms=0)  # fmt: skip
    found = readiness(happyos, [seen(stormy, health=health)])
    assert found.rows["INFRA-4"].verdict is PASS
    assert {row: after for s in found.scores for row, _, after in s.points}["INFRA-4"] == 80


# --- which recording decides -----------------------------------------------------------------------------------------


def test_nothing_passes_without_data(happyos: Audit, stormy: Seen) -> None:
    empty = seen(stormy, load=Group(
        requests=0, ok=0, degraded=0, failed=0, timeout=0, lost=0, dropped=0, rate_per_s=None,
        response_ms=percentiles_of_nothing(), service_ms=percentiles_of_nothing(),
        failed_share=Estimate(value=None, low=None, high=None, n=0),
    ), cache=CacheFindings(answers="unsupported", metrics="unsupported", ledger="unsupported", by_tenant={},
                           by_agent={}, by_phase={}), attribution="unsupported", tenancy=None,
                 validity=stormy.findings.validity.model_copy(update={"instrument": {}}))  # fmt: skip
    for recordings in ([], [empty]):
        verdicts = {found.verdict for found in readiness(happyos, recordings).rows.values()}
        assert verdicts == {AuditVerdict.NOT_MEASURED, AuditVerdict.SILENT}


def percentiles_of_nothing() -> Percentiles:
    nothing = Estimate(value=None, low=None, high=None, n=0)
    return Percentiles(p50=nothing, p95=nothing, p99=nothing)


def row_of(happyos: Audit, row: str, *recordings: Seen) -> Any:
    return readiness(happyos, recordings).rows[row]


def test_a_run_that_did_what_was_asked_outranks_one_that_did_less(happyos: Audit, stormy: Seen) -> None:
    full = seen(stormy, name="steady")
    short = seen(stormy, plan(load={"kind": "users", "users": 100, "hold": "20s"}), "smoke", load=group(seconds=20))
    found = row_of(happyos, "PERF-4", short, full)
    assert (found.verdict, found.recording, found.heard) == (PASS, "steady", 2)
    alone = row_of(happyos, "PERF-4", short)
    assert (alone.verdict, alone.answer.notes) == (OPEN, ("short",))


def test_little_evidence_does_not_take_back_what_much_has_shown(happyos: Audit, stormy: Seen) -> None:
    much, little = seen(stormy, name="much"), seen(stormy, name="little", load=group(2900, n=500))
    assert row_of(happyos, "PERF-4", little).verdict is OPEN
    both = row_of(happyos, "PERF-4", little, much)
    assert (both.verdict, both.recording, both.heard) == (PASS, "much", 2)


def test_of_runs_that_did_what_was_asked_the_worst_counts(happyos: Audit, stormy: Seen) -> None:
    runs = [seen(stormy, name="good"), seen(stormy, name="close", load=group(2900)), seen(stormy, name="good2")]
    assert row_of(happyos, "PERF-4", *runs).recording == "close"
    assert row_of(happyos, "PERF-4", *runs, seen(stormy, name="bad", load=group(5000))).verdict is FAIL


def test_an_invalid_run_decides_nothing_and_a_scaled_one_says_so(happyos: Audit, stormy: Seen) -> None:
    doubted = stormy.findings.validity.model_copy(update={"valid": False, "reasons": ("late",)})
    for p95 in (900, 9000):
        found = row_of(happyos, "PERF-4", seen(stormy, load=group(p95), validity=doubted))
        assert found.verdict is OPEN
        assert "invalid" in found.answer.notes
    scaled = plan(load=STEADY).model_copy(update={"scale": 0.1})
    found = row_of(happyos, "PERF-4", seen(stormy, scaled))
    assert (found.verdict, set(found.answer.notes)) == (OPEN, {"scaled", "short"})


def test_several_loads_speak_together(happyos: Audit, stormy: Seen) -> None:
    loads: dict[str, tuple[dict[str, Any], Group]] = {
        "steady": (STEADY, group(seconds=600)),
        "rate": ({"kind": "rate", "rate": "1000/min", "hold": "1h"}, group(n=60_000, seconds=3600)),
        "spike": ({"kind": "spike", "users": 500, "ramp": "1m", "hold": "9m"}, group(seconds=600)),
        "soak": ({"kind": "users", "users": 50, "hold": "4h"}, group(n=90_000, seconds=4 * 3600)),
    }  # fmt: skip
    runs = {name: seen(stormy, plan(load=load), name, load=found) for name, (load, found) in loads.items()}
    for row in ("GAP-002", "GAP-028"):
        assert row_of(happyos, row, *runs.values()).verdict is PASS
    some = row_of(happyos, "GAP-002", runs["steady"], runs["rate"])
    assert some.verdict is OPEN
    assert some.answer.facts["missing"] == "LOAD-SPIKE, LOAD-SOAK"
    slow = seen(stormy, runs["spike"].plan, "spike", load=group(9000))
    worst = row_of(happyos, "GAP-002", runs["steady"], runs["rate"], slow, runs["soak"])
    assert (worst.verdict, worst.answer.facts["failed"]) == (FAIL, "LOAD-SPIKE")
    assert row_of(happyos, "GAP-002").verdict is AuditVerdict.NOT_MEASURED


# --- every kind of evidence ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "group_", "verdict"),
    [
        (STEADY, group(), PASS),
        (STEADY, group(2900), OPEN),  # the interval reaches across 3 s
        (STEADY, group(4000), FAIL),
        (STEADY, group(failed=200), FAIL),
        (STEADY | {"users": 99, "warmup": "10s"}, group(), PASS),  # 1 % of tolerance
        (STEADY | {"spawn": "0.15/s"}, group(), OPEN),  # the last of 90 starts as the load ends: 45 on average
        (STEADY | {"spawn": "0.15/s"}, group(4000), FAIL),
        (STEADY | {"users": 200, "spawn": "0.33/s"}, group(4000), OPEN),  # 100 on average, and 200 in the end
        (STEADY | {"users": 50}, group(), OPEN),
        (STEADY | {"users": 50}, group(4000), FAIL),  # what half of them are too much for
        (STEADY | {"users": 200}, group(), PASS),
        (STEADY | {"users": 200}, group(4000), OPEN),  # twice as many failing refute nothing
        (STEADY, group(seconds=60), OPEN),  # interrupted: the plan was longer than the run
    ],
)
def test_a_hundred_users_are_carried_only_by_a_run_that_had_them(
    load: dict[str, Any], group_: Group, verdict: AuditVerdict, stormy: Seen
) -> None:
    assert told(ASK, seen(stormy, plan(load=load), load=group_)).verdict is verdict


def test_other_loads_and_runs_with_faults_say_nothing_of_it(stormy: Seen) -> None:
    others: tuple[dict[str, Any], ...] = (
        {"kind": "rate", "rate": "1000/min", "hold": "1h"},
        {"kind": "spike", "users": 500, "ramp": "1m", "hold": "9m"},
        {"kind": "steps", "steps": [{"users": 100, "hold": "10m"}]},
    )
    for load in others:
        assert look(ASK, seen(stormy, plan(load=load))) is None
    assert look(ASK, seen(stormy, plan(load=STEADY, experiments=[experiment()]))) is None


def test_a_rate_has_to_be_made_not_only_planned(stormy: Seen) -> None:
    rate = ask("carries", rate="1000/min", hold="1h", under="3s", below="1%")
    the_plan = plan(load={"kind": "rate", "rate": "1000/min", "hold": "1h"})
    assert told(rate, seen(stormy, the_plan, load=group(n=60_000, seconds=3600))).verdict is PASS
    assert told(rate, seen(stormy, the_plan, load=group(n=40_000, seconds=3600))).verdict is OPEN


def test_latency_holds_for_every_agent_and_provider_or_not_at_all(stormy: Seen) -> None:
    under = ask("latency", under="3s")
    fine = {"agent": {"a": group(800), "b": group(900)}, "provider": {"bedrock": group(1000), "cache": group(9000)}}
    assert told(under, seen(stormy, by=fine)).verdict is PASS
    slow = fine | {"agent": {"a": group(800), "b": group(4000)}}
    found = told(under, seen(stormy, by=slow))
    assert (found.verdict, found.facts["who"], found.facts["over"]) == (FAIL, "b", 1)
    broken = plan(load=STEADY, experiments=[experiment()])
    baseline = {"phase": {"baseline": group(700)}}
    found = told(under, seen(stormy, broken, by=slow | baseline))
    assert (found.verdict, found.whole, found.facts["p95"]) == (PASS, False, 700), "b may be slow because of the fault"
    assert told(under, seen(stormy, broken, by=fine | baseline)).whole, "good enough with the outages is good enough"


def witnesses(
    rate: float, ledger: float | None = None, n: int = 5000, *, measured: float | None = None
) -> CacheFindings:
    def one(share: float) -> CacheWitness:
        return CacheWitness(hit_rate=share, hits=round(share * n), n=n)

    warm = one(rate if measured is None else measured)
    return CacheFindings(
        answers=one(rate), metrics=one(rate), ledger=one(rate if ledger is None else ledger), measured=warm,
        by_tenant={"a": warm}, by_agent={"b": warm}, by_phase={},
    )  # fmt: skip


def test_the_cache_is_believed_only_where_providers_saw_the_same(stormy: Seen) -> None:
    over = ask("cache", above="20%")
    for rate, ledger, verdict in ((0.3, 0.3, PASS), (0.2, 0.2, OPEN), (0.1, 0.1, FAIL), (0.4, 0.3, OPEN)):
        assert told(over, seen(stormy, cache=witnesses(rate, ledger))).verdict is verdict
    cold = told(over, seen(stormy, cache=witnesses(0.15, 0.15, measured=0.3)))
    assert (cold.verdict, cold.facts["share"], cold.facts["whole"], cold.facts["ledger"]) == (PASS, 0.3, 0.15, 0.15)
    disputed = told(over, seen(stormy, cache=witnesses(0.15, 0.3, measured=0.3)))
    assert (disputed.verdict, disputed.key) == (OPEN, "cache_disputed")
    assert told(ask("metrics"), seen(stormy, cache=witnesses(0.4, 0.3))).verdict is FAIL
    assert told(ask("metrics"), seen(stormy, cache=witnesses(0.4))).verdict is PASS


def bill(**more: Any) -> CostFindings:
    spend = Spend(spent=1, requests=1000, answers=1000, calls=800, tokens_in=1, tokens_out=1, per_1k_requests=1,
                  per_answer=0.001)  # fmt: skip
    return CostFindings.model_validate({
        "currency": "USD", "total": spend, "per_user_hour": 0.4, "per_user_hour_by_state": {"healthy": 0.4},
        "by_state": {}, "by_tenant": {}, "by_agent": {}, "by_upstream": {}, "by_model": {}, "canary": 0, "cache": None,
        "unpriced": {}, **more,
    })  # fmt: skip


def test_cost_per_user_needs_users_and_prices(stormy: Seen) -> None:
    cost = ask("cost")
    assert look(cost, seen(stormy)) is None
    assert told(cost, seen(stormy, cost=bill())).verdict is PASS
    assert told(cost, seen(stormy, cost=bill(per_user_hour=None))).verdict is OPEN
    assert told(cost, seen(stormy, cost=bill(unpriced={"gpt-9": 3}))).verdict is OPEN


def test_agents_and_providers_count_when_they_answered(stormy: Seen) -> None:
    agents = {"m.a": group(), "m.b": group(degraded=5000), "m.workflow": group()}
    by = {"agent": agents, "provider": {"bedrock": group(), "bedrock+openai": group()}}
    assert told(ask("agents", of="m.*", count=2), seen(stormy, by=by)).verdict is FAIL, "b gave no full answer"
    assert told(ask("agents", of="m.a", count=1), seen(stormy, by=by)).verdict is PASS
    assert told(ask("agents", of="*.workflow", count=1), seen(stormy, by=by)).verdict is PASS
    assert told(ask("agents", of="m.*", count=5), seen(stormy, by=by)).verdict is OPEN, "three were never asked"
    assert told(ask("providers", of="bedrock openai"), seen(stormy, by=by)).verdict is PASS
    silent = told(ask("providers", of="bedrock google"), seen(stormy, by=by))
    assert (silent.verdict, silent.key) == (OPEN, "providers_calm")
    broken = plan(load=STEADY, experiments=[experiment()])
    assert told(ask("providers", of="bedrock google"), seen(stormy, broken, by=by)).key == "providers_silent"


def test_three_scripted_outages_support_little(stormy: Seen) -> None:
    found = told(ask("failover", under="5s", share="90%"), stormy)
    assert (found.verdict, found.facts["good"], found.n) == (OPEN, 3, 3)
    assert found.facts["least"] == pytest.approx(0.05 ** (1 / 3))
    assert found.facts["more"] == 26
    assert told(ask("failover", under="5s", share="30%"), stormy).verdict is PASS
    assert told(ask("failover", under="1s", share="90%"), stormy).verdict is FAIL, "they take 2.4 s"
    found = told(ask("breakers", share="30%"), stormy)
    assert (found.verdict, found.facts["opened"], found.facts["back"]) == (PASS, 3, 3)
    quiet = told(ask("breakers", share="30%"), fault(stormy, detection_s=None))
    assert (quiet.verdict, quiet.key) == (OPEN, "breakers_none")
    assert look(ask("breakers", share="30%"), fault(stormy, detection_s=None, breaker_seen=False)) is None
    assert told(ask("chaos"), stormy).facts == {"n": 3, "bit": 3, "kinds": 1, "cleared": 3}
    assert told(ask("chaos"), stormy).verdict is PASS
    assert look(ask("functionality", above="70%"), stormy) is None, "OpenAI was left"


def without_llm(stormy: Seen, ok: int, degraded: int, failed: int, *, times: int = 10, swing: int = 0) -> Seen:
    """Both providers hang at once, ten times; every second time `swing` more fail that else were degraded."""
    one = stormy.findings.failovers[0]
    faults: list[Failover] = []
    for n in range(times):
        more = swing if n % 2 else 0
        answers = {"ok": ok, "degraded": degraded - more, "failed": failed + more}
        for upstream in ("bedrock", "openai"):
            begin = n * 10**11 + (5 if upstream == "openai" else 0)
            faults.append(one.model_copy(update={
                "upstream": upstream, "effective_ns": begin, "injecting_ns": begin, "cleared_ns": begin + 10**10,
                "answers": answers,
            }))  # fmt: skip
    return seen(stormy, plan(load=STEADY, experiments=[experiment()]), failovers=tuple(faults))


def test_functionality_is_what_is_answered_while_no_provider_is_left(stormy: Seen) -> None:
    kept = ask("functionality", above="70%")
    found = told(kept, without_llm(stormy, 20, 60, 20))
    assert (found.verdict, found.facts["share"], found.n, found.facts["outages"]) == (PASS, 0.8, 1000, 10)
    assert told(kept, without_llm(stormy, 20, 30, 50)).verdict is FAIL
    assert told(kept, without_llm(stormy, 20, 50, 30)).verdict is OPEN
    # Requests of one outage fare alike: one outage is one observation, and ten that differ are no thousand.
    assert told(kept, without_llm(stormy, 20, 60, 20, times=1)).verdict is OPEN
    assert told(kept, without_llm(stormy, 20, 75, 5, swing=40)).verdict is OPEN


def test_what_is_felt_where_a_system_gives_in_is_no_everyday_latency(stormy: Seen) -> None:
    steps = {"kind": "steps", "steps": [{"users": 100, "hold": "10m"}, {"users": 900, "hold": "10m"}]}
    for load in (steps, {"kind": "spike", "users": 500, "ramp": "1m", "hold": "9m"}):
        assert look(ask("latency", under="3s"), seen(stormy, plan(load=load), load=group(9000))) is None


def noticed(after: float | None) -> HealthOutage:
    return HealthOutage(
        fault="f", kind="blackhole", upstream="bedrock", well_again_s=None, false_ok_s=1, looks=20,
        noticed_s=None if after is None else Interval(low=after - 1, high=after), noticed_while_on=after is not None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outages", "alarms", "verdict"),
    [((1.5,), 0, PASS), ((1.5, 9.0), 0, FAIL), ((None,), 0, FAIL), ((1.5,), 1, FAIL), ((), 0, OPEN), ((), 1, FAIL)],
)
def test_a_health_page_notices_every_outage_and_no_other(
    outages: tuple[float | None, ...], alarms: int, verdict: AuditVerdict, stormy: Seen
) -> None:
    health = HealthFindings(
        looks=600, gap_s=1, outages=tuple(noticed(o) for o in outages), false_ok_s=0, false_alarms=alarms,
        false_alarm_s=0, breakers_opened=0, breaker_false_alarms=0,
    )  # fmt: skip
    found = told(ask("health", under="5s"), seen(stormy, health=health))
    assert found.verdict is verdict
    assert found.key == ("health" if outages else "health_alarms" if alarms else "health_calm")


def fault(stormy: Seen, **update: Any) -> Seen:
    one = stormy.findings.failovers[0].model_copy(update=update)
    return seen(stormy, plan(load=STEADY, experiments=[experiment()]), failovers=(one, one),
                by={"phase": {"baseline": group(n=100_000)}})  # fmt: skip


def test_a_rolling_restart_costs_what_failed_meanwhile(stormy: Seen) -> None:
    for failed, verdict in ((0, PASS), (10, OPEN), (100, FAIL)):
        found = told(
            ask("restart", below="1%"),
            fault(stormy, kind="restart", upstream="agents", answers={"ok": 1000, "degraded": 0, "failed": failed}),
        )
        assert found.verdict is verdict
    assert look(ask("restart", below="1%"), stormy) is None


def test_recovery_from_a_disaster_is_timed_and_never_passes(stormy: Seen) -> None:
    rto = ask("disaster", under="4h")
    quick, slow = (fault(stormy, kind="kill", upstream="redis", recovery_s=Interval(low=s, high=s)) for s in (3, 20000))
    assert (told(rto, quick).verdict, told(rto, quick).facts["worst"]) == (OPEN, 3)
    assert told(rto, slow).verdict is FAIL
    assert look(rto, stormy) is None, "OpenAI was left"


def test_availability_is_a_budget_that_an_outage_spends(stormy: Seen) -> None:
    found = told(ask("availability", above="99.9%"), fault(stormy, unavailable_s=25.92))
    assert found.verdict is OPEN, "no recording lasts a month"
    assert found.facts["budget"] == pytest.approx(2592)
    assert found.facts["share"] == pytest.approx(0.01)
    bad = seen(stormy, load=group(failed=100))
    assert told(ask("availability", above="99.9%"), bad).verdict is FAIL
    once = fault(stormy, in_flight=120, in_flight_failed=100)
    caught = seen(once, load=once.findings.load.model_copy(update={"by": {"phase": {"baseline": group(failed=100)}}}))
    assert told(ask("availability", above="99.9%"), caught).verdict is OPEN, "the outage's doing"
    assert told(ask("availability", above="99.9%"), caught).facts["failed"] == 0


def capacity(state: str = "bracketed", kinds: tuple[str, ...] = (), *, calls: float = 7, beyond: bool = False) -> Any:
    limits = [SimpleNamespace(kind=kind, resource=f"redis {kind}", rate=40.0, extrapolated=beyond) for kind in kinds]
    level = SimpleNamespace(counts=True, in_flight=25.0, upstream_in_flight={"bedrock": calls})
    users = Estimate(value=120, low=110, high=130, n=5)
    healthy = SimpleNamespace(
        state="healthy", levels=(level,) * 5, limits=limits, fills_first=limits[0] if limits else None,
        capacity=SimpleNamespace(state=state, rate=Estimate(value=20, low=19, high=21, n=5), users=users),
        advice=SimpleNamespace(rate_per_replica=8.0, cpu={"agents": 0.6}),
    )  # fmt: skip
    return SimpleNamespace(states=(healthy,), governing=healthy)


def test_capacity_pools_and_scaling(stormy: Seen) -> None:
    known, open_ = seen(stormy, capacity=capacity()), seen(stormy, capacity=capacity("at_least"))
    assert told(ask("capacity"), known).facts["users_low"] == 110
    assert [told(ask("capacity"), s).verdict for s in (known, open_)] == [PASS, OPEN]
    keys = [told(ask("capacity"), seen(stormy, capacity=capacity(s))).key for s in ("at_least", "below", "undecided")]
    assert keys == ["capacity_open", "capacity_below", "capacity_undecided"]
    assert [told(ask("pool"), s).verdict for s in (known, open_)] == [PASS, OPEN]
    assert told(ask("pool"), seen(stormy, capacity=capacity(kinds=("cpu", "pool")))).verdict is FAIL
    assert (told(ask("scaling"), known).verdict, told(ask("scaling"), known).facts["cpu"]) == (OPEN, 0.6)
    assert all(look(ask(kind), seen(stormy)) is None for kind in ("capacity", "pool", "scaling"))


def test_a_pool_that_nobody_could_see_was_not_seen_to_be_left(stormy: Seen) -> None:
    """It shows in the calls under way by a ledger, and a full CPU or refused calls hold their number as well."""
    cases: tuple[tuple[Any, AuditVerdict, str], ...] = (
        (capacity(), PASS, "pool_none"),
        (capacity(calls=0), OPEN, "pool_unseen"),
        (capacity(kinds=("cpu",)), OPEN, "pool_hidden"),
        (capacity(kinds=("rate_limit",)), OPEN, "pool_hidden"),
        (capacity(kinds=("memory",)), PASS, "pool_none"),
        (capacity(kinds=("cpu",), beyond=True), PASS, "pool_none"),
        (capacity("at_least", calls=0), OPEN, "pool_unseen"),
    )
    for found, verdict, key in cases:
        said = told(ask("pool"), seen(stormy, capacity=found))
        assert (said.verdict, said.key) == (verdict, key)
    blind = capacity()
    for level in blind.states[0].levels:
        level.upstream_in_flight = {}
    assert told(ask("pool"), seen(stormy, capacity=blind)).verdict is OPEN


def soaked(verdict: str, hours: float = 4, series: tuple[Any, ...] = ()) -> Any:
    return SimpleNamespace(length_s=hours * 3600, verdict=verdict, why="so", tested=9, series=series)


def test_a_soak_that_was_too_short_or_moved_does_not_pass(stormy: Seen) -> None:
    drift = ask("soak", hold="4h")
    leak = SimpleNamespace(instrument=False, verdict="leak", worse=True, owner="process:agents", what="memory")
    own = SimpleNamespace(instrument=True, verdict="leak", worse=True, owner="process:locust", what="memory")
    cases: tuple[tuple[Any, AuditVerdict], ...] = (
        (soaked("flat"), PASS), (soaked("saturating"), PASS), (soaked("inconclusive"), OPEN), (soaked("flat", 1), OPEN),
        (soaked("leak", 4, (leak,)), FAIL), (soaked("leak", 1, (leak,)), FAIL), (soaked("flat", 4, (own,)), PASS),
    )  # fmt: skip
    for found, verdict in cases:
        assert told(drift, seen(stormy, soak=found)).verdict is verdict


def test_what_is_measured_for_alarms_and_traces_claims_no_more(stormy: Seen) -> None:
    assert told(ask("baselines"), seen(stormy)).verdict is OPEN
    traced = told(ask("trace", above="99%"), stormy)
    assert traced.verdict is PASS
    by = stormy.findings.attribution
    assert by != "unsupported"
    # A quarter of the lookups hit: of the answers that name the cache alone no ledger can tell.
    assert 0.7 * by.compared < traced.n < 0.8 * by.compared
    assert [told(ask("trace", above="99%"), covered(stormy, *n)).verdict for n in ((5, 10), (300, 300))] == [FAIL, OPEN]
    assert told(ask("health_there"), seen(stormy, health=HealthFindings(
        looks=60, gap_s=1, outages=(), false_ok_s=0, false_alarms=0, false_alarm_s=0, breakers_opened=0,
        breaker_false_alarms=0))).n == 60  # fmt: skip


def covered(stormy: Seen, found: int, named: int) -> Seen:
    """Of so many full answers that name a provider, so many are in a ledger."""
    instrument = {"ledger_found": found, "ledger_named": named, "ledger_coverage": found / named}
    validity = stormy.findings.validity.model_copy(update={"instrument": instrument})
    return Seen("covered", stormy.plan, stormy.findings.model_copy(update={"validity": validity}))


def test_every_kind_of_evidence_is_asked_for_by_the_audit_and_tested_here(happyos: Audit) -> None:
    asked = {row.asks.kind for row in happyos.rows if row.asks}
    assert asked == {*EVIDENCE, TOGETHER}
    source = Path(__file__).read_text(encoding="utf-8")
    assert [kind for kind in EVIDENCE if f'ask("{kind}"' not in source and kind not in {"carries", "tenants"}] == []


def test_findings_without_anything_but_a_load_answer_no_more_than_that(happyos: Audit, stormy: Seen) -> None:
    only: Findings = seen(stormy).findings
    assert only.failovers == ()
    found = readiness(happyos, [seen(stormy)])
    assert found.rows["GAP-011"].verdict is AuditVerdict.NOT_MEASURED
    assert found.rows["GAP-001"].verdict is AuditVerdict.NOT_MEASURED
    assert found.rows["DOC-1"].verdict is AuditVerdict.SILENT
