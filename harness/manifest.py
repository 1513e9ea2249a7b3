"""The manifest: everything a later reader needs to know about how a recording came to be."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import psutil

from harness.clock import anchor
from harness.planfile import plan_hash
from harness.recording import layout
from harness.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from harness.model.plan import Plan

PACKAGES = ("agentstorm", "locust", "pyarrow", "numpy", "pydantic", "toxiproxy-python")


class Manifest:
    """``manifest.json``; rewritten whole, atomically, each time something is added."""

    def __init__(self, folder: Path, plan: Plan, run_id: int) -> None:
        self._path = folder / layout.MANIFEST
        self._data: dict[str, Any] = {
            "schema": layout.SCHEMA_VERSION,
            "run_id": run_id,
            "title": plan.title,
            "plan_hash": plan_hash(plan),
            "seed": plan.seed,
            "scale": plan.scale,
            "clock": asdict(anchor()),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "host": {
                "name": platform.node(),
                "system": platform.platform(),
                "cores": os.cpu_count(),
                "memory_mib": psutil.virtual_memory().total // 2**20,
            },
            "components": {},
        }
        self._write()

    def component(self, name: str, **how: Any) -> None:
        """Record how a component was found and started."""
        self._data["components"][name] = how
        self._write()

    def _write(self) -> None:
        write_whole(self._path, json.dumps(self._data, indent=1, default=str) + "\n")
