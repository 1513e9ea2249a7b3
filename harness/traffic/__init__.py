"""Load generators. They write ``requests/`` of a recording and tell the conductor how they fare (`base.Engine`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.traffic.base import Engine, Progress, Pulse
from harness.traffic.engine import LocustEngine
from harness.traffic.k6_engine import K6Engine
from harness.traffic.pulses import Pulses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.model.plan import Plan

KINDS: Mapping[str, Callable[[Plan, Path, int], Engine]] = {"locust": LocustEngine, "k6": K6Engine}
"""Load generators by the name a plan gives them; each is made with ``(plan, recording, run_id)``."""

__all__ = ["KINDS", "Engine", "K6Engine", "LocustEngine", "Progress", "Pulse", "Pulses"]
