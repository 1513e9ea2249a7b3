"""A plain TCP client through the proxy that says, with clock readings, what an upstream's caller would meet now."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from harness.clock import NS_PER_S, now_ns
from harness.errors import FaultFailed
from harness.faults.answer import READERS, Answer
from harness.faults.fault import PLAIN, Question

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from harness.faults.fault import Asks

_SLICE_S = 0.05
"""How often a waiting probe looks whether it should stop."""

Outcome = Literal["refused", "reset", "closed", "silent", "cut", "stalled", "answered"]


def _http(question: Question) -> bytes:
    pad = b"X-Agentstorm-Pad: %s\r\n" % (b"x" * question.pad) if question.pad else b""
    keep = b"keep-alive" if question.least else b"close"
    return b"GET / HTTP/1.1\r\nHost: agentstorm-probe\r\n%sConnection: %s\r\n\r\n" % (pad, keep)


def _redis(question: Question) -> bytes:
    pad = b" " + b"x" * question.pad if question.pad else b""
    return b"PING%s\r\n" % pad + (b"QUIT\r\n" if question.until == "end" else b"")


QUESTIONS: dict[str, Callable[[Question], bytes]] = {"http": _http, "redis": _redis, "tcp": lambda _: b""}
"""The least each protocol answers to; `tcp` only connects."""


@dataclass(frozen=True)
class Seen:
    """What one probe met. Times are monotonic ns.

    `answered`: as far as the question wants the answer read, it came (for `tcp`: the connection was accepted) ·
    `silent`: nothing came within the time given · `closed`, `reset`: the connection was closed, or reset, before any
    answer · `stalled`, `cut`: the same after a part of it came · `refused`.
    """

    outcome: Outcome
    sent_ns: int
    """When the question was sent; when the connection was tried if there is none."""
    end_ns: int
    """When the outcome was known."""
    connected: bool
    detail: str = ""
    answer: Answer | None = field(default=None, kw_only=True)
    """What came, where the question wants the whole of it."""
    size: int = field(default=0, kw_only=True)
    """Bytes that came on the connection."""

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


class _Line:
    """A connection that is read until a deadline, or until somebody wants it to stop."""

    def __init__(self, connection: socket.socket, deadline_ns: int, stop: Event | None) -> None:
        self._connection, self._deadline_ns, self._stop = connection, deadline_ns, stop

    def receive(self) -> bytes:
        """Return what comes next, b"" at the end of the connection; TimeoutError when nothing does."""
        while (left_s := (self._deadline_ns - now_ns()) / NS_PER_S) > 0 and not (self._stop and self._stop.is_set()):
            self._connection.settimeout(min(left_s, _SLICE_S))
            try:
                return self._connection.recv(65536)
            except TimeoutError:
                continue
        raise TimeoutError

    def send(self, data: bytes) -> None:
        """Send all; TimeoutError when it cannot be by then."""
        self._connection.settimeout(max(0.001, (self._deadline_ns - now_ns()) / NS_PER_S))
        self._connection.sendall(data)


@dataclass
class _Met:
    """How far one probe has come."""

    sent_ns: int
    connected: bool = False
    size: int = 0
    data: bytes = b""
    """The answer to the last question so far."""


class ProbeSocket:
    """Asks the upstream behind `address` (a proxy's ``host:port``) the least question its `protocol` answers to.

    Each ask takes a new connection, as a caller's retry would. `forwarded`: a container engine's port forwarder
    stands before it, which accepts every connection and closes it at once when nothing listens behind it: what callers
    inside see refused, is closed here.
    """

    def __init__(self, address: str, protocol: str, *, forwarded: bool = False) -> None:
        self.address, self.protocol, self._forwarded = address, protocol, forwarded
        self._where = split_address(address)

    def ask(self, patience_ns: int, stop: Event | None = None, question: Question = PLAIN) -> Seen:
        """Ask once and return what happened within `patience_ns`, or until `stop` is set."""
        met = _Met(now_ns())
        detail = ""
        try:
            outcome = self._ask(met, patience_ns, stop, question)
        except TimeoutError:
            outcome = "stalled" if met.data else "silent"
            detail = "" if met.connected else "not even connected"
        except ConnectionRefusedError:
            outcome = "refused"
        except OSError as error:
            outcome = "cut" if met.data else "reset" if isinstance(error, ConnectionResetError) else "closed"
            detail = str(error)
        end_ns = now_ns()
        if self._forwarded and outcome in {"closed", "reset"}:
            outcome, detail = "refused", "closed by the port forwarder"
        answer = READERS[self.protocol](met.data) if question.until != "first" and met.data else None
        return Seen(
            outcome, met.sent_ns, end_ns, met.connected, detail or str(answer or ""), answer=answer, size=met.size
        )

    def _ask(self, met: _Met, patience_ns: int, stop: Event | None, question: Question) -> Outcome:
        words = QUESTIONS[self.protocol](question)
        with socket.create_connection(self._where, timeout=patience_ns / NS_PER_S) as connection:
            met.connected = True
            if not words:
                return "answered"
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            met.sent_ns = now_ns()
            line = _Line(connection, met.sent_ns + patience_ns, stop)
            outcome: Outcome = "answered"
            while outcome == "answered":
                met.data = b""
                line.send(words)
                outcome = self._read(met, line, question)
                if met.size >= question.least:
                    break
            return outcome

    def _read(self, met: _Met, line: _Line, question: Question) -> Outcome:
        """Read one answer as far as it is wanted."""
        complete = False
        while piece := line.receive():
            met.data += piece
            met.size += len(piece)
            if question.until == "first":
                return "answered"
            complete = complete or READERS[self.protocol](met.data).complete
            if complete and question.until == "whole":
                return "answered"
        if met.data and READERS[self.protocol](met.data, ended=True).complete:
            return "answered"
        return "cut" if met.data else "closed"

    def healthy_ns(self, question: Question = PLAIN) -> int:
        """Return the median answer time while nothing is broken; FaultFailed when an answer does not come."""
        return median_ns(
            self,
            question,
            f"the {self.protocol} upstream behind {self.address} does not answer before anything is broken; check its "
            "address and `protocol` in the target",
        )


def median_ns(probe: Asks, question: Question, otherwise: str, *, asks: int = 3, patience_s: float = 2.0) -> int:
    """Return the median time of `asks` answers; FaultFailed says `otherwise` when one does not come."""
    took = []
    for _ in range(asks):
        seen = probe.ask(int(patience_s * NS_PER_S), question=question)
        if seen.outcome != "answered":
            raise FaultFailed(f"{otherwise}: {seen}")
        took.append(seen.took_ns)
    return sorted(took)[asks // 2]
