"""Reading one HTTP/1.1 answer byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.probes.http1 import Answering, BadAnswer

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
    b"5\r\nhello\r\n1;name=value\r\n,\r\n0006\r\n wo\r\nr\r\n0\r\nx-trailer: 1\r\n\r\n"
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + LENGTH
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
ZERO = b"HTTP/1.0 500\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (LENGTH, 200, b"hello"),
        (CHUNKED, 200, b"hello, wo\r\nr"),
        (INTERIM, 200, b"hello"),
        (EMPTY, 204, b""),
        (ZERO, 500, b""),
    ],
)
@given(data=st.data())
def test_the_same_answer_however_the_bytes_come(raw: bytes, status: int, body: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=8)))
    parts = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    answer = Answering()
    whole = [answer.feed(part) for part in parts]
    assert whole == [False] * (len(parts) - 1) + [True]
    assert (answer.status, bytes(answer.body)) == (status, body)


def test_header_names_are_lower_case_and_repeats_are_joined() -> None:
    answer = Answering()
    answer.feed(LENGTH)
    assert answer.headers == {"content-type": "application/json", "x-a": "1, 2", "content-length": "5"}


def test_a_body_that_ends_with_the_connection() -> None:
    answer = Answering()
    assert not answer.feed(b"HTTP/1.0 200 OK\r\n\r\nhel")
    assert not answer.feed(b"lo")
    assert answer.closed()
    assert answer.body == b"hello"


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200", LENGTH[:-1], CHUNKED[:-1]])
def test_a_cut_answer_is_not_whole(raw: bytes) -> None:
    answer = Answering()
    assert not answer.feed(raw)
    assert not answer.closed()


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_http_is_said(raw: bytes) -> None:
    with pytest.raises(BadAnswer):
        Answering().feed(raw)
