"""Outcomes are judged on what the user received, not on the status alone."""

from __future__ import annotations

import json

import pytest

from harness import json_path
from harness.json_path import ABSENT
from harness.model.request import UNKNOWN, Outcome
from harness.model.target import Observe
from harness.observe import Answer, Observation, compile_source, truthy

OBSERVE = Observe.model_validate(
    {
        "provider": ["header:x-llm-provider", "sse:$.provider"],
        "cached": {"from": "header:X-Cache", "map": {"hit": True, "miss": False}},
        "cache_lookups": "header:x-cache-lookups",
        "cache_hits": "header:x-cache-hits",
        "degraded": ["header:x-degraded", "json:$.degraded", "sse:$.degraded"],
        "error": ["json:$.error", "sse:$.error"],
        "answer": "json:$.answer",
        "tokens_out": ["json:$.usage.output", "sse:$.usage.output"],
        "stream_end": "data: [DONE]",
    }
)


def read(
    body: str, status: int = 200, headers: dict[str, str] | None = None, *, streamed: bool = False
) -> tuple[str, str]:
    reading = Observation(OBSERVE).read(Answer(status, headers or {}, body.encode(), streamed=streamed))
    return reading.outcome, reading.error


@pytest.mark.parametrize(
    ("body", "status", "outcome", "error"),
    [
        ('{"answer": "yes"}', 200, "ok", ""),
        ('{"answer": "yes", "degraded": true}', 200, "degraded", ""),
        ('{"answer": "yes", "degraded": false}', 200, "ok", ""),
        ('{"answer": "yes"}', 503, "failed", "HTTP 503"),
        ("null", 200, "failed", "status 200 without an answer"),
        ('{"answer": null}', 200, "failed", "status 200 without an answer"),
        ('{"answer": ""}', 200, "failed", "status 200 without an answer"),
        ("<html>", 200, "failed", "status 200 without an answer"),
        ("", 200, "failed", "status 200 without an answer"),
        ('{"error": {"code": 1}}', 200, "failed", 'error in the answer: {"code": 1}'),
        ('{"error": null, "answer": "yes"}', 200, "ok", ""),
    ],
)
def test_an_answer_is_more_than_its_status(body: str, status: int, outcome: str, error: str) -> None:
    assert read(body, status) == (outcome, error)


STREAM = 'data: {"delta": "a"}\n\ndata: {"done": true, "provider": "bedrock", "usage": {"output": 7}}\n\n'


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (STREAM + "data: [DONE]\n\n", "ok"),
        (STREAM, "failed"),
        ('data: {"delta": "a"}\n\n', "failed"),
        ('data: {"error": {"message": "gone"}}\n\ndata: [DONE]\n\n', "failed"),
        ('data: {"delta": "a"}\n\ndata: {"degraded": true}\n\ndata: [DONE]\n\n', "degraded"),
    ],
)
def test_a_stream_without_its_end_is_not_ok(body: str, outcome: str) -> None:
    assert read(body, streamed=True)[0] == outcome


def test_facts_come_from_the_first_source_that_has_them() -> None:
    headers = {"x-llm-provider": "openai", "x-cache": "miss", "x-cache-lookups": "5", "x-cache-hits": "2"}
    reading = Observation(OBSERVE).read(Answer(200, headers, b'{"answer": "a", "usage": {"output": 3}}'))
    assert (reading.provider, reading.cached, reading.cache_lookups, reading.cache_hits) == ("openai", 0, 5, 2)
    assert (reading.tokens_in, reading.tokens_out) == (UNKNOWN, 3)
    streamed = Observation(OBSERVE).read(Answer(200, {}, (STREAM + "data: [DONE]").encode(), streamed=True))
    assert (streamed.provider, streamed.tokens_out, streamed.cached) == ("bedrock", 7, UNKNOWN)


def test_a_word_outside_the_map_is_not_seen() -> None:
    reading = Observation(OBSERVE).read(Answer(200, {"x-cache": "bypass"}, b'{"answer": "a"}'))
    assert (reading.cached, reading.cache_lookups, reading.cache_hits) == (UNKNOWN, UNKNOWN, UNKNOWN)


def test_a_target_that_shows_nothing_is_judged_by_status() -> None:
    blind = Observation(Observe())
    assert blind.read(Answer(200, {}, b"")).outcome is Outcome.OK
    assert blind.read(Answer(500, {}, b"")).outcome is Outcome.FAILED


@pytest.mark.parametrize("source", ["head:x", "json:", "json:$.[", "regex:(", "regex:none", "", "header"])
def test_a_bad_source_is_named(source: str) -> None:
    with pytest.raises(ValueError, match=r"source|regex|json") as caught:
        compile_source(source)
    assert source in str(caught.value)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_nested_too_deep_is_no_json(streamed: bool) -> None:
    assert read(("data: " if streamed else "") + "[" * 100_000, streamed=streamed)[0] == "failed"


@pytest.mark.parametrize("source", ["json:$..error", "sse:$..error"])
def test_a_path_that_goes_too_deep_finds_nothing(source: str) -> None:
    streamed, deep = source.startswith("sse"), "[" * 200 + "1" + "]" * 200
    answer = Answer(200, {}, (f"data: {deep}" if streamed else deep).encode(), streamed=streamed)
    assert compile_source(source)(answer) is ABSENT
    assert list(json_path.every("$..error")(json.loads(deep))) == []


def test_regex_and_status_sources() -> None:
    answer = Answer(207, {}, b"by model claude-3 in 2 s")
    assert compile_source(r"regex:model (\S+)")(answer) == "claude-3"
    assert compile_source("status")(answer) == 207


@pytest.mark.parametrize(
    ("value", "expected"),
    [("false", False), ("No", False), ("0", False), ("hit", True), (0, False), ({}, False), ([1], True), (None, False)],
)
def test_truthy_reads_headers_as_words(value: object, expected: bool) -> None:
    assert truthy(value) is expected


@pytest.mark.parametrize("tokens", ["1e300", str(2**40), "-1e12", "nan", "inf", "many"])
def test_a_number_that_is_no_count_is_not_shown(tokens: str) -> None:
    reading = Observation(Observe.model_validate({"tokens_in": "header:x"})).read(Answer(200, {"x": tokens}, b""))
    assert reading.tokens_in == UNKNOWN
