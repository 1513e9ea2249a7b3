"""Limits follow from what was planted; what was not measured makes no alert, and says what would."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

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
    advice = SimpleNamespace(rate_per_replica=21.5, in_flight_per_replica=9.5)
    rate = Estimate(value=34.0, low=31.0, high=36.0, n=7)
    capacity = SimpleNamespace(governing=SimpleNamespace(advice=advice, capacity=SimpleNamespace(rate=rate)))
    measured = replace(source, findings=source.findings.model_copy(update={"capacity": capacity}))
    signals = by_name(hand_over([measured]))
    requests, in_flight = signals["ScaleOutRequests"], signals["ScaleOutInFlight"]
    assert isinstance(requests, Above)
    assert (requests.metric, requests.limit, in_flight.limit) == ("http_requests_total", 21.5, 9.5)
    assert (requests.evidence.n, "31" in requests.evidence.interval) == (7, True)


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
