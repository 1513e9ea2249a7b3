"""A search for capacity under way: one level of load after another, in each of the plan's states.

A level begins, settles, is held, ends, and is judged once its answers are in or are too late to be good; the next one
begins when what was in flight is gone. What the rates are is decided in `search`, what settled means in `settling`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_S
from harness.level_watch import LevelWatch
from harness.model.trigger import During
from harness.search import Search, Tried
from harness.settling import window_s
from harness.traffic import pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from harness.faults.conductor import Conductor
    from harness.faults.timeline import Occurrence
    from harness.model.load import CapacityLoad
    from harness.model.plan import Plan
    from harness.recording.tables import EventLog
    from harness.search import Outcome
    from harness.traffic import Engine, Pulse, Pulses

_PATIENCE_NS = 360 * NS_PER_S
"""The longest that faults of a state may take to be seen, or seen gone: copies of a service come up one by one."""
_SMALL = 0.05
"""A backlog is gone when no more is in flight than this share of what the SLO allows at the level's rate."""


class Searching:
    """Walks through states and levels; `step` is to be called several times a second. Times are monotonic ns.

    `notice_ns` is how long before its time a change of the rate is told.
    """

    def __init__(self, plan: Plan, engine: Engine, events: EventLog, pulses: Pulses, notice_ns: int) -> None:
        assert plan.scenario.load.kind == "capacity"  # noqa: S101 - no other load is searched
        self._load: CapacityLoad = plan.scenario.load
        self._slo, self._seed, self._drain_s = plan.scenario.slo, plan.seed, plan.scenario.load.drain
        self._engine, self._events, self._pulses, self._notice_ns = engine, events, pulses, notice_ns
        self._left = list(self._load.states)
        self._number = 0
        self._start_ns = self._end_ns = self._deadline_ns = self._since_ns = self._cut_ns = 0
        self._search = Search(self._load.min, self._load.max, self._load.resolution)
        self._met: list[float] = []
        """Capacity of each state that was searched, as far as it was found."""
        self._ended = 0
        """States that were searched."""
        self._level: LevelWatch | None = None
        self._outcome: tuple[Outcome, str, bool] | None = None
        self._do: Callable[[int, Conductor, list[Occurrence]], None] = self._next_state
        self.state = ""
        """The one that faults are to be on for, or are on."""
        self._open = self.over = False

    def begin(self, start_ns: int, end_ns: int) -> None:
        """Take note of when the load begins, and when it must be over."""
        self._start_ns, self._end_ns = start_ns, end_ns

    def add(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Take in requests."""
        if self._level is not None:
            self._level.add(batches)

    def pulse(self, pulse: Pulse) -> None:
        """Take in what a worker said; `pulses` has it already."""
        if self._level is not None:
            self._level.pulse(pulse)

    @property
    def words(self) -> str:
        """What is going on, in a line."""
        if self._level is None:
            return f"state {self.state}" if self.state else ""
        met = f"{self._search.meets:.4g}/s meets so far" if self._search.meets else "none meets so far"
        return f"{self.state}, level {len(self._search.tried) + 1}: {self._level.rate:.4g}/s, {met}"

    def objection(self) -> str | None:
        """Return why no fault may be injected: the system was not well in the states before. None: nobody knows."""
        if not self._ended:
            return None
        return "" if self._met else "the system did not meet its SLO at any rate before"

    def step(self, now: int, faults: Conductor, occurrences: list[Occurrence]) -> None:
        """Go on, as far as it is time; `occurrences` are all faults of the plan."""
        if not self.over:
            self._do(now, faults, occurrences)

    def close(self, now: int) -> None:
        """Say what is known: the load has come to its end, however that was."""
        if self._level is not None:
            if self._outcome is None:
                self._cut_ns, self._outcome = now, ("unsettled", "the load ended before the level did", False)
            self._tell_level(self._level)
        if self._open:
            self._tell_state(now, "")
        self.over = True

    def _emit(self, subject: str, t_ns: int, **data: Any) -> None:
        self._events.emit("capacity", "conduct", subject, t_ns=t_ns, state=self.state, **data)

    # States

    def _next_state(self, now: int, _faults: Conductor, _occurrences: list[Occurrence]) -> None:
        if not self._left:
            self.over = True
            return
        self._deadline_ns = now + (self._end_ns - now) // len(self._left)
        self.state, self._since_ns = self._left.pop(0), now
        start = self._met[-1] if self._met else None
        self._search = Search(self._load.min, self._load.max, self._load.resolution, start)
        self._do = self._await_faults

    def _mine(self, occurrences: list[Occurrence]) -> set[str]:
        return {o.fault_id for o in occurrences if isinstance(o.trigger, During) and o.trigger.state == self.state}

    def _failed(self, faults: Conductor, fault: str) -> bool:
        return any(reason.startswith(f"{fault}:") for reason in faults.failed)

    def _await_faults(self, now: int, faults: Conductor, occurrences: list[Occurrence]) -> None:
        mine = self._mine(occurrences)
        missing = mine - faults.on
        if any(self._failed(faults, fault) for fault in missing) or (missing and now > self._since_ns + _PATIENCE_NS):
            self._open_state(now)
            self._end_state(now, faults, mine, f"{', '.join(sorted(missing))} did not bite")
        elif not missing:
            self._open_state(now)
            self._next_level(now, faults, occurrences)

    def _open_state(self, now: int) -> None:
        self._open = True
        self._emit("state", now)

    def _end_state(self, now: int, faults: Conductor, mine: set[str], why: str = "") -> None:
        self._tell_state(now, why)
        found = self._search.found()
        self._ended += bool(self._search.tried)
        if found.meets is not None:
            self._met.append(found.meets)
        faults.release(mine)
        self._since_ns, self._do = now, self._await_healing

    def _tell_state(self, now: int, why: str) -> None:
        self._open = False
        found = self._search.found()
        limited = [t.rate for t in self._search.tried if t.by_generator]
        if limited and not why:
            why = f"the load generator, not the system, was at its limit at {min(limited):.4g}/s"
        self._emit("state_ended", now, meets=found.meets, misses=found.misses, reason=found.reason, why=why)

    def _await_healing(self, now: int, faults: Conductor, occurrences: list[Occurrence]) -> None:
        still = {f for f in self._mine(occurrences) & faults.on if not self._failed(faults, f)}
        if not still or now > self._since_ns + _PATIENCE_NS:
            self.state = ""
            self._next_state(now, faults, occurrences)

    # Levels

    def _window_s(self, rate: float) -> float:
        return window_s(rate, self._load.settle.shortest)

    def _longest_s(self, rate: float) -> float:
        """The longest a level may take to settle: time for its two windows there must be."""
        return max(self._load.settle.longest, 3 * self._window_s(rate))

    def _next_level(self, now: int, faults: Conductor, occurrences: list[Occurrence]) -> None:
        rate = self._search.next()
        if rate is None:
            self._end_state(now, faults, self._mine(occurrences))
            return
        held_s = self._load.held(rate, self._slo.good_share)
        least_s = max(self._load.settle.shortest, 2 * self._window_s(rate)) + held_s + self._slo.response_time
        if now + round(least_s * NS_PER_S) > self._deadline_ns:
            self._end_state(now, faults, self._mine(occurrences))
            return
        self._number += 1
        begin_ns, most_s = now + self._notice_ns, self._longest_s(rate) + held_s + 1
        self._engine.change(self._number, begin_ns - self._start_ns, rate, most_s)
        planned_ns = begin_ns + pacer.level(self._load.arrivals, rate, most_s, self._seed, self._number)
        self._level = LevelWatch(
            rate, begin_ns, planned_ns, self._pulses, self._slo.response_time, self._window_s(rate)
        )
        self._outcome = None
        self._emit("level", begin_ns, level=len(self._search.tried) + 1, rate=rate)
        self._do = self._settle

    def _watched(self) -> LevelWatch:
        assert self._level is not None  # noqa: S101 - a level is under way
        return self._level

    def _cut_short(self, now: int) -> bool:
        """End the level now if the generator or the system has shown that it cannot do it."""
        level = self._watched()
        if why := level.overloaded():
            self._end_level(now + self._notice_ns, "unsettled", f"the load generator was at its limit: {why}", True)
        elif why := level.so_far().saturated(self._slo.response_time):
            self._end_level(now + self._notice_ns, "saturated", why)
        return self._outcome is not None

    def _settle(self, now: int, _faults: Conductor, _occurrences: list[Occurrence]) -> None:
        level = self._watched()
        if self._cut_short(now):
            return
        waited_s = (now - level.begin_ns) / NS_PER_S
        if waited_s >= self._load.settle.shortest and level.so_far().at_rest:
            level.settled_ns = now
            self._emit("settled", now, level=len(self._search.tried) + 1)
            self._do = self._hold
        elif waited_s >= self._longest_s(level.rate):
            why = f"response time or number in flight still drifted after {waited_s:.0f} s"
            self._end_level(now + self._notice_ns, "unsettled", why)

    def _hold(self, now: int, _faults: Conductor, _occurrences: list[Occurrence]) -> None:
        level = self._watched()
        assert level.settled_ns is not None  # noqa: S101 - or it would not be held
        end_ns = level.settled_ns + round(self._load.held(level.rate, self._slo.good_share) * NS_PER_S)
        if not self._cut_short(now) and now >= end_ns - 2 * self._notice_ns:
            self._end_level(max(end_ns, now + self._notice_ns), None, "")

    def _end_level(self, cut_ns: int, outcome: Outcome | None, why: str, by_generator: bool = False) -> None:
        """Order the end of the level; without an outcome its answers decide."""
        self._engine.change(self._number, cut_ns - self._start_ns, 0, 0)
        self._cut_ns = cut_ns
        self._outcome = (outcome, why, by_generator) if outcome is not None else None
        self._do = self._drained

    def _drained(self, now: int, faults: Conductor, occurrences: list[Occurrence]) -> None:
        """Wait until what is in flight is gone, and all answers of the level that may still be good have come."""
        level, limit_ns = self._watched(), round(self._slo.response_time * NS_PER_S)
        known_ns, waited_s = self._pulses.complete_ns, (now - self._cut_ns) / NS_PER_S
        if known_ns <= self._cut_ns:
            return
        small = max(1, int(_SMALL * level.rate * self._slo.response_time))
        gone = level.in_flight <= small
        judged = self._outcome is not None or known_ns > self._cut_ns + limit_ns or level.in_flight == 0
        if not judged or not (gone or waited_s > self._drain_s):
            return
        number = len(self._search.tried) + 1
        if self._outcome is None:
            self._outcome = self._judged(level)
        self._tell_level(level)
        outcome, _, by_generator = self._outcome
        self._search.add(Tried(level.rate, outcome, by_generator))
        self._emit("drained", now, level=number, in_flight=level.in_flight, waited_s=waited_s, whole=gone)
        self._level = None
        self._next_level(now, faults, occurrences)

    def _judged(self, level: LevelWatch) -> tuple[Outcome, str, bool]:
        """Hold the settled part against the SLO."""
        assert level.settled_ns is not None  # noqa: S101 - or it would not be judged
        due, good = level.good(level.settled_ns, self._cut_ns)
        share = good / max(1, due)
        said = f"{share:.2%} of {due:,} requests were good; the SLO asks for {self._slo.good_share:.2%}"
        return "meets" if share >= self._slo.good_share else "misses", said, False

    def _tell_level(self, level: LevelWatch) -> None:
        assert self._outcome is not None  # noqa: S101 - it has been decided
        outcome, why, by_generator = self._outcome
        about = {"rate": level.rate, "settled_ns": level.settled_ns, "outcome": outcome, "why": why}
        self._emit("level_ended", self._cut_ns, level=len(self._search.tried) + 1, **about, by_generator=by_generator)
