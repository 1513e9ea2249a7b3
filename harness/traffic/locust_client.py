"""What geventhttpclient and Locust do for every request, done faster. Only for the Locust subprocess.

Measuring costs time on the generator's one core; this is where it is earned back. Each piece does exactly what the one
it stands in for does, for less: see `benchmarks/` for what that comes to.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from http.cookiejar import CookieJar
from socket import MSG_DONTWAIT, MSG_PEEK
from typing import Any

from geventhttpclient import client
from geventhttpclient.client import HTTPClient
from geventhttpclient.header import Headers
from geventhttpclient.url import URL

_uses_chunks, _waits_for_continue = client._uses_chunked_transfer, client._requests_100_continue  # noqa: SLF001
_PEEK = MSG_PEEK | MSG_DONTWAIT


class LazyCookieJar(CookieJar):
    """A cookie jar that looks at a request only when it holds cookies, and at an answer only when that sets one."""

    def add_cookie_header(self, request: Any) -> None:
        """Add the cookies that belong to a request."""
        if self._cookies:  # type: ignore[attr-defined] # by domain; a public len() would count them all
            super().add_cookie_header(request)

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Keep the cookies that an answer sets."""
        headers = response.headers
        if "set-cookie" in headers or "set-cookie2" in headers:
            super().extract_cookies(response, request)


def _once(part: str) -> Any:
    return cached_property(vars(URL)[part].fget)


class KnownUrl(URL):
    """A URL that works out its parts once, however often it is asked."""

    scheme = _once("scheme")
    netloc = _once("netloc")
    hostname = _once("hostname")
    host = _once("host")
    port = _once("port")
    request_uri = _once("request_uri")
    quoted_uri = _once("quoted_uri")
    _text = cached_property(URL.__str__)

    def __str__(self) -> str:
        return self._text


known_url = lru_cache(maxsize=1024)(KnownUrl)
"""Return the URL of a text; URLs are not changed by those who use them."""


_HOLES = {"content-length": "4611686018427387904", "traceparent": f"00-{'f' * 32}-{'f' * 16}-01"}
"""Header fields whose values differ from request to request, and what stands for them in a template."""
_FILLING = re.compile(r"[0-9a-f-]{1,55}")
_MOST_TEMPLATES = 256


class TemplateClient(HTTPClient):
    """A client that has the head of a request built once, and puts what differs from the last one like it in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._templates: dict[Any, str] = {}

    def _build_request(
        self, method: str, request_uri: str, body: Any = b"", headers: Any = None, chunked: bool | None = None
    ) -> str:
        if chunked is not False or type(headers) is not Headers or type(body) is not bytes:
            return super()._build_request(method, request_uri, body, headers, chunked)
        fields: Any = dict.items(headers)  # the fields as they are kept; its own items() takes them apart
        key = (
            method,
            request_uri,
            0 if "content-length" in headers else len(body),
            *dict.items(self.default_headers),
            *((name, entry[0]) if name in _HOLES else entry for name, entry in fields),
        )
        filling = [(_HOLES[name], entry[1]) for name, entry in fields if name in _HOLES]
        try:
            head = self._templates.get(key)
        except TypeError:  # a field of several lines
            head = None
        if head is None or not all(type(value) is str and _FILLING.fullmatch(value) for _, value in filling):
            return self._learn(key, method, request_uri, body, headers)
        for hole, value in filling:
            head = head.replace(hole, value)
        return head

    def _learn(self, key: Any, method: str, request_uri: str, body: bytes, headers: Headers) -> str:
        """Build a head in the ordinary way, and keep it as a template where that can be one."""
        if all(type(entry) is tuple and type(entry[1]) is str for entry in dict.values(headers)):
            template = headers.copy()
            for name, _ in list(headers.items()):
                if hole := _HOLES.get(name.lower()):
                    template[name] = hole
            head = super()._build_request(method, request_uri, body, template, False)
            if all(head.count(hole) == (name in headers) for name, hole in _HOLES.items()):
                if len(self._templates) >= _MOST_TEMPLATES:
                    self._templates.clear()
                self._templates[key] = head
        return super()._build_request(method, request_uri, body, headers, False)


def uses_chunks(fields: Any, body: Any) -> bool:
    """Tell whether a body must be sent in chunks. geventhttpclient goes through all fields to find it."""
    if type(body) is bytes and type(fields) is Headers and "transfer-encoding" not in fields:
        return False
    return _uses_chunks(fields, body)


def waits_for_continue(fields: Any) -> bool:
    """Tell whether the server is to say first that it wants the body."""
    return (type(fields) is not Headers or "expect" in fields) and _waits_for_continue(fields)


def is_alive(_: Any, sock: Any) -> bool:
    """Tell whether a kept connection is still open: nothing to read on it, not even its end.

    geventhttpclient asks select(), which refuses descriptors from 1024 on and so has it reconnect every time.
    """
    if sock is None:
        return False
    try:
        sock._sock.recv(1, _PEEK)  # noqa: SLF001 - past gevent, which would wait, and past TLS: what is on the wire?
    except BlockingIOError:
        return True
    except (OSError, ValueError):
        return False
    return False
