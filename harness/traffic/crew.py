"""Whether the workers of a plan can be, before any is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import PlanError
from harness.hosts import split_port

if TYPE_CHECKING:
    from harness.model.plan import Plan


def check(plan: Plan) -> None:
    """Raise PlanError when the plan's workers cannot make its load."""
    workers = plan.workers + plan.remote_workers
    if not workers:
        hint = "give --remote-workers too, or --workers 1"
        raise PlanError("nobody is there to make the load", where="--workers 0", hint=hint)
    try:
        split_port(plan.bind)
    except ValueError as error:
        raise PlanError(str(error), where="--bind") from None
    if plan.bind != type(plan).model_fields["bind"].default and not plan.remote_workers:
        raise PlanError(
            "nobody is to join from elsewhere", where=f"--bind {plan.bind}", hint="give --remote-workers, how many will"
        )
    load = plan.scenario.load
    what = "max_in_flight" if load.open_loop else "users"
    most = getattr(load, what, load.peak)  # steps have users each for itself
    if most is not None and workers > most:
        raise PlanError(
            f"{workers} workers cannot share {what}: {most}", where="--workers", hint=f"take {most} or fewer"
        )
