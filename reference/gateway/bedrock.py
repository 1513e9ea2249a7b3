"""Amazon Bedrock through its own SDK: Converse and ConverseStream."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.eventstream import ParserError as FrameError
from botocore.exceptions import BotoCoreError, ClientError, EventStreamError
from botocore.parsers import ResponseParserError

from reference.gateway.prices import MODELS
from reference.gateway.upstream import Completion, ModelCall, UpstreamError, Usage, kind_of_status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from reference.gateway.settings import Settings

# The SDK has no per-call headers; its `before-send` event runs in the caller's own context.
_headers: ContextVar[dict[str, str]] = ContextVar("bedrock_headers")

# Idle connections are dropped well before a server would drop them, which avoids the stray reset.
_IDLE_S = 30.0


class Bedrock:
    """The Bedrock runtime. Make it with `Bedrock.open`."""

    name = "bedrock"

    def __init__(self, client: Any, resources: AsyncExitStack) -> None:
        self._client = client
        self._resources = resources

    @classmethod
    async def open(cls, settings: Settings) -> Bedrock:
        """Load the service model (slow, hence at startup) and open a client."""
        retries = {} if settings.sdk_retries < 0 else {"retries": {"total_max_attempts": settings.sdk_retries + 1}}
        config = AioConfig(
            max_pool_connections=settings.connections,
            # Our own deadline is the only one: the SDK's timers start anew with each byte read.
            connect_timeout=None,
            read_timeout=None,
            parameter_validation=False,
            # A proxy from the environment must not stand between us and the upstream named in the plan.
            proxies={},
            connector_args={"keepalive_timeout": _IDLE_S},
            **retries,
        )
        resources = AsyncExitStack()
        new_session: Any = AioSession  # the SDK has no types
        session = new_session()
        client = await resources.enter_async_context(
            session.create_client(
                "bedrock-runtime",
                region_name=os.environ.get("AWS_REGION", "eu-north-1"),
                endpoint_url=settings.bedrock_url,
                aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID", "reference"),
                aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY", "reference"),
                config=config,
            )
        )
        client.meta.events.register("before-send.bedrock-runtime.*", _add_headers)
        return cls(client, resources)

    async def complete(self, call: ModelCall) -> Completion:
        """See Upstream."""
        with _translated():
            _headers.set(call.headers())
            answer = await self._client.converse(**_request(call))
            text = "".join(block.get("text", "") for block in answer["output"]["message"]["content"])
            usage = _usage(answer["usage"])
        return Completion(text, self.name, MODELS[call.model][self.name].name, usage)

    async def stream(self, call: ModelCall) -> AsyncGenerator[str | Usage]:
        """See Upstream."""
        with _translated():
            _headers.set(call.headers())
            events = (await self._client.converse_stream(**_request(call)))["stream"]
            stopped, usage = False, None
            try:
                async for event in events:
                    if text := event.get("contentBlockDelta", {}).get("delta", {}).get("text"):
                        yield text
                    stopped = stopped or "messageStop" in event
                    if "metadata" in event:
                        usage = _usage(event["metadata"]["usage"])
            finally:
                events.close()
            if not stopped or usage is None:
                raise UpstreamError("connection", "the stream ended before its end")
            yield usage

    async def close(self) -> None:
        """See Upstream."""
        await self._resources.aclose()


def _add_headers(request: Any, **_: Any) -> None:
    for name, value in _headers.get().items():
        request.headers[name] = value


def _request(call: ModelCall) -> dict[str, Any]:
    return {
        "modelId": MODELS[call.model]["bedrock"].wire_id,
        "system": [{"text": call.system}],
        "messages": [{"role": "user", "content": [{"text": call.prompt}]}],
        "inferenceConfig": {"temperature": call.temperature, "maxTokens": call.max_tokens},
    }


def _usage(usage: dict[str, int]) -> Usage:
    return Usage(usage["inputTokens"], usage["outputTokens"])


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except EventStreamError as error:
        raise UpstreamError("server_error", str(error)) from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        raise UpstreamError(kind_of_status(status), str(error)) from error
    except (ResponseParserError, FrameError, KeyError, TypeError, AttributeError) as error:
        raise UpstreamError("bad_answer", f"unreadable answer: {error!r}") from error
    except (BotoCoreError, aiohttp.ClientError, OSError) as error:
        raise UpstreamError("connection", str(error)) from error
