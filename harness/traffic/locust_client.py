"""What geventhttpclient and Locust do for every request, done faster. Only for the Locust subprocess.

Measuring costs time on the generator's one core; this is where it is earned back. Each piece does exactly what the one
it stands in for does, for less: see `benchmarks/` for what that comes to.
"""

from __future__ import annotations

from functools import cached_property
from http.cookiejar import CookieJar
from socket import MSG_DONTWAIT, MSG_PEEK
from typing import Any

from geventhttpclient.url import URL

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


def is_alive(pool: Any, sock: Any) -> bool:
    """Tell whether a kept connection is still open: nothing to read on it, not even its end. If so, the pool notes it.

    geventhttpclient asks select(), which refuses descriptors from 1024 on and so has it reconnect every time.
    """
    if sock is None:
        return False
    try:
        sock._sock.recv(1, _PEEK)  # noqa: SLF001 - past gevent, which would wait, and past TLS: what is on the wire?
    except BlockingIOError:
        pool.taken = sock
        return True
    except (OSError, ValueError):
        return False
    return False
