"""Where traffic may go: loopback, and the hosts a plan's author has named. Names are never resolved."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Collection

# Filled in once the services run, always with a loopback address.
_OUR_OWN = re.compile(r"\$\{(?:services|upstreams|direct)\.[^{}]*\}")
_ODD = re.compile(r"[\s\\\x00-\x1f\x7f]")


def is_local(host: str) -> bool:
    """Tell whether `host` (a name or an IP literal, without port) is this machine's loopback, by its spelling alone.

    ``localhost`` and names below it are (RFC 6761, 6.3); any other name is not, whatever it resolves to.
    """
    name = host.strip("[]").rstrip(".").lower()
    try:
        address = ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def is_foreign(host: str, allow_hosts: Collection[str]) -> bool:
    """Tell whether traffic may not go to `host` (as in `is_local`): it is not on loopback, nor in `allow_hosts`."""
    name = host.strip("[]").lower()
    return not (is_local(host) or name in {allowed.strip("[]").lower() for allowed in allow_hosts})


def host_of(url: str) -> str:
    """Return the host of a URL or a ``host:port``, in lower case; ValueError when it has none."""
    filled = _OUR_OWN.sub("127.0.0.1:1", url)
    if _ODD.search(filled):
        raise ValueError("white space, control characters and backslashes do not belong in an address")
    parts = urlsplit(filled if "://" in filled else f"//{filled}")
    if not parts.hostname or (parts.port is None and parts.netloc.endswith(":")):
        raise ValueError("no host")
    return parts.hostname.lower()


def split_port(address: str) -> tuple[str, int]:
    """Return host and port of a ``host:port``, an IPv6 address in brackets; ValueError when it is none."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16 or _ODD.search(host) or "/" in host:
        raise ValueError(f"{address!r} is no address: host:port was expected, as in 10.0.0.5:5557")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{address!r}: an IPv6 address stands in brackets, as in [::1]:5557")
    return host, int(port)


def refuse_foreign(url: str, allow_hosts: Collection[str], *, where: str = "") -> None:
    """Raise PlanError unless `url` (or ``host:port``) is on loopback or its host stands in `allow_hosts`."""
    try:
        host = host_of(url)
    except ValueError as error:
        raise PlanError(
            f"{url!r} is no address: {error}", where=where, hint="as in http://127.0.0.1:8000 or 127.0.0.1:6379"
        ) from None
    if not is_foreign(host, allow_hosts):
        return
    raise PlanError(
        f"{url!r} is not on this machine: traffic and faults go to {host} only if the target says so",
        where=where,
        hint=f"when you may load and break {host}, add 'allow_hosts: [{host}]' to the target",
    )
