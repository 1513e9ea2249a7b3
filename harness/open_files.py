"""How many files, and with them connections, this process may have open.

Shells give 1,024 of them where the hard limit is far above: too few for a proxy under load, or for a canary that nobody
answers. Standard library only: the HTTP fault proxy takes this along into its container.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource

_MOST = 65536
ROOM = 16384
"""For how many a table is made at once: a spike's users and the VUs of a stall, in 128 KiB of the kernel's memory."""
GIVEN = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
"""The limit as it was when this was imported, before anything here raised it: what the system under test is to have."""


def make_room() -> None:
    """Raise the limit as far as it may be, up to 65,536, and have a table for the first 16,384 of them made now.

    Programs started from now on inherit the limit, and make a table of their own, or find one that `leash.start` made.

    Linux doubles the table whenever a file does not fit, and in a process with threads has whoever opens that file wait
    for all processors (`expand_fdtable` in fs/file.c, `synchronize_rcu`): 5 to 35 ms were seen at the 64th, 128th,
    256th, ... connection, which would be taken for the answer's.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    last = (ROOM if soft == resource.RLIM_INFINITY else min(soft, ROOM)) - 1
    with contextlib.suppress(OSError):  # then it grows as it would have
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            os.close(fcntl.fcntl(null, fcntl.F_DUPFD_CLOEXEC, last))
        finally:
            os.close(null)
