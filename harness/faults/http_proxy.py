"""The HTTP fault proxy (`harness.faultproxy`) of a run: started, and told what to do to whom."""

from __future__ import annotations

import http.client
import json
import select
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from harness import leash
from harness.clock import NS_PER_S
from harness.errors import FaultFailed
from harness.faults.probe_socket import ProbeSocket, split_address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_START_S, _STOP_S, _ANSWER_S = 15.0, 5.0, 10.0


class HttpRoute:
    """The way to one upstream through the proxy (a `fault.Misbehaving`). Every call is verified and may be repeated."""

    def __init__(self, admin: str, name: str, listen: str) -> None:
        self.admin, self.name, self.listen = admin, name, listen

    def faults(self) -> dict[str, Any]:
        """Return the faults that are on it by name, asked now: {how, met}."""
        return dict(self._say("GET", "")["faults"])

    def misbehave(self, name: str, how: Mapping[str, Any]) -> None:
        """Put a fault on; `how` as `faultproxy.effects.Misbehaviour` has it."""
        there = self._say("PUT", f"/faults/{name}", json.dumps(how))["faults"]
        if there.get(name, {}).get("how") != how:
            raise FaultFailed(
                f"the HTTP fault proxy at {self.admin} acknowledged {name} on {self.name} but has {there}"
            )

    def behave(self, name: str) -> None:
        """Take a fault off; nothing happens for one that is not there."""
        if name in self._say("DELETE", f"/faults/{name}")["faults"]:
            raise FaultFailed(f"the HTTP fault proxy at {self.admin} acknowledged the end of {name} but still has it")

    def _say(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        where = f"the HTTP fault proxy at {self.admin}"
        connection = http.client.HTTPConnection(*split_address(self.admin), timeout=_ANSWER_S)
        try:
            connection.request(method, quote(f"/routes/{self.name}{path}"), body)
            answer = connection.getresponse()
            said: dict[str, Any] = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise FaultFailed(f"{where} cannot be reached for {self.name}: {error}") from error
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise FaultFailed(f"{where} refused {method} {path} on {self.name}: {said.get('error', answer.status)}")
        return said


class HttpFaultProxy:
    """A proxy of our own before some upstreams, on free loopback ports; it cannot outlive us."""

    def __init__(self, process: leash.Leashed, admin: str, routes: Mapping[str, HttpRoute], log: Path) -> None:
        self.process, self.admin, self.routes, self.log = process, admin, routes, log

    @classmethod
    def start(cls, upstreams: Mapping[str, str], log: Path, *, seed: int = 0) -> HttpFaultProxy:
        """Start it before `upstreams` (name -> ``host:port``) and return once it listens.

        `seed` is for which requests a fault on a share of them meets. FaultFailed when it does not come up.
        """
        routes = [word for name, address in upstreams.items() for word in ("--route", f"{name}={address}")]
        # -P: the folder we are in is no place to import from.
        command = [sys.executable, "-P", "-m", "harness.faultproxy", "--seed", str(seed), *routes]
        process = leash.start(command, log=log, stdout=subprocess.PIPE)
        try:
            told = json.loads(cls._first_line(process))
        except BaseException as error:
            leash.stop(process, 0)
            if isinstance(error, ValueError):
                raise FaultFailed(f"the HTTP fault proxy does not come up; see {log}") from error
            raise
        listening = {name: HttpRoute(told["admin"], name, listen) for name, listen in told["routes"].items()}
        return cls(process, told["admin"], listening, log)

    @staticmethod
    def _first_line(process: leash.Leashed) -> bytes:
        """Return what it says once it listens, b"" when it does not."""
        if process.stdout is None or not select.select([process.stdout], [], [], _START_S)[0]:
            return b""
        return process.stdout.readline()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End it, and its faults with it, and see that nothing listens any more; may be called twice. FaultFailed."""
        leash.stop(self.process, _STOP_S)
        for address in (self.admin, *(route.listen for route in self.routes.values())):
            if ProbeSocket(address, "tcp").ask(NS_PER_S).outcome == "answered":
                raise FaultFailed(
                    f"the HTTP fault proxy (process {self.process.real_pid}) was stopped "
                    f"but something still listens at {address}"
                )
