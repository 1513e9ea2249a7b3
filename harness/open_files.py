"""How many files, and with them connections, this process may have open.

Shells give 1,024 of them where the hard limit is far above: too few for a proxy under load, or for a canary that nobody
answers. Standard library only: the HTTP fault proxy takes this along into its container.
"""

from __future__ import annotations

import contextlib
import resource

_MOST = 65536
GIVEN = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
"""The limit as it was when this was imported, before anything here raised it: what the system under test is to have."""


def raise_limit() -> None:
    """Raise the limit as far as it may be, up to 65,536; programs started from now on inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
