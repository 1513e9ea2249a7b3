"""When the tokens of a stream arrived: which of its events are tokens, and which piece of the body made each whole.

A token is an event that shows text to the user: role-only, empty, reasoning and tool-call events hold none where the
target's `observe.token` looks. What a model's tokenizer makes of the text is not known here: an event may carry
several of its tokens, or part of one.
"""

from __future__ import annotations

import re
import zlib
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness import json_path
from harness.model.request import UNKNOWN
from harness.sse import is_stream, messages, paced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from harness.observe import Answer
    from harness.sse import Message


class Arrivals:
    """When the pieces of a body arrived: for each, the bytes of the body up to its end, and the time, ns."""

    __slots__ = ("ends", "times")

    def __init__(self) -> None:
        self.ends, self.times = array("q"), array("q")

    def add(self, end: int, t_ns: int) -> None:
        """Take a piece that ends at offset `end`."""
        self.ends.append(end)
        self.times.append(t_ns)

    def at(self, end: int) -> int:
        """Return when the byte before offset `end` had arrived."""
        return self.times[min(bisect_left(self.ends, end), len(self.times) - 1)]

    def forget(self, end: int) -> None:
        """Drop the pieces that end at or before offset `end`."""
        gone = bisect_left(self.ends, end + 1)
        del self.ends[:gone]
        del self.times[:gone]

    def inflate(self, body: bytes) -> tuple[bytes, Arrivals] | None:
        """Undo gzip or deflate piece by piece: a server that flushes after each event compresses it so that it can be
        read on arrival. Returns the text and when its pieces could be read; None when `body` is neither."""
        # The last is "deflate" without its header, as some servers have it.
        return self._inflate(body, zlib.decompressobj(47)) or self._inflate(body, zlib.decompressobj(-15))

    def _inflate(self, body: bytes, inflater: zlib._Decompress) -> tuple[bytes, Arrivals] | None:
        plain, readable, begin = bytearray(), Arrivals(), 0
        for end, t_ns in zip(self.ends, self.times, strict=True):
            try:
                plain += inflater.decompress(body[begin:end])
            except zlib.error:
                break
            readable.add(len(plain), t_ns)
            begin = end
        return (bytes(plain), readable) if plain else None


def _sse(query: str) -> Callable[[Message], Iterator[Any]]:
    texts = json_path.every(query)
    return lambda message: texts(message.data)


def _event(rest: str) -> Callable[[Message], Iterator[Any]]:
    name, colon, query = rest.partition(":")
    if not colon:
        raise ValueError("write event:NAME:JSONPATH")
    texts = json_path.every(query)
    return lambda message: texts(message.data) if message.name == name else iter(())


SOURCES = {"sse": _sse, "event": _event}
CHUNK = "chunk"


def _source(source: str) -> Callable[[Message], Iterator[Any]]:
    kind, colon, rest = source.partition(":")
    if not colon or kind not in SOURCES or not rest:
        known = "sse:JSONPATH, event:NAME:JSONPATH, chunk"
        raise ValueError(f"{source!r} does not tell tokens; write one of {known}")
    try:
        return SOURCES[kind](rest)
    except (ValueError, OverflowError, RecursionError, json_path.PathError) as error:
        raise ValueError(f"{source!r}: {error}") from error


class TokenReader:
    """The compiled token observer of a target. ValueError on a bad source."""

    def __init__(self, sources: Iterable[str]) -> None:
        sources = tuple(sources)
        self._chunks = CHUNK in sources
        self._texts = [_source(source) for source in sources if source != CHUNK]

    def is_token(self, message: Message) -> bool:
        """Tell whether an event holds text at any of the sources."""
        for texts in self._texts:
            for text in texts(message):
                if text and text.__class__ is str:
                    return True
        return False

    def hears(self, kind: str | None, length: str | None) -> Literal["events", "chunks"] | None:
        """Tell by its content type and length how an answer's tokens can be told; None: it is no stream."""
        kind = kind or ""
        if is_stream(kind):
            return "events" if self._texts else None
        return "chunks" if self._chunks and length is None and not kind.lower().startswith("application/json") else None


class Heard(NamedTuple):
    """The tokens of one answer: how many, `UNKNOWN` (-1) of what is no stream, and when each arrived.

    There are no times where the client does not show when bytes arrive.
    """

    number: int
    times: array[int]


NOTHING_HEARD = Heard(UNKNOWN, array("q"))


_BLANK_LINE = re.compile(rb"\r?\n\r?\n|\r\r")
_BLANK_LINES = (b"\n\n", b"\n\r\n", b"\r\r")


class Passing:
    """A stream that is, or may become, too long to be kept whole: its tokens are read as it passes, and its middle is
    dropped. `reader` is None where they are not to be had before it is over."""

    __slots__ = ("_head", "_read", "_reader", "_sought", "_tail", "cut", "times")

    def __init__(self, head: int, tail: int, reader: TokenReader | None) -> None:
        self._head, self._tail, self._reader = head, tail, reader
        self._read = self._sought = 0
        """Offsets in the stream up to which tokens were read, and up to which there is no blank line behind these."""
        self.cut = 0
        """Bytes dropped."""
        self.times = array("q")

    def read(self, body: bytearray, arrivals: Arrivals | None, *, most: int) -> None:
        """Read the tokens of `most` bytes that were not read yet, and of the rest of the event there: as soon as there
        are so many, and its blank line."""
        if self._reader is None or arrivals is None:
            return
        blank = _BLANK_LINE.search(body, max(self.unread + most, self._sought - self.cut - 3))
        if blank:
            self._read_to(blank.end(), body, arrivals)
        else:
            self._sought = self.cut + len(body)

    def shorten(self, body: bytearray, arrivals: Arrivals | None) -> None:
        """Drop all but the head and the tail of what was kept, once the tokens in it are read."""
        kept = len(body) - self._tail
        if self._reader is not None and arrivals is not None:
            whole = max(at + len(blank) if (at := body.rfind(blank)) >= 0 else 0 for blank in _BLANK_LINES)
            self._read_to(whole, body, arrivals)
            if self.unread < kept:  # lines without blank ones between them, or one that is longer than the tail
                self._read_to(max(body.rfind(end) for end in (b"\n", b"\r")) + 1, body, arrivals, ended=True)
        self.cut += kept - self._head
        del body[self._head : kept]

    def _read_to(self, end: int, body: bytearray, arrivals: Arrivals, *, ended: bool = False) -> None:
        begin = self.unread
        if end <= begin:
            return
        assert self._reader is not None  # noqa: S101 - nobody reads without
        whole, offset = messages(body[begin:end], ended=ended), begin + self.cut
        self.times.extend(arrivals.at(m.end + offset) for m in whole if self._reader.is_token(m))
        self._read = self.cut + end
        arrivals.forget(self._read)

    @property
    def unread(self) -> int:
        """Where in what was kept the tokens begin that were not read yet."""
        return max(self._read - self.cut, self._head if self.cut else 0)


def hear(reader: TokenReader, answer: Answer, arrivals: Arrivals | None, passing: Passing | None) -> Heard:
    """Return the tokens of an answer that is over. Without `arrivals` they are counted, where they can be."""
    how = reader.hears(answer.headers.get("content-type"), answer.headers.get("content-length"))
    if how is None or (arrivals is None and (how == "chunks" or not answer.body)):
        return NOTHING_HEARD
    if how == "chunks":
        assert arrivals is not None  # noqa: S101
        return Heard(len(arrivals.times), arrivals.times)
    if passing is None or not passing.unread:
        found, times, cut = answer.messages, array("q"), 0
    else:
        found = messages(answer.body, passing.unread, pause=answer.pause)
        times, cut = passing.times, passing.cut
    ends = [m.end + cut for m in paced(found, answer.pause) if reader.is_token(m)]
    if arrivals is None:
        return Heard(len(ends), times)
    times.extend(map(arrivals.at, ends))
    return Heard(len(times), times)
