"""The HTTP fault proxy as a program: every byte passes while no fault is on, and each effect is what it says."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
import urllib.request
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from harness.clock import now_ns, sleep
from harness.errors import FaultFailed
from harness.faultproxy.effects import MARK
from harness.faults.http_proxy import HttpFaultProxy, HttpRoute

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n"
EVENTS = b"".join(b"%x\r\ndata: %d\n\n\r\n" % (len(b"data: %d\n\n" % n), n) for n in range(40)) + b"0\r\n\r\n"
PLAIN = OK + b"Content-Length: 11\r\nX-Odd:  two  spaces\r\n\r\nhello world"


def get(path: str = "/", **headers: str) -> bytes:
    lines = [f"{name}: {value}" for name, value in {"Host": "x", **headers}.items()]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


def post(path: str, body: bytes) -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)


class Script:
    """A server that reads what it is told to expect, says what it is told to say, in odd pieces, and keeps it all."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.turns: list[tuple[bytes, bytes]] = []
        self.close_after = False
        self.pause_s = self.late_s = 0.0
        """After each piece of an answer, and before the first."""
        self.heard = b""
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection, list(self.turns)), daemon=True).start()

    def _talk(self, connection: socket.socket, turns: list[tuple[bytes, bytes]]) -> None:
        draw = random.Random(1)
        with connection, suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for expected, answer in turns:
                got = b""
                while len(got) < len(expected):
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    got += piece
                self.heard += got
                sleep(self.late_s)
                at = 0
                while at < len(answer):
                    step = draw.randint(1, 97) if len(answer) < 10_000 else 40_000
                    connection.sendall(answer[at : at + step])
                    at += step
                    if self.pause_s:
                        sleep(self.pause_s)
            if not self.close_after:
                with suppress(OSError):
                    while connection.recv(65536):
                        pass

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def script() -> Iterator[Script]:
    with closing(Script()) as script:
        yield script


@pytest.fixture
def proxy(script: Script, tmp_path: Any) -> Iterator[HttpFaultProxy]:
    started = HttpFaultProxy.start({"up": script.address}, tmp_path / "proxy.log", seed=7)
    yield started
    started.stop()
    assert (tmp_path / "proxy.log").read_text() == ""


@pytest.fixture
def route(proxy: HttpFaultProxy) -> HttpRoute:
    return proxy.routes["up"]


def connect(route: HttpRoute) -> socket.socket:
    host, _, port = route.listen.rpartition(":")
    connection = socket.create_connection((host, int(port)), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read(connection: socket.socket, size: int = 10**9, patience_s: float = 10.0) -> bytes:
    """Return what comes, up to `size` bytes, until the end of the connection or of patience."""
    data = b""
    connection.settimeout(patience_s)
    with suppress(OSError):
        while len(data) < size and (piece := connection.recv(65536)):
            data += piece
    return data


def read_answer(connection: socket.socket) -> bytes:
    """Return one whole answer that has a length, however many pieces it comes in."""
    data = b""
    connection.settimeout(10)
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head.lower())
        if end and length and len(body) >= int(length[1]):
            return data
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece


BINARY = bytes(range(256))
CHUNKED_POST = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n"

CONVERSATIONS: dict[str, list[tuple[bytes, bytes]]] = {
    "kept alive": [(get(f"/{n}"), PLAIN) for n in range(5)],
    "chunks": [(get("/stream"), CHUNKED + EVENTS), (get("/next"), PLAIN)],
    "binary": [(post("/model/m/converse-stream", BINARY), OK + b"Content-Length: 768\r\n\r\n" + BINARY * 3)],
    "chunked request": [(CHUNKED_POST, PLAIN), (get(), PLAIN)],
    "no length": [(get(), OK + b"\r\nuntil the end\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")],
    "head": [(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", OK + b"Content-Length: 500\r\n\r\n"), (get(), PLAIN)],
    "no content": [(get(), b"HTTP/1.1 204 No Content\r\n\r\n"), (get(), PLAIN)],
    "continue": [(post("/", b"x" * 9), b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\n" + PLAIN)],
    "switch": [(get(Upgrade="x"), b"HTTP/1.1 101 Switching\r\n\r\n"), (b"\x81\x03abc", b"\x81"), (b"\x00", b"\x01")],
    "no http": [(b"\x16\x03\x01\x00\xa5\x01\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x46"), (b"more", b"\r\n\r\n")],
    "odd answer": [(get(), b"ICY 200 OK\r\n\r\nmusic")],
    "odd chunks": [(get(), CHUNKED + b"zz\r\nwhatever")],
    "odd length": [(post("/", b"abc").replace(b"3", b"x"), b"HTTP/1.1 400 Bad\r\n\r\nno")],
    "large": [(post("/", b"r" * 3_000_000), OK + b"Content-Length: 5000000\r\n\r\n" + b"a" * 5_000_000)] * 2,
}  # fmt: skip


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("split", ["whole", "pieces"])
def test_every_byte_passes_both_ways(script: Script, route: HttpRoute, name: str, split: str) -> None:
    script.turns = CONVERSATIONS[name]
    script.close_after = True
    draw = random.Random(3)
    with connect(route) as connection:
        for asked, answer in script.turns:
            step = len(asked) if split == "whole" or len(asked) > 10_000 else draw.randint(1, 23)
            for at in range(0, len(asked), step):
                connection.sendall(asked[at : at + step])
            assert read(connection, len(answer)) == answer
        assert read(connection) == b""  # its end passes, too
    assert script.heard == b"".join(asked for asked, _ in script.turns)


def test_pipelined_requests_are_answered_in_order(script: Script, route: HttpRoute) -> None:
    script.turns = CONVERSATIONS["kept alive"]
    with connect(route) as connection:
        connection.sendall(b"".join(asked for asked, _ in script.turns))
        assert read(connection, 5 * len(PLAIN)) == 5 * PLAIN


def test_a_stream_is_passed_on_as_it_comes(script: Script, route: HttpRoute) -> None:
    script.turns, script.pause_s = [(get(), CHUNKED + EVENTS)], 0.01
    with connect(route) as connection:
        connection.sendall(get())
        first = read(connection, 1)
    assert len(first) < 200  # of 800, which take 150 ms and more


def test_a_client_that_leaves_is_noticed_by_the_upstream_and_a_dead_upstream_by_the_client(tmp_path: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        proxy = HttpFaultProxy.start({"up": address}, tmp_path / "proxy.log")
        with connect(proxy.routes["up"]) as client:
            client.sendall(get())
            upstream, _ = listener.accept()
            assert read(upstream, len(get())) == get()
        with upstream:
            assert read(upstream) == b""
    with connect(proxy.routes["up"]) as client:
        client.sendall(get())
        assert read(client) == b""
    proxy.stop()


def exchange(route: HttpRoute, asked: bytes, patience_s: float = 10.0) -> tuple[bytes, bytes, float]:
    """Return head and body of one answer on a new connection, and how many seconds it took."""
    began_ns = now_ns()
    with connect(route) as connection:
        connection.sendall(asked)
        data = read(connection, patience_s=patience_s)
    head, _, body = data.partition(b"\r\n\r\n")
    return head.lower(), body, (now_ns() - began_ns) / 1e9


CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "status", "shape"),
    [
        (CHAT, 429, ["error", "code"]),
        ("/model/anthropic.claude/converse", 429, ["message"]),
        ("/v1beta/models/gemini:generateContent", 429, ["error", "status"]),
        ("/v1/messages", 529, ["error", "type"]),
        ("/", 503, ["error", "message"]),
    ],
)
def test_errors_have_the_shape_of_their_vendor(
    script: Script, route: HttpRoute, path: str, status: int, shape: list[str]
) -> None:
    route.misbehave("f-1", {"answer": {"what": "error", "status": status, "retry_after_s": 1.2}})
    with connect(route) as connection:
        for _ in range(2):  # the connection stays
            connection.sendall(post(path, b"{}"))
            head, _, body = read_answer(connection).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"retry-after: 2\r\n" in head + b"\r\n"
            assert b"\r\n" + MARK + b": f-1" in head
            value: Any = json.loads(body)
            for key in shape:
                value = value[key]
            assert value
    assert script.connections == 0  # nobody was asked, and nobody billed
    assert route.faults()["f-1"]["met"] == 2


def test_an_expired_token_of_aws_is_a_403(route: HttpRoute) -> None:
    route.misbehave("f-1", {"answer": {"what": "error", "status": 401}})
    with connect(route) as connection:
        connection.sendall(post("/model/m/converse", b"{}"))
        head = read(connection, 1)
    assert head.startswith(b"HTTP/1.1 403 ")
    assert b"x-amzn-errortype: ExpiredTokenException" in head


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", ["empty", "garbage"])
def test_answers_that_nobody_can_read(route: HttpRoute, what: str, stream: bool) -> None:
    route.misbehave("f-1", {"answer": {"what": what}})
    with connect(route) as connection:
        connection.sendall(post(CHAT, b'{"stream": true}' if stream else b"{}"))
        head, _, body = read(connection, 1).partition(b"\r\n\r\n")
    assert head.startswith(OK[:12])
    assert (b"text/event-stream" in head) is (stream and what == "garbage")
    if what == "empty":
        assert body == b""
    else:
        with pytest.raises(ValueError, match=r"."):
            json.loads(body.removeprefix(b"data: "))


@pytest.mark.parametrize("answer", [PLAIN, CHUNKED + EVENTS], ids=["length", "chunks"])
@pytest.mark.parametrize("after", [4, 200, 100_000])
@pytest.mark.parametrize("then", ["cut", "stall"])
def test_an_answer_goes_so_far_and_no_further(
    script: Script, route: HttpRoute, answer: bytes, after: int, then: str
) -> None:
    script.turns = [(get(), answer)]
    route.misbehave("f-1", {"after": after, "then": then})
    whole = answer.partition(b"\r\n\r\n")[2]
    with connect(route) as connection:
        connection.sendall(get())
        data = read(connection, patience_s=0.3)
        assert data.partition(b"\r\n\r\n")[2] == whole[: min(after, len(whole) - 1)]
        connection.settimeout(0.2)
        if then == "cut":
            assert connection.recv(1) == b""
        else:
            with pytest.raises(TimeoutError):
                connection.recv(1)
            route.behave("f-1")  # what is held up is closed
            assert read(connection) == b""
    route.behave("f-1")
    assert route.faults() == {}
    assert exchange(route, get(), 0.3)[1] == whole


@pytest.mark.parametrize("answer", [PLAIN, OK + b"\r\nuntil the end"], ids=["length", "no length"])
def test_an_answer_that_begins_after_its_stall_was_cleared_does_not_stall(
    script: Script, route: HttpRoute, answer: bytes
) -> None:
    script.turns, script.late_s, script.close_after = [(get(), answer)], 0.3, True
    route.misbehave("f-1", {"after": 200, "then": "stall"})
    with connect(route) as connection:
        connection.sendall(get())
        while not route.faults()["f-1"]["met"]:
            sleep(0.005)
        route.behave("f-1")
        began_ns = now_ns()
        read(connection, patience_s=2.0)
        assert (now_ns() - began_ns) / 1e9 < 1.0


def test_a_late_answer_keeps_its_pace(script: Script, route: HttpRoute) -> None:
    script.turns, script.pause_s, script.close_after = [(get(), CHUNKED + EVENTS)], 0.01, True
    _, whole, healthy_s = exchange(route, get())
    route.misbehave("f-1", {"delay_s": 0.4})
    with connect(route) as connection:
        began_ns = now_ns()
        connection.sendall(get())
        head = read(connection, 1)
        assert (now_ns() - began_ns) / 1e9 < 0.3  # what comes at once is the head alone
        while b"\r\n\r\n" not in head:
            head += read(connection, 1)
        body = head.partition(b"\r\n\r\n")[2] + read(connection, len(whole) - len(head.partition(b"\r\n\r\n")[2]))
        took_s = (now_ns() - began_ns) / 1e9
    assert body == whole
    assert healthy_s + 0.35 < took_s < healthy_s + 1.0


def test_another_content_type_and_nothing_else(script: Script, route: HttpRoute) -> None:
    script.turns = [(get(), CHUNKED + EVENTS)]
    route.misbehave("f-1", {"content_type": "text/html"})
    head, body, _ = exchange(route, get(), 0.3)
    assert b"content-type: text/html" in head
    assert b"event-stream" not in head
    assert body == EVENTS


def test_a_quota_is_used_up_and_refills(script: Script, route: HttpRoute) -> None:
    script.turns = [(get(), PLAIN)]
    route.misbehave("f-1", {"quota": {"requests": 3, "per_s": 1.0}})
    began_ns = now_ns()
    probe = get(Host="agentstorm-probe")
    seen = [exchange(route, probe, 0.05)[0].split()[1]]  # ours takes nothing from it
    script.turns = [(get(), PLAIN)]
    heads = [exchange(route, get(), 0.05)[0] for _ in range(4)]
    assert (now_ns() - began_ns) / 1e9 < 1.0, "too slow a machine for this test"
    assert [head.split()[1] for head in heads] == [b"200", b"200", b"200", b"429"]
    assert b"x-ratelimit-limit-requests: 3" in heads[0]
    assert [b"x-ratelimit-remaining-requests: %d" % n in head for n, head in zip((2, 1, 0), heads, strict=False)]
    assert b"retry-after: 1" in heads[3]
    assert seen == [b"200"]
    sleep(1.0)
    assert exchange(route, get(), 0.05)[0].split()[1] == b"200"


def test_a_share_is_of_requests_and_comes_from_the_seed(script: Script, proxy: HttpFaultProxy, tmp_path: Any) -> None:
    def drawn(route: HttpRoute, *, probes: bool) -> list[bool]:
        hit = []
        with connect(route) as connection:
            for _ in range(200):
                if probes:
                    connection.sendall(get(Host="agentstorm-probe", Path="x"))
                    read_answer(connection)
                connection.sendall(get())
                hit.append(b" 503 " in read_answer(connection))
        return hit

    how = {"answer": {"what": "error", "status": 503}, "share": 0.3}
    script.turns = [(get(), PLAIN)] * 400
    route = proxy.routes["up"]
    route.misbehave("f-1", how)
    first = drawn(route, probes=False)
    again = HttpFaultProxy.start({"up": script.address}, tmp_path / "again.log", seed=7)
    again.routes["up"].misbehave("f-1", how)
    assert drawn(again.routes["up"], probes=False) == first
    assert 30 <= sum(first) <= 90
    again.stop()


@pytest.mark.parametrize(
    "how",
    [{}, {"answer": {"what": "joke"}}, {"after": 5}, {"after": 5, "then": "run"}, {"delay_s": "x"}, {"quota": {}}],
)
def test_what_is_no_effect_is_refused(route: HttpRoute, how: dict[str, Any]) -> None:
    with pytest.raises(FaultFailed, match="no effect"):
        route.misbehave("f-1", how)
    assert route.faults() == {}


@pytest.mark.parametrize("name", ["f-1", "größe+1"])  # the letters and digits of every language may be in one
def test_twice_is_once_and_what_is_not_there_is_not_missed(route: HttpRoute, name: str) -> None:
    how = {"answer": {"what": "empty"}}
    route.misbehave(name, how)
    route.misbehave(name, how)
    assert list(route.faults()) == [name]
    route.behave(name)
    route.behave(name)
    with pytest.raises(FaultFailed, match="no route here"):
        HttpRoute(route.admin, "other", "").faults()


def test_one_that_is_gone_is_told(proxy: HttpFaultProxy) -> None:
    proxy.stop()
    proxy.stop()
    assert not proxy.alive
    with pytest.raises(FaultFailed, match="cannot be reached"):
        proxy.routes["up"].faults()


def test_urllib_speaks_through_it(script: Script, route: HttpRoute) -> None:
    script.turns = [(b"GET", PLAIN)]
    with urllib.request.urlopen(f"http://{route.listen}/", timeout=5) as answer:
        assert answer.read() == b"hello world"


def test_the_folder_we_are_in_is_no_place_to_import_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "harness"
    theirs.mkdir()
    (theirs / "__init__.py").write_text("raise SystemExit('a package of the user of the same name')")
    monkeypatch.chdir(tmp_path)
    HttpFaultProxy.start({"bedrock": "127.0.0.1:9"}, tmp_path / "log").stop()
