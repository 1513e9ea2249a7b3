"""The Docker engine that tests run against, and an image with a Python in it.

Everything a test starts carries `LABEL`, so that `docker ps --filter label=...` shows what a killed one left.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import NoReturn

import docker
import docker.errors
import pytest

from harness.docker_engine import connect
from harness.errors import MissingComponent

LABEL = {"dev.agentstorm.test": "true"}
IMAGES = ("agentstorm-offline/python:3.11", "python:3.12-slim-bookworm")


@cache
def _connect() -> docker.DockerClient | str:
    """Return a client of a reachable engine, or why there is none."""
    try:
        return connect(60)
    except MissingComponent as error:
        return str(error)


def engine() -> docker.DockerClient:
    """Return a client of the engine; without one the test is skipped, or fails if $AGENTSTORM_DOCKER is `required`."""
    client = _connect()
    if isinstance(client, str):
        _without(client.splitlines()[0])
    return client


def python_image() -> str:
    """Return $PYTHON_IMAGE, or the first of `IMAGES` that the engine has; without one as `engine`. Never pulls."""
    wanted = [os.environ["PYTHON_IMAGE"]] if os.environ.get("PYTHON_IMAGE") else IMAGES
    found = next((image for image in wanted if _has(image)), None)
    if found is None:
        _without(f"the engine has none of the images {', '.join(wanted)}")
    return found


def _has(image: str) -> bool:
    try:
        engine().images.get(image)
    except docker.errors.ImageNotFound:
        return False
    return True


def _without(why: str) -> NoReturn:
    if os.environ.get("AGENTSTORM_DOCKER") == "required":
        pytest.fail(why)
    pytest.skip(why)


def compose_variables() -> dict[str, str]:
    """Return the variables of the repository's Compose file that an offline build has left in ``.env``, if any."""
    path = Path(__file__).resolve().parents[1] / ".env"
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def toxiproxy_image() -> str:
    """Return the image of Toxiproxy that the repository's Compose file would use."""
    named = os.environ.get("TOXIPROXY_IMAGE") or compose_variables().get("TOXIPROXY_IMAGE")
    return named or "ghcr.io/shopify/toxiproxy:2.12.0"
