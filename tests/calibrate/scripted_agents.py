"""An agent system whose failovers are scripted, so that the truth about each is known to the nanosecond.

    python scripted_agents.py --port P --primary HOST:PORT --secondary HOST:PORT --delay S --patience S --log FILE

It asks the primary until a call fails (refused, or no answer within `patience`). From then on it answers 503 for
exactly `delay` seconds, then asks the secondary. In the background it tries the primary ten times a second and goes
back to it as soon as it answers. Every fourth question is answered from a "cache". Each turn is a line of the log, and
the first answer of the secondary after each switch, between asking for it and having it:

    {"noticed_ns", "switch_ns"}  ·  {"asked_ns", "served_ns"}  ·  {"back_ns"}

`/metrics` has the cache's counters and the breaker; all times are CLOCK_MONOTONIC.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from pathlib import Path

import aiohttp

QUESTION = {"model": "gpt-4", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
OWN = "00-" + "1" * 32 + "-" + "1" * 16 + "-01"
"""The trace of calls that no user asked for."""


class Scripted:
    """The system's state: on the primary (`switch_ns` is None), or off it since it noticed."""

    def __init__(self, options: argparse.Namespace, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.primary, self.secondary = options.primary, options.secondary
        self.delay_ns = round(options.delay * 1e9)
        self.log = Path(options.log).open("a", buffering=1)  # noqa: SIM115 - open as long as the process
        self.switch_ns: int | None = None
        self.served = False
        """Whether the secondary has answered since the switch."""
        self.asked = self.hits = self.misses = 0

    def write(self, **line: int) -> None:
        self.log.write(json.dumps(line) + "\n")

    async def call(self, address: str, traceparent: str) -> bool:
        """Ask a provider and tell whether it answered: the secondary on a connection that is open already if there is
        one, the primary on a new one, so that no call fails for a connection that a fault before it has broken."""
        url, headers = f"http://{address}/v1/chat/completions", {"traceparent": traceparent}
        if address == self.primary:
            headers["connection"] = "close"
        try:
            async with self.session.post(url, json=QUESTION, headers=headers) as answer:
                return answer.status == 200 and bool(await answer.read())
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def connect(self) -> None:
        """Open connections to the provider that is asked later, whose first call would take some ms longer."""
        await asyncio.gather(*(self.call(self.secondary, OWN) for _ in range(4)))

    async def answer(self, traceparent: str) -> tuple[int, str, str]:
        """Return status, provider and cache word of one question."""
        self.asked += 1
        if self.asked % 4 == 0:
            self.hits += 1
            return 200, "cache", "hit"
        self.misses += 1
        if self.switch_ns is None:
            if await self.call(self.primary, traceparent):
                return 200, "primary", "miss"
            if self.switch_ns is None:
                noticed = time.monotonic_ns()
                self.switch_ns, self.served = noticed + self.delay_ns, False
                self.write(noticed_ns=noticed, switch_ns=self.switch_ns)
        if (asked := time.monotonic_ns()) < self.switch_ns or not await self.call(self.secondary, traceparent):
            return 503, "", "miss"
        if not self.served:
            self.served = True
            self.write(asked_ns=asked, served_ns=time.monotonic_ns())
        return 200, "secondary", "miss"

    async def look_for_primary(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            off = self.switch_ns is not None and time.monotonic_ns() > self.switch_ns
            if off and await self.call(self.primary, OWN):
                self.switch_ns = None
                self.write(back_ns=time.monotonic_ns())

    def metrics(self) -> str:
        state = 0 if self.switch_ns is None else 2
        counters = f"cache_hits_total {self.hits}\ncache_misses_total {self.misses}\n"
        return f'{counters}breaker_state{{provider="primary"}} {state}\n'

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
                await reader.readexactly(int(headers.get("content-length", 0)))
                writer.write(await self.respond(head[0].split(" ")[1], headers))
                await writer.drain()
        writer.close()

    async def respond(self, path: str, headers: dict[str, str]) -> bytes:
        if path in ("/ready", "/metrics"):
            return _page(200, self.metrics(), "")
        status, provider, cache = await self.answer(headers.get("traceparent", ""))
        body = '{"answer": "yes"}' if status == 200 else '{"error": "no provider"}'
        return _page(status, body, f"x-provider: {provider}\r\nx-cache: {cache}\r\n")


def _page(status: int, body: str, headers: str) -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: text/plain\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    for name in ("--port", "--primary", "--secondary", "--delay", "--patience", "--log"):
        kind = float if name in ("--delay", "--patience") else int if name == "--port" else str
        parser.add_argument(name, type=kind, required=True)
    options = parser.parse_args()
    patience = aiohttp.ClientTimeout(total=options.patience)
    async with aiohttp.ClientSession(timeout=patience) as session:
        scripted = Scripted(options, session)
        await scripted.connect()
        server = await asyncio.start_server(scripted.serve, "127.0.0.1", options.port, backlog=1024)
        async with server, asyncio.TaskGroup() as group:
            group.create_task(scripted.look_for_primary())
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
