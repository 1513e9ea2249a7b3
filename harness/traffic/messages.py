"""What master and workers say to each other, as custom messages of Locust's own protocol (`locust.rpc`).

    worker                                      master
    JOIN  who, password, name                   ORDER  order, files, own_clock | REFUSED what, hint
    PING  sent                                  PONG   sent, received, answered      (ns; clock and sign of life)
    SAY   say: ready | refused | flushed | ended | asked       DO   do: begin | change | stop | hold_back | leave

A SAY is what a generator announces to the harness (`locust_main`), plus the bytes its streams of rows have grown by,
and where in each of them these begin: what is lost on the way must not leave a hole that nobody sees.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import clock

JOIN, ORDER, REFUSED = "agentstorm_join", "agentstorm_order", "agentstorm_refused"
PING, PONG = "agentstorm_ping", "agentstorm_pong"
SAY, DO = "agentstorm_say", "agentstorm_do"

_ALIKE = ("agentstorm", "locust", "numpy")
"""Packages whose version decides what load comes of an order, or what the messages mean."""


def myself() -> dict[str, Any]:
    """Return what a process says of itself when it joins."""
    return {
        "versions": {name: version(name) for name in _ALIKE},
        "host": platform.node(),
        "pid": os.getpid(),
        "clock": clock.identity(),
        "loopback": _loopback(),
    }


def _loopback() -> str:
    """Return a word for the loopback interface this process sees; "" where unknown."""
    try:
        return f"{clock.identity().partition(' ')[0]} {Path('/proc/self/ns/net').readlink()}"
    except OSError:
        return ""


def difference(mine: dict[str, str], theirs: dict[str, str]) -> str:
    """Return in words how two sets of versions differ; "" when they do not."""
    return ", ".join(
        f"{name} {theirs.get(name, 'unknown')} (here {own})" for name, own in mine.items() if theirs.get(name) != own
    )
