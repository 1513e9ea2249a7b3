"""One GET, for the side channels of a run (readiness, health, metrics, ledgers): small, blocking, standard library.

A client library costs several times as much for each request and shares its two cores with the system under test.
The user's proxy settings are ignored: these requests never leave the hosts the plan names.
"""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit


def get(url: str, timeout_s: float) -> tuple[int, bytes]:
    """Return the status and the body of ``GET url``; OSError says in words why there is no whole answer.

    `timeout_s` bounds each wait for bytes, not the sum of them.
    """
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError as error:
        raise type(error)(reason(error, timeout_s)) from None
    except HTTPException as error:
        raise OSError(f"no HTTP answer ({type(error).__name__})") from error
    finally:
        connection.close()


def reason(error: OSError, timeout_s: float) -> str:
    """Say in two or three words what went wrong."""
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    return error.strerror or str(error)
