"""Google's SDK behind our seam: what becomes of odd answers, which no simulator gives, and of its retries."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from reference.gateway.google_genai import GoogleGenAI
from reference.gateway.settings import Settings
from reference.gateway.upstream import ModelCall, UpstreamError, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

CALL = ModelCall("meetmind", "meetmind.architect", "claude-3-haiku", "You are.", "Do it.", 0.3, 800, "0" * 32)
PIECE = '{"candidates": [{"content": {"parts": [{"text": "one"}]}}], "usageMetadata": {"promptTokenCount": 3}}'
END = '{"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 5}}'
UNAVAILABLE = '{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}'


@asynccontextmanager
async def in_front_of(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], sdk_retries: int = 0
) -> AsyncIterator[GoogleGenAI]:
    """The provider in front of a server of our own."""
    server = web.AppRunner(app := web.Application(), handler_cancellation=True)
    app.router.add_post("/{path:.*}", handler)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    google = GoogleGenAI(Settings(google_url=f"http://127.0.0.1:{server.addresses[0][1]}", sdk_retries=sdk_retries))
    try:
        yield google
    finally:
        await google.close()
        await server.cleanup()


@asynccontextmanager
async def provider(body: str, status: int = 200, sdk_retries: int = 0) -> AsyncIterator[tuple[GoogleGenAI, list[str]]]:
    """The provider in front of a server that always says `body`, and the paths it was asked for."""
    asked: list[str] = []

    async def say(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text=body, status=status, content_type="application/json")

    async with in_front_of(say, sdk_retries) as google:
        yield google, asked


def events(*bodies: str) -> str:
    return "".join(f"data: {body}\r\n\r\n" for body in bodies)


async def collect(google: GoogleGenAI, pieces: list[str | Usage]) -> None:
    async for piece in google.stream(CALL):
        pieces.append(piece)  # noqa: PERF401 - what came before an error is wanted too


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "null",
        '{"error": "what?"}',
        '{"candidates": []}',
        '{"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": {"promptTokenCount": 3}}',
        '{"candidates": [{"content": {"parts": [{"text": "an answer nobody knows the cost of"}]}}]}',
    ],
)
async def test_a_200_that_is_no_answer_is_a_bad_one(body: str) -> None:
    async with provider(body) as (google, _):
        with pytest.raises(UpstreamError) as caught:
            await google.complete(CALL)
    assert caught.value.kind == "bad_answer"


async def test_a_stream_is_its_texts_and_the_usage_of_its_end() -> None:
    got: list[str | Usage] = []
    async with provider(events(PIECE, PIECE, END)) as (google, asked):
        await collect(google, got)
    assert got == ["one", "one", Usage(3, 5)]
    assert asked == ["/v1beta/models/gemini-1.5-flash:streamGenerateContent"]


@pytest.mark.parametrize(
    ("last", "kind"),
    [((), "connection"), ((UNAVAILABLE,), "server_error"), (("{",), "bad_answer")],
)
async def test_a_stream_without_its_end_is_an_error_after_its_texts(last: tuple[str, ...], kind: str) -> None:
    got: list[str | Usage] = []
    async with provider(events(PIECE, *last)) as (google, _):
        with pytest.raises(UpstreamError) as caught:
            await collect(google, got)
    assert (got, caught.value.kind) == (["one"], kind)


async def test_closing_a_stream_drops_the_connection_at_once() -> None:
    left = asyncio.Event()

    async def say_one_piece(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(events(PIECE).encode())
        try:
            await asyncio.sleep(60)
        finally:
            left.set()
        return response

    async with in_front_of(say_one_piece) as google:
        stream = google.stream(CALL)
        assert await anext(stream) == "one"
        gc.disable()  # which would close what the SDK forgets to
        try:
            await stream.aclose()
            async with asyncio.timeout(1):
                await left.wait()
        finally:
            gc.enable()


@pytest.mark.parametrize("retries", [0, 1])
async def test_the_sdk_tries_again_as_often_as_it_is_told(retries: int) -> None:
    async with provider(UNAVAILABLE, 503, retries) as (google, asked):
        with pytest.raises(UpstreamError) as caught:
            await google.complete(CALL)
    assert (len(asked), caught.value.kind) == (1 + retries, "server_error")


async def test_a_refused_connection_is_told_at_once() -> None:
    google = GoogleGenAI(Settings(google_url="http://127.0.0.1:1"))
    started = time.monotonic()
    with pytest.raises(UpstreamError) as caught:
        await google.complete(CALL)
    with pytest.raises(UpstreamError) as caught_streaming:
        await anext(google.stream(CALL))
    await google.close()
    assert caught.value.kind == caught_streaming.value.kind == "connection"
    assert time.monotonic() - started < 0.5
