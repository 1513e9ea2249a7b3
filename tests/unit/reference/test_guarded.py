"""A guarded provider: what it costs a user, what it says to the breaker, what it leaves behind."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reference.gateway.breaker import Breaker, BreakerSettings
from reference.gateway.guarded import Deadline, GuardedUpstream, TokenStream
from reference.gateway.metrics import Metrics
from reference.gateway.settings import Settings
from reference.gateway.upstream import Completion, ErrorKind, ModelCall, UpstreamError, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

CALL = ModelCall("meetmind", "meetmind.architect", "claude-3-sonnet", "You are.", "Do it.", 0.3, 800, "0" * 32)
SETTINGS = Settings(call_timeout_s=0.05, first_token_timeout_s=0.05, token_gap_timeout_s=0.05, request_budget_s=0)
ACTIVE = {"agent_id": "meetmind.architect", "provider": "bedrock"}


class Scripted:
    """A provider that does what its script says, one word per call: ok, hang, or a kind of error."""

    name = "bedrock"

    def __init__(self, *script: str) -> None:
        self.script = list(script)
        self.closed_streams = 0

    async def complete(self, call: ModelCall) -> Completion:
        await self._act()
        return Completion("answer", self.name, "claude-3-sonnet", Usage(3, 5))

    async def stream(self, call: ModelCall) -> AsyncGenerator[str | Usage]:
        try:
            await self._act()
            yield "one"
            await self._act()
            yield "two"
            yield Usage(3, 5)
        finally:
            self.closed_streams += 1

    async def close(self) -> None:
        pass

    async def _act(self) -> None:
        word = self.script.pop(0) if self.script else "ok"
        if word == "hang":
            await asyncio.sleep(60)
        elif word != "ok":
            kind: Any = word
            raise UpstreamError(kind, "scripted")


class Silent:
    """A log nobody reads."""

    def warning(self, event: str, **fields: Any) -> None:
        pass


def guard(upstream: Scripted, settings: Settings = SETTINGS) -> tuple[GuardedUpstream, Metrics]:
    figures = BreakerSettings(failures=1, open_s=60, open_cap_s=60, jitter=0, half_open_calls=1)
    metrics = Metrics()
    breaker = Breaker(figures, time.monotonic, random.Random(1))
    return GuardedUpstream(upstream, breaker, settings, metrics, Silent()), metrics


async def collect(stream: TokenStream, texts: list[str]) -> None:
    async for text in stream.texts():
        texts.append(text)  # noqa: PERF401 - what came before an error is wanted too


def endless() -> Deadline:
    return Deadline(time.monotonic, 0)


async def test_an_answer_is_passed_on_and_counted() -> None:
    guarded, metrics = guard(Scripted())
    answer = await guarded.complete(CALL, endless())
    assert answer is not None
    assert answer.text == "answer"
    labels = {"agent_id": "meetmind.architect", "model": "claude-3-sonnet", "provider": "bedrock"}
    assert metrics.registry.get_sample_value("llm_requests_total", {**labels, "status": "success"}) == 1
    assert metrics.registry.get_sample_value("llm_tokens_used_total", {**labels, "token_type": "output"}) == 5
    assert metrics.registry.get_sample_value("llm_active_requests", ACTIVE) == 0


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("connection", "open"),
        ("rate_limited", "open"),
        ("server_error", "open"),
        ("bad_answer", "open"),
        ("bad_request", "closed"),
    ],
)
async def test_errors_that_are_the_providers_open_the_breaker(kind: ErrorKind, state: str) -> None:
    guarded, metrics = guard(Scripted(kind))
    assert await guarded.complete(CALL, endless()) is None
    assert guarded.breaker.state == state
    errors = {"provider": "bedrock", "error_type": kind}
    assert metrics.registry.get_sample_value("llm_errors_total", errors) == 1
    assert metrics.registry.get_sample_value("llm_active_requests", ACTIVE) == 0


async def test_a_hang_costs_the_time_out_and_opens_the_breaker() -> None:
    guarded, _ = guard(Scripted("hang"))
    started = time.monotonic()
    assert await guarded.complete(CALL, endless()) is None
    assert 0.05 <= time.monotonic() - started < 0.5
    assert guarded.breaker.state == "open"
    assert await guarded.complete(CALL, endless()) is None, "and is not asked again"


async def test_a_call_cut_short_by_the_users_budget_is_not_held_against_the_provider() -> None:
    guarded, _ = guard(Scripted("hang"), replace(SETTINGS, call_timeout_s=60.0))
    assert await guarded.complete(CALL, Deadline(time.monotonic, 0.12)) is None
    assert guarded.breaker.state == "closed"


async def test_without_time_left_a_provider_is_not_asked() -> None:
    upstream = Scripted("server_error")
    guarded, _ = guard(upstream)
    assert await guarded.complete(CALL, Deadline(time.monotonic, 0.01)) is None
    assert await guarded.open_stream(CALL, Deadline(time.monotonic, 0.01)) is None
    assert upstream.script == ["server_error"]


async def test_retries_are_made_when_they_are_set() -> None:
    upstream = Scripted("bad_request", "bad_request", "ok")
    guarded, _ = guard(upstream, replace(SETTINGS, retries=2, retry_delay_s=0.001))
    assert await guarded.complete(CALL, endless()) is not None


async def test_a_cancelled_call_says_nothing_about_the_provider() -> None:
    guarded, metrics = guard(Scripted("hang"), replace(SETTINGS, call_timeout_s=60.0))
    task = asyncio.create_task(guarded.complete(CALL, endless()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert guarded.breaker.state == "closed"
    assert metrics.registry.get_sample_value("llm_active_requests", ACTIVE) == 0


async def test_a_stream_is_read_to_its_end_with_its_usage() -> None:
    upstream = Scripted()
    guarded, _ = guard(upstream)
    stream = await guarded.open_stream(CALL, endless())
    assert stream is not None
    assert [text async for text in stream.texts()] == ["one", "two"]
    assert stream.usage == Usage(3, 5)
    await stream.close()
    assert upstream.closed_streams == 1


@pytest.mark.parametrize("how", ["hang", "connection"])
async def test_a_stream_that_dies_before_its_first_token_is_no_stream(how: str) -> None:
    guarded, _ = guard(Scripted(how))
    assert await guarded.open_stream(CALL, endless()) is None
    assert guarded.breaker.state == "open"


@pytest.mark.parametrize(("how", "kind"), [("hang", "timeout"), ("connection", "connection")])
async def test_a_stream_that_dies_later_raises_and_counts(how: str, kind: str) -> None:
    upstream = Scripted("ok", how)
    guarded, _ = guard(upstream)
    stream = await guarded.open_stream(CALL, endless())
    assert stream is not None
    got: list[str] = []
    with pytest.raises(UpstreamError) as caught:
        await collect(stream, got)
    await stream.close()
    assert got == ["one"]
    assert caught.value.kind == kind
    assert guarded.breaker.state == "open"
    assert upstream.closed_streams == 1


async def test_a_stream_nobody_reads_on_is_closed_without_blame() -> None:
    upstream = Scripted()
    guarded, metrics = guard(upstream)
    stream = await guarded.open_stream(CALL, endless())
    assert stream is not None
    await stream.close()
    assert guarded.breaker.state == "closed"
    assert upstream.closed_streams == 1
    assert metrics.registry.get_sample_value("llm_active_requests", ACTIVE) == 0
