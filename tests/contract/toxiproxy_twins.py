"""A real Toxiproxy server and the built-in one, side by side, and what a client and an upstream see of each.

A `Side` is one server with one proxy, in front of a socket of the test's own: both ends of every connection are in its
hands. `both` runs the same script on both sides at the same time and returns what each saw.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from harness.clock import NS_PER_MS, NS_PER_S, now_ns, sleep
from harness.programs import BUILTIN, TOXIPROXY, Program

T = TypeVar("T")
WITHOUT_UVLOOP = """
import runpy, sys
sys.modules["uvloop"] = None
runpy.run_path({main!r}, run_name="__main__")
"""
NAME = "twin"
OPEN, FIN, RST = "open", "fin", "rst"


def real_program() -> Program:
    """Return the real server, whatever the environment prefers."""
    if os.environ.get(TOXIPROXY.variable) != BUILTIN:
        return TOXIPROXY.ensure()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(TOXIPROXY.variable)
        return TOXIPROXY.ensure()


def builtin_program(loop: str, folder: Path) -> Program:
    """Return the built-in server, on `loop`: ``uvloop``, as it is where that is installed, or ``asyncio``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TOXIPROXY.variable, BUILTIN)
        program = TOXIPROXY.ensure()
    if loop == "uvloop":
        pytest.importorskip("uvloop")
        return program
    without = folder / "builtin_toxiproxy_main.py"
    without.write_text(WITHOUT_UVLOOP.format(main=str(program.path)))
    return replace(program, path=without)


@dataclass
class End:
    """One end of a connection: what it has received, and how it was ended."""

    socket: socket.socket
    received: bytes = b""
    state: str = OPEN

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        self.socket.close()
        self.state = "closed here"

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def read(self, within_s: float, *, until: int | None = None) -> bytes:
        """Return what comes until there are `until` bytes, the end, or the time is up."""
        deadline, start = now_ns() + int(within_s * NS_PER_S), len(self.received)
        while self.state == OPEN and (until is None or len(self.received) - start < until):
            left = (deadline - now_ns()) / NS_PER_S
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                break
            self._read_once()
        return self.received[start:]

    def _read_once(self) -> None:
        try:
            data = self.socket.recv(65536)
        except OSError:
            self.state = RST
        else:
            self.received += data
            if not data:
                self.state = FIN

    def ended(self, within_s: float = 1.0) -> str:
        """Read on until the end; return how it ended."""
        self.read(within_s)
        return self.state


@dataclass
class Side:
    """One server. Calls to its API return status and JSON."""

    name: str
    address: str
    upstream: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=512))
    session: requests.Session = field(default_factory=requests.Session)
    ends: list[End] = field(default_factory=list)
    listen: str = ""

    def api(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = body if isinstance(body, str) or body is None else None
        answer = self.session.request(
            method, f"http://{self.address}{path}", data=data, json=None if data is not None else body, timeout=20
        )
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, answer.text

    def fresh(self) -> None:
        """Put a new proxy there, with nothing on it, and forget all connections."""
        self.forget()
        self.api("DELETE", f"/proxies/{NAME}")
        at = f"127.0.0.1:{self.upstream.getsockname()[1]}"
        status, proxy = self.api("POST", "/proxies", {"name": NAME, "upstream": at, "listen": "127.0.0.1:0"})
        assert status == 201, proxy
        self.listen = proxy["listen"]

    def forget(self) -> None:
        for end in self.ends:
            end.socket.close()
        self.ends.clear()
        while select.select([self.upstream], [], [], 0)[0]:
            self.upstream.accept()[0].close()

    def dial(self) -> End:
        """Connect to the proxy."""
        host, _, port = self.listen.rpartition(":")
        end = End(socket.create_connection((host, int(port)), 2))
        end.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ends.append(end)
        return end

    def connect(self) -> tuple[End, End]:
        """Return both ends of a new connection: the client's and the upstream's."""
        client = self.dial()
        self.upstream.settimeout(5)
        taken, _ = self.upstream.accept()
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = End(taken)
        self.ends.append(end)
        return client, end

    def refuses(self) -> bool:
        try:
            self.dial()
        except ConnectionRefusedError:
            return True
        return False

    def add(self, kind: str, stream: str = "downstream", toxicity: float = 1, **attributes: int) -> None:
        body = {"name": kind, "type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        status, answer = self.api("POST", f"/proxies/{NAME}/toxics", body)
        assert status == 200, answer

    def change(self, kind: str, **attributes: int) -> None:
        status, answer = self.api("POST", f"/proxies/{NAME}/toxics/{kind}", {"attributes": attributes})
        assert status == 200, answer

    def remove(self, kind: str) -> None:
        status, answer = self.api("DELETE", f"/proxies/{NAME}/toxics/{kind}")
        assert status == 204, answer

    def enable(self, *, enabled: bool) -> None:
        status, answer = self.api("POST", f"/proxies/{NAME}", {"enabled": enabled})
        assert status == 200, answer


class Watch:
    """Milliseconds since it was made."""

    def __init__(self) -> None:
        self._start_ns = now_ns()

    def ms(self) -> float:
        return (now_ns() - self._start_ns) / NS_PER_MS


def both(sides: tuple[Side, Side], script: Callable[[Side], T]) -> tuple[T, T]:
    """Run `script` on fresh proxies of both at the same time; return what it returned, of the real one first."""

    def run(side: Side) -> T:
        side.fresh()
        return script(side)

    with ThreadPoolExecutor(2) as pool:
        real, builtin = pool.map(run, sides)
    return real, builtin


def pause(ms: float) -> None:
    sleep(ms / 1000)
