"""The parts of the agent system, put together from its settings."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from reference.gateway.breaker import Breaker, BreakerSettings, State
from reference.gateway.cache import Cache, GuardedCache, MemoryCache
from reference.gateway.costs import Costs
from reference.gateway.guarded import Deadline, GuardedUpstream
from reference.gateway.llm import LLM
from reference.gateway.metrics import Metrics

if TYPE_CHECKING:
    from reference.gateway.settings import Settings
    from reference.gateway.upstream import Upstream


class System:
    """Everything that lives as long as the process. Make it with `System.open`."""

    def __init__(self, settings: Settings, upstreams: list[Upstream], log: Any) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.costs = Costs()
        self._log = log
        self._rng = random.Random(settings.seed)  # noqa: S311 - jitter, not a secret
        self.providers = [
            GuardedUpstream(upstream, self._provider_breaker(upstream.name), settings, self.metrics, log)
            for upstream in upstreams
        ]
        self.cache = self._make_cache()
        self.llm = LLM(
            self.providers,
            self.cache,
            self.metrics,
            self.costs,
            log,
            local_answers=settings.mode != "aws_only",
        )

    @classmethod
    async def open(cls, settings: Settings, log: Any) -> System:
        """Load the SDKs the mode needs, and open their clients."""
        upstreams: list[Upstream] = []
        # Imported here because they are slow to load, and not every mode needs them.
        if settings.mode != "local_only":
            from reference.gateway.bedrock import Bedrock  # noqa: PLC0415

            upstreams.append(await Bedrock.open(settings))
        if settings.mode == "hybrid":
            from reference.gateway.openai_chat import OpenAIChat  # noqa: PLC0415

            upstreams.append(OpenAIChat(settings))
            if settings.google_url:
                from reference.gateway.google_genai import GoogleGenAI  # noqa: PLC0415

                upstreams.append(GoogleGenAI(settings))
        return cls(settings, upstreams, log)

    def deadline(self) -> Deadline:
        """The deadline of a user request that starts now."""
        return Deadline(time.monotonic, self.settings.request_budget_s)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(self.cache.close(), *(provider.close() for provider in self.providers))

    def _provider_breaker(self, name: str) -> Breaker:
        settings = self.settings
        figures = BreakerSettings(
            failures=settings.breaker_failures,
            open_s=settings.breaker_open_s,
            open_cap_s=settings.breaker_open_cap_s,
            jitter=settings.breaker_jitter,
            half_open_calls=settings.breaker_half_open_calls,
        )
        return self._breaker(name, figures)

    def _make_cache(self) -> GuardedCache:
        settings = self.settings
        cache: Cache
        if settings.redis_url:
            from reference.gateway.redis_cache import RedisCache  # noqa: PLC0415 - only when it is wanted

            cache = RedisCache(settings.redis_url, settings.cache_ttl_s, settings.cache_timeout_s)
        else:
            cache = MemoryCache(settings.cache_ttl_s, settings.cache_entries, time.monotonic)
        figures = BreakerSettings(
            failures=settings.cache_breaker_failures,
            open_s=settings.cache_breaker_open_s,
            open_cap_s=max(settings.cache_breaker_open_s, settings.breaker_open_cap_s),
            jitter=settings.breaker_jitter,
            half_open_calls=1,
        )
        guarded = GuardedCache(cache, self._breaker("cache", figures), settings.cache_timeout_s)
        self.metrics.watch_cache(cache.kind, guarded.breaker)
        return guarded

    def _breaker(self, name: str, figures: BreakerSettings) -> Breaker:
        def on_change(old: State, new: State) -> None:
            self._log.warning("breaker_changed", breaker=name, old=old, new=new)

        return Breaker(figures, time.monotonic, self._rng, on_change)
