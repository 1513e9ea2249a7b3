"""Load generators. They write ``requests/`` of a recording and tell the conductor how they fare (`base.Engine`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.traffic.base import Engine, Progress, Pulse
from harness.traffic.engine import LocustEngine
from harness.traffic.pulses import Pulses

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS: Mapping[str, type[LocustEngine]] = {"locust": LocustEngine}
"""Load generators by the name a plan gives them; each is made with ``(plan, recording, run_id)``."""

__all__ = ["KINDS", "Engine", "LocustEngine", "Progress", "Pulse", "Pulses"]
