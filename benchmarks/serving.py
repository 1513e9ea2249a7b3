"""The benchmark's server, running."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness.clock import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

_SERVER = Path(__file__).with_name("server.py")


@dataclass(frozen=True)
class Server:
    """A running server and what it can be asked (`server`)."""

    url: str
    pid: int

    def ask(self, path: str) -> bytes:
        """Return the answer to ``GET path``."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:  # noqa: S310 - our own server
            return bytes(answer.read())

    def answered(self) -> int:
        """How many questions it has answered."""
        return int(self.ask("/count"))

    def times_ms(self) -> pd.Series[float]:
        """Answered - received by request number, ms, of all questions since the log was switched on."""
        rows = np.frombuffer(self.ask("/log"), np.int64).reshape(-1, 3)
        return pd.Series((rows[:, 2] - rows[:, 1]) / NS_PER_MS, index=rows[:, 0])


@contextmanager
def serving(*, realtime: bool = False) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    command = [sys.executable, str(_SERVER), *(["--realtime"] if realtime else [])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin  # noqa: S101 - they were asked for
    assert process.stdout  # noqa: S101
    try:
        yield Server(f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)
