"""Whatever is taken for a plain answer, geventhttpclient's own parser (llhttp) reads the same way."""

from __future__ import annotations

import pytest
from geventhttpclient.response import HTTPParseError, HTTPResponse
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.traffic import answer_head

STATUS = [
    "HTTP/1.1 200 OK",
    "HTTP/1.1 201 Created",
    "HTTP/1.1 200",
    "HTTP/1.1 204 No",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 20 x",
]
LINES = [
    "content-length: 3", "Content-Length: 0", "Content-Length:  12", "content-length: 3 ", "content-length: 0003",
    "content-length: +3", "content-length: 3, 3", "Content-Type: application/json", "X-A: b\tc", "X-A:", "X-A:   ",
    "x: é", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Connection: keep-alive",
    "Connection: close",
    "Connection: Keep-Alive, x", "Connection: ", "Upgrade: h2c", "Keep-Alive: max=5",
    "folded\r\n line: 1", " X: 1",
    "X : 1", "X-A", ": 1", "X-\xc4: 1", "x\r: 1", "x\n: 1", "\r\n", "date: Mon, 01 Jan 2024", "etag: \"a:b\"",
    "content-encoding: gzip", "trailer: x", "X-Nul: \0", "X-Del: \x7f", "x-cache: hit", "X-Cache: miss",
]  # fmt: skip


def heads() -> st.SearchStrategy[bytes]:
    good = st.from_regex(r"\A[!#$%&'*+.^_`|~A-Za-z-]{1,8}:[ \t]{0,2}[ -~]{0,9}\Z")
    line = st.one_of(st.sampled_from(LINES), st.just("content-length: 5"), good, st.text(max_size=9))
    parts = st.tuples(st.sampled_from(STATUS) | st.text(max_size=9), st.lists(line, max_size=6))
    return parts.map(lambda p: "\r\n".join((p[0], *p[1])).encode("latin-1", "replace"))


def plain(*lines: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", *lines)).encode("latin-1")


@settings(max_examples=800)
@given(heads())
@example(plain("content-length: 5"))
@example(plain("content-length: 5", "X: \x85 "))
@example(plain("content-length: 5", "connection: keep-alive", "x-a: é"))
def test_a_plain_head_is_read_as_the_parser_reads_it(head: bytes) -> None:
    if b"\r\n\r\n" in head + b"\r\n":  # ends before its empty line
        return
    found = answer_head.read(head)
    if found is None:
        return
    parser = HTTPResponse("GET")
    parser.feed(head + b"\r\n\r\n")
    assert parser.headers_complete
    assert (parser.get_code(), parser.content_length) == (found.status, found.length)
    assert dict(parser.info().iterlower()) == found.fields
    assert parser.message_complete == (found.length == 0)
    if 0 < found.length < 10_000:
        parser.feed(b"x" * (found.length - 1))
        assert not parser.message_complete
        parser.feed(b"x")
        assert parser.message_complete
    if found.length < 10_000:
        assert not parser.should_close()


@pytest.mark.parametrize("line", [line for line in LINES if "ength" not in line])
def test_what_is_not_plain_is_refused(line: str) -> None:
    """And what is refused, the parser takes, or not: its business."""
    fine = {
        "Content-Type",
        "X-A",
        "x",
        "Connection: keep-alive",
        "Keep-Alive",
        "date",
        "etag",
        "trailer",
        "x-cache",
        "X-Cache",
    }
    taken = answer_head.read(plain("content-length: 3", line)) is not None
    if taken:
        assert any(line.startswith(start) and ":" in line for start in fine), line
        parser = HTTPResponse("GET")
        try:
            parser.feed(plain("content-length: 3", line, "", "abc"))
        except HTTPParseError:
            pytest.fail(f"{line!r} is not plain")


def test_the_usual_answers_are_plain() -> None:
    head = answer_head.read(
        plain("date: Mon", "server: uvicorn", "Content-Length: 17", "content-type: application/json")
    )
    assert head is not None
    assert (head.status, head.length, head.fields["server"]) == (200, 17, "uvicorn")
    names = [f"x-{number}: 1" for number in range(3000)]
    assert all(answer_head.read(plain("content-length: 1", name)) for name in names)
    assert len(answer_head._names) <= 1000
