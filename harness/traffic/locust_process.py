"""What a generator asks of the operating system and of Python before it makes load. Only for the Locust subprocess."""

from __future__ import annotations

import gc
import os

from harness.traffic import privileges


def settle(*, alone: bool) -> dict[str, int | str]:
    """Ask for what helps a generator and take what is given; return its process id and what `privileges` gave.

    To be called when all is imported. One that is `alone` leaves other processors to the system it loads.
    """
    given = privileges.ask(realtime=alone)
    gc.collect()
    gc.freeze()  # a full collection of all that Locust imports would stop the load for 0.1 s
    # Requests come and go without cycles: looking for them every 700 objects costs 3 us a request and finds none.
    gc.set_threshold(10_000, 20, 20)
    return {"pid": os.getpid(), **given}
