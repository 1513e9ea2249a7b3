"""Reading k6's samples (``--out json``): one JSON object a line, most of which nobody needs.

A line names its metric first, so what is not ours is passed over without being parsed.
"""

from __future__ import annotations

import calendar
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.traffic.k6_record import Book

_START = b'{"metric":"'
_UNRECORDED = 'a request was made past agentstorm: use `import http from "k6/http"` and call http.get, http.post ...'


@lru_cache(maxsize=8)
def _second(text: str) -> int:
    year, month, day = (int(part) for part in text[:10].split("-"))
    hour, minute, second = (int(part) for part in text[11:19].split(":"))
    return calendar.timegm((year, month, day, hour, minute, second)) * NS_PER_S


def time_ns(text: str) -> int:
    """Return a time of k6's (RFC 3339, UTC, ns) as ns since 1970."""
    return _second(text[:19]) + int(text[20:-1].ljust(9, "0") or 0)


class Samples:
    """Takes k6's output as it comes and enters what it says into the book."""

    def __init__(self, book: Book) -> None:
        self._book, self._rest = book, b""
        self._last_tick_ns = -1
        self.on: Mapping[bytes, Callable[[dict[str, Any]], None]] = {
            b"agentstorm_arrival": self._arrival,
            b"agentstorm_begin": self._begin,
            b"agentstorm_end": self._end,
            b"agentstorm_silent": lambda data: book.silent(int(data["value"])),
            b"agentstorm_error": lambda data: book.failed(_said(data)["error"]),
            b"agentstorm_tick": self._tick,
            b"agentstorm_user": self._user,
            b"http_req_duration": self._duration,
            b"dropped_iterations": self._dropped,
        }
        """What is done with a point of each metric; any other is passed over."""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of k6's output."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if not line.startswith(_START):
                continue
            take = self.on.get(line[len(_START) : line.index(b'"', len(_START))])
            if take is not None:
                point = json.loads(line)
                if point["type"] == "Point":
                    take(point["data"])

    def _arrival(self, data: dict[str, Any]) -> None:
        self._book.arrival(int(data["value"]), time_ns(data["time"]), _said(data).get("start_ms"))

    def _begin(self, data: dict[str, Any]) -> None:
        self._book.begin(int(data["value"]), time_ns(data["time"]), _said(data))

    def _end(self, data: dict[str, Any]) -> None:
        self._book.end(int(data["value"]), time_ns(data["time"]), _said(data))

    def _user(self, data: dict[str, Any]) -> None:
        self._book.users += int(data["value"])

    def _duration(self, data: dict[str, Any]) -> None:
        request_id = (data.get("metadata") or {}).get("agentstorm_id")
        if request_id is not None:
            self._book.body_read(int(request_id), time_ns(data["time"]))
        elif data["tags"].get("scenario") == "load":
            self._book.failed(_UNRECORDED)

    def _dropped(self, data: dict[str, Any]) -> None:
        if data["tags"].get("scenario") == "load":
            for _ in range(int(data["value"])):
                self._book.drop(time_ns(data["time"]))

    def _tick(self, data: dict[str, Any]) -> None:
        now = time_ns(data["time"])
        if self._last_tick_ns >= 0:
            self._book.lags_ns.append(max(0, now - self._last_tick_ns - round(data["value"] * NS_PER_MS)))
        self._last_tick_ns = now


def _said(data: dict[str, Any]) -> dict[str, Any]:
    text = (data.get("metadata") or {}).get("agentstorm")
    return json.loads(text) if text else {}
