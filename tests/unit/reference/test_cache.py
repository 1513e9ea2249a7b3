"""The answer cache: one contract for every store, and the guard around it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reference.gateway.breaker import Breaker, BreakerSettings
from reference.gateway.cache import Cache, CacheError, GuardedCache, MemoryCache, key_of
from reference.gateway.redis_cache import RedisCache
from reference.gateway.upstream import ModelCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CALL = ModelCall("meetmind", "meetmind.architect", "claude-3-sonnet", "You are.", "Do it.", 0.3, 800, "0" * 32)
TTL_S = 0.2


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("neither REDIS_URL nor a redis-server binary")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + 5
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < give_up, "redis-server did not start"
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(5)


class RedisDouble:
    """As much of a Redis server as the cache needs, for machines without one: GET and SET with PX."""

    def __init__(self) -> None:
        self._values: dict[bytes, tuple[float, bytes]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                count = int((await reader.readuntil(b"\r\n"))[1:])
                command = [await self._read(reader) for _ in range(count)]
                writer.write(self._answer(command))
        writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        length = int((await reader.readuntil(b"\r\n"))[1:])
        return (await reader.readexactly(length + 2))[:-2]

    def _answer(self, command: list[bytes]) -> bytes:
        match command:
            case [b"GET", key]:
                expires, value = self._values.get(key, (0.0, b""))
                return b"$%d\r\n%s\r\n" % (len(value), value) if time.monotonic() < expires else b"$-1\r\n"
            case [b"SET", key, value, b"PX", milliseconds]:
                self._values[key] = (time.monotonic() + int(milliseconds) / 1000, value)
                return b"+OK\r\n"
            case [b"HELLO", *_]:
                return b"-ERR unknown command\r\n"
        return b"+OK\r\n"


@pytest.fixture(params=["memory", "redis double", pytest.param("redis", marks=pytest.mark.real)])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    made: Cache
    if request.param == "memory":
        made = MemoryCache(TTL_S, 100, time.monotonic)
    elif request.param == "redis double":
        server = await asyncio.start_server(RedisDouble().serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            made = RedisCache(f"redis://127.0.0.1:{port}/0?protocol=2", TTL_S, 1.0)
            yield made
            await made.close()
        return
    else:
        made = RedisCache(request.getfixturevalue("redis_url"), TTL_S, 1.0)
    yield made
    await made.close()


async def test_a_value_is_kept_for_its_time_and_no_longer(cache: Cache) -> None:
    assert await cache.get("meetmind:kept") is None
    await cache.put("meetmind:kept", "å".encode())
    assert await cache.get("meetmind:kept") == "å".encode()
    await asyncio.sleep(TTL_S + 0.05)
    assert await cache.get("meetmind:kept") is None


async def test_a_later_value_replaces_an_earlier_one(cache: Cache) -> None:
    await cache.put("meetmind:twice", b"1")
    await cache.put("meetmind:twice", b"2")
    assert await cache.get("meetmind:twice") == b"2"


async def test_memory_is_bounded_and_the_least_recently_used_goes_first() -> None:
    cache = MemoryCache(60.0, 2, lambda: 0.0)
    await cache.put("a", b"a")
    await cache.put("b", b"b")
    await cache.get("a")
    await cache.put("c", b"c")
    assert [await cache.get(key) for key in "abc"] == [b"a", None, b"c"]


async def test_an_unreachable_redis_is_a_cache_error() -> None:
    cache = RedisCache("redis://127.0.0.1:1/0", TTL_S, 0.1)
    with pytest.raises(CacheError):
        await cache.get("x")
    with pytest.raises(CacheError):
        await cache.put("x", b"x")
    await cache.close()


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, tenant="agentsvea"),
        replace(CALL, model="gpt-4"),
        replace(CALL, temperature=0.2),
        replace(CALL, max_tokens=801),
        replace(CALL, prompt="Do it!"),
        replace(CALL, system="You are not."),
    ],
)
def test_all_that_shapes_an_answer_shapes_its_key(other: ModelCall) -> None:
    assert key_of(other) != key_of(CALL)


def test_the_key_names_the_tenant_and_forgets_who_asked_when() -> None:
    assert key_of(CALL).startswith("meetmind:")
    assert key_of(replace(CALL, trace_id="f" * 32, agent="meetmind.coordinator")) == key_of(CALL)


class Dead:
    """A store that hangs or refuses, and counts how often it was asked."""

    kind = "dead"

    def __init__(self, *, hangs: bool) -> None:
        self.asked = 0
        self._hangs = hangs

    async def get(self, key: str) -> bytes | None:
        await self._die()
        return None

    async def put(self, key: str, value: bytes) -> None:
        await self._die()

    async def close(self) -> None:
        pass

    async def _die(self) -> None:
        self.asked += 1
        if self._hangs:
            await asyncio.sleep(60)
        raise CacheError("refused")


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_dead_store_is_a_miss_costs_little_and_is_soon_left_alone(*, hangs: bool) -> None:
    store = Dead(hangs=hangs)
    settings = BreakerSettings(failures=2, open_s=60.0, open_cap_s=60.0, jitter=0.0, half_open_calls=1)
    guarded = GuardedCache(store, Breaker(settings, time.monotonic, random.Random(1)), 0.02)
    started = time.monotonic()
    for _ in range(20):
        assert await guarded.get("x") is None
        await guarded.put("x", b"x")
    assert store.asked == 2
    assert time.monotonic() - started < 0.5
