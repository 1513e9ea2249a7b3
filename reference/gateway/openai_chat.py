"""OpenAI through its own SDK: chat completions, whole and streamed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import openai

from reference.gateway.prices import MODELS
from reference.gateway.upstream import Completion, ModelCall, UpstreamError, Usage, kind_of_status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from reference.gateway.settings import Settings


class OpenAIChat:
    """OpenAI's chat completions."""

    name = "openai"

    def __init__(self, settings: Settings) -> None:
        retries = openai.DEFAULT_MAX_RETRIES if settings.sdk_retries < 0 else settings.sdk_retries
        # aiohttp under the SDK: its pool finds a connection in constant time, at 500 of them too.
        # A proxy from the environment must not stand between us and the upstream named in the plan.
        transport = openai.DefaultAioHttpClient(
            trust_env=False,
            timeout=None,
            limits=_limits(settings.connections),
        )
        self._client = openai.AsyncOpenAI(
            base_url=settings.openai_url,
            api_key=os.environ.get("OPENAI_API_KEY", "reference"),
            timeout=None,  # our own deadline is the only one
            http_client=transport,
            max_retries=retries,
        )

    async def complete(self, call: ModelCall) -> Completion:
        """See Upstream."""
        with _translated():
            answer = await self._client.chat.completions.create(**_request(call))
            text = answer.choices[0].message.content or ""
            usage = _usage(answer.usage)
        return Completion(text, self.name, MODELS[call.model][self.name].name, usage)

    async def stream(self, call: ModelCall) -> AsyncGenerator[str | Usage]:
        """See Upstream."""
        with _translated():
            chunks = await self._client.chat.completions.create(
                **_request(call), stream=True, stream_options={"include_usage": True}
            )
            finished, usage = False, None
            try:
                async for chunk in chunks:
                    for choice in chunk.choices:
                        finished = finished or choice.finish_reason is not None
                        if choice.delta.content:
                            yield choice.delta.content
                    if chunk.usage is not None:
                        usage = _usage(chunk.usage)
            finally:
                await chunks.close()
            if not finished or usage is None:
                raise UpstreamError("connection", "the stream ended before its end")
            yield usage

    async def close(self) -> None:
        """See Upstream."""
        await self._client.close()


def _limits(connections: int) -> Any:
    # The SDK's HTTP library differs between its versions; its own default is of the right type.
    return type(openai.DEFAULT_CONNECTION_LIMITS)(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=30.0
    )


def _request(call: ModelCall) -> dict[str, Any]:
    return {
        "model": MODELS[call.model]["openai"].wire_id,
        "messages": [
            {"role": "system", "content": call.system},
            {"role": "user", "content": call.prompt},
        ],
        "temperature": call.temperature,
        "max_tokens": call.max_tokens,
        "extra_headers": call.headers(),
    }


def _usage(usage: Any) -> Usage:
    return Usage(usage.prompt_tokens, usage.completion_tokens)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except openai.APIStatusError as error:
        raise UpstreamError(kind_of_status(error.status_code), str(error)) from error
    except openai.APIConnectionError as error:
        # Its subclass APITimeoutError too: with the SDK's timers off, that is a refused connection.
        raise UpstreamError("connection", str(error.__cause__ or error)) from error
    except openai.APIError as error:
        raise UpstreamError("server_error", str(error)) from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UpstreamError("bad_answer", f"unreadable answer: {error!r}") from error
    except OSError as error:
        raise UpstreamError("connection", str(error)) from error
