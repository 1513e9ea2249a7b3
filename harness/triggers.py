"""Whether what a fault waits for has come: a share of the load, the recovery from another fault, a condition."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from harness.clock import NS_PER_S
from harness.faults.timeline import occurrences
from harness.model.trigger import AtLoad, During, InTurn, Recovered, When

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.conditions import Conditions
    from harness.faults.timeline import Occurrence
    from harness.model.plan import Plan


SERVES_AGAIN = 0.95
"""Who was broken serves again when it gives this part of the share of the answers that it gave before, as for the
report's failback, over the SLO's window."""
SETTLED_NS = 2 * NS_PER_S
"""How long it must have, before the next outage: one that came sooner would cut off the window that the report needs
to see the failback at all, which would then be unknown for every outage."""
_COUNT_NS = NS_PER_S
"""Between one count of who answers and the next."""


class _Look(NamedTuple):
    """What a trigger is held against."""

    on: str
    """What its fault is on."""
    level: float
    zero_ns: int
    now: int
    state: str


class Triggers:
    """Watches for the triggers of a plan, in one thread; `gone` may be called in any. Times are monotonic ns."""

    def __init__(self, plan: Plan, conditions: Conditions) -> None:
        self._load, self._conditions = plan.scenario.load, conditions
        self._cleared_ns: dict[str, int] = {}
        self._recovered_ns: dict[str, int] = {}
        self._gone_ns: dict[str, int] = {}
        found = occurrences(plan.faults)
        self._left = Counter(occurrence.spec.called for occurrence in found)
        self._first_s = min((o.begin_s for o in found if o.trigger is None), default=inf)
        self._begun = False
        """Whether any fault has, of whatever kind."""
        self._served = {o.spec.on: 0.0 for o in found if o.turn is not None}
        """Share of the answers that each upstream with faults in turn gave before the first fault of the run: while
        another is broken, it may give more."""
        self._counted_ns = -_COUNT_NS
        self._back_ns: dict[str, int] = {}
        """Since when each upstream serves again, while it does."""

    def gone(self, fault: Occurrence, t_ns: int) -> None:
        """Take note that a fault had its time and is off. One that did not bite has had its turn, too: what waits for
        it goes on."""
        self._cleared_ns[fault.spec.called] = t_ns
        self._left[fault.spec.called] -= 1
        self._gone_ns[fault.fault_id] = t_ns

    def come(self, fault: Occurrence, *, start_ns: int, zero_ns: int, now: int, users: int, state: str = "") -> str:
        """Return what was observed when the trigger of `fault` has come; "" while it has not.

        `start_ns` is when the load started, `zero_ns` when its warm-up ends: no trigger comes before that. `state` is
        the one that a search for capacity is in.
        """
        self._count(now, zero_ns)
        if now < zero_ns:
            return ""
        level = self._load.planned((now - start_ns) / NS_PER_S) if self._load.open_loop else users
        said = _COME[type(fault.trigger)](self, fault.trigger, _Look(fault.spec.on, level, zero_ns, now, state))
        self._begun = self._begun or bool(said)
        return said

    def _count(self, now: int, zero_ns: int) -> None:
        """Take note of who gives which share of the answers, as long as nothing has been broken."""
        self._begun = self._begun or now >= zero_ns + self._first_s * NS_PER_S
        if self._begun or now < self._counted_ns + _COUNT_NS:
            return
        self._counted_ns = now
        for on in self._served:
            self._served[on] = self._conditions.served(on, now)

    def _during(self, trigger: During, look: _Look) -> str:
        return f"state {look.state} begins" if look.state == trigger.state else ""

    def _in_turn(self, turn: InTurn, look: _Look) -> str:
        on, now = look.on, look.now
        if not turn.after:
            if now < look.zero_ns + round(turn.at_s * NS_PER_S):
                return ""
            return f"its time has come; {on} gave {self._served[on]:.0%} of the answers before any fault"
        since_ns = self._gone_ns.get(turn.after)
        if since_ns is None or not self._conditions.good_for(since_ns, now):
            return ""
        share = self._conditions.served(on, now)
        if share < SERVES_AGAIN * self._served[on]:
            self._back_ns.pop(on, None)
            return ""
        if now < self._back_ns.setdefault(on, now) + SETTLED_NS:
            return ""
        del self._back_ns[on]
        after_s = (now - since_ns) / NS_PER_S
        again = f"service is good again {after_s:.1f} s after {turn.after} was cleared"
        return f"{again}; {on} gives {share:.0%} of the answers"

    def _at_load(self, trigger: AtLoad, look: _Look) -> str:
        level, peak = look.level, self._load.peak or 0.0
        unit = "requests/s" if self._load.open_loop else "users"
        return f"{level:.4g} of {peak:.4g} {unit}" if peak and level >= trigger.load * peak else ""

    def _recovered(self, trigger: Recovered, look: _Look) -> str:
        name, now = trigger.recovered, look.now
        if self._left[name] > 0:
            return ""
        if name not in self._recovered_ns:
            if not self._conditions.good_for(self._cleared_ns[name], now):
                return ""
            self._recovered_ns[name] = now
        after_s = (self._recovered_ns[name] - self._cleared_ns[name]) / NS_PER_S
        waited = now >= self._recovered_ns[name] + round(trigger.delay * NS_PER_S)
        return f"service was good again {after_s:.1f} s after {name} was cleared" if waited else ""

    def _when(self, trigger: When, look: _Look) -> str:
        threshold = trigger.threshold
        if look.now < look.zero_ns + round((threshold.window_s or 0.0) * NS_PER_S):
            return ""
        observed = self._conditions.met(threshold, look.now)
        return "" if observed is None else f"observed {observed:.4g}"


_COME: Mapping[type, Callable[..., str]] = {
    AtLoad: Triggers._at_load,  # noqa: SLF001 - the class's own
    Recovered: Triggers._recovered,  # noqa: SLF001
    When: Triggers._when,  # noqa: SLF001
    During: Triggers._during,  # noqa: SLF001
    InTurn: Triggers._in_turn,  # noqa: SLF001
}
