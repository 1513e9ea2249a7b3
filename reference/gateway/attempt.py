"""One attempt at one provider: its deadline, and the booking of every way it can end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from reference.gateway.upstream import ModelCall, UpstreamError, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from reference.gateway.breaker import Admission, Breaker
    from reference.gateway.metrics import Metrics

_T = TypeVar("_T")


class Attempt:
    """Owns an admission of the breaker and gives it back exactly once, whatever happens."""

    def __init__(
        self, provider: str, call: ModelCall, admission: Admission, breaker: Breaker, metrics: Metrics, log: Any
    ) -> None:
        self._provider = provider
        self._call = call
        self._admission = admission
        self._breaker = breaker
        self._metrics = metrics
        self._log = log
        self._labels = (call.agent, call.model, provider)
        self._active = metrics.llm_active.labels(call.agent, provider)
        self._active.inc()
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()
        self._over = False

    async def run(self, work: Awaitable[_T], timeout_s: float, left_s: float = float("inf")) -> _T:
        """Await `work` for at most `timeout_s`, the provider's time, and `left_s`, the user's.

        Raises UpstreamError, booked and logged; the attempt is over then.
        """
        error: UpstreamError
        try:
            async with asyncio.timeout(min(timeout_s, left_s)):
                return await work
        except TimeoutError:
            error = UpstreamError("timeout", f"no answer within {min(timeout_s, left_s):.2f} s")
            # Cut short by the user's budget, the provider was not given its full time: no verdict on it.
            blameless = left_s < timeout_s
        except StopAsyncIteration:
            error, blameless = UpstreamError("bad_answer", "an empty stream"), False
        except UpstreamError as caught:
            error, blameless = caught, caught.kind == "bad_request"
        except BaseException:
            self.abandon()
            raise
        self._fail(error, blameless=blameless)
        raise error

    def succeed(self, usage: Usage) -> None:
        """The answer is complete."""
        if self._end("success"):
            self._breaker.succeed(self._admission)
            self._metrics.llm_tokens.labels(*self._labels, "input").inc(usage.tokens_in)
            self._metrics.llm_tokens.labels(*self._labels, "output").inc(usage.tokens_out)

    def abandon(self) -> None:
        """Nobody waits for the answer any more; does nothing when the attempt is over."""
        if self._end("cancelled"):
            self._breaker.abandon(self._admission)

    def _fail(self, error: UpstreamError, *, blameless: bool) -> None:
        if not self._end("error"):
            return
        self._metrics.llm_errors.labels(self._provider, error.kind).inc()
        # Before the breaker, so that the log tells cause and effect in that order.
        self._log.warning(
            "provider_failed",
            provider=self._provider,
            kind=error.kind,
            error=str(error),
            tenant=self._call.tenant,
            agent=self._call.agent,
            trace_id=self._call.trace_id,
        )
        (self._breaker.abandon if blameless else self._breaker.fail)(self._admission)

    def _end(self, status: str) -> bool:
        if self._over:
            return False
        self._over = True
        self._active.dec()
        self._metrics.llm_duration.labels(*self._labels).observe(self._clock() - self._started)
        self._metrics.llm_requests.labels(*self._labels, status).inc()
        return True
