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

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventhttpclient.header import Headers

METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""Those whose answers have a body."""
SPAN_HOLE = 0xF1F2F3F4F5F6F7F8
"""The request number that stands where each request's own is to be."""
_SPAN = f"{SPAN_HOLE:016x}"
_LENGTH = 4611686018427387904
_PLAIN_URI = re.compile(r"/(?!/)[!-~]*")
_LEFT_TO_THEM = ("transfer-encoding", "expect")
_MOST = 1024


class Place(NamedTuple):
    """Where a request goes."""

    url: KnownUrl
    client: tuple[str, int | None]
    """Which client of a pool goes there: host, port."""
    uri: str


@lru_cache(maxsize=_MOST)
def place(base_url: str | None, path: str) -> Place | None:
    """Return where `path` of a session with `base_url` lies; None when its URL is not a plain one."""
    try:
        url = KnownUrl(path if fasthttp.absolute_http_url_regexp.match(path) else f"{base_url}{path}")
        found = Place(url, (url.host, url.port), url.quoted_uri)
    except ValueError:  # no URL at all, or a port that is no number
        return None
    return found if found.client[0] and _PLAIN_URI.fullmatch(found.uri) else None


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

    def headers_for(self, request_id: int, length: int) -> Headers:
        """Return the headers of a request."""
        headers = self.headers.copy()
        for name, value in self.headers.items():
            if _SPAN in value or value == str(_LENGTH):
                headers[name] = fill(value, request_id, length)
        return headers


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
    return (
        Template(rest, headers, request.payload.__class__ is bytes) if whole and rest.count(_SPAN) in (0, 2) else None
    )


def fill(head: str, request_id: int, length: int) -> str:
    """Fill a template in."""
    return head.replace(_SPAN, f"{request_id:016x}").replace(str(_LENGTH), str(length))


class Templates:
    """Templates by kind, for all sessions of this process."""

    def __init__(self) -> None:
        self._known: dict[Any, Template | None] = {}

    def get(self, kind: Any, make: Callable[[], Template | None]) -> Template | None:
        """Return the template of a `kind`, made by `make` when it is new."""
        try:
            return self._known[kind]
        except KeyError:
            if len(self._known) >= _MOST:
                self._known.clear()
            found = self._known[kind] = make()
            return found
        except TypeError:  # a field of several lines
            return None
