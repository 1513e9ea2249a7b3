"""Breaking a service that is one container or several."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import FaultFailed
from harness.model.instance import Instance, State
from harness.system.compose_project import translated
from harness.web import get

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from harness.system.compose_project import ComposeProject

_MIB = 2**20
_NANO = 10**9
_WITHIN_S = 10.0
_READY_S = 60.0
_ANSWER_S = 1.0
_SILENCE_S = 0.3
"""Who is connected for so long without having said anything is connected to somebody: a forwarder with nobody behind it
closes at once."""


class ContainerControl:
    """`Control` of a service's containers. `expect` is told which of them are broken on purpose."""

    def __init__(
        self, project: ComposeProject, name: str, stop_within_s: float, expect: Callable[[str, bool], None]
    ) -> None:
        self._project, self.name, self._stop_within_s, self._expect = project, name, stop_within_s, expect
        self._told_to_end: set[str] = set()
        self._limits: dict[str, dict[str, int]] = {}
        """What the limits of a copy were before they were lowered, as the engine's API has them."""
        self._throttled_before: dict[str, int] = {}

    def _inspected(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, id_ in self._project.ids(self.name).items():
            yield name, self._project.client.api.inspect_container(id_)

    def look(self) -> list[Instance]:
        """Return the containers as they are now."""
        with translated(f"service {self.name} cannot be looked at"):
            return [self._instance(name, told) for name, told in self._inspected()]

    def _instance(self, name: str, told: dict[str, Any]) -> Instance:
        limits = told["HostConfig"]
        return Instance(
            name=name,
            state=_state(told),
            address=self._project.address(self.name, told),
            healthy=told["State"].get("Health", {}).get("Status", "healthy") == "healthy",
            cpus=limits["NanoCpus"] / _NANO if limits.get("NanoCpus") else None,
            memory_mib=limits["Memory"] / _MIB if limits.get("Memory") else None,
            throttled=self._throttled(told["Id"]) - self._throttled_before[told["Id"]]
            if told["Id"] in self._throttled_before and _state(told) != "stopped"
            else 0,
        )

    def _throttled(self, id_: str) -> int:
        """Return the periods a container was throttled in; engines before 23 take a second for it."""
        stats = self._project.client.api.stats(id_, stream=False, one_shot=True)
        return int(stats["cpu_stats"].get("throttling_data", {}).get("throttled_periods", 0))

    def _break(self, copies: Collection[str], how: str, do: Callable[[str], Any]) -> None:
        with translated(f"service {self.name} cannot be {how}"):
            for name, id_ in self._project.ids(self.name).items():
                if name in copies:
                    self._expect(name, True)
                    do(id_)

    def kill(self, copies: Collection[str]) -> None:
        """SIGKILL them."""
        self._told_to_end |= set(copies)
        self._break(copies, "killed", lambda id_: self._signal(id_, "SIGKILL"))
        self._await(copies, "stopped", _WITHIN_S)

    def stop(self, copies: Collection[str]) -> None:
        """SIGTERM them."""
        self._told_to_end |= set(copies)
        self._break(copies, "stopped", lambda id_: self._signal(id_, "SIGTERM"))

    def _signal(self, id_: str, signal: str) -> None:
        from docker.errors import APIError  # noqa: PLC0415

        try:
            self._project.client.api.kill(id_, signal)
        except APIError as error:
            if error.status_code != 409:  # "is not running": it has ended already
                raise

    def pause(self, copies: Collection[str]) -> None:
        """Freeze them (the cgroup freezer)."""

        def freeze(id_: str) -> None:
            if _state(self._project.client.api.inspect_container(id_)) != "paused":
                self._project.client.api.pause(id_)

        self._break(copies, "paused", freeze)
        self._await(copies, "paused", _WITHIN_S)

    def limit(self, copies: Collection[str], *, cpus: float | None = None, memory_mib: float | None = None) -> None:
        """Lower their limits."""
        wanted: dict[str, int] = {}
        if cpus is not None:
            wanted["NanoCpus"] = round(cpus * _NANO)
        if memory_mib is not None:
            wanted["Memory"] = wanted["MemorySwap"] = round(memory_mib * _MIB)

        def lower(id_: str) -> None:
            had = self._project.client.api.inspect_container(id_)["HostConfig"]
            self._limits[id_] = {key: had.get(key) or 0 for key in wanted} | self._limits.get(id_, {})
            self._update(id_, wanted)
            if cpus is not None:
                self._throttled_before[id_] = self._throttled(id_)

        self._break(copies, "given less", lower)

    def _update(self, id_: str, limits: dict[str, int]) -> None:
        api = self._project.client.api
        # The SDK's own `update_container` knows no NanoCpus, which is what Compose's `cpus` sets.
        answer = api.post(f"{api.base_url}/v{api.api_version}/containers/{id_}/update", json=limits)
        if not answer.ok:
            raise FaultFailed(f"service {self.name}: the engine refused the limit: {answer.text.strip()}")

    def _raise_again(self, id_: str) -> None:
        limits = self._limits.get(id_)
        if limits is None:
            return
        has = self._project.client.api.inspect_container(id_)["HostConfig"]
        if any((has.get(key) or 0) != value for key, value in limits.items()):  # else it was refused to lower them
            self._give_back(id_, limits)
        del self._limits[id_]
        self._throttled_before.pop(id_, None)

    def _give_back(self, id_: str, limits: dict[str, int]) -> None:
        wanted = limits
        if min(limits.values()) <= 0:
            # There was none. To the engine 0 means: leave it as it is, and -1 (of swap) it notes but does not carry
            # out. So: all the machine has, and as much again for memory with swap, the engine's own default.
            host = self._project.client.info()
            memory = host["MemTotal"]
            most = {"NanoCpus": host["NCPU"] * _NANO, "Memory": memory, "MemorySwap": 2 * memory}
            wanted = {key: value if value > 0 else most[key] for key, value in limits.items()}
        self._update(id_, wanted)
        has = self._project.client.api.inspect_container(id_)["HostConfig"]
        kept = [key for key in ("NanoCpus", "Memory") if key in wanted and has.get(key) != wanted[key]]
        if kept:
            raise FaultFailed(f"service {self.name}: the engine took no new {' and '.join(kept)}")

    def restore(self, copies: Collection[str]) -> None:
        """Let them go on, give them what they had, start them again."""
        with translated(f"service {self.name} cannot be restored"):
            found = {name: id_ for name, id_ in self._project.ids(self.name).items() if name in copies}
            for name, id_ in found.items():
                self._restore(name, id_)
        self._await_usable(found)
        for name in found:
            self._expect(name, False)

    def _restore(self, name: str, id_: str) -> None:
        api = self._project.client.api
        if _state(api.inspect_container(id_)) == "paused":
            api.unpause(id_)
        self._raise_again(id_)
        if name in self._told_to_end:  # it may still be finishing what it had
            api.stop(id_, timeout=round(self._stop_within_s))
        if _state(api.inspect_container(id_)) == "stopped":
            api.start(id_)
        self._told_to_end.discard(name)

    def _await(self, copies: Collection[str], state: State, within_s: float) -> None:
        deadline_ns = now_ns() + int(within_s * NS_PER_S)
        while odd := [c for c in self.look() if c.name in copies and c.state != state]:
            if now_ns() > deadline_ns:
                raise FaultFailed(
                    f"{', '.join(c.name for c in odd)}: not {state} {within_s:g} s after the engine said so"
                )
            sleep(0.01)

    def _await_usable(self, copies: Collection[str]) -> None:
        deadline_ns = now_ns() + int(_READY_S * NS_PER_S)
        while odd := [c for c in self.look() if c.name in copies and not _usable(c)]:
            if now_ns() > deadline_ns:
                raise FaultFailed(
                    f"{', '.join(c.name for c in odd)}: not usable {_READY_S:g} s after being started again"
                )
            sleep(0.05)


def _state(told: dict[str, Any]) -> State:
    state = told["State"]
    return "paused" if state.get("Paused") else "running" if state.get("Running") else "stopped"


def _usable(copy: Instance) -> bool:
    """Whether it answers; without an address, what the engine's own health check says, which is seconds old."""
    if copy.state != "running":
        return False
    return copy.healthy if copy.address is None else listens(copy.address)


def listens(address: str) -> bool:
    """Whether something takes connections at a published port: the engine's port forwarder takes them all, and closes
    those for which there is nobody. Whoever just says nothing is there.

    HTTP is asked first, because its answer comes at once. Databases close on such a question as the forwarder does, but
    wait for one of their own.
    """
    try:
        get(f"http://{address}/", _ANSWER_S)
    except TimeoutError:
        return True
    except OSError as error:
        return not isinstance(error, ConnectionError) or _waits(address)
    return True


def _waits(address: str) -> bool:
    """Whether a connection on which nothing is asked stays open, or is greeted."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), _ANSWER_S) as connection:
            connection.settimeout(_SILENCE_S)
            return bool(connection.recv(1))
    except TimeoutError:
        return True
    except OSError:
        return False
