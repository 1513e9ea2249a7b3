"""A Compose project in the Docker engine: what there is of it, by which names, and removing all of it.

`docker`, the SDK, is imported only when a target needs it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import FaultFailed
from harness.system.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker import DockerClient

    from harness.model.target import ComposeSystem

PROJECT_LABEL, SERVICE_LABEL, NUMBER_LABEL = (
    f"com.docker.compose.{name}" for name in ("project", "service", "container-number")
)
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
        left += [f"volume {volume['Name']}" for volume in volumes]
        return left + [f"image {name}" for name in _images_of(client, project)]


def _images_of(client: DockerClient, project: str) -> list[str]:
    """Return the names of the images that Compose built and named after the project, for want of an ``image``: those of
    this run alone."""
    images = client.api.images(filters={"reference": f"{project}*"})
    names = (name for image in images for name in image.get("RepoTags") or [])
    return [name for name in names if name.startswith((f"{project}-", f"{project}_"))]  # version 2, version 1


def remove(client: DockerClient, project: str, *, grace_s: float) -> None:
    """Remove all containers, networks, volumes and images of a project and see that they are gone; FaultFailed if some
    stay.

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
        for image in _images_of(client, project):
            with _gone_meanwhile():  # the layers below it stay: to an engine without BuildKit they are the cache
                client.api.remove_image(image, force=True, noprune=True)


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


def project_name(run_id: int) -> str:
    """Return the name of a run's Compose project: it says whose it is, so that nobody else's is ever touched."""
    return f"agentstorm-{run_id:016x}"


class ComposeProject:
    """The containers of one run, by the names that reports use: ``redis``, and ``agents-1`` where there may be more."""

    def __init__(self, client: DockerClient, name: str, system: ComposeSystem) -> None:
        self.client, self.name = client, name
        self._system = system

    def named(self, *services: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the name of each container (of these services) and what the engine lists of it."""
        for container in containers_of(self.client, self.name, *services):
            service = container["Labels"][SERVICE_LABEL]
            number = container["Labels"][NUMBER_LABEL]
            numbered = service == self._system.replicated or number != "1"
            yield f"{service}-{number}" if numbered else service, container

    def ids(self, *services: str) -> dict[str, str]:
        """Return the id of each container, running or not."""
        return {name: container["Id"] for name, container in self.named(*services)}

    def address(self, service: str, inspected: Mapping[str, Any]) -> str | None:
        """Return where a container's published port is reached; None when none is, or it does not run."""
        port = self._system.publish.get(service)
        published = (inspected["NetworkSettings"].get("Ports") or {}).get(f"{port}/tcp") or []
        return f"{HOST}:{published[-1]['HostPort']}" if published else None
