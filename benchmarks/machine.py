"""Where a figure was measured."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from harness.errors import MissingComponent
from harness.programs import K6

_PACKAGES = ("agentstorm", "locust", "gevent", "geventhttpclient", "pyarrow", "duckdb", "numpy", "pandas", "uvloop")
_PROGRAMS = {"k6": "version", "wrk": "-v"}


def describe() -> dict[str, Any]:
    """Machine, versions and date; `load_average` before anything ran tells whether it was idle."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_mib": psutil.virtual_memory().total // 2**20,
            "system": platform.platform(),
            "load_average": round(os.getloadavg()[0], 2),
        },
        "versions": {"python": platform.python_version(), **_packages(), **_programs()},
    }


def program(name: str) -> str | None:
    """Where a program to compare with is, if it is here; k6 wherever a run would look for it."""
    if name != "k6":
        return shutil.which(name)
    try:
        found = K6.locate()
    except MissingComponent:  # one that is of no use to a run either
        return None
    return str(found.path) if found else None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    named = next((line for line in lines if line.startswith("model name")), "")
    return named.partition(":")[2].strip() or platform.machine()


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _programs() -> dict[str, str]:
    found = {}
    for name, option in _PROGRAMS.items():
        if path := program(name):
            said = subprocess.run([path, option], capture_output=True, text=True, check=False)
            number = re.search(r"\d+(\.\d+)+\S*", said.stdout + said.stderr)
            found[name] = number[0] if number else "of unknown version"
    return found
