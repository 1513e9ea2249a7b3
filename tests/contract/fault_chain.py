"""A provider simulator behind the whole chain of proxies, and a plain client that says what it meets there."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_S, now_ns, sleep
from harness.faults import KINDS
from harness.faults.conductor import Conductor
from harness.faults.fault import UpstreamFault
from harness.faults.http_proxy import HttpFaultProxy
from harness.faults.proxies import Place, Proxied, put_in_front, take_away
from harness.faults.timeline import occurrences
from harness.faults.toxiproxy import Toxiproxy
from harness.journal import Journal
from harness.model.target import Upstream
from harness.recording.tables import EventLog
from tests.contract.reference_processes import FAST, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RUN_ID = 0xC4A1
PATIENCE_S = 1.5
"""How long the plain client waits for the next byte."""

SETTINGS: dict[str, dict[str, Any]] = {
    "reset": {},
    "blackhole": {},
    "slow": {"latency": "400ms", "jitter": "50ms"},
    "jitter": {"most": "800ms"},
    "bandwidth": {"rate": "2kB/s"},
    "sliced": {"size": "20B", "delay": "20ms"},
    "cut": {"after_bytes": "200B"},
    "slow_close": {"delay": "500ms"},
    "quota": {"requests": 1, "per": "60s"},
    "slow_first_token": {"latency": "500ms"},
    "flapping": {"fault": {"kind": "http_error"}, "period": "50s"},
    "brownout": {"latency": "400ms", "errors": 1.0},
    "rate_limited": {"retry_after": "2s"},
}
"""What a kind is given here; without an entry, only what it must have."""


def fault(kind: str, **settings: Any) -> UpstreamFault:
    given = {"kind": kind, "upstream": "openai", "at": "0s", "for": "60s", **SETTINGS.get(kind, {}), **settings}
    spec = KINDS[kind].model_validate(given)
    assert isinstance(spec, UpstreamFault)
    return spec


@dataclass
class Chain:
    """Conducts one fault at a time."""

    proxied: Mapping[str, Proxied]
    journal: Journal
    folder: Path
    number: int = 0

    @property
    def address(self) -> str:
        return self.proxied["openai"].address

    def conduct(self, spec: UpstreamFault) -> tuple[Conductor, Path, EventLog]:
        """Start a conductor of one fault, and wait until it is effective."""
        self.number += 1
        path = self.folder / f"events-{self.number}.jsonl"
        events = EventLog(path)
        conductor = Conductor(occurrences([("test", spec)]), self.proxied, events=events, journal=self.journal)
        conductor.start(now_ns())
        deadline_ns = now_ns() + 20 * NS_PER_S
        while not conductor.on and not conductor.done and now_ns() < deadline_ns:
            sleep(0.002)
        return conductor, path, events


def chain(server: str, folder: Path) -> Iterator[Chain]:
    """Yield a chain before a provider simulator (OpenAI's wire format); `server` is a Toxiproxy's API."""
    port = free_port()
    with ExitStack() as stack:
        stack.enter_context(
            started(
                "reference.provider", "--name", "openai", "--port", str(port),
                ready=f"http://127.0.0.1:{port}/healthz", env=FAST,
            )
        )  # fmt: skip
        real = f"127.0.0.1:{port}"
        proxy = HttpFaultProxy.start({"openai": real}, folder / "http_faults.log", seed=1)
        stack.callback(proxy.stop)
        journal = stack.enter_context(closing(Journal(folder / "recording", RUN_ID, folder)))
        place = Place(real, "127.0.0.1:0", route=proxy.routes["openai"])
        proxied = put_in_front(
            Toxiproxy(server), RUN_ID, {"openai": Upstream(address=real)}, {"openai": place}, journal
        )
        yield Chain(proxied, journal, folder)
        assert take_away(proxied, journal) == []
        assert journal.close()


@dataclass(frozen=True)
class Met:
    """What a client met: in words without figures, how long the answer took, and how long after it the connection was
    closed."""

    words: str
    took_s: float
    closing_s: float = 0.0


def ask(address: str, *, stream: bool, patience_s: float = PATIENCE_S) -> Met:
    """Make one chat completion on a new connection, and wait for the end of the connection."""
    body = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}], "stream": stream})
    host, _, port = address.rpartition(":")
    question = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    began_ns = ended_ns = now_ns()
    try:
        with socket.create_connection((host, int(port)), patience_s) as connection:
            connection.sendall(question.encode())
            words = _read(connection, stream=stream)
            ended_ns = now_ns()
            with suppress(OSError):
                while words == "answered" and connection.recv(1):
                    pass
    except ConnectionRefusedError:
        words = "connection refused"
    return Met(words, (ended_ns - began_ns) / NS_PER_S, (now_ns() - ended_ns) / NS_PER_S)


def _read(connection: socket.socket, *, stream: bool) -> str:
    data = b""
    answer = http.client.HTTPResponse(connection, method="POST")
    try:
        answer.begin()
        while piece := answer.read1(65536):
            data += piece
    except TimeoutError:
        return "stalls mid-way" if data else "no answer"
    except ConnectionResetError:
        return "connection reset"
    except http.client.HTTPException:
        return "cut mid-way"
    if answer.length:  # http.client says nothing of a body that is shorter than announced
        return "cut mid-way"
    return _say(answer, data, stream=stream)


def _say(answer: http.client.HTTPResponse, data: bytes, *, stream: bool) -> str:
    kind = answer.headers.get("content-type", "").partition(";")[0]
    retry = ", Retry-After" if answer.headers.get("retry-after") else ""
    if answer.status != http.client.OK:
        return f"HTTP {answer.status}{retry}" + (", vendor's error" if "error" in json.loads(data) else "")
    if not data:
        return "HTTP 200, empty"
    if kind not in {"application/json", "text/event-stream"}:
        return f"HTTP 200, {kind}"
    try:
        whole = data.endswith(b"data: [DONE]\n\n") if stream else bool(json.loads(data)["choices"])
    except (ValueError, KeyError):
        return "HTTP 200, unreadable"
    return "answered" if whole else "HTTP 200, unreadable"
