"""How the system under test comes up and goes down, one module per kind.

`wiring.check` tells before anything starts whether a target's addresses and names hold together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.system.base import Died, Journal, System
from harness.system.compose import Compose
from harness.system.external import External
from harness.system.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS: Mapping[str, type[System]] = {"processes": Processes, "compose": Compose, "external": External}
"""`Target.system.kind` -> the class that brings it up."""

__all__ = ["KINDS", "Compose", "Died", "External", "Journal", "Processes", "System"]
