"""A leak planted into the process of a real run is found by the benchmark that says whether there is one."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from benchmarks import soak

pytestmark = [pytest.mark.real, pytest.mark.slow]
_SECONDS = 50
_LEAKING = [sys.executable, "-P", str(Path(__file__).with_name("leaking.py"))]


@pytest.mark.parametrize(
    ("size", "takes"),
    [
        (100, 144),  # in one of Python's own pools, by 16 bytes
        (600, 656),  # on the C library's heap, by 16 bytes with its own 8
    ],
)
def test_a_planted_leak_is_found_at_once(
    size: int, takes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces, pointer = 600, 8
    monkeypatch.setenv("LEAK_PIECES", str(pieces))
    monkeypatch.setenv("LEAK_BYTES", str(size))
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")  # or the thread that leaks would have a heap of its own, without gaps
    over = threading.Event()
    timer = threading.Timer(_SECONDS, over.set)
    timer.daemon = True
    timer.start()
    found = soak.real_time(tmp_path / "soak", over, 10**7, _LEAKING)["slopes"]["run"]
    planted = pieces * (takes + pointer) * 86_400 / 2**20
    assert found["low"] > 0
    assert found["value"] == pytest.approx(planted, rel=0.1)
