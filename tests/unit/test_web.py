"""One GET: whole, and over when its time is, whatever the other end does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from harness import web
from harness.clock import NS_PER_S, now_ns
from harness.system.compose_control import listens
from harness.web import get

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve each connection `at_once`, then `trickle` again and again, 20 times a second, until the test is over."""
    over = threading.Event()
    doors = []

    def accept(door: socket.socket, at_once: bytes, trickle: bytes) -> None:
        while not over.is_set():
            try:
                plug, _ = door.accept()
            except OSError:
                return
            with plug:
                try:
                    plug.recv(4096)
                    plug.sendall(at_once)
                    while trickle and not over.wait(0.05):
                        plug.sendall(trickle)
                except OSError:
                    continue

    def start(at_once: bytes, trickle: bytes = b"") -> str:
        door = socket.create_server(("127.0.0.1", 0))
        door.settimeout(5)
        doors.append(door)
        threading.Thread(target=accept, args=(door, at_once, trickle), daemon=True).start()
        return f"127.0.0.1:{door.getsockname()[1]}"

    yield start
    over.set()
    for door in doors:
        door.close()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
    ids=["length", "to the end", "chunked", "none"],
)
def test_whole_answers(serve: Serve, answer: bytes, body: bytes) -> None:
    assert get(f"http://{serve(answer)}/", 5)[1] == body


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nl",
        b"not HTTP\r\n\r\n",
    ],
)
def test_what_is_no_whole_answer_is_said(serve: Serve, cut: bytes) -> None:
    with pytest.raises(OSError, match="no HTTP answer"):
        get(f"http://{serve(cut)}/", 5)


TRICKLES = [
    (b"HTTP/1.0 200 OK\r\n\r\n", b"x"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    (b"HTTP/1.0 200 OK\r\n", b"a: b\r\n"),
    (b"HTTP/1.0", b" "),
]


@pytest.mark.parametrize(("at_once", "trickle"), TRICKLES, ids=["body", "chunks", "headers", "status"])
def test_a_page_that_trickles_is_given_up(serve: Serve, at_once: bytes, trickle: bytes) -> None:
    address, begun_ns = serve(at_once, trickle), now_ns()
    with pytest.raises(TimeoutError, match="no answer within"):
        get(f"http://{address}/", 0.3)
    assert now_ns() - begun_ns < 3 * NS_PER_S


def test_whoever_trickles_listens(serve: Serve) -> None:
    assert listens(serve(*TRICKLES[0]))


def test_a_page_that_is_too_large_is_said(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_MOST_BYTES", 1 << 20)
    address = serve(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(2 << 20))
    with pytest.raises(OSError, match="more than 1 MiB"):
        get(f"http://{address}/", 5)
