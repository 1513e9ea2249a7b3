"""Which engine Compose is told of, whose images stay, and what goes into the container of the HTTP fault proxy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import ImageNotFound

from harness.errors import SystemFailed
from harness.system import compose_command, compose_http
from harness.system.compose_command import Compose, ComposeCommand, get_images
from harness.system.compose_project import left_of, remove
from tests.contract.small_systems import Noted

MINE = "agentstorm-00000000000000ab"


def command(folder: Path, script: str, **variables: str) -> ComposeCommand:
    """Return Compose, which is a script, on a file in `folder`."""
    program = folder / "compose"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    file, log = folder / "compose.yml", folder / "compose.log"
    engine = "unix:///run/user/1000/docker.sock"
    return ComposeCommand(Compose((str(program),), "2"), MINE, (file,), variables, engine, log, Noted())


@pytest.mark.parametrize("named", ["DOCKER_HOST", "DOCKER_CONTEXT"])
def test_compose_uses_the_engine_that_we_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv(named, "tcp://127.0.0.1:1")
    compose = command(tmp_path, 'echo "$DOCKER_HOST $DOCKER_CONTEXT $A"', A="b", DOCKER_CONTEXT="c", DOCKER_HOST="d")
    said = compose.run("up", within_s=10, check=lambda: None)
    assert said == (0, "unix:///run/user/1000/docker.sock  b")


def test_a_compose_that_says_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose_command, "_ASK_S", 0.2)
    with pytest.raises(SystemFailed, match=r"has not said within 0\.2 s what it makes of .*compose\.yml"):
        command(tmp_path, "exec sleep 60").services()


def test_what_is_built_anew_for_each_run_is_told_apart() -> None:
    services = {"app": {"build": "."}, "named": {"build": ".", "image": "mine:1"}, "redis": {"image": "redis:7"}}

    def has(name: str) -> None:
        assert name
        if name != "redis:7":
            raise ImageNotFound("no")

    def run(*arguments: str, **_: Any) -> tuple[int, str]:
        ran.append(arguments)
        return 0, ""

    ran: list[tuple[str, ...]] = []
    compose: Any = SimpleNamespace(services=lambda: services, run=run)
    client: Any = SimpleNamespace(images=SimpleNamespace(get=has))
    said: list[str] = []
    get_images(compose, client, said.append, lambda: None)
    assert ran == [("build", "app", "named")]
    assert len(said) == 2
    assert said[0].startswith("building app for this run alone")
    assert said[1].startswith("getting the images of named (once")


class Images:
    """An engine that has nothing but images, and matches their names as loosely as some do."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.api = self

    def containers(self, **_: Any) -> list[Any]:
        return []

    def networks(self, **_: Any) -> list[Any]:
        return []

    def volumes(self, **_: Any) -> dict[str, Any]:
        return {"Volumes": None}

    def images(self, **_: Any) -> list[dict[str, Any]]:
        return [{"RepoTags": None}, *({"RepoTags": [name]} for name in self.names)]

    def remove_image(self, name: str, *, force: bool, noprune: bool) -> None:
        assert force
        assert noprune, "to an engine without BuildKit the layers below are the cache"
        self.names.remove(name)


def test_images_that_are_named_after_the_project_go_with_it() -> None:
    others = ["mine:1", f"{MINE}0-app:latest", "redis:7", f"registry/{MINE}-app:latest"]
    engine: Any = Images(f"{MINE}-app:latest", *others, f"{MINE}_app:latest")
    assert left_of(engine, MINE) == [f"image {MINE}-app:latest", f"image {MINE}_app:latest"]
    remove(engine, MINE, grace_s=0)
    assert engine.names == others


def test_the_code_in_the_container_is_whole_and_for_everybody_to_read(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        code = compose_http.staged(tmp_path)
    finally:
        os.umask(before)
    for path in (code, *code.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
    look = "import harness.faultproxy.__main__ as m, harness.open_files as o; print(m.__file__); print(o.__file__)"
    environment = {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(
        [sys.executable, "-S", "-c", look], env=environment, cwd="/", capture_output=True, text=True, check=True
    )
    assert [Path(line).is_relative_to(code) for line in found.stdout.splitlines()] == [True, True]
    made = compose_http.service("python:3.12", code, {"bedrock": "b:1"}, {}, "127.0.0.1:9", 1)
    assert made["volumes"] == [f"{code}:/opt/agentstorm:ro,z"]
    compose_http.unstage(tmp_path)
    assert list(tmp_path.iterdir()) == []
