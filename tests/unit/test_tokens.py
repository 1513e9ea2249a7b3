"""Which events are tokens, and which piece made them whole."""

from __future__ import annotations

import json
import zlib
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import json_path
from harness.json_path import ABSENT
from harness.model.target import Observe
from harness.observe import Answer, Observation
from harness.sse import Message, is_stream, messages
from harness.tokens import Arrivals, Passing, TokenReader, hear

OPENAI = "sse:$.choices[0].delta.content"
SSE = {"content-type": "text/event-stream; charset=utf-8"}


def chunk(**delta: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta}]}


def event(data: object, name: str = "", end: str = "\n") -> bytes:
    head = f"event: {name}{end}" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}{end}{end}".encode()


def arrived(*pieces: bytes, every: int = 10) -> tuple[bytes, Arrivals]:
    arrivals, end = Arrivals(), 0
    for number, piece in enumerate(pieces, 1):
        end += len(piece)
        arrivals.add(end, number * every)
    return b"".join(pieces), arrivals


def heard(reader: TokenReader, *pieces: bytes, headers: dict[str, str] = SSE) -> tuple[int, list[int]]:
    body, arrivals = arrived(*pieces)
    streamed = is_stream(headers.get("content-type", ""))
    found = hear(reader, Answer(200, headers, body, streamed=streamed), arrivals, None)
    return found.number, list(found.times)


# --- events


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_events_end_at_their_blank_line(end: str) -> None:
    body = f": hello{end}{end}event: a{end}data: 1{end}id: 7{end}{end}data:{{{end}data: }}{end}{end}".encode()
    first = body.index(b"id: 7") + len("id: 7") + len(end) + 1
    assert messages(body) == [Message("a", 1, first), Message("", {}, len(body) - len(end) + 1)]


def test_sloppy_servers_are_understood() -> None:
    assert [m.data for m in messages(b'data: {"a": 1}\ndata: {"a": 2}\n\ndata: {"a": 3}')] == [
        {"a": 1},
        {"a": 2},
        {"a": 3},
    ]
    assert messages(b'data: {"a": 1}\ndata: {"a": 2}\n\n')[0].end == len(b'data: {"a": 1}\n')
    assert messages(b"data: [DONE]\n\ndata: nonsense\n\nevent: ping\n\n") == []
    assert [m.name for m in messages(b"event: a\ndata: 1\n\ndata: 2\n\n")] == ["a", ""]


def test_of_a_body_that_goes_on_only_whole_events_count() -> None:
    assert len(messages(b"data: 1\n\ndata: 2\n", ended=False)) == 1
    assert len(messages(b"data: 1\n\ndata: 2\n")) == 2


@given(st.lists(st.tuples(st.sampled_from(["", "x"]), st.text()), max_size=8), st.data())
def test_an_event_is_whole_exactly_where_it_ends(events: list[tuple[str, str]], draw: st.DataObject) -> None:
    parts = [event({"t": text}, name) for name, text in events]
    body, found = b"".join(parts), messages(b"".join(parts))
    assert [(m.name, m.data["t"]) for m in found] == events
    assert [m.end for m in found] == [sum(map(len, parts[: n + 1])) for n in range(len(parts))]
    cut = draw.draw(st.integers(0, len(body)))
    assert messages(body[:cut], ended=False) == [m for m in found if m.end <= cut]


# --- paths


@pytest.mark.parametrize("query", ["$.a", "$.a.b[0]", "$.a.b[-1].c", "$.a[1]", "$['a']", "$.a.*", "$..c", "$"])
@pytest.mark.parametrize(
    "document",
    [{"a": {"b": [{"c": 1}]}}, {"a": [1, None]}, {"a": "text"}, {"a": None}, [1], {}, {"a": {"b": []}}, 1, None, "a"],
)
def test_short_paths_read_what_the_library_reads(query: str, document: Any) -> None:
    import jsonpath  # noqa: PLC0415

    path = jsonpath.compile(query)
    match = path.match(document) if isinstance(document, (dict, list)) else None
    value = json_path.first(query)(document)
    assert value is ABSENT if match is None else value == match.value
    values = [m.value for m in path.finditer(document)] if isinstance(document, (dict, list)) else []
    assert list(json_path.every(query)(document)) == values


# --- tokens


NONE = [
    chunk(role="assistant", content=""), chunk(role="assistant"), chunk(content=""), chunk(content=None), chunk(),
    chunk(reasoning_content="hm"), chunk(tool_calls=[{"function": {"arguments": "{"}}]), chunk(content=["a"]),
    {"choices": [], "usage": {"completion_tokens": 3}}, {"error": {"message": "x"}}, [], "text",
]  # fmt: skip


@pytest.mark.parametrize("data", NONE, ids=json.dumps)
def test_what_shows_no_text_is_no_token(data: object) -> None:
    assert heard(TokenReader([OPENAI]), event(data)) == (0, [])


ANTHROPIC = [
    ("message_start", {"message": {"content": [], "usage": {"input_tokens": 3}}}),
    ("content_block_start", {"content_block": {"type": "text", "text": ""}}),
    ("ping", {"type": "ping"}),
    ("content_block_delta", {"delta": {"type": "thinking_delta", "thinking": "hm"}}),
    ("content_block_delta", {"delta": {"type": "text_delta", "text": "Hi"}}),
    ("content_block_delta", {"delta": {"type": "input_json_delta", "partial_json": "{"}}),
    ("message_delta", {"delta": {"stop_reason": "end_turn"}}),
]
RESPONSES = [
    ("response.created", {"response": {}}),
    ("response.reasoning_summary_text.delta", {"delta": "hm"}),
    ("response.function_call_arguments.delta", {"delta": "{"}),
    ("response.output_text.delta", {"delta": ""}),
    ("response.output_text.delta", {"delta": "Hi"}),
]
BEDROCK = [
    ("", {"messageStart": {"role": "assistant"}}),
    ("", {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "hm"}}}}),
    ("", {"contentBlockDelta": {"delta": {"text": "Hi"}}}),
    ("", {"metadata": {"usage": {"outputTokens": 1}}}),
]
GOOGLE = [
    ("", {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}]}),
    ("", {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}),
    ("", {"usageMetadata": {"candidatesTokenCount": 1}}),
]


@pytest.mark.parametrize(
    ("source", "events", "at"),
    [
        ("sse:$.delta.text", ANTHROPIC, 5),
        ("event:content_block_delta:$.delta.text", ANTHROPIC, 5),
        ("event:response.output_text.delta:$.delta", RESPONSES, 5),
        ("sse:$.contentBlockDelta.delta.text", BEDROCK, 3),
        ("sse:$.candidates[0].content.parts[?!@.thought].text", GOOGLE, 2),
    ],
)
def test_formats_of_the_field(source: str, events: list[tuple[str, object]], at: int) -> None:
    assert heard(TokenReader([source]), *(event(data, name) for name, data in events)) == (1, [at * 10])


def test_the_piece_that_makes_an_event_whole_gives_its_time() -> None:
    reader, token = TokenReader([OPENAI]), event(chunk(content="å"))
    assert heard(reader, token + token, token) == (3, [10, 10, 20])
    for cut in range(1, len(token) - 1):  # a blank line is over with its first character
        assert heard(reader, token[:cut], token[cut:]) == (1, [20])
    assert heard(reader, token + token[:5], token[5:] + token) == (3, [10, 20, 20])


def test_the_type_of_a_stream_has_no_case() -> None:
    body = event(chunk(content="a"))
    assert heard(TokenReader([OPENAI]), body, headers={"content-type": "Text/Event-Stream; charset=UTF-8"}) == (1, [10])


def test_chunks_are_tokens_only_without_length_json_or_events() -> None:
    reader = TokenReader(["chunk"])
    assert heard(reader, b"Hi", b" you", headers={"content-type": "text/plain"}) == (2, [10, 20])
    assert heard(reader, b"{}", headers={"content-type": "application/json"}) == (-1, [])
    assert heard(reader, b"Hi", headers={"content-length": "2"}) == (-1, [])
    assert heard(reader, event(chunk(content="a"))) == (-1, [])
    assert heard(TokenReader([OPENAI]), b"Hi", headers={}) == (-1, [])


@pytest.mark.parametrize("wbits", [31, 15, -15], ids=["gzip", "deflate", "bare deflate"])
def test_a_compressed_stream_is_read_as_it_arrives(wbits: int) -> None:
    deflater = zlib.compressobj(wbits=wbits)
    parts = [event(chunk(content=f"word{n}")) for n in range(5)]
    pieces = [deflater.compress(part) + deflater.flush(zlib.Z_SYNC_FLUSH) for part in parts]
    body, arrivals = arrived(*pieces)
    inflated = arrivals.inflate(body)
    assert inflated
    plain, readable = inflated
    assert plain == b"".join(parts)
    assert [readable.at(m.end) for m in messages(plain)] == [10, 20, 30, 40, 50]
    assert arrived(b"plain", b" text")[1].inflate(b"plain text") is None


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=60),
    st.integers(1, 40),
    st.sampled_from([None, 1, 50, 200]),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_a_stream_too_long_to_keep_loses_no_token(
    sizes: list[int], step: int, most: int | None, line_end: bytes
) -> None:
    """Events far smaller than the tail that is kept: whatever is read and cut when, every token is told once, with its
    time."""
    reader, head, tail, limit = TokenReader([OPENAI]), 300, 400, 1000
    whole = b"".join(event(chunk(content="x" * size)) for size in sizes).replace(b"\n", line_end)
    pieces = [whole[at : at + step * 7] for at in range(0, len(whole), step * 7)]
    body, arrivals, passing, end = bytearray(), Arrivals(), Passing(head, tail, reader), 0
    for number, piece in enumerate(pieces, 1):
        end += len(piece)
        arrivals.add(end, number * 10)
        body += piece
        if most is not None:
            passing.read(body, arrivals, most=most)
        if len(body) > limit:
            passing.shorten(body, arrivals)
    found = hear(reader, Answer(200, SSE, bytes(body), streamed=True), arrivals, passing)
    assert (found.number, list(found.times)) == heard(reader, *pieces)
    assert len(body) <= limit


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_without_blank_ones_between_them_lose_no_token(end: bytes) -> None:
    """As some servers send them: each line is read alone."""
    reader = TokenReader([OPENAI])
    pieces = [event(chunk(content=f"word {number}")).rstrip(b"\n") + end for number in range(200)]
    body, arrivals, passing, so_far = bytearray(), Arrivals(), Passing(300, 400, reader), 0
    for number, piece in enumerate(pieces, 1):
        so_far += len(piece)
        arrivals.add(so_far, number * 10)
        body += piece
        passing.read(body, arrivals, most=200)
        if len(body) > 2000:
            passing.shorten(body, arrivals)
    found = hear(reader, Answer(200, SSE, bytes(body), streamed=True), arrivals, passing)
    assert (found.number, list(found.times)) == (200, [number * 10 for number in range(1, 201)])


def test_without_arrivals_tokens_are_only_counted() -> None:
    answer = Answer(200, SSE, event(chunk(content="a")) * 3, streamed=True)
    assert hear(TokenReader([OPENAI]), answer, None, None) == (3, array("q"))


@pytest.mark.parametrize("source", ["sse", "sse:", "json:$.a", "event:a", "sse:$.[", "chunks", ""])
def test_a_bad_source_is_named(source: str) -> None:
    with pytest.raises(ValueError, match=r"token|JSONPATH|sse") as caught:
        Observation(Observe.model_validate({"token": source}))
    assert source in str(caught.value)
