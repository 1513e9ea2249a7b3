"""Rates that go up and down in steps, and when arrivals are due then: every engine has to make the same."""

from __future__ import annotations

from typing import Any

from harness.traffic import pacer

LOAD: dict[str, Any] = {
    "kind": "steps",
    "warmup": "0.5s",
    "steps": [
        {"rate": "40/s", "hold": "0.5s"},
        {"rate": "80/s", "ramp": "0.5s", "hold": "0.5s"},
        {"rate": "0/s", "hold": "0.3s"},
        {"rate": "20/s", "hold": "0.5s"},
    ],
}
DUE = pacer.ramps([pacer.Level(40, 0, 1), pacer.Level(80, 0.5, 0.5), pacer.Level(0, 0, 0.3), pacer.Level(20, 0, 0.5)])
"""Ns after the load's start."""
