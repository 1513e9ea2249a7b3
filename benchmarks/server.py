"""An HTTP server that is fast, answers like the reference system, and writes down its own times.

Run as a script (``python server.py [--realtime]``); it prints its port and ends when its stdin does.

    POST /ask         answers at once, with the headers and the body of a real answer
    POST /ms/50       the same after 50 ms
    POST /tokens/40/40   a stream of 40 tokens, 40 ms apart; the log has when the first was written as when it answered
    POST /stall/A/B   hold every answer between monotonic ns A and B until B (plus its own delay); switches the log on
    GET /log/on       forget the log and write a new one from now on        GET /log/off      write none
    GET /log          the log: int64 triples request number, received ns, answered ns (native byte order)
    GET /count        how many questions were answered
    GET /first        monotonic ns of the first question; 0 before it

`--realtime` asks for the scheduler's real-time class, so that what the server writes down is when a request came and
not when this process got a core. Without the right to it the server runs as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from array import array
from time import monotonic_ns

import uvloop

_BODY = (
    b'{"answer":"The lease ends in March: Dana gets two offers by May, Carl tells the landlord. Nothing else was '
    b'decided on the office move.","agent":"meetmind.coordinator","model":"claude-3-sonnet","provider":"bedrock",'
    b'"degraded":false,"cached":false,"usage":{"input":42,"output":31},"cost_usd":0.00059100}'
)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-llm-provider: bedrock\r\n"
    b"x-cache: miss\r\nx-cache-lookups: 1\r\nx-cache-hits: 0\r\nx-degraded: false\r\nx-tokens-in: 42\r\n"
    b"x-tokens-out: 31\r\nx-cost-usd: 0.00059100\r\n\r\n" % len(_BODY)
) + _BODY
_QUESTIONS = (b"ask", b"ms", b"tokens")
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Journal:
    """What the connections share."""

    def __init__(self) -> None:
        self.rows: array[int] | None = None
        self.stall = (0, 0)
        self.answered = self.first_ns = 0

    def note(self, head: bytes, received_ns: int, answered_ns: int) -> None:
        """Write down one question; its number is the last 16 digits of the trace id it carries, or -1."""
        if self.rows is None:
            return
        at = head.lower().find(b"traceparent: 00-")
        number = -1 if at < 0 else int(head[at + 32 : at + 48], 16)
        self.rows.extend((number, received_ns, answered_ns))


class Connection(asyncio.Protocol):
    """One connection; requests on it come one after another (no pipelining)."""

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        self.journal, self.loop = journal, loop
        self.buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = transport  # type: ignore[assignment] # what a TCP server is given

    def data_received(self, data: bytes) -> None:
        """Take a piece; answer when the request is whole."""
        received_ns = monotonic_ns()
        self.buffer += data
        head, blank, body = self.buffer.partition(b"\r\n\r\n")
        if not blank or len(body) < _length(head):
            return
        self.buffer = b""
        kind, *rest = head.split(b" ", 2)[1].strip(b"/").split(b"/")
        if kind not in _QUESTIONS:
            self.manage(kind, rest)
            return
        self.journal.first_ns = self.journal.first_ns or received_ns
        if kind == b"tokens":
            self.transport.write(_STREAM)
            self.token(head, received_ns, 0, int(rest[0]), int(rest[1]) / 1000)
            return
        begin, end = self.journal.stall
        delay_ns = int(float(rest[0]) * 1e6) if rest else 0
        delay_ns += end - received_ns if begin <= received_ns < end else 0
        if delay_ns:
            self.loop.call_later(delay_ns / 1e9, self.answer, head, received_ns)
        else:
            self.answer(head, received_ns)

    def answer(self, head: bytes, received_ns: int) -> None:
        """Answer a question."""
        self.journal.answered += 1
        self.journal.note(head, received_ns, monotonic_ns())
        self.transport.write(_ANSWER)

    def token(self, head: bytes, received_ns: int, number: int, count: int, gap_s: float) -> None:
        """Write a token `gap_s` after the one before; after the last, the end."""
        if number == 1:
            self.journal.answered += 1
            self.journal.note(head, received_ns, monotonic_ns())
        if number:
            event = b'data: {"id":"chat","index":0,"delta":"word %d "}\n\n' % number
            self.transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        if number < count:
            self.loop.call_later(gap_s, self.token, head, received_ns, number + 1, count, gap_s)
        else:
            self.transport.write(_DONE)

    def manage(self, kind: bytes, rest: list[bytes]) -> None:
        """Do what the benchmark asks of the server itself."""
        journal, body = self.journal, b""
        if kind == b"stall":
            journal.stall = (int(rest[0]), int(rest[1]))
        elif kind == b"log" and rest:
            journal.rows = array("q") if rest[0] == b"on" else None
        elif kind == b"log":
            body = (journal.rows or array("q")).tobytes()
        elif kind in (b"count", b"first"):
            body = b"%d" % (journal.answered if kind == b"count" else journal.first_ns)
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def _length(head: bytes) -> int:
    at = head.lower().find(b"\r\ncontent-length:")
    return int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def main() -> None:
    """Serve until stdin ends."""
    loop, journal = asyncio.get_running_loop(), Journal()
    server = await loop.create_server(lambda: Connection(journal, loop), "127.0.0.1", 0, backlog=2048)
    gc.freeze()
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    if "--realtime" in sys.argv:
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
