"""What the built-in Toxiproxy does unlike the real one, or has no twin for."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.faults.toxiproxy import Toxiproxy
from harness.faults.toxiproxy_server import ToxiproxyServer
from harness.programs import Program
from tests.contract.toxiproxy_twins import FIN, NAME, Side, Watch, builtin_program, pause

pytestmark = pytest.mark.real

DATA = random.Random(5).randbytes(700_000)


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return builtin_program(request.param, tmp_path_factory.mktemp("builtin"))


@contextlib.contextmanager
def started(program: Program, log: Path, seed: int = 1) -> Iterator[Side]:
    server = ToxiproxyServer.start(program, log, seed=seed)
    side = Side("builtin", server.address)
    try:
        yield side
    finally:
        side.forget()
        side.upstream.close()
        side.session.close()
        server.stop()
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def shared(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    with started(program, tmp_path_factory.mktemp("logs") / "log") as side:
        yield side


@pytest.fixture
def side(shared: Side) -> Side:
    shared.fresh()
    return shared


def run(program: Program, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*program.command, *arguments], capture_output=True, text=True, timeout=20, check=False)


def test_it_says_what_it_is(program: Program) -> None:
    for flag in ("-version", "--version"):
        said = run(program, flag)
        assert said.returncode == 0
        assert said.stdout.startswith("toxiproxy-server version 2.12.0+builtin (built into agentstorm, on ")


@pytest.mark.parametrize("arguments", [("-port", "many"), ("-zork",)])
def test_a_wrong_flag_is_told(program: Program, arguments: tuple[str, ...]) -> None:
    said = run(program, *arguments)
    assert said.returncode == 2
    assert arguments[0].strip("-") in said.stderr


def test_a_port_that_is_taken_ends_it(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = run(program, "-host", "127.0.0.1", "-port", port)
    assert said.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said.stdout


def test_proxies_from_a_file(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "proxies.json"
    file.write_text(json.dumps([{"name": NAME, "upstream": "127.0.0.1:9", "listen": ":0"}]))
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    process = subprocess.Popen([*program.command, "-host", "127.0.0.1", "-port", str(port), "-config", str(file)])
    try:
        api = Toxiproxy(f"127.0.0.1:{port}")
        watch = Watch()
        while not api.listening() and watch.ms() < 10_000:
            pause(10)
        assert api.names() == [NAME]
    finally:
        process.terminate()
        assert process.wait(5) == 0


def test_who_is_hit_comes_from_the_seed(program: Program, tmp_path: Path) -> None:
    def hit(seed: int) -> list[bool]:
        with started(program, tmp_path / "log", seed) as side:
            side.fresh()
            side.add("timeout", toxicity=0.5, timeout=0)
            found = []
            for _ in range(30):
                client, upstream = side.connect()
                upstream.send(b"x")
                found.append(client.read(0.03, until=1) == b"")
            return found

    first = hit(7)
    assert 5 <= sum(first) <= 25
    assert hit(7) == first
    assert hit(8) != first


def test_an_upstream_that_takes_no_connection_holds_nothing_up(side: Side) -> None:
    """Switching off ends the client that waits; the real one waits with it."""
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # its queue is full after one or two
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        side.api("POST", f"/proxies/{NAME}", {"upstream": f"127.0.0.1:{deaf.getsockname()[1]}"})
        client = side.dial()
        assert client.read(0.2) == b""
        watch = Watch()
        side.enable(enabled=False)
        assert client.ended() == FIN
        assert watch.ms() < 1000
        assert side.refuses()


def test_toxics_come_and_go_while_a_client_does_not_read(side: Side) -> None:
    """On purpose unlike the real one, whose API waits for that client."""
    client, upstream = side.connect()
    upstream.socket.settimeout(0.3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while True:
            sent += upstream.socket.send(DATA)
    watch = Watch()
    for kind in ("latency", "slicer", "bandwidth"):
        side.add(
            kind, "downstream", 1, **{"bandwidth": {"rate": 10**6}, "slicer": {"average_size": 9000}}.get(kind, {})
        )
        side.change(kind)
    for kind in ("slicer", "latency", "bandwidth"):
        side.remove(kind)
    assert watch.ms() < 1000
    got = 0
    while got < sent and client.read(2, until=1_000_000):
        got += len(client.received)
        client.received = b""
    assert got == sent


@pytest.mark.parametrize(
    ("kind", "attributes", "passes"),
    [
        ("bandwidth", {"rate": -1}, b""),
        ("slicer", {"average_size": 0, "size_variation": 0}, b"data"),
        ("slicer", {"average_size": -5, "size_variation": 100, "delay": -1}, b"data"),
        ("latency", {"latency": -50, "jitter": -1}, b"data"),
        ("limit_data", {"bytes": -1}, b""),
    ],
)
def test_values_without_sense_do_no_harm(side: Side, kind: str, attributes: dict[str, int], passes: bytes) -> None:
    """Some of these crash the real one."""
    side.add(kind, "downstream", 1, **attributes)
    client, upstream = side.connect()
    upstream.send(b"data")
    assert client.read(0.3, until=4) == passes
    side.remove(kind)
    assert side.api("GET", f"/proxies/{NAME}/toxics") == (200, [])
