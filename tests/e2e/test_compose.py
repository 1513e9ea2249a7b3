"""The whole path on the compose target: the same plans as on the local one, against real containers."""

from __future__ import annotations

import json
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from harness.journal import journals
from harness.recording.reader import Recording
from tests.docker_engine import engine
from tests.e2e.runs import agentstorm, effective, load, recorded, signal, start

pytestmark = [pytest.mark.real, pytest.mark.docker, pytest.mark.slow]

COMPOSE = ("--target", "targets/compose.yaml")
OUTAGES = ("scenarios/demo.yaml", "--chaos", "chaos/demo.yaml", *COMPOSE)
RUN = re.compile(r"agentstorm-[0-9a-f]{16}")
SERVICES = {"bedrock", "openai", "google", "redis", "toxiproxy", "lb"}
KILLS = int(os.environ.get("AGENTSTORM_KILLS", "4"))
"""Runs killed at random moments; 20 by hand."""


@pytest.fixture(autouse=True, scope="module")
def _an_engine() -> None:
    engine()


def containers() -> dict[str, Container]:
    """Return the containers of every run, by service."""
    found = engine().containers.list(all=True, filters={"label": "com.docker.compose.project"}, ignore_removed=True)
    mine = [c for c in found if RUN.match(c.labels["com.docker.compose.project"])]
    return {c.labels["com.docker.compose.service"]: c for c in mine}


def ours() -> list[str]:
    """Return every container, network and volume of any run."""
    client = engine()
    networks = [network.name or "" for network in client.networks.list()]
    volumes = client.api.volumes(filters={"label": "com.docker.compose.project"})["Volumes"] or []
    return [*containers(), *filter(RUN.match, networks), *(volume["Name"] for volume in volumes)]


def experiment(folder: Path, *faults: dict[str, Any]) -> str:
    path = folder / "chaos.yaml"
    path.write_text(json.dumps({"experiment": "x", "faults": faults}))
    return str(path)


def short(hold_s: int, users: int = 30) -> tuple[str, ...]:
    settings = {"load.hold": f"{hold_s}s", "load.warmup": "5s", "load.users": users, "load.spawn": "20/s"}
    return tuple(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run with two outages of Bedrock, at less than half of the demo's length, and two copies of the agents."""
    recording = tmp_path_factory.mktemp("run") / "recording"
    recorded(recording, *OUTAGES, "--replicas", "2", "--scale", "0.4", "--seed", "7")
    assert ours() == []
    return recording


def test_both_outages_bit_were_survived_and_are_timed(run: Path) -> None:
    failovers = load(run, "findings.json")["failovers"]
    assert [f["kind"] for f in failovers] == ["blackhole", "refuse"]
    for failover in failovers:
        assert failover["bit"]
        assert failover["failover_s"] is not None, "another provider answered"
        assert failover["cleared_ns"] > failover["effective_ns"]
    assert 0.5 < failovers[0]["recovery_s"]["high"] < 6, "a hang costs a time-out"
    assert failovers[0]["detection_s"] is not None, "a breaker of one of the copies was seen to open"


def test_every_request_names_the_provider_its_ledger_names(run: Path) -> None:
    attribution = load(run, "findings.json")["attribution"]
    assert attribution["compared"] > 100
    assert attribution["agree"] == attribution["compared"], attribution["examples"]


def test_three_witnesses_agree_on_the_cache_that_the_copies_share(run: Path) -> None:
    cache = load(run, "findings.json")["cache"]
    answers, metrics, ledger = (cache[w] for w in ("answers", "metrics", "ledger"))
    assert answers["n"] > 100
    assert answers["hit_rate"] > 0.05
    assert abs(metrics["hit_rate"] - answers["hit_rate"]) < 0.02, "the counters of every copy are read"
    assert abs(ledger["hit_rate"] - answers["hit_rate"]) < 0.02


def test_every_container_is_in_the_findings_the_logs_and_the_manifest(run: Path) -> None:
    names = SERVICES | {"agents-1", "agents-2"}
    resources = load(run, "findings.json")["resources"]
    assert set(resources) >= names
    for name in names:
        used = resources[name]
        assert used["cpu"]["mean"] > 0
        assert 0 < used["memory_of_limit"]["max"] < 1
        assert (run / "logs" / f"{name}.log").exists()
    assert resources["lb"]["net"]["mean"] > 0
    system = load(run, "manifest.json")["components"]["system"]
    assert set(system["containers"]) == names
    assert all(image["id"].startswith("sha256:") for image in system["images"].values())
    assert system["replicas"] == 2


def test_nothing_can_get_around_a_fault(tmp_path: Path) -> None:
    """Asked from the agents' own container: the providers and the cache have no way to them but Toxiproxy's."""
    running = start(tmp_path / "r", "scenarios/smoke.yaml", *COMPOSE)
    running.wait_for(lambda e: e["kind"] == "load", within_s=120)
    there = containers()
    ask = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close(); print('reached')"

    def reached(host: str, port: int) -> bool:
        code, said = there["agents"].exec_run(["python3", "-c", ask, host, str(port)])
        return code == 0 and b"reached" in said

    try:
        assert reached("toxiproxy", 9401)
        for name, port in (("bedrock", 8080), ("openai", 8080), ("google", 8080), ("redis", 6379)):
            (address,) = (network["IPAddress"] for network in there[name].attrs["NetworkSettings"]["Networks"].values())
            assert not reached(name, port)
            assert not reached(address, port)
            assert next(iter(there[name].attrs["NetworkSettings"]["Networks"])).endswith("_upstreams")
    finally:
        code, _, err = running.end(signal.SIGTERM)
    assert code == 105, err
    assert ours() == []


def test_one_of_two_copies_can_be_lost_and_all_of_them_restarted(tmp_path: Path) -> None:
    chaos = experiment(
        tmp_path,
        {"kind": "kill", "service": "agents", "replicas": 1, "at": "6s", "for": "4s"},
        {"kind": "restart", "service": "agents", "at": "18s", "for": "25s"},
    )
    done = agentstorm(
        "run", "scenarios/demo.yaml", "--chaos", chaos, *COMPOSE, "--replicas", "2", *short(50), "--out",
        str(tmp_path / "r"),
    )  # fmt: skip
    assert (tmp_path / "r" / "findings.json").exists(), done.stderr
    findings = load(tmp_path / "r", "findings.json")
    killed, restarted = findings["failovers"]
    assert killed["bit"], findings["validity"]
    assert restarted["bit"], findings["validity"]
    assert killed["cleared_ns"] > killed["effective_ns"]
    # What the killed copy was answering is lost, and a request or two before the load balancer notices; no more.
    assert findings["load"]["failed_share"]["value"] < 0.1
    assert findings["resources"]["agents-1"]["restarts"] >= 1
    assert ours() == []


CACHE_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "refuse", "upstream": "cache", "at": "5s"},
    {"kind": "blackhole", "upstream": "cache", "at": "17s"},
    {"kind": "slow", "upstream": "cache", "latency": "200ms", "at": "29s"},
    {"kind": "kill", "service": "redis", "at": "41s"},
)


def test_without_its_cache_the_system_keeps_answering(tmp_path: Path) -> None:
    chaos = experiment(tmp_path, *({**fault, "for": "7s"} for fault in CACHE_FAULTS))
    done = agentstorm(
        "run", "scenarios/demo.yaml", "--chaos", chaos, *COMPOSE, *short(56), "--out", str(tmp_path / "r")
    )
    assert (tmp_path / "r" / "findings.json").exists(), done.stderr
    findings = load(tmp_path / "r", "findings.json")
    rows = Recording.open(tmp_path / "r").requests.to_pandas()
    assert [outage["kind"] for outage in findings["failovers"]] == [fault["kind"] for fault in CACHE_FAULTS]
    for outage in findings["failovers"]:
        assert outage["bit"], findings["validity"]
        assert outage["answers"]["ok"] > 10
        assert outage["answers"]["failed"] == 0
        met = rows[(rows.start_ns >= outage["effective_ns"]) & (rows.end_ns < outage["cleared_ns"] - 10**8)]
        assert outage["kind"] == "slow" or met.cache_hits.clip(lower=0).sum() == 0
    assert ours() == []


@pytest.mark.parametrize("scenario", ["rate", "spike"])
def test_the_audits_scenarios_run_in_containers(tmp_path: Path, scenario: str) -> None:
    scale = {"rate": "0.004", "spike": "0.02"}[scenario]
    done = agentstorm("run", f"scenarios/{scenario}.yaml", *COMPOSE, "--scale", scale, "--out", str(tmp_path / "r"))
    assert done.returncode in {0, 75, 98, 99}, done.stderr
    findings = load(tmp_path / "r", "findings.json")
    assert findings["load"]["requests"] > 20
    assert findings["load"]["dropped"] == 0
    assert f"scale {scale}" in (tmp_path / "r" / "report.html").read_text()
    assert ours() == []


def test_killed_at_any_moment_nothing_stays_once_healed(tmp_path: Path) -> None:
    """From the first second, with images being looked for, to the middle of an outage."""
    moments = random.Random(os.environ.get("AGENTSTORM_KILLS_SEED", "3"))
    for number in range(KILLS):
        running = start(tmp_path / f"r{number}", *OUTAGES, "--scale", "0.4")
        after_s = moments.uniform(0.3, 25)
        time.sleep(after_s)
        running.process.kill()
        running.process.communicate()
        healed = agentstorm("heal")
        assert healed.returncode == 0, f"killed after {after_s:.1f} s: {healed.stdout}{healed.stderr}"
        assert ours() == [], f"killed after {after_s:.1f} s"
        assert journals() == []
        if (tmp_path / f"r{number}" / "manifest.json").exists():
            reported = agentstorm("report", str(tmp_path / f"r{number}"))
            assert "Traceback" not in reported.stderr + reported.stdout
            if (tmp_path / f"r{number}" / "verdicts.json").exists():
                assert load(tmp_path / f"r{number}", "verdicts.json")["verdict"] == "invalid"


def test_an_interrupted_run_heals_reports_and_says_so(tmp_path: Path) -> None:
    running = start(tmp_path / "r", *OUTAGES, "--scale", "0.4")
    running.wait_for(effective, within_s=120)
    code, out, err = running.end(signal.SIGINT)
    assert code == 105, err
    assert "Traceback" not in out + err
    assert ours() == []
    assert journals() == []
    assert (tmp_path / "r" / "report.html").exists()


def test_a_container_that_dies_ends_the_run_which_never_passes(tmp_path: Path) -> None:
    running = start(tmp_path / "r", *OUTAGES, "--scale", "0.4")
    running.wait_for(effective, within_s=120)
    containers()["agents"].kill()
    out, err = running.process.communicate(timeout=90)
    assert running.process.returncode == 98, out + err
    assert load(tmp_path / "r", "verdicts.json")["verdict"] == "invalid"
    assert "agents-1" in " ".join(load(tmp_path / "r", "findings.json")["validity"]["reasons"])
    assert ours() == []
