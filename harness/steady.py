"""The steady state of a run's system: asked once before the first fault, and once after the last.

A system that is sick already is not experimented on: whatever a fault then seemed to do was not its doing.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from harness.clock import NS_PER_S, now_ns
from harness.conditions import STEADY_S, Checked, as_data, overall, steady_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.conditions import Conditions
    from harness.model.plan import Plan
    from harness.recording.tables import EventLog


class SteadyState:
    """Asks, tells in events, and objects to faults. `begin_ns` is when the load starts, `zero_ns` when its warm-up
    ends."""

    def __init__(self, plan: Plan, conditions: Conditions, events: EventLog, in_flight: Callable[[], int]) -> None:
        self._plan, self._conditions, self._events = plan, conditions, events
        self._in_flight = in_flight
        self._slo = plan.scenario.slo
        self._lock = threading.Lock()
        self._objection: str | None = None
        self.begin_ns = self.zero_ns = 0

    def objection(self, _fault: object) -> str:
        """Return why no fault may be injected; "" when the system was well, or nothing is known against it."""
        with self._lock:
            if self._objection is None:
                self._objection = self._before(now_ns())
            return self._objection

    def _before(self, now: int) -> str:
        # A cold start is no baseline; but where the warm-up is all there is, it is better than nothing.
        baseline_s = max((now - self.zero_ns) / NS_PER_S, min((now - self.begin_ns) / NS_PER_S, self._slo.window))
        return self._ask("before", now, min(STEADY_S, baseline_s))

    def after(self, now: int, cleared_ns: int | None) -> None:
        """Ask at the end of the load; the last fault was cleared at `cleared_ns` (None: none was, or one is on)."""
        since_s = 0.0 if cleared_ns is None else (now - cleared_ns) / NS_PER_S
        if self._objection == "" and since_s >= 2 * self._slo.window:  # time to recover, and to be seen to have
            self._ask("after", now, min(STEADY_S, since_s - self._slo.window))

    def _ask(self, subject: str, now: int, window_s: float) -> str:
        wrong: list[Checked] = []
        for experiment in self._plan.experiments:
            steady = steady_state(experiment, self._slo)
            checks = self._conditions.well(steady, now, window_s)
            if steady and not any(check.n for check in checks):
                # Of the time before the last fault only what was looked at counts: they were answered then.
                checks += self._silence(window_s if subject == "after" else (now - self.begin_ns) / NS_PER_S)
            state = overall(checks)
            about = {"experiment": experiment.experiment, "window_s": window_s, "checks": as_data(checks)}
            self._events.emit("steady", "conduct", subject, t_ns=now, state=state, **about)
            wrong += [check for check in checks if check.state == "sick"]
        if not wrong:
            return ""
        return f"the system was not in its steady state before the first fault: {'; '.join(c.words for c in wrong)}"

    def _silence(self, waited_s: float) -> list[Checked]:
        """Return what is wrong when requests are on their way and not one was answered in `waited_s`, which is twice
        the SLO's time or more."""
        if waited_s < 2 * self._slo.response_time or not (waiting := self._in_flight()):
            return []
        return [Checked(f"requests: count>0 over {waited_s:.0f}s", "sick", 0.0, 0.0, 0.0, waiting, holds=False)]
