"""Bedrock's SDK behind our seam."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from reference.gateway.bedrock import Bedrock
from reference.gateway.settings import Settings
from reference.gateway.upstream import ModelCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CALL = ModelCall("meetmind", "meetmind.architect", "claude-3-haiku", "You are.", "Do it.", 0.3, 800, "0" * 32)
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "done"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8},
    "metrics": {"latencyMs": 1},
}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def say(_: web.Request) -> web.Response:
        return web.json_response(ANSWER)

    server = web.AppRunner(app := web.Application())
    app.router.add_post("/{path:.*}", say)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{server.addresses[0][1]}"
    await server.cleanup()


async def test_no_proxy_of_the_environment_stands_before_the_upstream(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    bedrock = await Bedrock.open(Settings(bedrock_url=url, sdk_retries=0))
    try:
        assert (await bedrock.complete(CALL)).text == "done"
    finally:
        await bedrock.close()
