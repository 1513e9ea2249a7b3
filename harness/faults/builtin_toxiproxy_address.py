"""Addresses as Toxiproxy takes, shows and refuses them: ``host:port``, in the words of Go's net package."""

from __future__ import annotations

import os
import socket

from harness.faults.builtin_toxiproxy_json import ApiError

_BACKLOG = 4096  # the kernel takes less where it allows less
_ANY = ("", "0.0.0.0", "::")  # noqa: S104 - told apart, not listened on


def split(address: str) -> tuple[str, str]:
    """Return host and port as they are written; ApiError (500) in Go's words when there is no port."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ApiError(f"address {address}: too many colons in address", 500)
    if not colon:
        raise ApiError(f"address {address}: missing port in address", 500)
    return host, port


def target(address: str) -> tuple[str, int]:
    """Return where to connect to for `address`: this machine when it names no host. ApiError as `split`."""
    host, port = split(address)
    return host or "localhost", _number(port)


def join(host: str, port: int) -> str:
    """Return them as one."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _number(port: str) -> int:
    if not port:
        return 0
    if not port.isdecimal():
        try:
            return socket.getservbyname(port, "tcp")
        except OSError:
            raise ApiError(f"lookup tcp/{port}: unknown port", 500) from None
    if int(port) > 65535:
        raise ApiError(f"address {port}: invalid port", 500)
    return int(port)


def _resolved(address: str) -> tuple[socket.AddressFamily, str, int]:
    host, named = split(address) if address else ("", "")
    port = _number(named)
    if not host:
        return socket.AF_UNSPEC, "", port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise ApiError(f"lookup {host}: no such host", 500) from None
    family, *_, where = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, str(where[0]), port


def resolved(address: str) -> str:
    """Return it with its host's first address, as a proxy that listens there would show it (ApiError: it has none)."""
    _, host, port = _resolved(address)
    return join(host, port)


def listen(address: str) -> tuple[socket.socket, str]:
    """Listen there; return the socket, not blocking, and the address with its real port. ApiError (500) when it cannot.

    No host, or any, is both IPv4 and IPv6 where there is IPv6, as in Go.
    """
    try:
        family, host, port = _resolved(address)
    except ApiError as error:
        raise ApiError(f"listen tcp: {error.message}", error.status) from None
    both = host in _ANY and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else family if family != socket.AF_UNSPEC else socket.AF_INET
    try:
        server = socket.create_server(
            ("" if host in _ANY else host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise ApiError(f"listen tcp {join(host, port)}: bind: {why}", 500) from error
    server.setblocking(False)
    bound = server.getsockname()
    return server, join(str(bound[0]), int(bound[1]))
