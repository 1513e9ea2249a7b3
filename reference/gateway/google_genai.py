"""Google's Gemini models through their own SDK: generateContent, whole and streamed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp
from google import genai
from google.genai import errors, types

from reference.gateway.prices import MODELS
from reference.gateway.upstream import Completion, ModelCall, UpstreamError, Usage, kind_of_status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from reference.gateway.settings import Settings

# Where a stream notes the responses to its requests, to close them itself. Closing the SDK's generator is
# not enough: objects of the SDK hold each other, and the connection, until the garbage collector finds them.
_responses: ContextVar[list[aiohttp.ClientResponse]] = ContextVar("google_responses")

# Idle connections are dropped well before a server would drop them, which avoids the stray reset.
_IDLE_S = 30.0

# The SDK builds these at its first call, which would hold up everybody else's for some 25 ms.
_SLOW_TO_BUILD = (types.GenerateContentConfig, types.Part, types.Candidate, types.GenerateContentResponse)


class GoogleGenAI:
    """Google's Gemini API. To be made inside a running event loop."""

    name = "google"

    def __init__(self, settings: Settings) -> None:
        # Told nothing about retries, the SDK tries once more, up to 10 s after a broken connection.
        retries = None if settings.sdk_retries < 0 else types.HttpRetryOptions(attempts=settings.sdk_retries + 1)
        # A session of our own: the SDK's would take a proxy from the environment, which must not stand
        # between us and the upstream named in the plan. It has no time-outs: our own deadline is the only one.
        tracing = aiohttp.TraceConfig()
        tracing.on_request_end.append(_note_response)
        self._session = aiohttp.ClientSession(
            trust_env=False,
            trace_configs=[tracing],
            connector=aiohttp.TCPConnector(limit=settings.connections, keepalive_timeout=_IDLE_S),
        )
        self._client = genai.Client(
            vertexai=False,
            api_key=os.environ.get("GEMINI_API_KEY", "reference"),
            http_options=types.HttpOptions(
                base_url=settings.google_url,
                api_version="v1beta",
                retry_options=retries,
                aiohttp_client=self._session,
            ),
        ).aio
        for model in _SLOW_TO_BUILD:
            model.model_rebuild()

    async def complete(self, call: ModelCall) -> Completion:
        """See Upstream."""
        with _translated():
            answer = await self._client.models.generate_content(**_request(call))
            text, usage = answer.text, _usage(answer.usage_metadata)
        if text is None:
            raise UpstreamError("bad_answer", "an answer without text")
        return Completion(text, self.name, MODELS[call.model][self.name].name, usage)

    async def stream(self, call: ModelCall) -> AsyncGenerator[str | Usage]:
        """See Upstream."""
        responses: list[aiohttp.ClientResponse] = []
        _responses.set(responses)
        with _translated():
            pieces: Any = await self._client.models.generate_content_stream(**_request(call))
            usage = None
            try:
                async for piece in pieces:
                    if piece.text:
                        yield piece.text
                    # Every piece has a usage; only that of the piece with the reason is whole.
                    if any(candidate.finish_reason for candidate in piece.candidates or []):
                        usage = _usage(piece.usage_metadata)
            finally:
                for response in responses:
                    response.close()
                await pieces.aclose()
            if usage is None:
                raise UpstreamError("connection", "the stream ended before its end")
            yield usage

    async def close(self) -> None:
        """See Upstream."""
        await self._client.aclose()
        await self._session.close()


async def _note_response(_session: aiohttp.ClientSession, _: Any, request: aiohttp.TraceRequestEndParams) -> None:
    # A trace runs in its caller's own context; a whole answer is read at once and needs no note.
    _responses.get([]).append(request.response)


def _request(call: ModelCall) -> dict[str, Any]:
    return {
        "model": MODELS[call.model]["google"].wire_id,
        "contents": call.prompt,
        "config": {
            "system_instruction": call.system,
            "temperature": call.temperature,
            "max_output_tokens": call.max_tokens,
            "automatic_function_calling": {"disable": True},  # we have no functions; it would log each call
            "http_options": {"headers": call.headers()},
        },
    }


def _usage(usage: Any) -> Usage:
    return Usage(usage.prompt_token_count or 0, usage.candidates_token_count or 0)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except errors.APIError as error:
        raise UpstreamError(kind_of_status(error.code), str(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamError("connection", str(error)) from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UpstreamError("bad_answer", f"unreadable answer: {error!r}") from error
