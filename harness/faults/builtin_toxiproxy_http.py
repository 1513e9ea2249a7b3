"""HTTP/1.1 for the built-in Toxiproxy's API, on h11: requests in, one after the other, answers out."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11

from harness.faults.builtin_toxiproxy_api import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[str, str, str, bytes], Awaitable[Answer]]
    """Of method, target, user agent and body."""

_log = logging.getLogger("toxiproxy")
_IDLE_S = 60.0
_MOST_BODY = 16 * 2**20


class _TooLarge(Exception):
    """A body that no request for this API has."""


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, http: h11.Connection) -> h11.Request:
    """Return the next request; ConnectionResetError when there is none."""
    event = await _next(reader, writer, http)
    if not isinstance(event, h11.Request):
        raise ConnectionResetError
    return event


async def _next(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, http: h11.Connection) -> h11.Event:
    while (event := http.next_event()) is h11.NEED_DATA:
        if http.they_are_waiting_for_100_continue:
            writer.write(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        http.receive_data(await reader.read(65536))
    if event is h11.PAUSED:  # two requests at once: the second waits in h11
        raise ConnectionResetError
    return event  # type: ignore[return-value]  # both sentinels are ruled out


async def _body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, http: h11.Connection) -> bytes:
    body = bytearray()
    while isinstance(event := await _next(reader, writer, http), h11.Data):
        body += event.data
        if len(body) > _MOST_BODY:
            raise _TooLarge
    if not isinstance(event, h11.EndOfMessage):
        raise ConnectionResetError
    return bytes(body)


def _send(writer: asyncio.StreamWriter, http: h11.Connection, answer: Answer) -> None:
    headers = [("Content-Type", answer.content_type)] if answer.content_type else []
    if answer.status != 204:
        headers.append(("Content-Length", str(len(answer.body))))
    writer.write(
        http.send(h11.Response(status_code=answer.status, headers=headers, reason=HTTPStatus(answer.status).phrase))
        or b""
    )
    if answer.body:
        writer.write(http.send(h11.Data(data=answer.body)) or b"")
    writer.write(http.send(h11.EndOfMessage()) or b"")


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler) -> None:
    http = h11.Connection(h11.SERVER)
    while True:
        try:
            async with asyncio.timeout(_IDLE_S):
                request = await _request(reader, writer, http)
                body = await _body(reader, writer, http)
        except h11.RemoteProtocolError as error:
            _send(writer, http, Answer(error.error_status_hint, b"400 Bad Request\n", "text/plain; charset=utf-8"))
            return
        except _TooLarge:
            _send(writer, http, Answer(413, b"413 Request Entity Too Large\n", "text/plain; charset=utf-8"))
            return
        agent = next((value for name, value in request.headers if name == b"user-agent"), b"").decode("latin-1")
        method, target = request.method.decode("ascii"), request.target.decode("latin-1")
        try:
            answer = await handle(method, target, agent, body)
        except Exception:  # noqa: BLE001 - one bad answer is no reason for none
            _log.exception("%s %s failed", method, target)
            answer = Answer(500, b"500 Internal Server Error\n", "text/plain; charset=utf-8")
        _send(writer, http, Answer(answer.status, b"", answer.content_type) if method == "HEAD" else answer)
        await writer.drain()
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            return
        http.start_next_cycle()


async def serve(host: str, port: int, handle: Handler) -> asyncio.Server:
    """Answer requests there with what `handle` returns, until the server is closed; OSError when it cannot listen."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Cancelled when the server ends: in asyncio's streams that must not be said aloud.
            with suppress(OSError, TimeoutError, h11.LocalProtocolError, asyncio.CancelledError):
                await _serve(reader, writer, handle)
        finally:
            with suppress(OSError):
                writer.close()

    return await asyncio.start_server(connected, host, port)
