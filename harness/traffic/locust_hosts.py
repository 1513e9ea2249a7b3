"""Where the generator may send requests: what a plan is checked for, held against what the workload really asks for.

An absolute URL of the workload's and every redirect that an answer names may lead anywhere. Only for the Locust
subprocess.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from requests.exceptions import RequestException

from harness.hosts import is_foreign

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST = 1024
_allowed: frozenset[str] = frozenset()


class ForeignHostError(ConnectionError):
    """A request that was not sent, or a redirect that was not followed."""


class ForeignHostInRequestsError(RequestException, ForeignHostError):
    """The same, as `HttpUser` expects it."""


def allow(hosts: Iterable[str]) -> None:
    """Allow these hosts (`Target.allow_hosts`) beside loopback, before any request is made."""
    global _allowed  # noqa: PLW0603 - one load per process, and Locust makes the sessions
    _allowed = frozenset(hosts)
    refusal.cache_clear()


@lru_cache(maxsize=_MOST)
def refusal(host: str) -> str:
    """Return why no request may be sent to a host; "" when one may."""
    if not is_foreign(host, _allowed):
        return ""
    return f"not sent: {host or 'no host'} is neither this machine nor in the target's allow_hosts"


def refuse(host: str, error: type[ForeignHostError] = ForeignHostError) -> None:
    """Raise `error` when no request may be sent to a host."""
    if reason := refusal(host):
        raise error(reason)
