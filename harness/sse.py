"""Server-sent events in a body (WHATWG HTML, 9.2.6), each with the offset at which it was whole.

More lenient than a browser where servers are sloppier than the standard: a last event without its blank line counts,
and of an event whose lines are no JSON together, each line that is JSON alone counts.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Pause = Callable[[], object]

_TYPE = "text/event-stream"
_AT_ONCE = 16
"""Events between two pauses: about 0.2 ms."""
_LINE_END = re.compile(rb"\r\n|\n|\r")


def is_stream(content_type: str) -> bool:
    """Tell whether a body of this type is server-sent events; types have no case (RFC 9110, 8.3.1)."""
    return content_type[: len(_TYPE)].lower() == _TYPE


class Message(NamedTuple):
    """One event that carries JSON: its name ("" when it has none), its data, and the bytes up to its end.

    An event is over at its blank line, or at the end of its own line where it shares the blank line with others.
    """

    name: str
    data: Any
    end: int


def parse_json(text: str) -> Any:
    """Return `text` as JSON; None when it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def messages(
    body: bytes | bytearray, start: int = 0, *, ended: bool = True, pause: Pause | None = None
) -> list[Message]:
    """Return the events from offset `start` on that carry JSON; of a body that has not `ended`, only whole ones."""
    return list(paced(_messages(body, start, ended=ended), pause))


def paced(events: Iterable[Message], pause: Pause | None) -> Iterator[Message]:
    """Go through events, and call `pause` between a few of them: a long stream's take milliseconds."""
    if pause is None:
        yield from events
        return
    for number, event in enumerate(events, 1):
        yield event
        if number % _AT_ONCE == 0:
            pause()


def _messages(body: bytes | bytearray, start: int, *, ended: bool) -> Iterator[Message]:
    name, data = "", list[tuple[str, int]]()
    for match in _LINE_END.finditer(body, start):
        line, start = body[start : match.start()], match.end()
        if not line:
            yield from _event(name, data, match.start() + 1)
            name, data = "", list[tuple[str, int]]()
        elif line.startswith(b"data:"):
            data.append((line[5:].decode("utf-8", "replace"), match.start() + 1))
        elif line.startswith(b"event:"):
            name = line[6:].decode("utf-8", "replace").strip()
    if ended:
        if (line := body[start:]).startswith(b"data:"):
            data.append((line[5:].decode("utf-8", "replace"), len(body)))
        yield from _event(name, data, len(body))


def _event(name: str, lines: list[tuple[str, int]], end: int) -> Iterator[Message]:
    if not lines:
        return
    value = parse_json("\n".join(text for text, _ in lines) if len(lines) > 1 else lines[0][0])
    if value is not None:
        yield Message(name, value, end)
    elif len(lines) > 1:
        for text, line_end in lines:
            if (value := parse_json(text)) is not None:
                yield Message(name, value, line_end)
