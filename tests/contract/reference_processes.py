"""Starting the reference system's processes for a contract suite, with providers that answer almost at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

FAST = {
    "PROVIDER_LATENCY_MEDIAN_S": "0.01",
    "PROVIDER_FIRST_TOKEN_MEDIAN_S": "0.01",
    "PROVIDER_TOKENS_PER_SECOND": "5000",
    "PROVIDER_TOKENS_MEDIAN": "60",
}
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 20
    while True:
        try:
            httpx.get(url, timeout=1).raise_for_status()
        except httpx.HTTPError:
            assert process.poll() is None, f"{url} did not start"
            assert time.monotonic() < give_up, f"{url} is not ready"
            time.sleep(0.02)
        else:
            return


@contextmanager
def started(*command: str, ready: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_ready(ready, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)
