"""The only generator of a run: takes orders from the harness itself, no master in between. Only for the subprocess."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import locust
from locust.env import Environment

from harness.traffic import locust_process
from harness.traffic.locust_run import Run, serve
from harness.traffic.locust_workload import WorkloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent.queue import Queue


def generate(order: dict[str, Any], commands: Queue, announce: Callable[..., None]) -> int:
    """Check the workload, say so, and make the load that is ordered; return the exit code."""
    recording, environment = Path(order["recording"]), Environment(events=locust.events)
    environment.create_local_runner()
    try:
        run = Run(order, announce, environment, lambda table: recording / table / f"{order['worker']}.arrows")
    except WorkloadError as error:
        announce("refused", where=error.where, what=error.what, hint=error.hint)
        return 0
    announce("ready", worker=order["worker"], user_classes=run.user_classes, **locust_process.settle(alone=True))
    serve(run, commands)
    return 0
