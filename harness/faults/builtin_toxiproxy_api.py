"""What Toxiproxy's HTTP API does (README of 2.12, *HTTP API*), on our proxies: one small function a route."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from harness.faults.builtin_toxiproxy_json import ApiError, bad_body, first_value, members
from harness.faults.builtin_toxiproxy_proxy import STREAMS, BuiltinProxy
from harness.faults.builtin_toxiproxy_toxics import TOXIC_KINDS, BuiltinToxic

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

VERSION = "2.12.0+builtin"
"""The Toxiproxy it is like, and that it is not that one."""
_JSON, _PLAIN = "application/json", "text/plain; charset=utf-8"
_PROXY = {"name": "string", "listen": "string", "upstream": "string", "enabled": "bool"}
_TOXIC = {"name": "string", "type": "string", "stream": "string", "toxicity": "float32", "attributes": "object"}


@dataclass(frozen=True)
class Answer:
    """What goes back. `content_type` is left out when it is empty, as is the body."""

    status: int
    body: bytes = b""
    content_type: str = ""


class _Gone(ApiError):
    """There is no proxy of that name, or no more."""

    def __init__(self) -> None:
        super().__init__("proxy not found", 404)


def _json(value: Any, status: int = 200, content_type: str = _JSON, end: str = "") -> Answer:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")) + end
    return Answer(status, text.encode("utf-8", "replace"), content_type)


def _plain(status: int, text: str) -> Answer:
    return Answer(status, f"{text}\n".encode(), _PLAIN)


def _attributes(value: Any, kind: str) -> dict[str, int]:
    kind_of = TOXIC_KINDS[kind]
    return members(value, kind_of.go_type, kind_of.fields, "attributes.")


class Api:
    """All proxies, by name, and what can be asked of them."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._proxies: dict[str, BuiltinProxy] = {}
        self._changing = asyncio.Lock()  # which proxies there are; what one of them does is its own lock's

    async def answer(self, method: str, target: str, user_agent: str, body: bytes) -> Answer:
        """Do what a request asks and return what to say; nothing is raised for what the client got wrong."""
        parts = unquote(target.partition("?")[0]).split("/")[1:]  # a name with a slash cannot be asked for
        for pattern, methods in ROUTES:
            if len(pattern) != len(parts) or not all(
                part if want is None else part == want for want, part in zip(pattern, parts, strict=True)
            ):
                continue
            if method not in methods:
                return Answer(405)
            if user_agent.startswith("Mozilla/"):  # no page in a browser may break things
                return _plain(403, "User agent not allowed")
            names = [part for want, part in zip(pattern, parts, strict=True) if want is None]
            try:
                return await methods[method](self, body, *names)
            except ApiError as error:
                return _json(error.as_json(), error.status, _PLAIN, end="\n")
        return _plain(404, "404 page not found")

    def _proxy(self, name: str) -> BuiltinProxy:
        if name not in self._proxies:
            raise _Gone
        return self._proxies[name]

    @asynccontextmanager
    async def _held(self, name: str) -> AsyncIterator[BuiltinProxy]:
        """Keep a proxy to ourselves; ApiError (404) also when it went while we waited for it."""
        proxy = self._proxy(name)
        async with proxy.lock:
            if self._proxies.get(name) is not proxy:
                raise _Gone
            yield proxy

    async def version(self, _body: bytes) -> Answer:
        return Answer(200, f'{{"version": "{VERSION}"}}\n'.encode(), f"{_JSON};charset=utf-8")

    # Proxies.

    async def list_proxies(self, _body: bytes) -> Answer:
        return _json({name: self._proxies[name].as_json() for name in sorted(self._proxies)})

    async def create_proxy(self, body: bytes) -> Answer:
        wanted = members(first_value(body), "Proxy", _PROXY)
        for needed in ("name", "upstream"):
            if not wanted.get(needed):
                raise ApiError(f"missing required field: {needed}", 400)
        async with self._changing:
            if wanted["name"] in self._proxies:
                raise ApiError("proxy already exists", 409)
            return _json((await self._put(wanted)).as_json(), 201)

    async def _put(self, wanted: dict[str, Any]) -> BuiltinProxy:
        proxy = BuiltinProxy(wanted["name"], wanted.get("listen", ""), wanted["upstream"], self._rng)
        if wanted.get("enabled", True):
            proxy.start()
        self._proxies[proxy.name] = proxy
        return proxy

    async def populate(self, body: bytes) -> Answer:
        """Make or replace proxies; one that is there and leads the same way stays as it is, enabled or not."""
        made: list[BuiltinProxy] = []
        failed: dict[str, Any] = {}
        status = 201
        try:
            async with self._changing:
                for wanted in _proxies_wanted(first_value(body)):
                    made.append(await self._put_or_leave(wanted))  # noqa: PERF401 - those before a failure are kept
        except ApiError as error:
            failed, status = error.as_json(), error.status
        return _json(failed | {"proxies": [proxy.as_json() for proxy in made] or None}, status)

    async def _put_or_leave(self, wanted: dict[str, Any]) -> BuiltinProxy:
        there = self._proxies.get(wanted["name"])
        if there is not None:
            async with there.lock:
                if not there.differs(wanted.get("listen", ""), wanted["upstream"]):
                    return there
                await there.stop()
        return await self._put(wanted)

    async def show_proxy(self, _body: bytes, name: str) -> Answer:
        return _json(self._proxy(name).as_json())

    async def update_proxy(self, body: bytes, name: str) -> Answer:
        async with self._held(name) as proxy:
            now: dict[str, Any] = {"listen": proxy.listen, "upstream": proxy.upstream, "enabled": proxy.enabled}
            wanted = now | members(first_value(body), "Proxy", _PROXY)
            await proxy.update(wanted["listen"], wanted["upstream"], enabled=wanted["enabled"])
            return _json(proxy.as_json())

    async def delete_proxy(self, _body: bytes, name: str) -> Answer:
        async with self._changing:
            async with self._held(name) as proxy:
                await proxy.stop()
            del self._proxies[name]
        return Answer(204)

    async def reset(self, _body: bytes) -> Answer:
        for name in list(self._proxies):
            with suppress(_Gone):
                async with self._held(name) as proxy:
                    proxy.start()
                    for toxic in proxy.toxics():
                        await proxy.remove(toxic)
        return Answer(204)

    # Toxics.

    async def list_toxics(self, _body: bytes, name: str) -> Answer:
        return _json([toxic.as_json() for toxic in self._proxy(name).toxics()])

    async def create_toxic(self, body: bytes, name: str) -> Answer:
        async with self._held(name) as proxy:
            wanted: dict[str, Any] = {"type": "", "stream": "downstream", "toxicity": 1.0}
            wanted |= members(first_value(body), "ToxicWrapper", _TOXIC)
            if wanted["stream"].lower() not in STREAMS:
                raise ApiError("stream was invalid, can be either upstream or downstream", 400)
            if wanted["type"] not in TOXIC_KINDS:
                raise ApiError("invalid toxic type", 400)
            toxic_name = wanted.get("name") or f"{wanted['type']}_{wanted['stream']}"
            if any(toxic.name == toxic_name for toxic in proxy.toxics()):
                raise ApiError("toxic already exists", 409)
            attributes = _attributes(wanted.get("attributes"), wanted["type"])
            toxic = BuiltinToxic(toxic_name, wanted["type"], wanted["stream"], wanted["toxicity"], attributes)
            await proxy.add(toxic)
            return _json(toxic.as_json())

    async def show_toxic(self, _body: bytes, name: str, toxic: str) -> Answer:
        return _json(self._proxy(name).toxic(toxic).as_json())

    async def update_toxic(self, body: bytes, name: str, toxic_name: str) -> Answer:
        async with self._held(name) as proxy:
            toxic = proxy.toxic(toxic_name)
            fields = {"toxicity": "float32", "attributes": "object"}
            wanted = members(first_value(body), "", fields)
            attributes = _attributes(wanted.get("attributes"), toxic.type)
            await proxy.change(toxic, wanted.get("toxicity", toxic.toxicity), attributes)
            return _json(toxic.as_json())

    async def delete_toxic(self, _body: bytes, name: str, toxic: str) -> Answer:
        async with self._held(name) as proxy:
            await proxy.remove(proxy.toxic(toxic))
        return Answer(204)


def _proxies_wanted(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad_body("json: a list of proxies is needed")
    found = [members(one, "", _PROXY) for one in value]
    for number, wanted in enumerate(found, 1):
        for needed in ("name", "upstream"):
            if not wanted.get(needed):
                raise ApiError(f"missing required field: {needed} at proxy {number}", 400)
    return found


_Route = tuple[tuple[str | None, ...], "Mapping[str, Callable[..., Awaitable[Answer]]]"]
ROUTES: tuple[_Route, ...] = (
    (("version",), {"GET": Api.version}),
    (("reset",), {"POST": Api.reset}),
    (("populate",), {"POST": Api.populate}),
    (("proxies",), {"GET": Api.list_proxies, "POST": Api.create_proxy}),
    (
        ("proxies", None),
        {
            "GET": Api.show_proxy,
            "POST": Api.update_proxy,
            "PATCH": Api.update_proxy,
            "DELETE": Api.delete_proxy,
        },
    ),
    (("proxies", None, "toxics"), {"GET": Api.list_toxics, "POST": Api.create_toxic}),
    (
        ("proxies", None, "toxics", None),
        {
            "GET": Api.show_toxic,
            "POST": Api.update_toxic,
            "PATCH": Api.update_toxic,
            "DELETE": Api.delete_toxic,
        },
    ),
)
"""Path (None is a name) and what each method does there."""
