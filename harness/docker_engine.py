"""Reaching the Docker engine. `docker`, the SDK, is imported only when something needs it."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from harness.errors import MissingComponent
from harness.hosts import is_local

if TYPE_CHECKING:
    from docker import DockerClient

_TIMEOUT_S = 30
_CONNECTIONS = 64
_KNOCK_S = 5.0
_DEFAULT = "unix:///var/run/docker.sock"


def connect(timeout_s: int = _TIMEOUT_S, *, local: bool = False, at: str = "") -> DockerClient:
    """Return a client of the engine `at` an address, by default the one that the ``docker`` command would use, to be
    closed; MissingComponent when there is none, or (with `local`) when it is another machine's."""
    from docker.errors import DockerException  # noqa: PLC0415

    where = at or address()
    parts = _parts(where)
    if local and not _is_here(parts):
        raise MissingComponent(
            f"the Docker engine at {where} is on another machine: what containers publish on its loopback cannot be "
            "reached from here\n  run agentstorm there, or point DOCKER_HOST at this machine's engine"
        )
    try:
        _knock(parts)
        client = _client(where, timeout_s)
        client.ping()
    except (DockerException, OSError) as error:
        raise MissingComponent(
            f"no Docker engine answers at {where}: {error}\n"
            "  start Docker (`systemctl start docker`, or Docker Desktop), see that `docker info` works for this user, "
            "or set DOCKER_HOST; without Docker, --target targets/local.yaml runs the same system as processes"
        ) from error
    return client


def address() -> str:
    """Return the engine's address as the ``docker`` command finds it: DOCKER_HOST, else that of the context which
    DOCKER_CONTEXT names, else of the current one. MissingComponent when there is no such context."""
    if named := os.environ.get("DOCKER_HOST"):
        return named
    from docker import ContextAPI  # noqa: PLC0415
    from docker.context.config import get_current_context_name  # noqa: PLC0415

    chosen = os.environ.get("DOCKER_CONTEXT")
    name, by = (
        (chosen, "DOCKER_CONTEXT") if chosen else (get_current_context_name() or "default", "`docker context use`")
    )
    try:
        context: Any = ContextAPI.get_context(name)
        if context is not None:
            return str(context.Host or _DEFAULT)
        why = "there is none of this name"
    except Exception as error:  # noqa: BLE001 - the SDK raises whatever it stumbles over in a context's files
        why = f"{type(error).__name__}: {error}"
    raise MissingComponent(
        f"the Docker context {name!r}, chosen by {by}, cannot be used: {why}\n"
        "  `docker context ls` lists what there is; for this machine's engine unset DOCKER_CONTEXT, or "
        "`docker context use default`"
    )


def _parts(where: str) -> SplitResult:
    try:
        parts = urlsplit(where)
        _ = parts.port  # raises when it is none
    except ValueError as error:
        raise MissingComponent(
            f"{where} is no address of a Docker engine: {error}\n"
            f"  set DOCKER_HOST as in {_DEFAULT} or tcp://127.0.0.1:2375"
        ) from error
    return parts


def _client(where: str, timeout_s: int) -> DockerClient:
    import docker  # noqa: PLC0415
    from docker.constants import DEFAULT_DOCKER_API_VERSION  # noqa: PLC0415

    options: dict[str, Any] = {"base_url": where, "timeout": timeout_s, "tls": _tls(), "max_pool_size": _CONNECTIONS}
    parts = _parts(where)
    if not (parts.hostname and is_local(parts.hostname)):
        return docker.DockerClient(**options)
    # What is for loopback goes to no HTTP_PROXY, as with the `docker` command. A client that is told no version asks
    # for it while it is made, when this cannot be said yet.
    with closing(docker.APIClient(version=DEFAULT_DOCKER_API_VERSION, **options)) as asks:
        asks.trust_env = False
        version = asks.version(api_version=False).get("ApiVersion", DEFAULT_DOCKER_API_VERSION)
    client = docker.DockerClient(version=version, **options)
    client.api.trust_env = False
    return client


def _knock(parts: SplitResult) -> None:
    """Raise OSError when nobody listens there: the SDK would say the same in more words, and leave its socket open."""
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as plug:
            plug.settimeout(_KNOCK_S)
            plug.connect(parts.path)
    elif parts.scheme in {"tcp", "http", "https"} and parts.hostname:
        socket.create_connection((parts.hostname, parts.port or 2375), _KNOCK_S).close()


def _is_here(parts: SplitResult) -> bool:
    return parts.scheme in {"unix", "npipe"} or is_local(parts.hostname or "")


def _tls() -> Any:
    from docker.utils import kwargs_from_env  # noqa: PLC0415

    return kwargs_from_env().get("tls", False)
