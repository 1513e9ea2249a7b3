"""Reaching the Docker engine. `docker`, the SDK, is imported only when something needs it."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.errors import MissingComponent
from harness.hosts import is_local

if TYPE_CHECKING:
    from docker import DockerClient

_TIMEOUT_S = 30
_CONNECTIONS = 64
_KNOCK_S = 5.0


def connect(timeout_s: int = _TIMEOUT_S, *, local: bool = False) -> DockerClient:
    """Return a client of the engine that the ``docker`` command would use, to be closed; MissingComponent when there is
    none, or (with `local`) when it is another machine's."""
    import docker  # noqa: PLC0415
    from docker.errors import DockerException  # noqa: PLC0415

    where = _address()
    if local and not _is_here(where):
        raise MissingComponent(
            f"the Docker engine at {where} is on another machine: what containers publish on its loopback cannot be "
            "reached from here\n  run agentstorm there, or point DOCKER_HOST at this machine's engine"
        )
    try:
        _knock(where)
        client = docker.DockerClient(base_url=where, timeout=timeout_s, tls=_tls(), max_pool_size=_CONNECTIONS)
        client.ping()
    except (DockerException, OSError) as error:
        raise MissingComponent(
            f"no Docker engine answers at {where}: {error}\n"
            "  start Docker (`systemctl start docker`, or Docker Desktop), see that `docker info` works for this user, "
            "or set DOCKER_HOST; without Docker, --target targets/local.yaml runs the same system as processes"
        ) from error
    return client


def _knock(address: str) -> None:
    """Raise OSError when nobody listens there: the SDK would say the same in more words, and leave its socket open."""
    parts = urlsplit(address)
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as plug:
            plug.settimeout(_KNOCK_S)
            plug.connect(parts.path)
    elif parts.scheme in {"tcp", "http", "https"} and parts.hostname:
        socket.create_connection((parts.hostname, parts.port or 2375), _KNOCK_S).close()


def _is_here(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme in {"unix", "npipe"} or is_local(parts.hostname or "")


def _address() -> str:
    """Return the engine's address as the ``docker`` command finds it: DOCKER_HOST, else the current context's."""
    if named := os.environ.get("DOCKER_HOST"):
        return named
    from docker import ContextAPI  # noqa: PLC0415
    from docker.errors import DockerException  # noqa: PLC0415

    with suppress(DockerException, OSError, ValueError):
        context = ContextAPI.get_current_context()
        if context.Host:
            return str(context.Host)
    return "unix:///var/run/docker.sock"


def _tls() -> Any:
    from docker.utils import kwargs_from_env  # noqa: PLC0415

    return kwargs_from_env().get("tls", False)
