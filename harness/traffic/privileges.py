"""What helps a load generator, asked for and taken as far as it is given; programs it starts inherit it."""

from __future__ import annotations

import contextlib
import os
import resource

_NICE = -5
_FILES = 65536


def ask() -> int:
    """Raise the limit of open files, take precedence over others; return the nice value that came of it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        files = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    return os.getpriority(os.PRIO_PROCESS, 0)
