"""Reading facts off an answer, so that any system can be measured unchanged (`model.target.Observe`).

Used by every client of the system under test (the load generator, the canary); pure, and compiled once because it
runs once per request. Sources: ``header:NAME``, ``json:JSONPATH`` (RFC 9535), ``sse:JSONPATH`` (the last event of a
stream that has it), ``regex:PATTERN`` (first group, on the body), ``status``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness import json_path
from harness.json_path import ABSENT
from harness.model.request import UNKNOWN, Outcome
from harness.sse import Message, messages, parse_json
from harness.tokens import TokenReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.model.target import Observe, Observer


class Answer:
    """One answer as it arrived. `headers` has lower-case keys; `body` is decoded once, only when a source asks.

    `streamed` tells that the body is server-sent events.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, *, streamed: bool = False) -> None:
        self.status, self.headers, self.body, self.streamed = status, headers, body, streamed

    @cached_property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @cached_property
    def json(self) -> Any:
        """The body as JSON, or None when it is not JSON."""
        return None if self.streamed else parse_json(self.text)

    @cached_property
    def messages(self) -> list[Message]:
        """The events of a stream that carry JSON, in order."""
        return messages(self.body) if self.streamed else []


def _header(name: str) -> Callable[[Answer], Any]:
    key = name.strip().lower()
    return lambda answer: answer.headers.get(key, ABSENT)


def _json_source(query: str) -> Callable[[Answer], Any]:
    read = json_path.first(query)
    return lambda answer: read(answer.json)


def _sse(query: str) -> Callable[[Answer], Any]:
    read = json_path.first(query)
    return lambda answer: next(
        (value for m in reversed(answer.messages) if (value := read(m.data)) is not ABSENT), ABSENT
    )


def _regex(pattern: str) -> Callable[[Answer], Any]:
    compiled = re.compile(pattern)
    if compiled.groups != 1:
        raise ValueError(f"regex:{pattern}: needs exactly one group, which is what is read")

    def read(answer: Answer) -> Any:
        match = compiled.search(answer.text)
        return match[1] if match else ABSENT

    return read


SOURCES: Mapping[str, Callable[[str], Callable[[Answer], Any]]] = {
    "header": _header,
    "json": _json_source,
    "sse": _sse,
    "regex": _regex,
}


def compile_source(source: str) -> Callable[[Answer], Any]:
    """Return the reader for one source; ValueError names what is wrong with it and what is known."""
    if source == "status":
        return lambda answer: answer.status
    kind, colon, rest = source.partition(":")
    if not colon or kind not in SOURCES or not rest:
        raise ValueError(f"{source!r} is no source; write one of {', '.join(f'{k}:...' for k in SOURCES)}, status")
    try:
        return SOURCES[kind](rest)
    except (json_path.PathError, re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{source!r}: {error}") from error


class Reader:
    """One compiled observer."""

    def __init__(self, observer: Observer) -> None:
        self._sources = [compile_source(source) for source in observer.sources]
        self._map = {str(k): v for k, v in observer.map.items()}

    def __call__(self, answer: Answer) -> Any:
        """Return the value, or None when the answer does not show it."""
        for source in self._sources:
            value = source(answer)
            if value is ABSENT:
                continue
            if self._map:
                key = str(value).lower() if isinstance(value, bool) else str(value)
                if key not in self._map:
                    continue
                return self._map[key]
            return value
        return None


@dataclass(frozen=True, slots=True)
class Reading:
    """The facts of one answer. Integers are `UNKNOWN` (-1) where the answer does not show them."""

    outcome: Outcome
    error: str
    provider: str
    cached: int
    cache_lookups: int
    cache_hits: int
    tokens_in: int
    tokens_out: int


_FALSE = ("", "0", "false", "none", "null", "no")


def truthy(value: Any) -> bool:
    """Tell whether an observed value means yes: headers say it in words, JSON in booleans."""
    return value.strip().lower() not in _FALSE if isinstance(value, str) else bool(value)


def _integer(value: Any) -> int:
    try:
        number = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return UNKNOWN
    return number if abs(number) < 2**31 else UNKNOWN  # no count of tokens; whatever it is, it must fit its column


class Observation:
    """All observers of a target, compiled. `read` judges an answer that arrived whole; ValueError on a bad source."""

    def __init__(self, observe: Observe) -> None:
        names = ("provider", "cached", "cache_lookups", "cache_hits", "degraded", "error", "answer")
        self._readers = {
            name: Reader(observer)
            for name in (*names, "tokens_in", "tokens_out")
            if (observer := getattr(observe, name)) is not None
        }
        self._stream_end = observe.stream_end.encode() if observe.stream_end else b""
        self.tokens = TokenReader(observe.token) if observe.token else None

    def _value(self, name: str, answer: Answer) -> Any:
        reader = self._readers.get(name)
        return None if reader is None else reader(answer)

    def _judge(self, answer: Answer) -> tuple[Outcome, str]:
        if not 200 <= answer.status < 400:
            return Outcome.FAILED, f"HTTP {answer.status}"
        if (error := self._value("error", answer)) is not None and truthy(error):
            return Outcome.FAILED, f"error in the answer: {_brief(error)}"
        if answer.streamed:
            if self._stream_end and self._stream_end not in answer.body[-4096:]:
                return Outcome.FAILED, "stream ended before its end marker"
        elif "answer" in self._readers and not truthy(self._value("answer", answer)):
            return Outcome.FAILED, "status 200 without an answer"
        degraded = self._value("degraded", answer)
        return (Outcome.DEGRADED if degraded is not None and truthy(degraded) else Outcome.OK), ""

    def read(self, answer: Answer) -> Reading:
        """Return what `answer` shows."""
        outcome, error = self._judge(answer)
        cached = self._value("cached", answer)
        hit = UNKNOWN if cached is None else int(truthy(cached))
        lookups, hits = self._value("cache_lookups", answer), self._value("cache_hits", answer)
        provider = self._value("provider", answer)
        return Reading(
            outcome=outcome,
            error=error,
            provider="" if provider is None else str(provider),
            cached=hit,
            # A system that only says hit or miss made one lookup.
            cache_lookups=_integer(lookups) if lookups is not None else (UNKNOWN if hit == UNKNOWN else 1),
            cache_hits=_integer(hits) if hits is not None else hit,
            tokens_in=_integer(self._value("tokens_in", answer)),
            tokens_out=_integer(self._value("tokens_out", answer)),
        )


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."
