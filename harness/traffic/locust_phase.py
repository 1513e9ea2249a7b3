"""Keeping users out of step: each has a place of its own in its period. Only for the Locust subprocess.

Users that pace themselves stay in whatever phase they start in. Started quickly they fire together in every period for
ever, and the queue that makes is the generator's, not the system's. Sleeping first, in on_start, does not help:
Locust's pacing functions take that for run time and wait so much less. So the first wait of a user ends not when its
wait time says but when its phase comes: where the load's start, plus a whole number of periods, plus the user's share
of one, lies. A deterministic cycle is stationary when its phase is uniform over the period (Cox, Renewal Theory, 2.2);
`pacer.phases` is that, and evenly. The wait is below one period (the wait time and the task before it), and from then
on the workload's own wait times apply, pacing functions counting from there.

A user whose pacing fell a whole period behind (an outage held its request up) has lost its phase, as have all the
others that waited with it; its next wait takes it back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gevent
from locust.user.task import TaskSet

from harness.clock import NS_PER_S, now_ns
from harness.traffic.locust_turn import Turn, take_leave


@dataclass
class Phase:
    """Where in its period a user belongs: `share` in [0, 1), counted from `origin_ns`."""

    share: float
    origin_ns: int
    lost: bool = True
    task_ns: int = 0
    """When its present task began."""
    paced: list[tuple[Any, float, float]] = field(default_factory=list)
    """What Locust's pacing functions kept, before this wait: (holder, end of last wait's beginning, its length)."""

    def wait_s(self, asked_s: float) -> float:
        """Return how long to wait when the workload asks for `asked_s`."""
        now = now_ns()
        pacer = next((entry for entry in self.paced if entry[0]._cp_last_run != entry[1]), None)  # noqa: SLF001
        if asked_s <= 0:  # no wait time at all, or behind its pace
            self.lost = self.lost or pacer is not None
            return asked_s
        if not self.lost:
            return asked_s
        self.lost = False
        busy_s = (now - self.task_ns) / NS_PER_S
        if pacer is not None:
            holder, last_run, last_wait = pacer
            busy_s = holder._cp_last_run - last_run - last_wait  # noqa: SLF001
        period_s = asked_s + busy_s
        wait_s = (self.share * period_s - (now - self.origin_ns) / NS_PER_S) % period_s
        if pacer is not None:
            pacer[0]._cp_last_wait_time = wait_s  # noqa: SLF001
        return wait_s


def _phase() -> Phase | None:
    turn = gevent.getcurrent()
    return turn.phase if isinstance(turn, Turn) else None


_execute, _wait, _sleep = TaskSet.execute_next_task, TaskSet.wait, TaskSet._sleep  # noqa: SLF001


def _execute_in_phase(self: TaskSet) -> None:
    if (phase := _phase()) is not None:
        phase.task_ns = now_ns()
    _execute(self)  # type: ignore[no-untyped-call]


def _wait_in_phase(self: TaskSet) -> None:
    take_leave()  # its task is over: Locust lets it go from here, and what its on_stop sends is sent
    if (phase := _phase()) is not None:
        holders = (self.user, self)
        phase.paced = [(h, h._cp_last_run, h._cp_last_wait_time) for h in holders]  # noqa: SLF001
    _wait(self)  # type: ignore[no-untyped-call]


def _sleep_in_phase(self: TaskSet, seconds: float) -> None:
    phase = _phase()
    _sleep(self, seconds if phase is None else phase.wait_s(seconds))  # type: ignore[no-untyped-call]


def install() -> None:
    """Put every user that has a phase into it."""
    ours = {"execute_next_task": _execute_in_phase, "wait": _wait_in_phase, "_sleep": _sleep_in_phase}
    for name, method in ours.items():
        setattr(TaskSet, name, method)
