"""Loopback ports for services: free ones, held until their service takes over."""

from __future__ import annotations

import socket
from typing import Literal

import psutil

from harness.errors import SystemFailed

HOST = "127.0.0.1"


def _user_of(port: int) -> str:
    try:
        found = [c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid]
        return f"process {found[0]} ({psutil.Process(found[0]).name()})" if found else "a process that is not ours"
    except psutil.Error:
        return "some process"


class Held:
    """A port nobody else can get until `release`."""

    def __init__(self, service: str, port: int | Literal["auto"]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        wanted = 0 if port == "auto" else port
        if wanted:
            # So that a port whose last connections still linger in TIME_WAIT counts as free; a listener never does.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, wanted))
        except OSError as error:
            self._socket.close()
            raise SystemFailed(
                f"service {service!r}: port {port} cannot be had ({error.strerror}); it is used by "
                f"{_user_of(wanted)}\n  end that, or write 'port: auto' for the service"
            ) from error
        self.port: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Let the service have it."""
        self._socket.close()
