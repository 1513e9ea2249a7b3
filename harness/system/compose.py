"""A system of containers: a Compose file brought up in a project of the run's own, and taken down without a trace."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from harness.clock import NS_PER_S, now_ns, sleep
from harness.docker_engine import address, connect
from harness.errors import FaultFailed, SystemFailed
from harness.model.target import ComposeSystem
from harness.system import compose_file, compose_http
from harness.system.base import Carrier, Died
from harness.system.compose_command import ComposeCommand, find_compose, get_images, last_lines
from harness.system.compose_control import ContainerControl, listens
from harness.system.compose_project import SERVICE_LABEL, ComposeProject, project_name, remove, translated
from harness.system.container_logs import ContainerLogs
from harness.system.ports import HOST, Held
from harness.web import get

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from docker import DockerClient

    from harness.model.plan import Plan
    from harness.system.base import Journal

_FIRST_SIDE_DOOR = 29001
"""Ports inside the Toxiproxy container for our own questions, out of the way of what targets choose."""
_POLL_S = 0.1
_ANSWER_S = 2.0
_WATCH_NS = NS_PER_S
_LOOK_S = 5
"""An engine may take this long for one look: who looks has a run to conduct."""
_SILENT_NS = 10 * NS_PER_S
"""An engine that has not answered for this long is dead; a soak outlives a shorter trouble."""
_ENDED = {"exited", "dead"}


class Compose:
    """`system.base.System` for ``kind: compose``.

    The Compose file publishes nothing: a second file, made here, publishes on loopback what the run needs. A Toxiproxy
    is one of its services; it and what it depends on come up first, so that proxies stand before the rest starts.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"services", "limits", "http"})

    def __init__(
        self, plan: Plan, *, run_id: int, logs: Path, journal: Journal, say: Callable[[str], None] = lambda _: None
    ) -> None:
        system = plan.target.system
        assert isinstance(system, ComposeSystem)  # noqa: S101 - `KINDS` chose this class by it
        self._system, self._plan, self._logs, self._journal, self._say = system, plan, logs, journal, say
        self._name = project_name(run_id)
        self._file = plan.target_dir / system.file
        self._held: dict[str, Held] = {}
        self._broken: set[str] = set()
        self._watched_ns = 0
        self._silent_ns: int | None = None
        """Since when the engine does not answer."""
        self._died: list[Died] = []
        self._entry: int | None = None
        self._described: dict[str, Any] = {"kind": "compose", "project": self._name}

    # --- coming up

    def reserve(self) -> dict[str, str]:
        """Find engine and Compose, and return the address of each published service; its port is held until then."""
        compose = find_compose()
        self._engine = address()
        self._client = connect(local=True, at=self._engine)
        self._watcher = connect(_LOOK_S, local=True, at=self._engine)
        self._project = ComposeProject(self._client, self._name, self._system)
        self._follower = ContainerLogs(self._client, self._logs)
        self._logs.mkdir(parents=True, exist_ok=True)
        single = [name for name in self._system.publish if name != self._system.replicated]
        upstreams = list(self._plan.target.upstreams)
        for what in (*single, *self._http, *(f"{u} proxy" for u in upstreams), *(f"{u} side door" for u in upstreams)):
            self._held[what] = Held(what, "auto")
        override = self._logs / "compose.override.json"
        override.write_text(json.dumps({"services": self._published() | self._http_fault_proxy()}, indent=1))
        self._compose = ComposeCommand(
            compose, self._name, (self._file, override), self._system.env, self._engine,
            self._logs / "compose.log", self._journal,
        )  # fmt: skip
        return {name: self._at(name) for name in single}

    def _at(self, what: str) -> str:
        return f"{HOST}:{self._held[what].port}"

    def _published(self) -> dict[str, dict[str, list[str]]]:
        ports: dict[str, list[str]] = {
            name: [f"{self._at(name)}:{port}" if name in self._held else f"{HOST}::{port}"]
            for name, port in self._system.publish.items()
        }
        for number, (name, upstream) in enumerate(self._plan.target.upstreams.items()):
            inside = upstream.listen.rpartition(":")[2]
            ports[self._system.toxiproxy] += [
                f"{self._at(f'{name} proxy')}:{inside}",
                f"{self._at(f'{name} side door')}:{_FIRST_SIDE_DOOR + number}",
            ]
        return {name: {"ports": published} for name, published in ports.items()}

    @property
    def _http(self) -> tuple[str, ...]:
        """The service of the HTTP fault proxy, when the plan needs one."""
        return (compose_http.SERVICE,) if self._plan.http_upstreams else ()

    def _behind_http(self) -> dict[str, str]:
        return {name: self._plan.target.upstreams[name].address for name in self._plan.http_upstreams}

    def _http_fault_proxy(self) -> dict[str, dict[str, Any]]:
        if not self._http:
            return {}
        beside = compose_file.services_in(self._file)[self._system.toxiproxy]
        image, seed, code = self._system.http_faults or "", self._plan.seed, compose_http.staged(self._logs)
        return {
            name: compose_http.service(image, code, self._behind_http(), beside, self._at(name), seed)
            for name in self._http
        }

    def _begin(self, check: Callable[[], None]) -> None:
        """Write down that there will be containers, and get the images (some of which are the project's own); once."""
        self._check = check
        if self._entry is not None:
            return
        self._entry = self._journal.containers(self._name, self._engine)
        get_images(self._compose, self._client, self._say, check)
        for held in self._held.values():
            held.release()
        self._deadline_ns = now_ns() + int(self._system.up_within * NS_PER_S)

    def carrier(self, check: Callable[[], None] = lambda: None) -> Carrier:
        """Get the images, start Toxiproxy with what it depends on, and return it."""
        api = self._at(self._system.toxiproxy)
        with _engine_trouble():
            self._begin(check)
            self._up(self._system.toxiproxy, *self._http)
            self._await_answer(f"http://{api}/version", self._system.toxiproxy)
            for name in self._http:
                self._await_answer(f"http://{self._at(name)}/routes/{quote(self._plan.http_upstreams[0])}", name)
        upstreams = list(self._plan.target.upstreams)
        return Carrier(
            api=api,
            reached={name: self._at(f"{name} proxy") for name in upstreams},
            side_doors={
                name: (f"0.0.0.0:{_FIRST_SIDE_DOOR + number}", self._at(f"{name} side door"))
                for number, name in enumerate(upstreams)
            },
            http_admin=self._at(self._http[0]) if self._http else "",
            http_routes=compose_http.listens(self._behind_http()),
        )

    def up(self, upstreams: Mapping[str, str], check: Callable[[], None] = lambda: None) -> None:
        """Start the rest and return once every container is healthy, or has done its work."""
        replicated = self._system.replicated
        scale = ["--scale", f"{replicated}={self._plan.replicas}"] if replicated else []
        with _engine_trouble():
            self._begin(check)
            self._up("--no-recreate", *scale)
            self._await_healthy()
            self._describe()

    def _up(self, *arguments: str) -> None:
        left_s = max(1.0, (self._deadline_ns - now_ns()) / NS_PER_S)
        code, said = self._compose.run("up", "--detach", "--no-build", *arguments, within_s=left_s, check=self._check)
        self._follow()
        if code:
            sick = "".join(
                self._told(name, c, _condition(c))
                for name, c in self._project.named()
                if _unwell(c) and not self._did_its_work(c)
            )
            raise SystemFailed(f"the containers did not come up (exit code {code}):{last_lines(said)}{sick}")

    def _follow(self) -> None:
        for name, id_ in self._project.ids().items():
            self._follower.follow(name, id_)

    def _told(self, name: str, container: Mapping[str, Any], what: str) -> str:
        log = self._logs / f"{name}.log"
        return f"\n  container {name} {what}\n  log: {log}{self._follower.tail(container['Id'])}"

    def _await_answer(self, url: str, service: str) -> None:
        said = ""
        while True:
            self._check()
            try:
                if get(url, _ANSWER_S)[0] == 200:
                    return
            except OSError as error:
                said = str(error)
            (name, container), *_ = self._there(service)
            if container["State"] in _ENDED:
                raise SystemFailed(self._told(name, container, _condition(container)).strip())
            if now_ns() >= self._deadline_ns:
                raise SystemFailed(self._told(name, container, f"does not answer at {url}: {said}").strip())
            sleep(_POLL_S)

    def _there(self, *services: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the containers of the project (of these services); SystemFailed when there are none."""
        if there := list(self._project.named(*services)):
            return there
        raise SystemFailed(
            f"Compose says that {', '.join(services) or 'all'} of {self._name} is up, but the Docker engine at "
            f"{self._engine} has no container of it: is it another engine that Compose talks to?"
        )

    def _await_healthy(self) -> None:
        """Wait for every container; a health check that fails for long or an end is told with the container's log."""
        while True:
            self._check()
            there = self._there()
            unwell = [(n, c) for n, c in there if not (_well(c) and self._listens(c)) and not self._did_its_work(c)]
            if not unwell:
                return
            given_up = [(name, c) for name, c in unwell if _unwell(c)]
            if given_up or now_ns() > self._deadline_ns:
                within = f" within {self._system.up_within:g} s"
                raise SystemFailed(
                    "".join(
                        self._told(n, c, _condition(c) + ("" if given_up else within)) for n, c in given_up or unwell
                    ).strip()
                )
            sleep(_POLL_S)

    def _did_its_work(self, container: Mapping[str, Any], client: DockerClient | None = None) -> bool:
        """Whether it had something to do once (a migration) and has done it: it ended with code 0, and nothing says
        that it should go on, neither a published port nor a health check."""
        if container["State"] != "exited" or "Exited (0)" not in container["Status"] or self._is_published(container):
            return False
        config = (client or self._client).api.inspect_container(container["Id"])["Config"]
        check: dict[str, Any] = config.get("Healthcheck") or {}
        return bool((check.get("Test") or ["NONE"])[0] == "NONE")

    def _is_published(self, container: Mapping[str, Any]) -> bool:
        return container["Labels"][SERVICE_LABEL] in self._system.publish

    def _listens(self, container: Mapping[str, Any]) -> bool:
        """Whether something takes connections behind a published port; a health check, where there is one, has said."""
        if "(" in container["Status"] or not self._is_published(container):
            return True
        inspected = self._client.api.inspect_container(container["Id"])
        address = self._project.address(container["Labels"][SERVICE_LABEL], inspected)
        return address is not None and listens(address)  # None: it has ended meanwhile

    # --- being there

    def watch(self) -> list[Died]:
        """Return the containers that have ended since they came up, unless a fault is on them; looked at once a
        second. An engine that does not answer is told as one of them once it has been silent for 10 s."""
        if self._entry is None:
            return []
        if now_ns() - self._watched_ns >= _WATCH_NS:
            asked_ns = now_ns()
            try:
                with translated("the Docker engine does not answer"):
                    self._died = self._ended()
                self._silent_ns = None
            except FaultFailed as error:
                self._silent_ns = asked_ns if self._silent_ns is None else self._silent_ns
                if now_ns() - self._silent_ns >= _SILENT_NS:
                    self._died = [Died("docker", 1, str(error), ours=True)]
            self._watched_ns = now_ns()
        return self._died

    def _ended(self) -> list[Died]:
        project = ComposeProject(self._watcher, self._name, self._system)
        return [
            self._death(name, container)
            for name, container in project.named()
            if container["State"] in _ENDED
            and name not in self._broken
            and not self._did_its_work(container, self._watcher)
        ]

    def _death(self, name: str, container: Mapping[str, Any]) -> Died:
        state = self._watcher.api.inspect_container(container["Id"])["State"]
        why = "was killed for want of memory" if state.get("OOMKilled") else f"ended with code {state['ExitCode']}"
        told = self._told(name, container, f"{why} while it was needed").strip()
        ours = container["Labels"][SERVICE_LABEL] in (self._system.toxiproxy, *self._http)
        return Died(name, int(state["ExitCode"]), told, ours)

    def control(self, service: str) -> ContainerControl:
        """Return the means to break a service."""
        return ContainerControl(self._project, service, self._system.stop_within, self._expect)

    def _expect(self, name: str, broken: bool) -> None:
        (self._broken.add if broken else self._broken.discard)(name)

    def processes(self) -> dict[str, int]:
        """Return nothing: these are containers."""
        return {}

    def containers(self) -> dict[str, str]:
        """Return the id of each container of the project."""
        return {} if self._entry is None else self._project.ids()

    # --- going down

    def down(self) -> None:
        """Remove containers, networks and volumes, and see that they are gone."""
        for held in self._held.values():
            held.release()
        if self._entry is not None:
            self._follower.last_words()
            try:
                remove(self._client, self._name, grace_s=self._system.stop_within)
            except FaultFailed as error:
                raise SystemFailed(f"project {self._name}: {error}") from error
            self._follower.close()
            self._journal.healed(self._entry)
            self._entry = None
        compose_http.unstage(self._logs)
        if self._held:
            self._client.close()
            self._watcher.close()

    def _describe(self) -> None:
        version = self._client.version()
        images = {}
        containers = {}
        for name, container in self._project.named():
            image = self._client.images.get(container["ImageID"])
            images[container["Image"]] = {"id": image.id, "digests": image.attrs.get("RepoDigests") or []}
            containers[name] = {"id": container["Id"], "image": container["Image"]}
        self._described |= {
            "engine": version.get("Version"),
            "api": version.get("ApiVersion"),
            "compose": self._compose.describe(),
            "file": str(self._file),
            "replicas": self._plan.replicas,
            "images": images,
            "containers": containers,
        }

    def describe(self) -> dict[str, Any]:
        """Return the engine, the images with their digests and the containers, for the manifest."""
        return self._described


@contextmanager
def _engine_trouble() -> Iterator[None]:
    """Turn what the engine refuses, or its silence, into SystemFailed."""
    try:
        with translated("the Docker engine does not do as it was asked"):
            yield
    except FaultFailed as error:
        raise SystemFailed(str(error)) from error


def _well(container: Mapping[str, Any]) -> bool:
    """From what the engine lists: running, and healthy where it has a health check."""
    health = "(healthy)" in container["Status"] or "(" not in container["Status"]
    return container["State"] == "running" and health


def _unwell(container: Mapping[str, Any]) -> bool:
    return container["State"] in _ENDED or "(unhealthy)" in container["Status"]


def _condition(container: Mapping[str, Any]) -> str:
    return f"is not healthy: {container['Status']}"
