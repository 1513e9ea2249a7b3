"""Every YAML file of the repository is loaded by the real loader: content that rots fails here."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from harness.assess import assess
from harness.auditing import load_audit
from harness.cli import timeline
from harness.document import read
from harness.errors import PlanError
from harness.faults import KINDS
from harness.model.findings import Findings
from harness.model.target import Metrics, Observe, Probe, Target, Upstream
from harness.planfile import dump, load_experiment, load_prices, load_scenario, load_target, resolve
from harness.recording.reader import Recording, load_plan
from harness.starter import FILES as STARTER

ROOT = Path(__file__).resolve().parent.parent
LOADERS = {
    "scenarios": load_scenario, "chaos": load_experiment, "targets": load_target, "prices": load_prices,
    "audits": load_audit,
}  # fmt: skip
FILES = [path for folder in LOADERS for path in sorted((ROOT / folder).rglob("*.yaml"))]
SCENARIOS = sorted(p.stem for p in (ROOT / "scenarios").glob("*.yaml"))
EXPERIMENTS = sorted(p.stem for p in (ROOT / "chaos").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_file_loads(path: Path) -> None:
    LOADERS[path.parent.name](read(path))


def test_the_target_to_copy_has_every_key() -> None:
    text = (ROOT / "targets" / "external.yaml").read_text()
    elsewhere = "Metrics.service"  # of a system that we start
    keys = {
        f"{model.__name__}.{field.alias or name}": field.alias or name
        for model in (Target, Upstream, Observe, Probe, Metrics)
        for name, field in model.model_fields.items()
    }
    assert [k for k, key in keys.items() if k != elsewhere and not re.search(rf"\b{key}:\s", text)] == []


def test_what_is_copied_asks_a_provider_that_costs_money_seldom(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "mine.yaml").write_text(STARTER["targets/mine.yaml"])
    for path in (ROOT / "targets" / "external.yaml", tmp_path / "targets" / "mine.yaml"):
        probe = load_target(read(path)).probe
        assert probe is not None
        assert probe.rate <= 2
        assert f"{3600 * probe.rate:,.0f} calls an hour" in path.read_text()


def test_every_yaml_in_the_repository_is_classified() -> None:
    known = {*FILES, ROOT / "docker-compose.test.yml"}
    skipped = (".venv", ".github", "reports", ".git", "node_modules")
    found = [p for p in ROOT.rglob("*.y*ml") if p.relative_to(ROOT).parts[0] not in skipped]
    assert [str(p) for p in found if p not in known] == []


AUDIT = {
    "steady": ("users", 600.0, 100),
    "rate": ("rate", 3600.0, 1000 / 60),
    "spike": ("spike", 600.0, 500),
    "soak": ("users", 4 * 3600.0, 50),
}


@pytest.mark.parametrize("name", AUDIT)
def test_the_audits_loads_are_what_the_audit_asks_for(name: str) -> None:
    kind, measured_s, size = AUDIT[name]
    load = load_scenario(read(ROOT / "scenarios" / f"{name}.yaml")).load
    assert (load.kind, load.measured_s) == (kind, measured_s)
    assert getattr(load, "rate", None) or getattr(load, "users", None) == pytest.approx(size)


def test_the_steps_are_what_they_say() -> None:
    scenario = load_scenario(read(ROOT / "scenarios" / "steps.yaml"))
    assert scenario.load.kind == "steps"
    levels = [f"{step.level:g}" for step in scenario.load.steps]
    assert scenario.about == f"{', '.join(levels[:-1])} and again {levels[-1]} users, 2 minutes each"
    assert {step.hold for step in scenario.load.steps} == {120.0}
    told = timeline(resolve(str(ROOT / "scenarios" / "steps.yaml"), [], str(ROOT / "targets" / "local.yaml"), seed=1))
    assert [(at, what) for at, what in told if what.startswith("step")][:3] == [
        (0, "step 1 of 5: 25 users"), (150, "step 2 of 5: 50 users"), (280, "step 3 of 5: 100 users"),
    ]  # fmt: skip


NEEDS_CONTAINERS = {
    "agents_cpu", "agents_memory", "redis_kill", "provider_ladder_google",
    "cache_blackhole", "cache_cut", "cache_flapping", "cache_jitter", "cache_refuse", "cache_reset", "cache_slow",
}  # fmt: skip
"""What the local target does not have: limits, a cache of its own, a third provider."""
TAKES_AN_HOUR = {"failover_sla", "failover_sla_http"}


OF_STATES = {"capacity_primary_down", "capacity_states"}
"""Experiments whose faults are on during a state, which only a search has."""


def why_not(scenario: str, experiment: str, target: str) -> str:
    """Return what a refusal of this combination must say, "" when it must not be refused."""
    if target == "local" and experiment in NEEDS_CONTAINERS:
        return "the target|containers"
    if experiment in OF_STATES and scenario != "capacity":
        return "has no states"
    if experiment in TAKES_AN_HOUR and scenario not in ("rate", "soak"):
        return "the load ends after"
    return ""


AUDIT_LOADS = ["steady", "rate", "spike", "soak", "steps"]


def test_what_fits_the_steady_load_fits_all() -> None:
    lengths = {name: load_scenario(read(ROOT / "scenarios" / f"{name}.yaml")).load.measured_s for name in AUDIT_LOADS}
    assert min(lengths.values()) == lengths["steady"]


@pytest.mark.parametrize("target", ["local", "compose"])
@pytest.mark.parametrize(
    ("scenario", "experiment"),
    [("steady", name) for name in EXPERIMENTS]
    + [(name, "bedrock_blackhole") for name in AUDIT_LOADS[1:]]
    + [(name, sla) for name in ("rate", "soak") for sla in sorted(TAKES_AN_HOUR)]
    + [("capacity", "capacity_primary_down")],
)
def test_every_audit_scenario_runs_with_every_experiment_on_every_target_and_survives_its_round_trip(
    scenario: str, experiment: str, target: str
) -> None:
    options = ([f"chaos/{experiment}.yaml"], f"targets/{target}.yaml")
    if why := why_not(scenario, experiment, target):
        with pytest.raises(PlanError, match=why):
            resolve(f"scenarios/{scenario}.yaml", *options, scale=0.1, seed=1)
        return
    plan = resolve(f"scenarios/{scenario}.yaml", *options, scale=0.1, seed=1)
    again = load_plan(dump(plan))
    assert again.model_dump(mode="json", by_alias=True) == plan.model_dump(mode="json", by_alias=True)


def test_every_kind_of_fault_has_an_experiment() -> None:
    used = {
        fault.kind for name in EXPERIMENTS for fault in load_experiment(read(ROOT / "chaos" / f"{name}.yaml")).faults
    }
    assert used | {"stop"} == set(KINDS)  # what stops gracefully is in agents_restart


def test_the_sla_experiments_support_the_claim_they_make() -> None:
    for name in TAKES_AN_HOUR:
        experiment = load_experiment(read(ROOT / "chaos" / f"{name}.yaml"))
        assert experiment.thresholds["failover_claim"] == ("0.90 at 0.95 under 5s",)
        assert all(1 - 0.90**fault.repeat >= 0.95 > 1 - 0.90 ** (fault.repeat - 1) for fault in experiment.faults)


SAMPLE = ROOT / "reports" / "sample"
SAID = {"gate"}
"""What runs said whose recordings are not kept."""


@pytest.mark.parametrize("name", sorted({path.name for path in SAMPLE.iterdir() if path.is_dir()} - SAID))
def test_the_samples_are_real_recordings_whose_pages_can_be_rebuilt(tmp_path: Path, name: str) -> None:
    sample, copy = SAMPLE / name, tmp_path / "sample"
    shutil.copytree(sample, copy)
    findings, verdicts = assess(Recording.open(copy))
    told = Findings.model_validate_json((sample / "findings.json").read_text())
    assert (findings.load.requests, findings.load.ok) == (told.load.requests, told.load.ok)
    assert findings.load.response_ms.p95.value == pytest.approx(told.load.response_ms.p95.value)
    assert [f.fault for f in findings.failovers] == [f.fault for f in told.failovers]
    assert verdicts.verdict == json.loads((sample / "verdicts.json").read_text())["verdict"]
    assert verdicts.verdict.value in (sample / "report.md").read_text().splitlines()[0].lower()


def test_the_sample_is_small_enough_to_clone() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*")) < 50_000_000


def test_a_fault_that_outlives_its_load_is_refused() -> None:
    with pytest.raises(PlanError, match="before"):
        resolve("scenarios/smoke.yaml", ["chaos/bedrock_blackhole.yaml"])


def test_capacity_is_searched_in_every_state_that_containers_can_be_in() -> None:
    files = ["chaos/capacity_states.yaml"], "targets/compose.yaml"
    load = resolve("scenarios/capacity.yaml", *files, replicas=2, seed=1).scenario.load
    assert load.kind == "capacity"
    assert load.states == ("healthy", "primary_down", "cache_cold", "one_replica_lost")
