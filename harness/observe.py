"""Reading facts off an answer, so that any system can be measured unchanged (`model.target.Observe`).

Used by every client of the system under test (the load generator, the canary); pure, and compiled once because it
runs once per request. Sources: ``header:NAME``, ``json:JSONPATH`` (RFC 9535), ``sse:JSONPATH`` (the last event of a
stream that has it), ``regex:PATTERN`` (first group, on the body), ``status``.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from harness import json_path
from harness.json_path import ABSENT
from harness.model.request import UNKNOWN, Outcome
from harness.sse import Message, messages, paced, parse_json
from harness.tokens import TokenReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.model.target import Observe, Observer
    from harness.sse import Pause


class Answer:
    """One answer as it arrived. `headers` has lower-case keys; `body` is decoded once, only when a source asks.

    `streamed` tells that the body is server-sent events; between a few of them `pause` is called.
    """

    __slots__ = ("_json", "_messages", "_text", "body", "headers", "pause", "status", "streamed")

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        *,
        streamed: bool = False,
        pause: Pause | None = None,
    ) -> None:
        self.status, self.headers, self.body, self.streamed, self.pause = status, headers, body, streamed, pause
        self._text: str | None = None
        self._json: Any = _UNREAD
        self._messages: list[Message] | None = None

    @property
    def text(self) -> str:
        """The body as text."""
        if self._text is None:
            self._text = self.body.decode("utf-8", "replace")
        return self._text

    @property
    def json(self) -> Any:
        """The body as JSON, or None when it is not JSON."""
        if self._json is _UNREAD:
            self._json = None if self.streamed else parse_json(self.text)
        return self._json

    @property
    def messages(self) -> list[Message]:
        """The events of a stream that carry JSON, in order."""
        if self._messages is None:
            self._messages = messages(self.body, pause=self.pause) if self.streamed else []
        return self._messages


_UNREAD = object()


def _header(name: str) -> Callable[[Answer], Any]:
    key = name.strip().lower()
    return lambda answer: answer.headers.get(key, ABSENT)


def _json_source(query: str) -> Callable[[Answer], Any]:
    read = json_path.first(query)
    return lambda answer: ABSENT if answer.streamed else read(answer.json)


def _sse(query: str) -> Callable[[Answer], Any]:
    read = json_path.first(query)

    def last(answer: Answer) -> Any:
        if not answer.streamed:
            return ABSENT
        latest = paced(reversed(answer.messages), answer.pause)
        return next((value for m in latest if (value := read(m.data)) is not ABSENT), ABSENT)

    return last


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


def compile_observer(observer: Observer | None) -> Callable[[Answer], Any]:
    """Return the reader of one observer: the value, or None when the answer does not show it. ValueError as above."""
    if observer is None:
        return lambda _: None
    sources = tuple(compile_source(source) for source in observer.sources)
    known = {str(k): v for k, v in observer.map.items()}

    def plain(answer: Answer) -> Any:
        for source in sources:
            if (value := source(answer)) is not ABSENT:
                return value
        return None

    def mapped(answer: Answer) -> Any:
        for source in sources:
            if (value := source(answer)) is not ABSENT:
                key = str(value).lower() if isinstance(value, bool) else str(value)
                if key in known:
                    return known[key]
        return None

    return mapped if known else plain


class Reading(NamedTuple):
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
    if value is None:
        return UNKNOWN
    try:
        number = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return UNKNOWN
    return number if abs(number) < 2**31 else UNKNOWN  # no count of tokens; whatever it is, it must fit its column


class Observation:
    """All observers of a target, compiled. `read` judges an answer that arrived whole; ValueError on a bad source."""

    def __init__(self, observe: Observe) -> None:
        self._provider = compile_observer(observe.provider)
        self._cached = compile_observer(observe.cached)
        self._lookups, self._hits = compile_observer(observe.cache_lookups), compile_observer(observe.cache_hits)
        self._tokens_in, self._tokens_out = compile_observer(observe.tokens_in), compile_observer(observe.tokens_out)
        self._error, self._degraded = compile_observer(observe.error), compile_observer(observe.degraded)
        self._answer = compile_observer(observe.answer) if observe.answer else None
        self._stream_end = observe.stream_end.encode() if observe.stream_end else b""
        self.tokens = TokenReader(observe.token) if observe.token else None

    def _judge(self, answer: Answer) -> tuple[Outcome, str]:
        if not 200 <= answer.status < 400:
            return Outcome.FAILED, f"HTTP {answer.status}"
        if (error := self._error(answer)) is not None and truthy(error):
            return Outcome.FAILED, f"error in the answer: {_brief(error)}"
        if answer.streamed:
            if self._stream_end and self._stream_end not in answer.body[-4096:]:
                return Outcome.FAILED, "stream ended before its end marker"
        elif self._answer is not None and not truthy(self._answer(answer)):
            return Outcome.FAILED, "status 200 without an answer"
        degraded = self._degraded(answer)
        return (Outcome.DEGRADED if degraded is not None and truthy(degraded) else Outcome.OK), ""

    def read(self, answer: Answer) -> Reading:
        """Return what `answer` shows."""
        outcome, error = self._judge(answer)
        cached = self._cached(answer)
        hit = UNKNOWN if cached is None else int(truthy(cached))
        lookups, hits = self._lookups(answer), self._hits(answer)
        provider = self._provider(answer)
        return Reading(
            outcome,
            error,
            "" if provider is None else str(provider),
            hit,
            # A system that only says hit or miss made one lookup.
            _integer(lookups) if lookups is not None else (UNKNOWN if hit == UNKNOWN else 1),
            _integer(hits) if hits is not None else hit,
            _integer(self._tokens_in(answer)),
            _integer(self._tokens_out(answer)),
        )


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."
