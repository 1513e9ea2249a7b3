"""What the containers are made from and how they are tied together, as far as it can be told without an engine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.programs import TOXIPROXY

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "reference" / "docker"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.test.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NETWORKS: dict[str, dict[str, Any]] = COMPOSE["networks"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRA: list[str] = PYPROJECT["optional-dependencies"]["reference"]
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
OURS = {f"agentstorm/{target}:${{AGENTSTORM_TAG:-dev}}": target for target in ("agents", "provider", "lb")}
"""Our images, and the stage of the Dockerfile that each is."""

service = pytest.mark.parametrize("name", SERVICES)


def requirements(image: str) -> list[str]:
    lines = (DOCKER / f"requirements-{image}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def third_party_imports(package: str) -> set[str]:
    trees = [ast.parse(path.read_text()) for path in (ROOT / "reference" / package).glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"reference"}


def stages() -> dict[str, str]:
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_agents_are_installed_from_what_the_extra_says() -> None:
    assert sorted(requirements("agents")) == sorted(EXTRA)


def test_provider_is_installed_from_part_of_it() -> None:
    assert set(requirements("provider")) <= {*EXTRA, *PYPROJECT["dependencies"]}


def test_provider_image_has_what_the_provider_imports() -> None:
    listed = {re.split(r"[>=;\[ ]", line)[0] for line in requirements("provider")}
    assert third_party_imports("provider") <= listed


def test_services_are_the_known_ones() -> None:
    assert set(SERVICES) == {"bedrock", "openai", "google", "redis", "toxiproxy", "agents", "lb"}


def test_only_what_both_compose_versions_know_is_used_at_the_top() -> None:
    assert {key for key in COMPOSE if not key.startswith("x-")} == {"services", "networks"}


def test_upstreams_have_no_way_out_and_nothing_leaves_by_edge() -> None:
    assert set(NETWORKS) == {"edge", "upstreams"}
    assert NETWORKS["upstreams"]["internal"] is True
    assert NETWORKS["edge"]["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    assert all(network["labels"] == {"dev.agentstorm": "true"} for network in NETWORKS.values())


def test_nothing_but_toxiproxy_joins_both_networks() -> None:
    members = {network: {name for name in SERVICES if network in SERVICES[name]["networks"]} for network in NETWORKS}
    assert members["upstreams"] == {"bedrock", "openai", "google", "redis", "toxiproxy"}
    assert members["edge"] == {"toxiproxy", "agents", "lb"}


@service
def test_no_port_name_or_place_is_taken_on_the_host(name: str) -> None:
    taken = {"ports", "container_name", "volumes", "network_mode", "pid", "ipc", "privileged", "devices", "extra_hosts"}
    assert taken.isdisjoint(SERVICES[name])


@service
def test_container_is_checked_limited_and_labelled(name: str) -> None:
    found = SERVICES[name]
    assert found["healthcheck"]["test"][0] == "CMD"
    cpus = re.sub(r"^\$\{AGENTS_CPUS:-(.*)\}$", r"\1", str(found["cpus"]))
    assert 0 < float(cpus) <= 1, "more than one core is refused by hosts that have one"
    assert re.fullmatch(r"\d+m", found["mem_limit"])
    assert found["labels"] == {"dev.agentstorm": "true"}
    assert found["restart"] == "no"
    assert "stop_grace_period" in found


@service
def test_container_may_do_little(name: str) -> None:
    found = SERVICES[name]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    ours = OURS.get(found["image"])
    users = re.findall(r"^USER (\S+)$", stages()[ours], flags=re.MULTILINE) if ours else [found["user"]]
    assert users[-1:] == ["65534:65534"]


@service
def test_image_is_ours_or_its_name_is_a_variable(name: str) -> None:
    image = SERVICES[name]["image"]
    assert image in OURS or re.fullmatch(r"\$\{[A-Z]+_IMAGE:-\S+:\S+\}", image)


def test_each_of_our_images_is_built_once() -> None:
    built = [found for found in SERVICES.values() if "build" in found]
    assert {found["image"]: found["build"]["target"] for found in built} == OURS
    assert len(built) == len(OURS)
    for found in built:
        build = found["build"]
        assert (build["context"], build["dockerfile"]) == (".", "reference/docker/Dockerfile")
        assert set(build["args"]) == {"PYTHON_IMAGE", "LB_IMAGE", "PIP_OPTIONS"}


def test_bases_are_the_same_in_the_compose_file_and_the_dockerfile() -> None:
    given: dict[str, str] = SERVICES["agents"]["build"]["args"]
    for name in ("PYTHON_IMAGE", "LB_IMAGE"):
        (default,) = re.findall(rf"^ARG {name}=(\S+)$", DOCKERFILE, flags=re.MULTILINE)
        assert given[name] == f"${{{name}:-{default}}}"


def test_agents_reach_every_upstream_through_toxiproxy_only() -> None:
    environment: dict[str, str] = SERVICES["agents"]["environment"]
    urls = {key: value for key, value in environment.items() if "://" in value}
    assert {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "OPENAI_BASE_URL", "REDIS_URL"} <= set(urls)
    assert all(re.match(r"\w+://toxiproxy:94\d\d(/|$)", url) for url in urls.values())


def test_load_balancer_never_sends_a_request_twice_nor_holds_a_stream_back() -> None:
    lines = [line.strip() for line in (DOCKER / "haproxy.cfg").read_text().splitlines()]
    assert [line for line in lines if line.startswith("retry-on")] == ["retry-on conn-failure"]
    assert "option http-no-delay" in lines
    assert not [line for line in lines if line.startswith("option http-buffer")]


def test_build_context_holds_only_what_images_are_built_from() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line for line in lines if line.startswith("!")} == {"!reference", "!.wheels"}


def test_offline_script_is_a_script() -> None:
    script = DOCKER / "offline.sh"
    assert script.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    wrong = subprocess.run([str(script), "--nonsense"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "usage" in wrong.stderr


def test_offline_images_have_the_versions_the_harness_expects() -> None:
    script = (DOCKER / "offline.sh").read_text()
    assert f"TOXIPROXY_VERSION={TOXIPROXY.version}\n" in script
    assert SERVICES["toxiproxy"]["image"].endswith(f":{TOXIPROXY.version}}}")
