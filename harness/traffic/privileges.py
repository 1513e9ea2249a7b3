"""What helps a load generator, asked for and taken as far as it is given; programs it starts inherit it."""

from __future__ import annotations

import contextlib
import os

from harness import open_files

_NICE = -5
_PRIORITY = 1
"""The lowest of the real-time ones, which is above everything that has none."""


def ask(*, realtime: bool = False) -> dict[str, int | str]:
    """Raise the limit of open files, take precedence over others; return the `nice` and the `scheduler` given.

    With `realtime` it asks to run as soon as it is due, whoever else is busy (`SCHED_RR`, sched(7)). That is for a
    program of one thread, where there is a second processor: what it loads lives on the same host, and it would not
    leave it the only one.
    """
    open_files.make_room()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    scheduler = "other"
    if realtime and (os.cpu_count() or 1) > 1:
        with contextlib.suppress(OSError, AttributeError):  # not permitted, or no such system
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
            scheduler = "rr"
    return {"nice": os.getpriority(os.PRIO_PROCESS, 0), "scheduler": scheduler}
