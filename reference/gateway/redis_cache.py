"""The answer cache in Redis, shared by all gateways that use the same one."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from reference.gateway.cache import CacheError


class RedisCache:
    """In Redis; expiry is Redis's own."""

    kind = "redis"

    def __init__(self, url: str, ttl_s: float, timeout_s: float) -> None:
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._redis = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            max_connections=1000,
        )

    async def get(self, key: str) -> bytes | None:
        """See Cache."""
        try:
            value = await self._redis.get(key)
        except (RedisError, OSError) as error:
            raise CacheError(str(error)) from error
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes) -> None:
        """See Cache."""
        try:
            await self._redis.set(key, value, px=self._ttl_ms)
        except (RedisError, OSError) as error:
            raise CacheError(str(error)) from error

    async def close(self) -> None:
        """See Cache."""
        await self._redis.aclose()
