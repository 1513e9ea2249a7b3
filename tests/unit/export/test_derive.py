"""Limits follow from what was planted; what was not measured makes no alert, and says what would."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.analysis.stats import wilson
from harness.cli_export import _source
from harness.errors import ExitCode, NotComparable
from harness.export.derive import hand_over
from harness.export.promql import expression
from harness.export.signals import Above, Burn, HandOver, ProviderShift, Signal, Slow
from harness.export.source import Source
from harness.model.findings import Estimate, Validity
from harness.model.target import Metrics
from tests.unit.export.planted import (
    BASELINE_S,
    CALLS_PER_S,
    CPU_LIMIT,
    HITS,
    LOOKUPS,
    MEMORY_LIMIT_MIB,
    NAMES,
    planted,
)


def by_name(found: HandOver) -> dict[str, Signal]:
    return {signal.name: signal for signal in found.signals}


def test_burn_rates_are_those_of_the_workbook_at_the_promised_availability(found: HandOver) -> None:
    burns = [signal for signal in found.signals if isinstance(signal, Burn)]
    assert [(round(b.limit, 6), b.long_s, b.short_s) for b in burns] == [
        (0.0144, 3600, 300), (0.006, 6 * 3600, 1800), (0.001, 3 * 86400, 6 * 3600),
    ]  # fmt: skip
    assert [b.severity for b in burns] == ["page", "page", "ticket"]
    assert {b.good for b in burns} == {("200",)}
    assert burns[0].evidence.n == 20 * BASELINE_S
    assert "0.05" in burns[0].evidence.measured, "one answer in 2,000 failed"


@pytest.mark.parametrize(
    ("name", "bound", "share"), [("LatencyP95", 2, 0.05), ("LatencyP99", 5, 0.01), ("LatencySLO", 5, 0.01)]
)
def test_slow_is_a_bucket_at_or_beyond_the_baseline_with_its_margin(
    found: HandOver, name: str, bound: float, share: float
) -> None:
    # p95 lies between 0.5 and 1 s: 1.5 s, so the bucket of 2; p99 between 1 and 2: 3 s, so 5; the SLO is 3 s.
    signal = by_name(found)[name]
    assert isinstance(signal, Slow)
    assert (signal.limit, signal.le) == (bound, f"{bound:.1f}")
    assert signal.share == pytest.approx(share)
    assert signal.evidence.n == pytest.approx(CALLS_PER_S * BASELINE_S, abs=2)


def test_the_cache_and_the_primary_fall_below_the_lower_end_of_what_was_measured(found: HandOver) -> None:
    signals = by_name(found)
    assert signals["CacheHitRateLow"].limit == pytest.approx(wilson(HITS, LOOKUPS)[0] / 1.5)
    shift = signals["ProviderShift"]
    assert isinstance(shift, ProviderShift)
    calls = CALLS_PER_S * BASELINE_S
    assert shift.primary == "bedrock"
    assert shift.limit == pytest.approx(wilson(round(0.95 * calls), calls)[0] / 1.5, rel=1e-3)


def test_saturation_is_a_share_of_the_containers_limits(found: HandOver) -> None:
    signals = by_name(found)
    assert signals["CpuNearLimit"].limit == pytest.approx(0.8 * CPU_LIMIT)
    assert "0.2 cores" in signals["CpuNearLimit"].evidence.measured.replace("\u00a0", " ")
    assert signals["MemoryNearLimit"].limit == pytest.approx(0.9 * MEMORY_LIMIT_MIB * 2**20)
    assert "120 MiB" in signals["MemoryNearLimit"].evidence.measured.replace("\u00a0", " ")


def test_every_alert_says_where_its_number_is_from(found: HandOver) -> None:
    for signal in found.signals:
        assert signal.evidence.recording == "planted"
        assert signal.evidence.n > 0
        assert signal.evidence.measured
        assert signal.evidence.margin


def test_only_metrics_that_the_system_showed_make_alerts(tmp_path: Path) -> None:
    named_only = {**NAMES, "requests": "answers_total{status}", "latency": "waiting_seconds"}  # no such samples
    found = hand_over([_source(planted(tmp_path, metrics=named_only), 1.5)])
    missing = {one.name: one.why for one in found.missing}
    assert {name for name in by_name(found) if name.startswith(("Error", "Latency"))} == set()
    assert "metrics.requests" in missing["ErrorBudgetBurnFast"]
    assert "metrics.latency" in missing["LatencyP99"]


def test_capacity_gives_the_load_at_which_to_scale_out(source: Source, found: HandOver) -> None:
    assert "capacity.yaml" in next(one.why for one in found.missing if one.name == "ScaleOutRequests")
    signals = by_name(hand_over([searched(source, 34.0)]))
    requests, in_flight = signals["ScaleOutRequests"], signals["ScaleOutInFlight"]
    assert isinstance(requests, Above)
    assert (requests.metric, requests.limit, in_flight.limit) == ("http_requests_total", 11.9, 5.1)
    assert (requests.evidence.n, "31" in requests.evidence.interval) == (7, True)
    assert requests.evidence.margin == "the capacity x headroom 0.7, by replica"
    assert "34" in requests.evidence.measured
    assert in_flight.evidence.margin == "requests in flight at the capacity x headroom 0.7, by replica"
    assert "all was well" not in in_flight.evidence.measured
    (open_ended,) = (s for s in hand_over([searched(source, None)]).signals if s.name == "ScaleOutRequests")
    assert open_ended.limit == pytest.approx(0.7 * 31 / 2)
    assert open_ended.evidence.margin == "the highest load shown to meet it x headroom 0.7, by replica"
    assert "no level missed the SLO" in open_ended.evidence.measured


def test_where_a_resource_is_full_is_said_beside_the_load_to_scale_out_at(source: Source) -> None:
    full = searched(source, 34.0)
    assert full.findings.capacity is not None
    worst: Any = full.findings.capacity.governing
    worst.advice.limited_by = "gateway cpu"
    margins = {one.name: one.evidence.margin for one in hand_over([full]).signals}
    said = "the rate at which gateway cpu is full, below the capacity x headroom 0.7, by replica"
    assert margins["ScaleOutRequests"] == said
    assert margins["ScaleOutInFlight"] == f"requests in flight at {said}"


def searched(source: Source, carried: float | None, *, state: str = "bracketed", kind: str = "capacity") -> Source:
    """Return the source as the search for a capacity of two replicas: `carried` requests per second, at least 31."""
    rate = 0.7 * (carried or 31.0)
    advice = SimpleNamespace(
        rate_per_replica=round(rate / 2, 9),
        in_flight_per_replica=round(rate * 0.3 / 1.4, 9),
        shown=True,
        limited_by=None,
    )
    found = SimpleNamespace(
        state=state, rate=Estimate(value=carried, low=31.0, high=None if carried is None else 36.0, n=7)
    )
    worst = SimpleNamespace(state="healthy", advice=None if state == "below" else advice, capacity=found)
    capacity = SimpleNamespace(governing=worst, headroom=0.7, replicas=2)
    load = source.plan.scenario.load.model_copy(update={"kind": kind})
    scenario = source.plan.scenario.model_copy(update={"load": load})
    return replace(
        source,
        name="search",
        plan=source.plan.model_copy(update={"scenario": scenario}),
        findings=source.findings.model_copy(update={"capacity": capacity}),
    )


def test_of_several_searches_the_lowest_load_is_the_one_to_scale_out_at(source: Source) -> None:
    searches = [searched(source, carried) for carried in (34.0, 20.0, 50.0)]
    for sources in (searches, searches[::-1]):
        limits = {name: one.limit for name, one in by_name(hand_over([source, *sources])).items()}
        assert (limits["ScaleOutRequests"], limits["ScaleOutInFlight"]) == (7.0, 3.0)
    none = hand_over([*searches, searched(source, None, state="below")])
    assert "ScaleOutRequests" not in by_name(none)
    assert "not even the lowest load" in next(one.why for one in none.missing if one.name == "ScaleOutRequests")


@pytest.mark.parametrize("kind", ["capacity", "steps", "spike"])
def test_a_system_that_was_filled_up_sets_no_limit_of_healthy_times(source: Source, kind: str) -> None:
    """Half of all answers fail, calls take ten seconds, breakers are open: that is what such a load is there for."""
    grew = source.said.grew | {
        "http_requests_total": {"200": 6000.0, "500": 6000.0},
        "llm_request_duration_seconds_bucket": {"5.0": 0.0, "10.0": 9000.0, "+Inf": 9000.0},
    }
    busiest = source.said.busiest | {"process_cpu_seconds_total": CPU_LIMIT * BASELINE_S}
    said = source.said.model_copy(update={"grew": grew, "busiest": busiest, "breakers": {"bedrock": 0.9}})
    full = replace(searched(source, 34.0, kind=kind), said=said)
    healthy = {signal.name: signal.limit for signal in hand_over([source]).signals}
    for sources in ([source, full], [full, source]):
        found = hand_over(sources)
        limits = {signal.name: signal.limit for signal in found.signals}
        assert {name: limits.pop(name) for name in ("ScaleOutRequests", "ScaleOutInFlight")}
        assert limits == healthy
        assert {signal.evidence.recording for signal in found.signals if "Scale" not in signal.name} == {source.name}
    alone = hand_over([full])
    assert set(by_name(alone)) == {"ScaleOutRequests", "ScaleOutInFlight"}
    why = {one.name: one.why for one in alone.missing}
    assert set(why) >= {name for name in healthy if not name.startswith("Scale")}
    for name in set(healthy) - {"ScaleOutRequests", "ScaleOutInFlight"}:
        assert f"a load of kind {kind} may fill the system up" in why[name]


def test_a_process_that_is_near_its_limit_in_healthy_times_makes_no_alert_on_it(source: Source) -> None:
    busiest = source.said.busiest | {"process_cpu_seconds_total": 0.9 * CPU_LIMIT * BASELINE_S}
    busy = replace(source, said=source.said.model_copy(update={"busiest": busiest}))
    for sources in ([busy], [source, busy], [busy, source]):
        found = hand_over(sources)
        assert "CpuNearLimit" not in by_name(found)
        why = next(one.why for one in found.missing if one.name == "CpuNearLimit").replace("\u00a0", " ")
        assert why == "it would be on in healthy times: 0.9 cores of 1 core were in use on average"


def soaked(source: Source, verdict: str, slope: tuple[float, float, float] | None) -> Source:
    """Return the source with a soak's series of the container's memory; slope and interval in MiB an hour."""
    found = slope and SimpleNamespace(value=slope[0], low=slope[1], high=slope[2])
    series = SimpleNamespace(
        owner="container:agents-1", what="memory", verdict=verdict, why="it grows", slope=found, threshold=2.0, n=240,
        needed_s=7200.0,
    )  # fmt: skip
    return replace(source, findings=source.findings.model_copy(update={"soak": SimpleNamespace(series=(series,))}))


def test_a_soak_without_a_leak_gives_the_growth_that_is_one(source: Source) -> None:
    for slope, highest in (((0.5, -1.0, 1.5), 2.0), ((2.5, 1.0, 4.0), 4.0)):
        signal = by_name(hand_over([soaked(source, "flat", slope)]))["MemoryGrows"]
        assert signal.limit * 3600 / 2**20 == pytest.approx(1.5 * highest)
        assert expression(signal, "") == (
            f"sum by (instance) (deriv(process_resident_memory_bytes[6h])) > {signal.limit:.6g}"
        )
    why = {one.name: one.why for one in hand_over([soaked(source, "inconclusive", None)]).missing}
    assert "2 h" in why["MemoryGrows"].replace("\u00a0", " ")
    why = {one.name: one.why for one in hand_over([soaked(source, "leak", (12.0, 9.0, 15.0)), source]).missing}
    assert "12 MiB an hour" in why["MemoryGrows"].replace("\u00a0", " ")


def test_too_few_observations_make_no_percentile(source: Source) -> None:
    few = {le: count / 10 for le, count in source.said.grew["llm_request_duration_seconds_bucket"].items()}
    said = source.said.model_copy(update={"grew": source.said.grew | {"llm_request_duration_seconds_bucket": few}})
    found = hand_over([replace(source, said=said)])
    assert "LatencyP95" in by_name(found), "900 are enough for a p95"
    assert "2,000" in next(one.why for one in found.missing if one.name == "LatencyP99")


def test_what_would_always_be_on_is_not_made_whatever_other_recordings_say(source: Source) -> None:
    grew = source.said.grew | {"http_requests_total": {"200": 900.0, "500": 100.0}}
    bad = source.said.model_copy(update={"grew": grew, "breakers": {"bedrock": 0.5, "openai": 0.0}})
    for sources in ([source, replace(source, said=bad)], [replace(source, said=bad), source]):
        found = hand_over(sources)
        assert {name for name in by_name(found) if name.startswith(("Error", "Breaker"))} == set()
        why = {one.name: one.why for one in found.missing}
        assert "always be on" in why["ErrorBudgetBurnFast"]
        assert "bedrock" in why["BreakerOpen"]


def test_of_several_recordings_the_quietest_limit_counts(source: Source) -> None:
    grew = {"bedrock": 800.0, "openai": 200.0}
    other = replace(
        source,
        name="other",
        said=source.said.model_copy(update={"grew": source.said.grew | {"llm_requests_total": grew}}),
    )
    for sources in ([source, other], [other, source]):
        shift = by_name(hand_over(sources))["ProviderShift"]
        assert shift.limit == pytest.approx(wilson(800, 1000)[0] / 1.5)
        assert shift.evidence.recording == "other"


def test_nothing_is_derived_of_an_invalid_run_or_of_two_targets(source: Source) -> None:
    invalid = source.findings.model_copy(
        update={"validity": Validity(valid=False, reasons=("the generator was late",))}
    )
    with pytest.raises(NotComparable, match="the generator was late") as refused:
        hand_over([replace(source, findings=invalid)])
    assert refused.value.exit_code == ExitCode.INVALID
    plan = source.plan.model_copy(update={"target": source.plan.target.model_copy(update={"target": "another"})})
    with pytest.raises(NotComparable, match="another, synthetic"):
        hand_over([source, replace(source, plan=plan)])


def test_the_docs_list_every_alert_and_every_key(found: HandOver) -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "operations.md").read_text()
    told = set(re.findall(r"`([A-Z]\w+)`", "".join(re.findall(r"^\| `[A-Z].*?\|", text, re.MULTILINE))))
    assert told == {signal.name for signal in found.signals} | {one.name for one in found.missing}
    keys = set(re.findall(r"^    (\w+): ", text, re.MULTILINE)) - {"jobs", "gate", "uses", "with"}
    assert keys == set(Metrics.model_fields) - {"url", "service", "every", "breaker_states"}
