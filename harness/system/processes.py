"""A system of processes on this machine, each on a leash (`harness.leash`), so that none outlives the run."""

from __future__ import annotations

import os
import platform
import sys
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar

import psutil

from harness import leash, open_files
from harness.blas import users_environment
from harness.clock import NS_PER_S, now_ns
from harness.errors import SystemFailed
from harness.system import template
from harness.system.base import Died
from harness.system.ports import HOST, Held
from harness.system.process_control import ProcessControl
from harness.system.wiring import dependencies, services_of
from harness.web import get

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from harness.model.plan import Plan
    from harness.model.target import Service
    from harness.system.base import Journal

_POLL_S = 0.02
_READY_TIMEOUT_S = 2.0
_LOG_LINES, _LOG_TAIL_BYTES = 15, 16_384
_STOPPED = "not started: another service failed first"


@dataclass
class Running:
    """One started service."""

    name: str
    spec: Service
    process: leash.Leashed
    command: list[str]
    env: dict[str, str]
    log: Path
    started_ns: int
    entry: int
    """Of the journal."""
    ready_ns: int = -1

    def ended(self) -> int | None:
        """Its exit code, None while it runs."""
        return self.process.poll()

    def told(self, what: str) -> str:
        """Return `what` happened with all that helps to find out why."""
        return f"service {self.name!r} {what}\n  command: {' '.join(self.command)}\n  log: {self.log}{_tail(self.log)}"


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return f" (cannot be read: {error.strerror})"
    return "".join(f"\n    {line}" for line in lines[-_LOG_LINES:]) or " (empty)"


def _how(code: int) -> str:
    """Say how a program ended, from its exit code as a shell gives it."""
    if code < 0:
        return "ended because its leash was killed"
    return f"was killed by signal {code - 128}" if code > 128 else f"ended with code {code}"


def _environment(directory: Path) -> dict[str, str]:
    """Return our own environment, with what services need to be found, to be heard and to reach each other."""
    env = users_environment()
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(directory), env.get("PYTHONPATH"))))
    env["PYTHONUNBUFFERED"] = "1"
    for name in ("NO_PROXY", "no_proxy"):  # or a proxy of the user's would stand between service and fault proxy
        env[name] = ",".join(filter(None, (env.get(name), HOST, "localhost")))
    return env


class Processes:
    """`system.base.System` for ``kind: processes``.

    A service starts once those it names are ready (`wiring.dependencies`); the others start side by side.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"services", "http"})

    def __init__(
        self,
        plan: Plan,
        *,
        run_id: int,
        logs: Path,
        journal: Journal,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._services = services_of(plan.target)
        self._needs = dependencies(plan.target)
        self._directory, self._logs, self._journal = plan.target_dir, logs, journal
        self._held: dict[str, Held] = {}
        self._values: Mapping[str, str] = {}
        self._running: dict[str, Running] = {}
        self._broken: set[str] = set()
        """Services that a fault has ended or frozen: their death is no accident."""
        self._ended: list[Running] = []
        self._giving_up = Event()

    def reserve(self) -> dict[str, str]:
        """Return each service's address; its port is held until it starts."""
        try:
            for name, service in self._services.items():
                self._held[name] = Held(name, service.port)
        except SystemFailed:
            self._release()
            raise
        return self._addresses()

    def _addresses(self) -> dict[str, str]:
        return {name: f"{HOST}:{held.port}" for name, held in self._held.items()}

    def _release(self) -> None:
        for held in self._held.values():
            held.release()

    def up(self, upstreams: Mapping[str, str], check: Callable[[], None] = lambda: None) -> None:
        """Start every service and return once all are ready; on a failure everything is ended first."""
        self._values = template.addresses(self._addresses(), upstreams) | {"python": sys.executable}
        started: dict[str, Future[None]] = {}
        try:
            with ThreadPoolExecutor(len(self._services), "system-up") as pool:
                for name in TopologicalSorter(self._needs).static_order():
                    started[name] = pool.submit(self._bring_up, name, started)
                try:
                    left = set(started.values())
                    while left:
                        done, left = wait(left, _POLL_S, FIRST_COMPLETED)
                        for future in done:  # the failure that came first is the one to tell
                            future.result()
                        check()
                except BaseException:
                    self._giving_up.set()
                    raise
        except BaseException:
            self.down()
            raise

    def _bring_up(self, name: str, started: Mapping[str, Future[None]]) -> None:
        for other in self._needs[name]:
            started[other].result()
        if self._giving_up.is_set():
            raise SystemFailed(f"service {name!r} {_STOPPED}")
        self._start_until_ready(name)

    def _start_until_ready(self, name: str) -> None:
        running = self._start(name)
        self._await_ready(running, self._held[name].port)

    def _start(self, name: str) -> Running:
        service, held = self._services[name], self._held[name]
        values = {**self._values, "port": str(held.port)}
        where = f"system.services.{name}"
        command = [template.fill(word, values, where=where) for word in service.command]
        env = {key: template.fill(text, values, where=where) for key, text in service.env.items()}
        log = self._logs / f"{name}.log"
        held.release()
        started_ns = now_ns()
        try:
            process = leash.start(
                command, log=log, env=_environment(self._directory) | env, cwd=self._directory, files=open_files.GIVEN
            )
        except FileNotFoundError as error:
            raise SystemFailed(
                f"service {name!r}: {error}\n  command: {' '.join(command)}\n  run in: {self._directory}\n"
                "  install it, put it on PATH, or give its path from that folder"
            ) from error
        except OSError as error:
            raise SystemFailed(f"service {name!r} cannot be started: {error}") from error
        try:
            entry = self._journal.process(process.real_pid, f"service {name}")
        except BaseException:
            leash.stop(process, 0)
            raise
        running = self._running[name] = Running(name, service, process, command, env, log, started_ns, entry)
        return running

    def _await_ready(self, running: Running, port: int) -> None:
        url = f"http://{HOST}:{port}{running.spec.ready}"
        deadline = running.started_ns + int(running.spec.ready_within * NS_PER_S)
        said = "it never answered"
        while not self._giving_up.wait(_POLL_S):
            try:
                status, _ = get(url, _READY_TIMEOUT_S)
                said = f"it last answered {status}"
            except OSError as error:
                status, said = 0, f"last: {error}"
            # In this order: a 2xx may come from somebody else who took the port, and ours then ends.
            if (code := running.ended()) is not None:
                raise SystemFailed(running.told(f"{_how(code)} before it was ready"))
            if 200 <= status < 300:
                running.ready_ns = now_ns()
                return
            if now_ns() > deadline:
                within = f"{running.spec.ready_within:g} s"
                raise SystemFailed(running.told(f"was not ready within {within}: {url}: {said}"))
        raise SystemFailed(f"service {running.name!r} {_STOPPED}")

    def watch(self) -> list[Died]:
        """Return the services that have ended since they came up."""
        return [
            Died(running.name, code, running.told(f"{_how(code)} while it was needed"))
            for running in list(self._running.values())  # faults start and end services in threads of their own
            if running.name not in self._broken and (code := running.ended()) is not None
        ]

    def carrier(self, check: Callable[[], None] = lambda: None) -> None:
        """Return nothing: faults are put on a Toxiproxy of the run's own."""

    def control(self, service: str) -> ProcessControl:
        """Return the means to break a service."""
        return ProcessControl(self, service)

    def running(self, name: str) -> Running | None:
        """Return a started service; None while it is being started again, or when that failed."""
        return self._running.get(name)

    def address(self, name: str) -> str:
        """Return where a service listens, ``host:port``."""
        return f"{HOST}:{self._held[name].port}"

    def expect(self, name: str, *, broken: bool) -> None:
        """Take note that a service is broken on purpose, or no longer."""
        (self._broken.add if broken else self._broken.discard)(name)

    def start_again(self, name: str) -> None:
        """End what is left of a service and start it anew, on the same port, with the same command; SystemFailed."""
        running = self._running.get(name)
        if running is not None:
            self._end(running)
        self._start_until_ready(name)

    def down(self) -> None:
        """End every service, those that need others first; raise only once all have been tried."""
        self._giving_up.set()
        self._release()
        problems: list[BaseException] = []
        for running in reversed(list(self._running.values())):
            try:
                self._end(running)
            except BaseException as error:  # noqa: BLE001 - the others must end first, whatever this is
                problems.append(error)
        if problems:
            raise problems[0]

    def _end(self, running: Running) -> None:
        # An interruption while waiting must not spare it: the second attempt gives it no more time.
        try:
            leash.stop(running.process, running.spec.stop_within)
        except BaseException:
            leash.stop(running.process, 0)
            raise
        group = running.process.real_pid
        if _alive(group):
            raise SystemFailed(
                f"service {running.name!r}: process {group} is still there after SIGKILL; end it yourself"
            )
        del self._running[running.name]
        self._ended.append(running)
        self._journal.healed(running.entry)

    def processes(self) -> dict[str, int]:
        """Return the process id of each running service."""
        return {name: r.process.real_pid for name, r in list(self._running.items()) if r.ended() is None}

    def containers(self) -> dict[str, str]:
        """Return nothing: these are processes."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return how each service was started, for the manifest."""
        started = [*self._ended, *self._running.values()]
        return {
            "kind": "processes",
            "directory": str(self._directory),
            "python": platform.python_version(),
            "services": {
                r.name: {
                    "command": r.command,
                    "env": r.env,
                    "address": f"{HOST}:{self._held[r.name].port}",
                    "pid": r.process.real_pid,
                    "ready_after_s": round((r.ready_ns - r.started_ns) / NS_PER_S, 3) if r.ready_ns > 0 else None,
                    "log": str(r.log),
                }
                for r in started
            },
        }


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
