"""What a fault proxy adds to every request while no fault is on, and how exact its latency is: real and built in.

A client sends a small request over one of its kept connections and waits for the answer of an echo, straight and
through each proxy in turn, so that all meet the same moments of the machine.

    added_us          difference of the percentiles through the proxy and straight, microseconds
    connect_added_us  the same for opening a connection and one answer on it
    cpu_us            of the proxy, a request
    mib_per_s         throughput of one connection, downstream
    latency_error_ms  under `latency` 50 ms: how much longer than 50 ms and a straight answer it took

Run by hand (``python -m benchmarks.toxiproxy [REQUESTS]``): it judges nothing.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from harness.clock import NS_PER_MS, NS_PER_S, now_ns, sleep
from harness.faults.fault import Toxic
from harness.faults.toxiproxy import Toxiproxy
from harness.faults.toxiproxy_server import ToxiproxyServer
from harness.programs import BUILTIN, TOXIPROXY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CONNECTIONS, _GAP_S = 8, 0.002
_REQUEST, _ANSWER = b"x" * 400, 900
_BULK = 64 * 2**20
_ECHO = f"""
import socket, sys, threading
def serve(one):
    with one:
        while data := one.recv(65536):
            if data[:4] == b"bulk":
                for _ in range({_BULK} // 65536):
                    one.sendall(bytes(65536))
            else:
                one.sendall(bytes({_ANSWER}))
server = socket.create_server(("127.0.0.1", 0), backlog=512)
print(server.getsockname()[1], flush=True)
def accept():
    while True:
        one = server.accept()[0]
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(one,), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
sys.stdin.read()
"""


def _dial(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _ask(connection: socket.socket) -> int:
    """Return how long one request and its answer took, in ns."""
    began = now_ns()
    connection.sendall(_REQUEST)
    left = _ANSWER
    while left:
        left -= len(connection.recv(left))
    return now_ns() - began


def _fresh(address: str) -> int:
    began = now_ns()
    with _dial(address) as connection:
        _ask(connection)
    return now_ns() - began


def _bulk(address: str) -> float:
    """Return MiB/s."""
    with _dial(address) as connection:
        began = now_ns()
        connection.sendall(b"bulk")
        left = _BULK
        while left:
            left -= len(connection.recv(min(left, 2**20)))
        return _BULK / 2**20 / ((now_ns() - began) / NS_PER_S)


def _in_turn(addresses: Mapping[str, str], times: int, measure: Callable[[str, int], float]) -> dict[str, np.ndarray]:
    """Return `times` measurements of each, taken in turn."""
    seen: dict[str, list[float]] = {name: [] for name in addresses}
    for turn in range(times):
        for name in addresses:
            seen[name].append(measure(name, turn))
            sleep(_GAP_S)
    return {name: np.array(values) for name, values in seen.items()}


def _added(seen: dict[str, np.ndarray], unit: float) -> dict[str, dict[str, float]]:
    straight = seen.pop("straight")
    return {
        name: {f"p{p}": round(float(np.percentile(v, p) - np.percentile(straight, p)) / unit, 2) for p in (50, 95, 99)}
        for name, v in seen.items()
    }


def measure(folder: Path, *, requests: int, bulks: int = 5) -> dict[str, Any]:
    """Return `added_us`, `connect_added_us`, `latency_error_ms`, `mib_per_s`, `cpu_us` a request, `rss_mib`."""
    with ExitStack() as stack:
        echo = subprocess.Popen([sys.executable, "-c", _ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stack.callback(echo.kill)
        assert echo.stdout is not None  # noqa: S101 - it was asked for
        upstream = f"127.0.0.1:{int(echo.stdout.readline())}"
        servers = {"real": ToxiproxyServer.start(TOXIPROXY.ensure(), folder / "real.log")}
        os.environ[TOXIPROXY.variable] = BUILTIN
        servers["builtin"] = ToxiproxyServer.start(TOXIPROXY.ensure(), folder / "builtin.log")
        proxies = {}
        for name, server in servers.items():
            stack.callback(server.stop)
            proxies[name] = Toxiproxy(server.address).create("bench", upstream)
        addresses = {"straight": upstream, **{name: proxy.listen for name, proxy in proxies.items()}}
        kept = {name: [_dial(address) for _ in range(_CONNECTIONS)] for name, address in addresses.items()}
        for connection in (one for many in kept.values() for one in many):
            stack.callback(connection.close)

        def cpu() -> dict[str, float]:
            times = {name: psutil.Process(s.process.real_pid).cpu_times() for name, s in servers.items()}
            return {name: t.user + t.system for name, t in times.items()}

        _in_turn(addresses, 200, lambda name, turn: _ask(kept[name][turn % _CONNECTIONS]))  # warm
        before = cpu()
        asked = _in_turn(addresses, requests, lambda name, turn: _ask(kept[name][turn % _CONNECTIONS]))
        after = cpu()
        found: dict[str, Any] = {
            "straight_us": {f"p{p}": round(float(np.percentile(asked["straight"], p)) / 1000, 1) for p in (50, 99)},
            "added_us": _added(asked, 1000.0),
            "cpu_us": {name: round((after[name] - before[name]) / requests * 1e6, 1) for name in servers},
            "connect_added_us": _added(_in_turn(addresses, requests // 4, lambda n, _: _fresh(addresses[n])), 1000.0),
            "mib_per_s": {
                name: round(float(np.median(speeds)))
                for name, speeds in _in_turn(addresses, bulks, lambda n, _: _bulk(addresses[n])).items()
            },
        }
        for proxy in proxies.values():
            proxy.add(Toxic("latency", "downstream", {"latency": 50, "jitter": 0}, "slow"))
        late = _in_turn(addresses, max(requests // 50, 20), lambda n, turn: _ask(kept[n][turn % _CONNECTIONS]))
        for name in proxies:
            late[name] = late[name] - 50 * NS_PER_MS
        found["latency_error_ms"] = _added(late, float(NS_PER_MS))
        found["rss_mib"] = {
            name: round(psutil.Process(s.process.real_pid).memory_info().rss / 2**20, 1) for name, s in servers.items()
        }
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        print(json.dumps(measure(Path(made), requests=int(sys.argv[1]) if sys.argv[1:] else 5000), indent=1))
