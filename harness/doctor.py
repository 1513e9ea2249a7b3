"""What this machine has: every component a run may need, where it was found, and how to get what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version

from harness import content
from harness.docker_engine import connect
from harness.errors import MissingComponent
from harness.journal import state_dir
from harness.programs import K6, TOXIPROXY, Tool
from harness.system.compose_command import find_compose

_NEEDED = ("toxiproxy",)


@dataclass(frozen=True)
class Finding:
    """One component. `needed` tells whether the local target cannot run without it."""

    what: str
    ok: bool
    found: str
    advice: str = ""
    needed: bool = True


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    return Finding("python", sys.version_info >= (3, 11), found, "Python 3.11 or newer is needed")


def _source() -> str:
    """Return what pip installs agentstorm from: its checkout, or what it came from. It is not released: whatever PyPI
    has under its name is a stranger's."""
    checkout = content.root()
    return str(checkout) if (checkout / "pyproject.toml").is_file() else "PATH/TO/agentstorm"


def _package(name: str, advice: str) -> Finding:
    present = importlib.util.find_spec(name) is not None
    return Finding(name, present, version(name) if present else "not installed", advice)


def _tool(tool: Tool, advice: str) -> Finding:
    try:
        found = tool.locate()
    except MissingComponent as error:
        return Finding(tool.name, False, "cannot be used", str(error), needed=tool.name in _NEEDED)
    if found:
        return Finding(tool.name, True, f"{found.version} at {found.path} ({found.how})")
    install = f"`agentstorm tools install {tool.name}`, which builds it in {tool.takes}"
    advice = f"{advice} {install}; or put {tool.program} on PATH, or point {tool.variable} at it"
    return Finding(tool.name, False, "not found", advice, needed=False)


def _program(name: str, advice: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, path is not None, path or "not on PATH", advice, needed=False)


def _docker() -> Finding:
    try:
        with closing(connect(timeout_s=5, local=True)) as client:
            engine, compose = client.version()["Version"], find_compose()
    except MissingComponent as error:
        return Finding("docker", False, "cannot be used", f"{error}; only compose targets need it", needed=False)
    return Finding("docker", True, f"engine {engine}, {' '.join(compose.command)} {compose.version}", needed=False)


def _reference() -> Finding:
    present = (content.root() / "reference").is_dir() and importlib.util.find_spec("fastapi") is not None
    advice = f"`pip install '{_source()}[reference]'` to run the local target"
    return Finding("reference", present, str(content.root()) if present else "not installed", advice, needed=False)


def _state() -> Finding:
    folder = state_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    return Finding("journal", writable, str(folder), "must be writable: faults are journalled before they are injected")


def _cores() -> Finding:
    cores = os.cpu_count() or 1
    advice = "load generator and system under test share few cores: expect the run to say so"
    return Finding("cores", cores >= 4, str(cores), advice, needed=False)


def examine() -> list[Finding]:
    """Look at everything a run may need; starts nothing."""
    return [
        _python(),
        _package("locust", f"`pip install {_source()}` installs all that agentstorm needs"),
        _tool(
            TOXIPROXY, "it is built on first use (where that fails, the one built into agentstorm is used), or now by"
        ),
        _tool(K6, "only `--engine k6` needs it:"),
        _program("go", "only used to build Toxiproxy and k6; without it one is fetched from PyPI for that"),
        _docker(),
        _reference(),
        _state(),
        _cores(),
    ]
