"""What of the environment sets a system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.model.target import Target
from harness.system.compose_file import variables_in
from harness.system.environment import given

COMPOSE = """
x-cpus: &limits {cpus: "${CPUS:-1.0}"}
services:
  agents:
    <<: *limits
    image: agents:${TAG:-dev}
    build: {context: ., args: {BASE: "${BASE_IMAGE}"}}
    ports: ["${PUBLISHED}:80"]
    volumes: ["${WHERE}:/data"]
    command: [serve, --note, "$$PAID", --mode, $MODE]
    environment: {PROFILE: "${PROFILE:-${FALLBACK}}", PASSED: , FIXED: 1}
  cache:
    image: redis:7
    environment: [EVICTION, "SIZE=${SIZE}"]
"""


def target(**system: Any) -> Target:
    return Target.model_validate({"target": "t", "url": "http://127.0.0.1:80", "system": system})


def test_of_processes_what_the_target_names(tmp_path: Path) -> None:
    services = {"agents": {"command": ["serve"]}}
    environ = {"AGENTS_PROFILE": "happyos", "AGENTS_API_KEY": "sk", "AGENTS_DIR": "/x", "MODE": "a", "PATH": "/bin"}
    named = target(kind="processes", services=services, settings=["AGENTS_*", "MODE"])
    assert given(named, tmp_path, environ) == {"AGENTS_PROFILE": "happyos", "MODE": "a"}
    assert given(target(kind="processes", services=services), tmp_path, environ) == {}
    assert given(target(kind="external"), tmp_path, environ) == {}


def test_of_a_compose_file_what_sets_its_services_and_not_which_version_they_are(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    assert variables_in(tmp_path / "compose.yaml") == {
        "CPUS", "MODE", "PROFILE", "FALLBACK", "PASSED", "EVICTION", "SIZE"
    }  # fmt: skip


def test_a_compose_files_variables_come_from_where_compose_takes_them(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / ".env").write_text('# ours\nCPUS=4\nexport MODE="slow"  # for now\nPROFILE=a\nUNUSED=1\nno line\n')
    system = target(kind="compose", file="compose.yaml", publish={"agents": 80}, env={"MODE": "fast", "SIZE": "1"})
    assert given(system, tmp_path, {"SIZE": "2", "FALLBACK": "", "TAG": "v2", "WHERE": "/x"}) == {
        "CPUS": "4", "MODE": "fast", "PROFILE": "a", "SIZE": "2"
    }  # fmt: skip
