"""A plain TCP client through the proxy that says, with clock readings, what an upstream's caller would meet now."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from harness.clock import NS_PER_S, now_ns
from harness.errors import FaultFailed

if TYPE_CHECKING:
    from threading import Event

    from harness.faults.fault import Asks

_SLICE_S = 0.05
"""How often a waiting probe looks whether it should stop."""

Outcome = Literal["refused", "closed", "silent", "answered"]

QUESTIONS = {
    "http": b"GET / HTTP/1.1\r\nHost: agentstorm-probe\r\nConnection: close\r\n\r\n",
    "redis": b"PING\r\n",
    "tcp": b"",
}
"""The least each protocol answers to; `tcp` only connects."""


@dataclass(frozen=True)
class Seen:
    """What one probe met. Times are monotonic ns.

    `answered`: the first byte of an answer came (for `tcp`: the connection was accepted) · `silent`: nothing came
    within the time given · `closed`: the connection was closed or reset before any answer · `refused`.
    """

    outcome: Outcome
    sent_ns: int
    """When the question was sent; when the connection was tried if there is none."""
    end_ns: int
    """When the outcome was known."""
    connected: bool
    detail: str = ""

    @property
    def took_ns(self) -> int:
        """From question to outcome."""
        return self.end_ns - self.sent_ns

    def __str__(self) -> str:
        words = f"{self.outcome} after {self.took_ns / 1e6:.3g} ms"
        return f"{words} ({self.detail})" if self.detail else words


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[v6]:port``."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise FaultFailed(f"{address!r} is no address; write host:port, as in 127.0.0.1:8474")
    return host.strip("[]"), int(port)


def _first_bytes(connection: socket.socket, deadline_ns: int, stop: Event | None) -> bytes:
    """Return what comes first, b"" at the end of the connection; TimeoutError when nothing does."""
    while (left_s := (deadline_ns - now_ns()) / NS_PER_S) > 0 and not (stop is not None and stop.is_set()):
        connection.settimeout(min(left_s, _SLICE_S))
        try:
            return connection.recv(4096)
        except TimeoutError:
            continue
    raise TimeoutError


class ProbeSocket:
    """Asks the upstream behind `address` (a proxy's ``host:port``) the least question its `protocol` answers to.

    Each question takes a new connection, as a caller's retry would. `forwarded`: a container engine's port forwarder
    stands before it, which accepts every connection and closes it at once when nothing listens behind it: what callers
    inside see refused, is closed here.
    """

    def __init__(self, address: str, protocol: str, *, forwarded: bool = False) -> None:
        self.address, self.protocol, self._forwarded = address, protocol, forwarded
        self._where = split_address(address)
        self._question = QUESTIONS[protocol]

    def ask(self, patience_ns: int, stop: Event | None = None) -> Seen:
        """Ask once and return what happened within `patience_ns`, or until `stop` is set."""
        seen = self._ask(patience_ns, stop)
        if self._forwarded and seen.outcome == "closed":
            return replace(seen, outcome="refused", detail="closed by the port forwarder")
        return seen

    def _ask(self, patience_ns: int, stop: Event | None) -> Seen:
        patience_s = patience_ns / NS_PER_S
        sent_ns = now_ns()
        connected = False
        try:
            with socket.create_connection(self._where, timeout=patience_s) as connection:
                connected = True
                if not self._question:
                    return Seen("answered", sent_ns, now_ns(), connected)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sent_ns = now_ns()
                connection.sendall(self._question)
                answer = _first_bytes(connection, sent_ns + patience_ns, stop)
                return Seen("answered" if answer else "closed", sent_ns, now_ns(), connected)
        except TimeoutError:
            return Seen("silent", sent_ns, now_ns(), connected, "" if connected else "not even connected")
        except ConnectionRefusedError:
            return Seen("refused", sent_ns, now_ns(), connected)
        except OSError as error:
            return Seen("closed", sent_ns, now_ns(), connected, str(error))

    def healthy_ns(self) -> int:
        """Return the median answer time while nothing is broken; FaultFailed when an answer does not come."""
        return median_ns(
            self,
            f"the {self.protocol} upstream behind {self.address} does not answer before anything is broken; check its "
            "address and `protocol` in the target",
        )


def median_ns(probe: Asks, otherwise: str, *, asks: int = 3, patience_s: float = 2.0) -> int:
    """Return the median time of `asks` answers; FaultFailed says `otherwise` when one does not come."""
    took = []
    for _ in range(asks):
        seen = probe.ask(int(patience_s * NS_PER_S))
        if seen.outcome != "answered":
            raise FaultFailed(f"{otherwise}: {seen}")
        took.append(seen.took_ns)
    return sorted(took)[asks // 2]
