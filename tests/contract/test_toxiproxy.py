"""The Toxiproxy servers, the real one and the built-in one, and the one module that talks to them."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import FaultFailed
from harness.faults import toxiproxy
from harness.faults.fault import Toxic
from harness.faults.toxiproxy import Proxy, Toxiproxy, proxy_name
from harness.faults.toxiproxy_server import ToxiproxyServer
from harness.journal import is_same, started_at
from harness.programs import Program
from tests.contract.toxiproxy_twins import builtin_program, real_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

NAME = proxy_name(0xABC, "bedrock")
HANG = Toxic("timeout", "downstream", {"timeout": 0}, "hang")


@pytest.fixture(scope="module", params=["real", "uvloop", "asyncio"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The real server, and the built-in one on each of its loops."""
    if request.param == "real":
        return real_program()
    return builtin_program(request.param, tmp_path_factory.mktemp("builtin"))


@pytest.fixture(scope="module")
def server(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToxiproxyServer]:
    started = ToxiproxyServer.start(program, tmp_path_factory.mktemp("logs") / "toxiproxy.log", seed=1)
    yield started
    started.stop()


@pytest.fixture
def proxy(api: Toxiproxy) -> Proxy:
    return api.create(NAME, "127.0.0.1:9")


def accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_server_of_our_own_comes_up_says_its_version_and_goes(program: Program, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "toxiproxy.log"
    server = ToxiproxyServer.start(program, log, seed=7)
    pid, start = server.process.real_pid, started_at(server.process.real_pid)
    assert start is not None
    assert Toxiproxy(server.address).version()
    assert server.alive
    assert log.exists()

    server.stop()
    server.stop()  # again: nothing happens

    assert not server.alive
    assert not is_same(pid, start)
    assert not Toxiproxy(server.address).listening()


def test_a_server_that_cannot_come_up_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "toxiproxy-server"
    script.write_text("#!/bin/sh\necho no luck today\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(FaultFailed, match="does not come up"):
        ToxiproxyServer.start(Program(script, "PATH", "2.12.0"), tmp_path / "log")
    assert "no luck today" in (tmp_path / "log").read_text()


def test_a_proxy_is_made_on_a_real_port_and_deleted(api: Toxiproxy) -> None:
    made = api.create(NAME, "127.0.0.1:9")
    assert not made.listen.endswith(":0")
    assert accepts(made.listen)
    assert (made.name, made.upstream, made.enabled) == (NAME, "127.0.0.1:9", True)
    assert api.names() == [NAME]

    api.delete(NAME)
    api.delete(NAME)  # again: nothing happens

    assert api.names() == []
    assert not accepts(made.listen)


def test_the_same_name_twice_is_an_error(api: Toxiproxy, proxy: Proxy) -> None:
    with pytest.raises(FaultFailed, match="already exists"):
        api.create(proxy.name, "127.0.0.1:9")


def test_a_port_that_is_taken_is_an_error(api: Toxiproxy, proxy: Proxy) -> None:
    with pytest.raises(FaultFailed, match="address already in use"):
        api.create(proxy_name(0xABC, "openai"), "127.0.0.1:9", proxy.listen)


def test_switching_off_and_on_keeps_the_port(proxy: Proxy) -> None:
    for _ in range(2):
        proxy.enable(enabled=False)
        assert not proxy.enabled
        assert not accepts(proxy.listen)
    for _ in range(2):
        proxy.enable(enabled=True)
        assert proxy.enabled
        assert accepts(proxy.listen)


def test_toxics_are_there_once_acknowledged_and_gone_once_removed(proxy: Proxy) -> None:
    slow = Toxic("latency", "downstream", {"latency": 100, "jitter": 20}, "slow")
    for _ in range(2):
        proxy.add(HANG, slow)
        assert proxy.toxics() == {"hang": HANG, "slow": slow}
    for _ in range(2):
        proxy.remove("hang")
        assert proxy.toxics() == {"slow": slow}


def test_a_toxic_that_is_there_but_different_is_an_error(proxy: Proxy) -> None:
    proxy.add(HANG)
    with pytest.raises(FaultFailed, match="has Toxic"):
        proxy.add(Toxic("timeout", "downstream", {"timeout": 5}, "hang"))


def test_a_toxic_the_server_does_not_know_is_an_error(proxy: Proxy) -> None:
    with pytest.raises(FaultFailed, match="invalid toxic type"):
        proxy.add(Toxic("gremlin", "downstream", {}, "g"))


def test_a_proxy_that_is_gone_is_an_error(api: Toxiproxy, proxy: Proxy) -> None:
    api.delete(proxy.name)
    for act in (lambda: proxy.enable(enabled=False), lambda: proxy.add(HANG), proxy.toxics, lambda: proxy.enabled):
        with pytest.raises(FaultFailed, match=proxy.name):
            act()


def test_two_servers_at_once_are_not_mixed_up(program: Program, api: Toxiproxy, proxy: Proxy, tmp_path: Path) -> None:
    other = ToxiproxyServer.start(program, tmp_path / "log")
    try:
        assert Toxiproxy(other.address).names() == []
        assert api.names() == [proxy.name]
        done = threading.Event()

        def ask_the_other() -> None:
            while not done.is_set():
                assert Toxiproxy(other.address).names() == []

        thread = threading.Thread(target=ask_the_other)
        thread.start()
        try:
            for _ in range(30):
                assert api.names() == [proxy.name]
        finally:
            done.set()
            thread.join()
    finally:
        other.stop()


def test_the_environments_http_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch, api: Toxiproxy) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert api.names() == []


def test_nobody_there_is_an_error() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"
    assert not Toxiproxy(address).listening()
    with pytest.raises(FaultFailed, match="cannot be reached"):
        Toxiproxy(address).names()


class Liar(BaseHTTPRequestHandler):
    """An API that says yes and does nothing, or fails, or never answers: what the real one does only on bad days."""

    mode = "lie"
    enough = threading.Event()

    def _answer(self) -> None:
        if self.mode == "hang":
            self.enough.wait(10)
        self.rfile.read(int(self.headers.get("content-length", 0)))
        proxy = {"name": NAME, "upstream": "127.0.0.1:9", "enabled": True, "listen": "127.0.0.1:9", "toxics": []}
        pages: dict[str, Any] = {"/proxies": {NAME: proxy}, f"/proxies/{NAME}/toxics": []}
        status, page = (500, {"error": "kaputt"}) if self.mode == "fail" else (200, pages.get(self.path, proxy))
        body = json.dumps(page).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Be quiet."""


@pytest.fixture
def liar() -> Iterator[str]:
    Liar.enough.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        Liar.enough.set()
        server.shutdown()
        thread.join()


def test_an_acknowledgement_is_not_believed(liar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Liar, "mode", "lie")
    api = Toxiproxy(liar)
    proxy = api.proxy(NAME)
    assert proxy is not None
    with pytest.raises(FaultFailed, match=r"acknowledged .* off but it is not"):
        proxy.enable(enabled=False)
    with pytest.raises(FaultFailed, match=r"acknowledged .* has none there"):
        proxy.add(HANG)
    with pytest.raises(FaultFailed, match="still has it"):
        api.delete(NAME)


def test_a_server_error_is_an_error(liar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Liar, "mode", "fail")
    with pytest.raises(FaultFailed, match=r"failed at /proxies: 500 .*kaputt"):
        Toxiproxy(liar).names()


def test_an_api_that_does_not_answer_is_an_error(liar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Liar, "mode", "hang")
    monkeypatch.setattr(toxiproxy, "TIMEOUT_S", 0.2)
    with pytest.raises(FaultFailed, match="timed out"):
        Toxiproxy(liar).names()
