"""Answers read as they come: complete at their last byte, not before."""

from __future__ import annotations

import pytest

from harness.faults.answer import read_http, read_redis

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    ("whole", "body"),
    [
        (HEAD + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello"),
        (HEAD + b"Content-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_an_answer_is_complete_at_its_last_byte(whole: bytes, body: bytes) -> None:
    ends = len(whole) - (2 if whole.endswith(b"0\r\n\r\n") and b"chunked" in whole else 0)
    assert [read_http(whole[:n]).complete for n in range(ends)] == [False] * ends
    assert read_http(whole).complete
    assert read_http(whole).body == body


def test_an_answer_without_length_is_complete_when_the_connection_is_closed() -> None:
    data = HEAD + b"\r\nhello"
    assert not read_http(data).complete
    answer = read_http(data, ended=True)
    assert (answer.complete, answer.status, answer.headers, answer.body) == (
        True, 200, {"content-type": "text/plain"}, b"hello",
    )  # fmt: skip


def test_a_closed_connection_does_not_complete_an_answer_with_a_length() -> None:
    assert not read_http(HEAD + b"Content-Length: 5\r\n\r\nhell", ended=True).complete
    assert not read_http(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", ended=True).complete
    assert not read_http(HEAD, ended=True).complete


def test_what_is_no_http_has_no_status() -> None:
    assert read_http(b"+PONG\r\n\r\n").status is None


@pytest.mark.parametrize("whole", [b"+PONG\r\n", b"-ERR\r\n", b"$5\r\nhello\r\n"])
def test_redis(whole: bytes) -> None:
    assert [read_redis(whole[:n]).complete for n in range(len(whole))] == [False] * len(whole)
    assert read_redis(whole).complete
