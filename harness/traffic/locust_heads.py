"""Heads of requests, built once by Locust and geventhttpclient and filled in for each request. Only for the subprocess.

What a workload asks is nearly always the same but for its body, and two fields of the head differ with it: the length
of the body and the trace id. So the first request of its kind is built in full, by the code that builds every request
without us; its head is kept with holes for the two. A kind is everything else that the head depends on. What may depend
on more than that has no template, and goes the ordinary way.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from geventhttpclient.client import HTTPClient
from locust.contrib import fasthttp

from harness.traffic.locust_client import KnownUrl
from harness.traffic.locust_hosts import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventhttpclient.header import Headers

METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""Those whose answers have a body."""
SPAN_HOLE = 0xF1F2F3F4F5F6F7F8
"""The request number that stands where each request's own is to be."""
SPAN = f"{SPAN_HOLE:016x}"
_LENGTH = 4611686018427387904
_PLAIN_URI = re.compile(r"/(?!/)[!-~]*")
_LEFT_TO_THEM = ("transfer-encoding", "expect")
_MOST = 1024
_MEANT = frozenset(
    ("host", "connection", "content-length", "transfer-encoding", "expect", "cookie", "upgrade", "te", "traceparent")
)
"""Fields whose values may mean something to whoever builds the head; all others stand in it as they are."""
_PLAIN_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_VALUE_HOLE = "agentstorm-value-{}-hole"


class Place(NamedTuple):
    """Where a request goes."""

    url: KnownUrl
    client: tuple[str, int | None]
    """Which client of a pool goes there: host, port."""
    uri: str


@lru_cache(maxsize=_MOST)
def place(base_url: str | None, path: str) -> Place | None:
    """Return where `path` of a session with `base_url` lies; None when its URL is not a plain one, or foreign."""
    try:
        url = KnownUrl(path if fasthttp.absolute_http_url_regexp.match(path) else f"{base_url}{path}")
        found = Place(url, (url.host, url.port), url.quoted_uri)
    except ValueError:  # no URL at all, or a port that is no number
        return None
    host = found.client[0]
    return found if host and _PLAIN_URI.fullmatch(found.uri) and not refusal(host) else None


class _Length:
    """Stands for a body of any length."""

    def __len__(self) -> int:
        return _LENGTH


class Template(NamedTuple):
    """What requests of a kind have in common."""

    head: str
    """Without its first line."""
    headers: Headers
    """As Locust shows them."""
    encoded: bool
    """Whether Locust shows a text as the bytes that are sent."""
    values: tuple[str, ...] = ()
    """What fills the holes for values: in `head` they are filled."""

    def headers_for(self, request_id: int, length: int) -> Headers:
        """Return the headers of a request."""
        headers = self.headers.copy()
        holes = dict(zip(map(_VALUE_HOLE.format, range(len(self.values))), self.values, strict=True))
        for name, value in self.headers.items():
            if value in holes:
                headers[name] = holes[value]
            elif SPAN in value or value == str(_LENGTH):
                headers[name] = fill(value, request_id, length)
        return headers

    def with_values(self, values: tuple[str, ...]) -> Template | None:
        """Return the template with its holes for values filled; None when these cannot stand in a head as they are."""
        head = self.head
        for number, value in enumerate(values):
            if not _PLAIN_VALUE.fullmatch(value) or SPAN in value or str(_LENGTH) in value or "-hole" in value:
                return None
            head = head.replace(_VALUE_HOLE.format(number), value)
        return self._replace(head=head, values=values)


def with_holes(fields: dict[str, str]) -> dict[str, str] | None:
    """Return the fields of a request with a hole for each value; None when a value may mean something to others."""
    if any(name.lower() in _MEANT for name in fields):
        return None
    return {name: _VALUE_HOLE.format(number) for number, name in enumerate(fields)}


def template(client: HTTPClient, method: str, uri: str, request: Any) -> Template | None:
    """Return the template of a `request` of Locust's; None when it cannot be filled in. ValueError: a bad header."""
    headers, body = request.headers, bool(request.payload)
    fields = client.headers_type()
    fields.update(client.default_headers)
    fields.update(headers)
    if client.use_proxy or client.version != client.HTTP_11 or any(name in fields for name in _LEFT_TO_THEM):
        return None
    if body and "content-length" in headers:
        headers = headers.copy()
        headers["content-length"] = str(_LENGTH)
    what: Any = _Length() if body else b""
    head = HTTPClient._build_request(client, method, uri, what, headers, False)  # noqa: SLF001
    line, _, rest = head.partition("\r\n")
    whole = line == f"{method} {uri} HTTP/1.1" and rest.count(str(_LENGTH)) == body and rest.isascii()
    return Template(rest, headers, request.payload.__class__ is bytes) if whole and rest.count(SPAN) in (0, 2) else None


def fill(head: str, request_id: int, length: int) -> str:
    """Fill a template in."""
    return head.replace(SPAN, f"{request_id:016x}").replace(str(_LENGTH), str(length))


class Templates:
    """Templates by kind, for all sessions of this process.

    What comes with fields of the same names and ever new values (a request's key, a session's token) is one kind with
    holes for the values too, from the second time on.
    """

    def __init__(self) -> None:
        self._known: dict[Any, Template | None] = {}
        self._named: dict[Any, Template | None] = {}
        self._met: set[Any] = set()

    def get(
        self, kind: Any, fields: dict[str, str] | None, make: Callable[[dict[str, str] | None], Template | None]
    ) -> Template | None:
        """Return the template of a `kind` of requests with some `fields`; `make` makes one of fields."""
        values = tuple(fields.items()) if fields else ()
        try:
            return self._known[kind, values]
        except KeyError:
            pass
        except TypeError:  # a field of several lines
            return None
        found = self._with_values(kind, fields, make) if fields else None
        if found is None:
            found = make(fields)
            if fields:
                self._met.add((kind, tuple(fields)))
        if len(self._known) >= _MOST:
            self._known.clear()
            self._met.clear()
        self._known[kind, values] = found
        return found

    def _with_values(
        self, kind: Any, fields: dict[str, str], make: Callable[[dict[str, str] | None], Template | None]
    ) -> Template | None:
        key = kind, tuple(fields)
        if key not in self._named:
            if key not in self._met:
                return None
            if len(self._named) >= _MOST:
                self._named.clear()
            holes = with_holes(fields) if all(value.__class__ is str for value in fields.values()) else None
            named = make(holes) if holes else None
            self._named[key] = named if named and _whole(named, len(fields)) else None
        open_one = self._named[key]
        if open_one is None or not all(value.__class__ is str for value in fields.values()):
            return None
        return open_one.with_values(tuple(fields.values()))


def _whole(named: Template, values: int) -> bool:
    """Tell whether each hole for a value is in a head once, as a value."""
    return all(named.head.count(f": {_VALUE_HOLE.format(number)}\r\n") == 1 for number in range(values))
