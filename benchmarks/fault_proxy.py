"""What the HTTP fault proxy adds to every answer while no fault is on.

Two kept connections to the benchmark's server, one of them through the proxy, asked in turns, at a fixed pace so that
nobody queues. The figure is the difference of the percentiles; `paired_p99_ms` is the p99 of the differences between
neighbours, which counts every hiccup of the machine against the proxy and is an upper bound. Not measured: a proxy that
is short of CPU.
"""

from __future__ import annotations

import random
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.serving import serving
from harness.clock import NS_PER_MS, NS_PER_S, now_ns, wait_until
from harness.faults.http_proxy import HttpFaultProxy

if TYPE_CHECKING:
    from pathlib import Path

_QUESTION = b"POST /ask HTTP/1.1\r\nhost: bench\r\ncontent-length: 2\r\n\r\n{}"
_PACE_NS = NS_PER_S // 250
_AT = (50, 95, 99)


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _ask(connection: socket.socket, size: int) -> int:
    """Ask once and return the ns until the last byte of an answer of `size` bytes."""
    began_ns = now_ns()
    connection.sendall(_QUESTION)
    came = 0
    while came < size:
        came += len(connection.recv(65536))
    return now_ns() - began_ns


def measure(folder: Path, *, requests: int) -> dict[str, Any]:
    """Return ``fault_proxy``: ms at p50, p95, p99, direct and through the proxy, and what is added."""
    with serving() as server:
        address = server.url.removeprefix("http://")
        proxy = HttpFaultProxy.start({"bench": address}, folder / "proxy.log")
        try:
            with closing(_connect(address)) as direct, closing(_connect(proxy.routes["bench"].listen)) as through:
                direct.sendall(_QUESTION)
                size = len(direct.recv(65536))
                took = _in_turns({"direct": direct, "through": through}, size, requests)
        finally:
            proxy.stop()
    ms = {name: [float(v) for v in np.percentile(np.array(ns) / NS_PER_MS, _AT)] for name, ns in took.items()}
    pairs = (np.array(took["through"]) - np.array(took["direct"])) / NS_PER_MS
    added = [through - direct for through, direct in zip(ms["through"], ms["direct"], strict=True)]
    return {"fault_proxy": {"added_ms": added, "paired_p99_ms": float(np.percentile(pairs, 99)), **ms, "n": requests}}


def _in_turns(connections: dict[str, socket.socket], size: int, requests: int) -> dict[str, list[int]]:
    """Ask each `requests` times, in an order that is drawn for every pair."""
    draw = random.Random(1)  # noqa: S311 - not for secrets
    took: dict[str, list[int]] = {name: [] for name in connections}
    due_ns = now_ns()
    for _ in range(requests):
        for name in draw.sample(list(connections), len(connections)):
            wait_until(due_ns)
            took[name].append(_ask(connections[name], size))
            due_ns += _PACE_NS
    return took
