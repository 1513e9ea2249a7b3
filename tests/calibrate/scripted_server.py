"""An HTTP server whose every answer is scripted and which writes down, by its own clock, when it received and answered.

Run as a script (``python scripted_server.py``); it prints its port and ends when its stdin does. What it does is in
the path, so that a workload plants the truth by asking for it:

    /ms/50            answers after 50 ms; {"answer": "ok"}          /status/503       answers at once with that status
    /bimodal          20 ms, every tenth 200 ms                     /body/{"a": 1}    answers 200 with that body
    /stream/5/20      5 events, 20 ms apart, then [DONE]            /stream-cut       2 events, then the socket closes
    /stream-short     2 events and a clean end, no [DONE]           /hang             never answers
    /work/4/20        answers after 20 ms of work by the first of 4 workers to be free: at most 200 answers a second
    /close            closes without an answer                      /drop-idle        answers, then closes the socket
    /tokens/20/40/HOW               20 tokens of a chat completion, 40 ms apart (every tenth 4 times that), after events
                                    that are none: role, nothing, reasoning, a tool call. HOW names, joined by +, what
                                    is unusual: pairs (two events in a piece), split (events across pieces), crlf, gzip,
                                    cut (no end), bare (no events: each token a chunk of text), plain (nothing)
    /login            answers with a new session cookie             /whoami           answers with the cookie it got
    POST /stall/A/B   hold every answer between monotonic ns A and B until B (plus its own delay)
    GET /log          [[path, received_ns, answered_ns, traceparent, connection], ...] of all but these
    GET /token-log    [[path, received_ns, traceparent, [written_ns of each token]], ...] of /tokens
"""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
import time
import zlib
from urllib.parse import unquote

from harness import open_files

_TEXTS = {200: "OK"}


class Script:
    """What the connections share."""

    def __init__(self) -> None:
        self.log: list[list[object]] = []
        self.token_log: list[list[object]] = []
        self.stall = (0, 0)
        self.served = 0
        self.connections = 0
        self.sessions = 0
        self.free: dict[int, list[float]] = {}


class Connection(asyncio.Protocol):
    """One connection; requests on it come one after another (no pipelining)."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.buffer = b""
        self.transport: asyncio.Transport
        script.connections += 1
        self.number = script.connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, blank, body = self.buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        if len(body) < int(headers.get("content-length", 0)):
            return
        self.buffer = b""
        self.cookie = headers.get("cookie", "")
        path = unquote(lines[0].split(" ")[1])
        received = time.monotonic_ns()
        words = path.strip("/").split("/", 1)
        answer = getattr(self, "on_" + words[0].replace("-", "_"))
        row = [path, received, -1, headers.get("traceparent", ""), self.number]
        if words[0] not in ("log", "token-log", "stall"):
            self.script.log.append(row)
        self.task = asyncio.ensure_future(answer(words[1] if len(words) > 1 else "", row))

    async def wait(self, ms: float, row: list[object]) -> None:
        begin, end = self.script.stall
        received = row[1]
        assert isinstance(received, int)
        if begin <= received < end:
            await asyncio.sleep(max(0.0, (end - time.monotonic_ns()) / 1e9))
        await asyncio.sleep(ms / 1000)

    def send(self, row: list[object], body: bytes, status: int = 200, more: str = "") -> None:
        head = f"HTTP/1.1 {status} {_TEXTS.get(status, 'Scripted')}\r\ncontent-type: application/json\r\n"
        head += f"x-provider: scripted\r\n{more}"
        row[2] = time.monotonic_ns()
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    async def on_ms(self, rest: str, row: list[object]) -> None:
        await self.wait(float(rest), row)
        self.send(row, b'{"answer": "ok"}')

    async def on_work(self, rest: str, row: list[object]) -> None:
        workers, ms = rest.split("/")
        free = self.script.free.setdefault(int(workers), [0.0] * int(workers))
        ends = max(time.monotonic(), free[0]) + float(ms) / 1000  # kept as a sum: late timers cost no capacity
        heapq.heapreplace(free, ends)
        await asyncio.sleep(ends - time.monotonic())
        self.send(row, b'{"answer": "ok"}')

    async def on_login(self, rest: str, row: list[object]) -> None:
        self.script.sessions += 1
        self.send(row, b'{"answer": "hello"}', more=f"set-cookie: session={self.script.sessions}; Path=/\r\n")

    async def on_whoami(self, rest: str, row: list[object]) -> None:
        self.send(row, json.dumps({"answer": self.cookie}).encode())

    async def on_bimodal(self, rest: str, row: list[object]) -> None:
        self.script.served += 1
        await self.wait(200 if self.script.served % 10 == 0 else 20, row)
        self.send(row, b'{"answer": "ok"}')

    async def on_status(self, rest: str, row: list[object]) -> None:
        self.send(row, b'{"detail": "scripted"}', int(rest))

    async def on_redirect(self, rest: str, row: list[object]) -> None:
        self.send(row, b'{"answer": "elsewhere"}', 302, f"location: /{rest}\r\n")

    async def on_body(self, rest: str, row: list[object]) -> None:
        self.send(row, rest.encode())

    async def on_stall(self, rest: str, row: list[object]) -> None:
        begin, end = rest.split("/")
        self.script.stall = (int(begin), int(end))
        self.send(row, b"{}")

    async def on_log(self, rest: str, row: list[object]) -> None:
        self.send(row, json.dumps(self.script.log).encode())

    async def on_token_log(self, rest: str, row: list[object]) -> None:
        self.send(row, json.dumps(self.script.token_log).encode())

    async def on_tokens(self, rest: str, row: list[object]) -> None:
        count, ms, how = rest.split("/")
        stream = TokenStream(self.transport, frozenset(how.split("+")))
        self.script.token_log.append([row[0], row[1], row[3], stream.written])
        await stream.write(int(count), float(ms) / 1000)
        row[2] = time.monotonic_ns()

    async def on_hang(self, rest: str, row: list[object]) -> None:
        pass

    async def on_close(self, rest: str, row: list[object]) -> None:
        self.transport.close()

    async def on_drop_idle(self, rest: str, row: list[object]) -> None:
        self.send(row, b'{"answer": "ok"}')
        self.transport.close()

    async def events(self, count: int, ms: float) -> None:
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.transport.write(head.encode())
        for n in range(count):
            await asyncio.sleep(ms / 1000)
            self.chunk(f'data: {{"delta": "word{n}"}}\n\n')

    def chunk(self, text: str) -> None:
        self.transport.write(f"{len(text):x}\r\n{text}\r\n".encode())

    async def on_stream(self, rest: str, row: list[object]) -> None:
        count, ms = rest.split("/")
        await self.events(int(count), float(ms))
        row[2] = time.monotonic_ns()
        self.chunk('data: {"done": true, "provider": "scripted"}\n\n')
        self.chunk("data: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")

    async def on_stream_short(self, rest: str, row: list[object]) -> None:
        await self.events(2, 10)
        self.transport.write(b"0\r\n\r\n")

    async def on_stream_cut(self, rest: str, row: list[object]) -> None:
        await self.events(2, 10)
        self.transport.close()


NO_TOKENS = (
    {"role": "assistant", "content": "", "refusal": None},
    {"content": ""},
    {"reasoning_content": "The user wants a token."},
    {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]},
    {"content": None},
)


class TokenStream:
    """A chat completion's stream that notes, just before each write, when the tokens it makes whole are written."""

    def __init__(self, transport: asyncio.Transport, how: frozenset[str]) -> None:
        self.transport, self.how = transport, how
        self.written: list[int] = []
        self.deflater = zlib.compressobj(wbits=31) if "gzip" in how else None

    def event(self, text: str) -> bytes:
        return text.replace("\n", "\r\n" if "crlf" in self.how else "\n").encode()

    def chunk(self, delta: object) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]
        return self.event(f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', 'choices': choices})}\n\n")

    def piece(self, data: bytes, tokens: int = 0) -> None:
        if self.deflater is not None:
            data = self.deflater.compress(data) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        self.written += [time.monotonic_ns()] * tokens
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def write(self, count: int, gap_s: float) -> None:
        bare = "bare" in self.how
        kind = "text/plain; charset=utf-8" if bare else "text/event-stream"
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n"
        encoding = "content-encoding: gzip\r\n" if self.deflater is not None else ""
        self.transport.write(f"{head}{encoding}\r\n".encode())
        for delta in () if bare else NO_TOKENS:
            await asyncio.sleep(gap_s / 4)
            self.piece(self.chunk(delta))
        for number in range(0, count, 2 if "pairs" in self.how else 1):
            await asyncio.sleep(gap_s * (4 if number % 10 == 0 else 1))
            await self.token(number)
        if "cut" in self.how:
            self.transport.close()
            return
        if not bare:
            self.piece(self.chunk({}) + self.event('data: {"choices": [], "usage": {"completion_tokens": 99}}\n\n'))
            self.piece(self.event("data: [DONE]\n\n"))
        if self.deflater is not None:
            end = self.deflater.flush()
            self.transport.write(b"%x\r\n%b\r\n" % (len(end), end))
        self.transport.write(b"0\r\n\r\n")

    async def token(self, number: int) -> None:
        text = f"ord{number} " if number % 3 else f"å{number} "
        if "bare" in self.how:
            return self.piece(text.encode(), 1)
        data = self.event(": keep-alive\n\n") + self.chunk({"content": text})
        if "pairs" in self.how:
            return self.piece(data + self.chunk({"content": text}), 2)
        if "split" in self.how:
            self.piece(data[: len(data) // 2])
            await asyncio.sleep(0.005)
            return self.piece(data[len(data) // 2 :], 1)
        return self.piece(data, 1)


async def main() -> None:
    """Serve until stdin ends."""
    open_files.make_room()  # what it has not taken from the wire yet is no client's bias
    script = Script()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(script), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
