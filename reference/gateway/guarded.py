"""One provider with all that stands between it and a user: breaker, deadline, retries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from reference.gateway.attempt import Attempt
from reference.gateway.upstream import Completion, ModelCall, Upstream, UpstreamError, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from reference.gateway.breaker import Breaker
    from reference.gateway.metrics import Metrics
    from reference.gateway.settings import Settings

# With less than this left of a request's budget a call would only be wasted money.
_LEAST_TIME_S = 0.1


class Deadline:
    """The time one user request may still spend on providers."""

    def __init__(self, clock: Callable[[], float], budget_s: float) -> None:
        self._clock = clock
        self._until = clock() + budget_s if budget_s > 0 else float("inf")

    def left(self) -> float:
        """Seconds left; infinite without a budget, negative when overdrawn."""
        return self._until - self._clock()


class GuardedUpstream:
    """A provider that may be asked at any time, and answers or declines without raising."""

    def __init__(self, upstream: Upstream, breaker: Breaker, settings: Settings, metrics: Metrics, log: Any) -> None:
        self.name = upstream.name
        self.breaker = breaker
        self._upstream = upstream
        self._settings = settings
        self._metrics = metrics
        self._log = log
        metrics.watch_provider(upstream.name, breaker)

    async def complete(self, call: ModelCall, deadline: Deadline) -> Completion | None:
        """The answer, or None when there is none to be had here in time."""
        delay = self._settings.retry_delay_s
        for number in range(self._settings.retries + 1):
            if number > 0:
                if deadline.left() < delay:
                    return None
                await asyncio.sleep(delay)
                delay *= 2
            attempt = self._attempt(call, deadline)
            if attempt is None:
                return None
            try:
                answer = await attempt.run(
                    self._upstream.complete(call), self._settings.call_timeout_s, deadline.left()
                )
            except UpstreamError:
                continue
            attempt.succeed(answer.usage)
            return answer
        return None

    async def open_stream(self, call: ModelCall, deadline: Deadline) -> TokenStream | None:
        """A stream whose first piece has arrived, or None. Streams are not retried here."""
        attempt = self._attempt(call, deadline)
        if attempt is None:
            return None
        pieces = self._upstream.stream(call)
        try:
            first = await attempt.run(anext(pieces), self._settings.first_token_timeout_s, deadline.left())
        except UpstreamError:
            return None
        return TokenStream(self.name, attempt, pieces, first, self._settings.token_gap_timeout_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._upstream.close()

    def _attempt(self, call: ModelCall, deadline: Deadline) -> Attempt | None:
        if deadline.left() < _LEAST_TIME_S or (admission := self.breaker.admit()) is None:
            return None
        return Attempt(self.name, call, admission, self.breaker, self._metrics, self._log)


class TokenStream:
    """An answer that has begun. Read it to its end or `close` it; `usage` is known after the end."""

    def __init__(
        self, provider: str, attempt: Attempt, pieces: AsyncGenerator[str | Usage], first: str | Usage, gap_s: float
    ) -> None:
        self.provider = provider
        self.usage = Usage()
        self._attempt = attempt
        self._pieces = pieces
        self._first = first
        self._gap_s = gap_s

    async def texts(self) -> AsyncIterator[str]:
        """The pieces of text. Raises UpstreamError when the provider dies or stalls in the middle."""
        piece = self._first
        while isinstance(piece, str):
            yield piece
            piece = await self._attempt.run(anext(self._pieces), self._gap_s)
        self.usage = piece
        self._attempt.succeed(piece)

    async def close(self) -> None:
        """Drop the connection if the stream is not over."""
        self._attempt.abandon()
        await self._pieces.aclose()
