"""The answer cache: one seam, the store in this process, and a guard that keeps a dead store from hurting."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from reference.gateway.breaker import Breaker
    from reference.gateway.upstream import ModelCall


class Cache(Protocol):
    """Bytes by key, for a limited time. A broken store raises CacheError."""

    kind: str

    async def get(self, key: str) -> bytes | None:
        """The value, or None when there is none (any more)."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Keep `value` for the cache's time to live."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class CacheError(Exception):
    """The store behind the cache did not answer."""


def key_of(call: ModelCall) -> str:
    """The tenant, and a hash of all that shapes an answer.

    The model is the one the agent asks for, not the provider's: a failover keeps the cache warm.
    """
    shape = json.dumps([call.model, call.temperature, call.max_tokens, call.system, call.prompt])
    return f"{call.tenant}:{hashlib.sha256(shape.encode()).hexdigest()}"


class MemoryCache:
    """In this process: the least recently used of `entries` goes first."""

    kind = "memory"

    def __init__(self, ttl_s: float, entries: int, clock: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._entries = entries
        self._clock = clock
        self._values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        """See Cache."""
        found = self._values.get(key)
        if found is None:
            return None
        expires, value = found
        if self._clock() >= expires:
            del self._values[key]
            return None
        self._values.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes) -> None:
        """See Cache."""
        self._values[key] = (self._clock() + self._ttl_s, value)
        self._values.move_to_end(key)
        if len(self._values) > self._entries:
            self._values.popitem(last=False)

    async def close(self) -> None:
        """See Cache."""


class GuardedCache:
    """A cache that never raises and never takes long: trouble is a miss, and lasting trouble is skipped."""

    def __init__(self, cache: Cache, breaker: Breaker, timeout_s: float) -> None:
        self.kind = cache.kind
        self.breaker = breaker
        self._cache = cache
        self._timeout_s = timeout_s

    async def get(self, key: str) -> bytes | None:
        """The value; None when there is none or the cache is out of order."""
        admission = self.breaker.admit()
        if admission is None:
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                value = await self._cache.get(key)
        except (CacheError, TimeoutError):
            self.breaker.fail(admission)
            return None
        except BaseException:
            self.breaker.abandon(admission)
            raise
        self.breaker.succeed(admission)
        return value

    async def put(self, key: str, value: bytes) -> None:
        """Keep the value if the cache is in order."""
        admission = self.breaker.admit()
        if admission is None:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._cache.put(key, value)
        except (CacheError, TimeoutError):
            self.breaker.fail(admission)
            return
        except BaseException:
            self.breaker.abandon(admission)
            raise
        self.breaker.succeed(admission)

    async def close(self) -> None:
        """Let go of connections."""
        await self._cache.close()
