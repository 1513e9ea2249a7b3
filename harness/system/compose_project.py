"""A Compose project in the Docker engine: finding a Compose, what the engine has of a project, and removing all of it.

`docker`, the SDK, is imported only when a target needs it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import FaultFailed, MissingComponent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

PROJECT_LABEL, SERVICE_LABEL, NUMBER_LABEL = (
    f"com.docker.compose.{name}" for name in ("project", "service", "container-number")
)
VARIABLE = "AGENTSTORM_COMPOSE"
_ASK_S = 20.0
_REMOVE_S = 60.0
_SETTLED_NS = NS_PER_S // 2
"""An order that a client gave just before its death may still be carried out: empty for this long is empty."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn whatever the SDK raises into FaultFailed, said in words."""
    from docker.errors import DockerException  # noqa: PLC0415

    try:
        yield
    except (DockerException, OSError) as error:  # requests' errors are OSErrors
        raise FaultFailed(f"{what}: {error}") from error


@dataclass(frozen=True)
class Compose:
    """A Compose program and what it calls itself."""

    command: tuple[str, ...]
    version: str


def find_compose() -> Compose:
    """Return ``$AGENTSTORM_COMPOSE``, ``docker compose`` or ``docker-compose``; MissingComponent when there is none."""
    named = os.environ.get(VARIABLE)
    candidates = [tuple(shlex.split(named))] if named else [("docker", "compose"), ("docker-compose",)]
    for command in candidates:
        if shutil.which(command[0]) and (version := _version(command)):
            return Compose(command, version)
    tried = ", ".join(" ".join(command) for command in candidates)
    raise MissingComponent(
        f"no Docker Compose: {tried} cannot be run\n  install the Compose plugin "
        "(https://docs.docker.com/compose/install), or docker-compose 1.29 or newer from your distribution, or set "
        f"{VARIABLE} to the command"
    )


def _version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            [*command, "version", "--short"], capture_output=True, text=True, timeout=_ASK_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().removeprefix("v")


def containers_of(client: DockerClient, project: str, *services: str) -> list[dict[str, Any]]:
    """Return the containers of a project (of some services of it), running or not, as the engine lists them."""
    labels = [f"{PROJECT_LABEL}={project}"]
    found: list[dict[str, Any]] = client.api.containers(all=True, filters={"label": labels})
    mine = [c for c in found if not services or c["Labels"].get(SERVICE_LABEL) in services]
    return sorted(mine, key=lambda c: (c["Labels"].get(SERVICE_LABEL, ""), int(c["Labels"].get(NUMBER_LABEL, 0))))


def left_of(client: DockerClient, project: str) -> list[str]:
    """Return what there is of a project, in words; FaultFailed when the engine does not say."""
    filters = {"label": f"{PROJECT_LABEL}={project}"}
    with translated(f"the Docker engine cannot be asked about project {project}"):
        left = [f"container {c['Names'][0].lstrip('/')}" for c in containers_of(client, project)]
        left += [f"network {network['Name']}" for network in client.api.networks(filters=filters)]
        volumes = client.api.volumes(filters=filters)["Volumes"] or []
        return left + [f"volume {volume['Name']}" for volume in volumes]


def remove(client: DockerClient, project: str, *, grace_s: float) -> None:
    """Remove all containers, networks and volumes of a project and see that they are gone; FaultFailed if some stay.

    Containers get `grace_s` seconds to end by themselves, side by side; 0 kills them at once.
    """
    deadline_ns, settled_ns = now_ns() + int((_REMOVE_S + grace_s) * NS_PER_S), 0
    why = ""
    while True:
        if not (left := left_of(client, project)):
            if now_ns() >= settled_ns > 0:
                return
            settled_ns = settled_ns or now_ns() + _SETTLED_NS
        elif now_ns() > deadline_ns:
            raise FaultFailed(f"could not be removed: {', '.join(left)}{why}")
        else:
            settled_ns = now_ns() + _SETTLED_NS
            try:
                _remove_once(client, project, grace_s)
            except FaultFailed as error:
                why = f" ({error})"
        sleep(0.1)


def _remove_once(client: DockerClient, project: str, grace_s: float) -> None:
    filters = {"label": f"{PROJECT_LABEL}={project}"}
    with translated(f"project {project}"):
        ids = [c["Id"] for c in containers_of(client, project)]
        if ids:
            with ThreadPoolExecutor(len(ids), "containers-down") as pool:
                list(pool.map(lambda id_: _remove_container(client, id_, grace_s), ids))
        for network in client.api.networks(filters=filters):
            with _gone_meanwhile():
                client.api.remove_network(network["Id"])
        for volume in client.api.volumes(filters=filters)["Volumes"] or []:
            with _gone_meanwhile():
                client.api.remove_volume(volume["Name"], force=True)


def _remove_container(client: DockerClient, id_: str, grace_s: float) -> None:
    from docker.errors import APIError  # noqa: PLC0415

    with _gone_meanwhile():
        if grace_s > 0:
            with suppress(APIError):  # a frozen one cannot end by itself; it is removed all the same
                client.api.stop(id_, timeout=round(grace_s))
        client.api.remove_container(id_, v=True, force=True)


@contextmanager
def _gone_meanwhile() -> Iterator[None]:
    """Let pass that what shall go has gone, or is going."""
    from docker.errors import APIError  # noqa: PLC0415

    try:
        yield
    except APIError as error:
        if error.status_code not in {404, 409}:  # 409: "removal of container ... is already in progress"
            raise
