"""The head of a plain HTTP answer, read in one go; whatever is not plain is left to a real parser.

Plain is what nearly every answer is: HTTP/1.1, status 2xx with a body whose length is given, every field on a line of
its own and named once, nothing that changes how the body or the connection is to be read. Everything else is refused
(None), also what a parser would take: refusing costs time, being wrong would cost an answer. RFC 9112, 4 and 5.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_STATUS_LINE = re.compile(r"HTTP/1\.1 (2\d\d)(?: .*)?", re.ASCII | re.DOTALL)
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TEXT = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""What may stand in a line."""
_NOT_PLAIN = frozenset(
    ("transfer-encoding", "upgrade", "content-encoding", "set-cookie", "set-cookie2", "proxy-connection")
)
_BODYLESS = (204, 205)
_MOST_DIGITS = 15
_MOST_NAMES = 1000
_names: dict[str, str] = {}
"""Names of fields that were seen and found good, and what they are in lower case."""


class Head(NamedTuple):
    """A plain head."""

    status: int
    length: int
    """Bytes of the body."""
    fields: dict[str, str]
    """By their names in lower case."""


@lru_cache(maxsize=64)
def _status(line: str) -> int:
    match = _STATUS_LINE.fullmatch(line)
    return int(match[1]) if match else 0


def _lower(name: str) -> str | None:
    if not _NAME.fullmatch(name):
        return None
    if len(_names) >= _MOST_NAMES:
        _names.clear()
    return _names.setdefault(name, name.lower())


def read(head: bytes) -> Head | None:
    """Return what a head says (`head` ends before its empty line), or None when it is not plain."""
    first, *rest = head.decode("latin-1").split("\r\n")
    status = _status(first)
    if not status or status in _BODYLESS or head.translate(None, _TEXT) != b"\r\n" * len(rest):
        return None
    fields = {}
    for line in rest:
        name, colon, value = line.partition(":")
        lower = _names.get(name) or _lower(name)
        if lower is None or not colon:
            return None
        fields[lower] = value.lstrip(" \t")  # what follows it belongs to it, says the parser
    length = fields.get("content-length", "")
    if (
        len(fields) != len(rest)
        or not (length.isdecimal() and length.isascii() and len(length) <= _MOST_DIGITS)
        or not _NOT_PLAIN.isdisjoint(fields)
        or ("connection" in fields and fields["connection"].lower() != "keep-alive")
    ):
        return None
    return Head(status, int(length), fields)
