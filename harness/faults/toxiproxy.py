"""The one module that talks to a Toxiproxy, through `toxiproxy-python`.

It adds what the library lacks: an address per instance (the library has one for the whole process), time-outs, server
errors and lost connections as clear errors, and a read-back after each write: a call that returns has been seen done.

Two things about toxics that the numbers depend on:

- *Toxicity* is drawn once per connection, not per request: 0.5 breaks half of a client's pooled connections, all the
  time, not half of its requests. Our own server draws from the plan's seed; which connection meets which draw depends
  on the order in which they come.
- A *timeout* toxic holds connections open without passing anything on. Removing it closes those connections: callers
  that were still waiting get an error then, and those errors belong to the clearing of the fault.
"""

from __future__ import annotations

import functools
import re
import socket
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import requests
import toxiproxy.proxy
import toxiproxy.server
from toxiproxy import exceptions
from toxiproxy.api import APIConsumer

from harness.errors import FaultFailed
from harness.faults.fault import Toxic
from harness.faults.probe_socket import split_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMEOUT_S = 10.0
"""Longest wait for the API: taking a toxic off a stalled connection may take the server 5 s."""

_ALREADY_SO: tuple[type[Exception], ...] = (exceptions.ProxyExists, exceptions.NotFound)
_REFUSALS: tuple[type[Exception], ...] = (*_ALREADY_SO, exceptions.InvalidToxic)
_NO_PROXY = {"http": None, "all": None}  # HTTP_PROXY of the environment is not for our own fault proxy


class _AlreadySo(FaultFailed):
    """What should be made is there, or what should go is not: fine if a read-back agrees."""


class _Consumer(APIConsumer):
    """The library's HTTP calls, with a time-out and with every answer that is no success as an error."""

    @classmethod
    def _checked(cls, call: Callable[..., Any], url: str, **kwargs: Any) -> Any:
        where = f"Toxiproxy at {cls.host}:{cls.port}"
        try:
            response = call(url, timeout=TIMEOUT_S, proxies=_NO_PROXY, **kwargs)
        except requests.RequestException as error:
            raise FaultFailed(f"{where} cannot be reached for {url}: {error}") from error
        except _REFUSALS as error:
            failure = _AlreadySo if isinstance(error, _ALREADY_SO) else FaultFailed
            raise failure(f"{where} refused {url}: {_text(error.args[0])}") from error
        if not response.ok:
            raise FaultFailed(f"{where} failed at {url}: {response.status_code} {_text(response.content)}")
        return response

    @classmethod
    def get(cls, url: str, params: Any = None, **kwargs: Any) -> Any:
        return cls._checked(super().get, url, params=params, **kwargs)

    @classmethod
    def post(cls, url: str, data: Any = None, json: Any = None, **kwargs: Any) -> Any:
        return cls._checked(super().post, url, data=data, json=json, **kwargs)

    @classmethod
    def delete(cls, url: str, **kwargs: Any) -> Any:
        return cls._checked(super().delete, url, **kwargs)


def _text(answer: bytes) -> str:
    return answer.decode("utf-8", "replace").strip()


@functools.cache
def _consumer(host: str, port: int) -> type[_Consumer]:
    return type("_ConsumerAt", (_Consumer,), {"host": host, "port": port})


_current: ContextVar[type[_Consumer]] = ContextVar("toxiproxy_consumer")


class _Current:
    """Stands where the library looks for its one API, and is that of whichever `Toxiproxy` is calling."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_current.get(), name)


for _module in (toxiproxy.server, toxiproxy.proxy):
    vars(_module)["APIConsumer"] = _Current()


def proxy_name(run_id: int, upstream: str) -> str:
    """Return the name of a run's proxy: it says whose it is, so that nobody else's is ever touched."""
    return f"{run_prefix(run_id)}{re.sub(r'[^A-Za-z0-9_.-]', '_', upstream)}"


def run_prefix(run_id: int) -> str:
    """Return how the names of a run's proxies begin."""
    return f"agentstorm-{run_id:016x}-"


def _share(toxicity: float) -> float:
    """Return a toxicity as it is compared: the server keeps it in 32 bits."""
    return round(toxicity, 6)


class Toxiproxy:
    """A running Toxiproxy server; `address` is its API's ``host:port``. FaultFailed says what did not work."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._host, self._port = split_address(address)
        self._library: Any = toxiproxy.server.Toxiproxy()

    @contextmanager
    def speaking(self) -> Iterator[Any]:
        """Let the library speak to this server; yields its own `Toxiproxy`."""
        token = _current.set(_consumer(self._host, self._port))
        try:
            yield self._library
        finally:
            _current.reset(token)

    def listening(self, timeout_s: float = 2.0) -> bool:
        """Return whether anything listens there; FaultFailed when that cannot be told."""
        try:
            socket.create_connection((self._host, self._port), timeout_s).close()
        except ConnectionRefusedError:
            return False
        except OSError as error:
            raise FaultFailed(f"Toxiproxy at {self.address} cannot be reached: {error}") from error
        return True

    def version(self) -> str:
        """Return the server's version as it says it (``git`` when it was built without one)."""
        with self.speaking():
            answer = _current.get().get("/version")
        match = re.search(r'"version"\s*:\s*"([^"]*)"', _text(answer.content))
        return match[1] if match else _text(answer.content)

    def names(self) -> list[str]:
        """Return the names of all proxies."""
        with self.speaking() as library:
            return sorted(library.proxies())

    def proxy(self, name: str) -> Proxy | None:
        """Return the proxy of that name, if there is one."""
        with self.speaking() as library:
            found = library.get_proxy(name)
        return None if found is None else Proxy(self, found)

    def create(self, name: str, upstream: str, listen: str = "127.0.0.1:0") -> Proxy:
        """Put a proxy in front of `upstream` (``host:port``); its `listen` has the real port."""
        with self.speaking() as library:
            try:
                library.create(upstream=upstream, name=name, listen=listen, enabled=True)
            except _REFUSALS as error:  # the library looks before it asks
                raise FaultFailed(f"Toxiproxy at {self.address} refused proxy {name}: {error}") from error
        proxy = self.proxy(name)
        if proxy is None or not proxy.enabled:
            raise FaultFailed(f"Toxiproxy at {self.address} acknowledged proxy {name} but does not have it on")
        return proxy

    def delete(self, name: str) -> None:
        """Remove a proxy and all that is on it; nothing happens when there is none."""
        proxy = self.proxy(name)
        if proxy is not None:
            with self.speaking() as library, suppress(_AlreadySo):
                library.destroy(proxy.library)
        if self.proxy(name) is not None:
            raise FaultFailed(f"Toxiproxy at {self.address} acknowledged the removal of proxy {name} but still has it")


class Proxy:
    """A proxy of a Toxiproxy (a `fault.Breakable`)."""

    def __init__(self, server: Toxiproxy, library: Any) -> None:
        self.server, self.library = server, library
        self.name: str = library.name
        self.listen: str = library.listen
        self.upstream: str = library.upstream

    @property
    def enabled(self) -> bool:
        """Whether the server has it listening, asked now."""
        now = self.server.proxy(self.name)
        if now is None:
            raise FaultFailed(f"Toxiproxy at {self.server.address} has no proxy {self.name} any more")
        return bool(now.library.enabled)

    def enable(self, *, enabled: bool) -> None:
        """Listen on the same port as ever, or refuse new connections and close the open ones."""
        with self.server.speaking():
            if enabled:
                self.library.enable()
            else:
                self.library.disable()
        if self.enabled is not enabled:
            word = "on" if enabled else "off"
            raise FaultFailed(f"Toxiproxy at {self.server.address} acknowledged proxy {self.name} {word} but it is not")

    def toxics(self) -> dict[str, Toxic]:
        """Return the toxics on it by name, asked now."""
        with self.server.speaking():
            found = self.library.toxics()
        return {name: Toxic(t.type, t.stream, t.attributes, name, _share(t.toxicity)) for name, t in found.items()}

    def add(self, *toxics: Toxic) -> None:
        """Put toxics in, in this order; one that is there already stays as it is."""
        with self.server.speaking():
            for toxic in toxics:
                with suppress(_AlreadySo):
                    self.library.add_toxic(
                        name=toxic.name,
                        type=toxic.kind,
                        stream=toxic.stream,
                        toxicity=_share(toxic.toxicity),
                        attributes=toxic.attributes,
                    )
        there = self.toxics()
        for toxic in toxics:
            if there.get(toxic.name) != replace(toxic, toxicity=_share(toxic.toxicity)):
                raise FaultFailed(
                    f"Toxiproxy at {self.server.address} acknowledged {toxic} on proxy {self.name} "
                    f"but has {there.get(toxic.name, 'none')} there"
                )

    def remove(self, *names: str) -> None:
        """Take toxics out, in this order; nothing happens for one that is not there."""
        with self.server.speaking():
            for name in names:
                with suppress(_AlreadySo):
                    self.library.destroy_toxic(name)
        if still := self.toxics().keys() & set(names):
            raise FaultFailed(
                f"Toxiproxy at {self.server.address} acknowledged the removal of {', '.join(sorted(still))} "
                f"from proxy {self.name} but still has it"
            )
