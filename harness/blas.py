"""One thread for OpenBLAS, of which numpy and scipy bring one each.

Each starts a thread a core as it is loaded, which takes a process that imports both 0.1 s and as much again of CPU time
for every core, on a machine that is about to make load; and the matrices here are so small that one thread is enough.
The load generator has one too, and so has what a workload computes in it: other cores are for others. How systems under
test compute is not ours to say: what is set here they do not inherit.
"""

from __future__ import annotations

import os

THREADS = "OPENBLAS_NUM_THREADS"
ALSO = ("GOTO_NUM_THREADS", "OMP_NUM_THREADS")
"""OpenBLAS obeys these as well."""
_OURS = "01"
"""Read as 1. Written so, processes that we started know it from what the user set."""


def one_thread() -> None:
    """Do without further threads in this process, and in those of ours that it starts; before anything imports numpy.

    What the user set stays.
    """
    if not any(name in os.environ for name in (THREADS, *ALSO)):
        os.environ[THREADS] = _OURS


def users_environment() -> dict[str, str]:
    """Return our environment as the user gave it to us, for programs that are not ours."""
    return {name: value for name, value in os.environ.items() if (name, value) != (THREADS, _OURS)}
