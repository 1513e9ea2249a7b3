"""Where a figure was measured."""

from __future__ import annotations

import mmap
import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import psutil

from harness.errors import MissingComponent
from harness.programs import K6

_PACKAGES = ("agentstorm", "locust", "gevent", "geventhttpclient", "pyarrow", "duckdb", "numpy", "pandas", "uvloop")
_PAGES, _REST_S = 2000, 0.25
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


def page_us() -> float:
    """Return how long it takes to touch a page of memory that was left alone for a quarter of a second, us.

    0.1 or less on a machine of one's own. Where a host keeps track of what its virtual machines use it can be 20, which
    no benchmark of what runs once a second tells from the cost of the code.
    """
    with mmap.mmap(-1, _PAGES * mmap.PAGESIZE) as memory:
        found = [_touched_us(memory, _REST_S) for _ in range(5)]
        return max(0.0, median(found) - min(_touched_us(memory, 0) for _ in range(5)))


def _touched_us(memory: mmap.mmap, rest_s: float) -> float:
    places = range(0, len(memory), mmap.PAGESIZE)
    sleep(rest_s)
    began = perf_counter()
    for place in places:
        memory[place] = 1
    return (perf_counter() - began) / len(places) * 1e6


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
