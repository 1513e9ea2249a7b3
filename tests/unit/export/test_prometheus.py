"""Prometheus itself reads the rules, and fires each on a planted breach and on nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.export.derive import hand_over
from harness.export.prometheus import rules
from harness.export.signals import HandOver
from harness.export.source import Source
from tests.unit.export.planted import BELOW, CALLS_PER_S
from tests.unit.export.test_derive import soaked

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH (Debian: prometheus)")
MINUTE_S = 60


def ran(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_file_is_yaml_whose_comments_say_what_was_not_made(found: HandOver) -> None:
    text = rules(found)
    (group,) = YAML(typ="safe").load(text)["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [signal.name for signal in found.signals]
    for rule in group["rules"]:
        assert set(rule["annotations"]) == {
            "summary", "measured", "interval", "n", "margin", "limit", "recording",
        }  # fmt: skip
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert any("ScaleOutRequests" in line and "capacity.yaml" in line for line in head)


def test_queries_name_only_what_the_system_showed(found: HandOver, source: Any) -> None:
    keywords = {"sum", "rate", "or", "and", "by", "max", "bool", "instance", "provider", "absent"}
    for rule in YAML(typ="safe").load(rules(found))["groups"][0]["rules"]:
        bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", "", rule["expr"])
        assert set(re.findall(r"[a-zA-Z_:][\w:]*", bare)) - keywords <= set(source.said.names), rule["expr"]


@promtool
@pytest.mark.parametrize("selector", ["", 'job="agents",env=~"prod|stage"'])
def test_prometheus_accepts_the_rules(found: HandOver, selector: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(rules(HandOver(**{**vars(found), "selector": selector})))
    assert f"{len(found.signals)} rules found" in ran("check", "rules", str(file))
    assert file.read_text().count(selector) > len(found.signals) or not selector


def healthy(step_s: int) -> dict[str, float]:
    """Return by how much each series of the baseline grows in a step; of gauges, what they are at."""
    buckets = {f'llm_request_duration_seconds_bucket{{le="{le}"}}': s * CALLS_PER_S for le, s in BELOW.items()}
    growing = {
        'http_requests_total{status_code="200"}': 19.99,
        'http_requests_total{status_code="500"}': 0.01,
        'llm_requests_total{provider="bedrock"}': 14.25,
        'llm_requests_total{provider="openai"}': 0.75,
        'llm_cache_hits_total{agent_id="a"}': 2.0,
        'llm_cache_misses_total{agent_id="a"}': 3.0,
        'process_cpu_seconds_total{instance="a"}': 0.2,
        **buckets,
    }
    return {name: per_s * step_s for name, per_s in growing.items()}


GAUGES = {
    'llm_circuit_state{provider="bedrock"}': 0.0,
    'llm_circuit_state{provider="openai"}': 0.0,
    'process_resident_memory_bytes{instance="a"}': 120 * 2.0**20,
}
SLOW_P95 = {f'llm_request_duration_seconds_bucket{{le="{le}"}}': CALLS_PER_S * share for le, share in
            {"0.1": 0.1, "0.5": 0.5, "1.0": 0.8, "2.0": 0.93, "5.0": 0.995, "10.0": 1.0}.items()}  # fmt: skip
SLOW_P99 = {f'llm_request_duration_seconds_bucket{{le="{le}"}}': CALLS_PER_S * share for le, share in
            {"0.1": 0.1, "0.5": 0.5, "1.0": 0.9, "2.0": 0.96, "5.0": 0.98, "10.0": 1.0}.items()}  # fmt: skip
BREACHES: dict[str, tuple[dict[str, float], set[str]]] = {
    # Per second, or what a gauge is at; then what must be on after an hour of it, and nothing else.
    "nothing": ({}, set()),
    "one answer in 50 fails": (
        {'http_requests_total{status_code="503"}': 0.4},
        {"ErrorBudgetBurnFast", "ErrorBudgetBurnMedium", "ErrorBudgetBurnSlow"},
    ),
    "one answer in 100 fails": (
        {'http_requests_total{status_code="503"}': 0.19}, {"ErrorBudgetBurnMedium", "ErrorBudgetBurnSlow"}
    ),
    "p95 is over 2 s": (SLOW_P95, {"LatencyP95"}),
    "p99 is over 5 s": (SLOW_P99, {"LatencyP99", "LatencySLO"}),
    "a breaker is open": ({'llm_circuit_state{provider="openai"}': 2}, {"BreakerOpen"}),
    "a breaker is half open": ({'llm_circuit_state{provider="openai"}': 1}, set()),
    "one lookup in five hits": ({'llm_cache_hits_total{agent_id="a"}': 0.75}, {"CacheHitRateLow"}),
    "no lookup ever hits": ({'llm_cache_hits_total{agent_id="a"}': 0}, {"CacheHitRateLow"}),
    "half of the calls go elsewhere": ({'llm_requests_total{provider="openai"}': 14.25}, {"ProviderShift"}),
    "the primary is gone": ({'llm_requests_total{provider="bedrock"}': 0}, {"ProviderShift"}),
    "0.9 cores are used": ({'process_cpu_seconds_total{instance="a"}': 0.9}, {"CpuNearLimit"}),
    "memory is nearly full": ({'process_resident_memory_bytes{instance="a"}': 480 * 2.0**20}, {"MemoryNearLimit"}),
}  # fmt: skip
ALL_ON = 70
Case = tuple[list[dict[str, str]], set[str]]
"""Series, and the alerts that must be on at their end."""


def series(step_s: int, steps: int, breach: dict[str, float]) -> list[dict[str, str]]:
    growing, gauges = healthy(step_s), dict(GAUGES)
    for name, value in breach.items():
        if name in gauges:
            gauges[name] = value
        else:
            growing[name] = value * step_s
    return [{"series": name, "values": f"0+{by:.6f}x{steps}"} for name, by in growing.items()] + [
        {"series": name, "values": f"{at}x{steps}"} for name, at in gauges.items()
    ]


def check_alerts(
    found: HandOver, folder: Path, step_s: int, steps: int, cases: dict[str, Case], names: list[str]
) -> None:
    """Have promtool run the cases; of each alert it must say whether it is on at the end."""
    file, test = folder / "rules.yaml", folder / "test.yaml"
    chosen = tuple(signal for signal in found.signals if signal.name in names)
    text = rules(replace(found, signals=chosen))
    file.write_text(text)
    at = f"{step_s * steps}s"
    whole = {r["alert"]: r for r in YAML(typ="safe").load(text)["groups"][0]["rules"]}
    tests: list[dict[str, Any]] = []
    for case, (given, on) in cases.items():
        expected: list[dict[str, Any]] = []
        for name in names:
            labels = [dict(OWN[name](case))] if name in on else []
            alerts = [
                {"exp_labels": whole[name]["labels"] | own, "exp_annotations": whole[name]["annotations"]}
                for own in labels
            ]
            expected.append({"eval_time": at, "alertname": name, "exp_alerts": alerts})
        tests.append({"name": case, "interval": f"{step_s}s", "input_series": given, "alert_rule_test": expected})
    with test.open("w") as out:
        YAML().dump({"rule_files": [str(file)], "evaluation_interval": f"{step_s}s", "tests": tests}, out)
    ran("test", "rules", str(test))


class _Labels(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return lambda _: {}


OWN = _Labels(
    MemoryGrows=lambda _: {"instance": "a"},
    BreakerOpen=lambda _: {"provider": "openai"},
    CpuNearLimit=lambda _: {"instance": "a"},
    MemoryNearLimit=lambda _: {"instance": "a"},
)
"""Labels that an alert gets from its query."""


@promtool
def test_each_alert_fires_on_its_breach_and_none_on_the_baseline(found: HandOver, tmp_path: Path) -> None:
    names = [signal.name for signal in found.signals]
    cases = {case: (series(MINUTE_S, ALL_ON, breach), on) for case, (breach, on) in BREACHES.items()}
    silent = (series(MINUTE_S, ALL_ON, {})[-1:], {"MetricsGone"})
    check_alerts(found, tmp_path, MINUTE_S, ALL_ON, cases | {"nothing is shown": silent}, names)
    on = set.union(*(on for _, on in BREACHES.values())) | {"MetricsGone"}
    assert on == set(names), "each was seen to fire"


@promtool
def test_a_breaker_that_is_open_in_one_replica_is_seen_whatever_the_others_say(source: Source, tmp_path: Path) -> None:
    states = {"0": "closed", "1": "open", "2": "half_open"}
    target = source.plan.target
    assert target.metrics is not None
    metrics = target.metrics.model_copy(update={"breaker_states": states})
    plan = source.plan.model_copy(update={"target": target.model_copy(update={"metrics": metrics})})
    found = hand_over([replace(source, plan=plan)])
    cases: dict[str, Case] = {}
    for other, value, on in (("closed", 0, True), ("half open", 2, True), ("half open alone", 2, False)):
        mine = 1 if on else 2
        given = [
            {"series": f'llm_circuit_state{{provider="openai",instance="{copy}"}}', "values": f"{at}x5"}
            for copy, at in (("a", mine), ("b", value))
        ]
        cases[f"the other is {other}"] = (given, {"BreakerOpen"} if on else set())
    check_alerts(found, tmp_path, MINUTE_S, 5, cases, ["BreakerOpen"])


@promtool
def test_the_slow_burn_is_found_within_days_and_a_fast_one_that_is_over_rings_no_more(
    found: HandOver, tmp_path: Path
) -> None:
    step_s, steps = 900, 4 * 96
    names = ["ErrorBudgetBurnFast", "ErrorBudgetBurnMedium", "ErrorBudgetBurnSlow"]
    half_an_hour = [*series(step_s, steps, {}), {"series": 'http_requests_total{status_code="503"}',
                    "values": f"0x{steps - 14} 9000x2 9000x11"}]  # fmt: skip
    cases = {
        "twice the budget": (
            series(step_s, steps, {'http_requests_total{status_code="503"}': 0.03}),
            {"ErrorBudgetBurnSlow"},
        ),
        "within the budget": (series(step_s, steps, {}), set()),
        "half an hour of half of all, three hours ago": (half_an_hour, {"ErrorBudgetBurnSlow"}),
    }
    check_alerts(found, tmp_path, step_s, steps, cases, names)


@promtool
def test_memory_that_grows_faster_than_in_the_soak_is_found(source: Source, tmp_path: Path) -> None:
    found = hand_over([soaked(source, "flat", (0.5, -1.0, 1.5))])  # the limit is 3 MiB an hour
    cases: dict[str, Case] = {}
    for mib, on in ((6, {"MemoryGrows"}), (1, set[str]())):
        values = f"{2**27}+{mib * 2**20 / 60:.1f}x480"
        given = [{"series": 'process_resident_memory_bytes{instance="a"}', "values": values}]
        cases[f"{mib} MiB an hour"] = (given, on)
    check_alerts(found, tmp_path, MINUTE_S, 480, cases, ["MemoryGrows"])
