"""A load under way: its times, its phases, and what is watched and decided while it lasts.

Nothing here measures or judges what the report says: it makes a recording.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from harness.clock import NS_PER_S, now_ns, sleep
from harness.conditions import Conditions, longest_window_s
from harness.errors import ExitCode, TrafficFailed
from harness.live import Recent, counts, percentiles_ms
from harness.model.threshold import parse_abort
from harness.model.trigger import During, When
from harness.planfile import faults_of
from harness.recording.tables import clean
from harness.report.live import LiveState, LiveView
from harness.searching import Searching
from harness.steady import SteadyState
from harness.traffic import Pulses
from harness.triggers import Triggers

if TYPE_CHECKING:
    from harness.faults.conductor import Conductor
    from harness.faults.timeline import Occurrence
    from harness.faults.watch import Moment
    from harness.guardian import Guardian
    from harness.interrupt import Interrupt
    from harness.live_metrics import LiveMetrics
    from harness.model.plan import Plan
    from harness.model.threshold import Threshold
    from harness.recording.tables import EventLog
    from harness.stage import Stage
    from harness.traffic import Engine

_HEAD_START_NS = NS_PER_S // 10
"""Between ordering the load and its first request: the generator must have its schedule by then."""
_FAR_HEAD_START_NS = NS_PER_S
"""The same where it has to travel to other hosts."""
_TICK_S = 0.25
_GRACE_NS = 10 * NS_PER_S
"""How much longer than promised the generator may take to end before it is killed."""
_CLOCKS_NS = NS_PER_S // 10
"""How much earlier than by our clock a load may be over by that of its generator."""
_MOST_MESSAGES = 50
"""Different exceptions of the workload that are kept; the log has them all."""
_VIEW_S = 5.0
"""The live view shows the last seconds of this length."""


class Underway:
    """One load, from its order to its last row; `drive` sees it through."""

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        engine: Engine,
        events: EventLog,
        interrupt: Interrupt,
        guardian: Guardian,
        metrics: LiveMetrics | None = None,
    ) -> None:
        self.metrics = metrics
        self._plan, self._stage, self._engine = plan, stage, engine
        self._events, self._interrupt, self._guardian = events, interrupt, guardian
        self._aborts = [parse_abort(text) for e in plan.experiments for text in e.abort]
        whens = [f.trigger.threshold for e in plan.experiments for f in e.faults if isinstance(f.trigger, When)]
        slo = plan.scenario.slo
        self._recent = Recent((longest_window_s([*self._aborts, *whens], slo) if plan.experiments else _VIEW_S) + 2)
        self._conditions = Conditions(self._recent, slo)
        self._triggers = Triggers(plan, self._conditions)
        self._pulses = Pulses(round(_VIEW_S) + 1)
        self._searching = (
            Searching(plan, engine, events, self._pulses, self._head_start_ns)
            if plan.scenario.load.kind == "capacity"
            else None
        )
        self.occurrences = faults_of(plan)
        self.steady = SteadyState(plan, self._conditions, events, lambda: self._pulses.in_flight)
        self._phase = ""
        self._on: set[str] = set()
        self._cleared_ns: int | None = None
        self._outcomes: Counter[str] = Counter()
        self._messages: list[str] = []
        self.ended = ExitCode.PASS
        self.message = ""
        self.start_ns = self.zero_ns = self.end_ns = self._drained_ns = 0
        self._boundaries = deque(plan.scenario.load.boundaries)

    def schedule(self) -> None:
        """Fix the run's times and order the load."""
        load = self._plan.scenario.load
        self.start_ns = now_ns() + self._head_start_ns
        self.zero_ns = self.start_ns + round(load.warmup * NS_PER_S)
        self.end_ns = self.start_ns + round(load.total_s * NS_PER_S)
        self.steady.begin_ns, self.steady.zero_ns = self.start_ns, self.zero_ns
        if self._searching:
            self._searching.begin(self.start_ns, self.end_ns)
        self._engine.begin(self.start_ns, self._stage.url)
        self._events.emit("load", "conduct", "started", t_ns=self.start_ns, url=self._stage.url)
        if load.warmup:
            self._enter("warmup", self.start_ns)

    @property
    def _head_start_ns(self) -> int:
        return _FAR_HEAD_START_NS if self._plan.remote_workers else _HEAD_START_NS

    def objection(self, fault: Occurrence) -> str:
        """Return why a fault must not be injected now; "" when nothing speaks against it. May be called in any thread.

        After levels that were too much for it a system is not in its steady state; that it met its SLO at some rate is
        what says that it was well.
        """
        if self._searching and isinstance(fault.trigger, During) and (said := self._searching.objection()) is not None:
            return said
        return self.steady.objection(fault)

    def _enter(self, phase: str, t_ns: int) -> None:
        self._phase = phase
        self._events.emit("phase", "conduct", phase, t_ns=t_ns)

    def fault_effective(self, fault: Occurrence, moment: Moment) -> None:
        """Called by the faults' conductor, one call at a time."""
        self._on.add(fault.fault_id)
        self._cleared_ns = None
        self._enter("fault", moment.low_ns)

    def fault_cleared(self, fault: Occurrence, moment: Moment) -> None:
        """Called by the faults' conductor, one call at a time."""
        self._on.discard(fault.fault_id)
        self._cleared_ns = None if self._on else moment.high_ns
        if not self._on and moment.high_ns < self.end_ns:
            self._enter("recovery", moment.high_ns)

    def fault_gone(self, fault: Occurrence, t_ns: int) -> None:
        """Called by the faults' conductor, one call at a time."""
        self._triggers.gone(fault, t_ns)

    def drive(self, faults: Conductor, view: LiveView) -> None:
        """See the load through to its end, or stop it when something demands that."""
        faults.start(self.zero_ns, self.end_ns)
        measuring = stopping = False
        while not self._engine.finished:
            now = now_ns()
            if not measuring and now >= self.zero_ns:
                measuring = True
                self._enter("baseline" if self._plan.experiments else "steady", self.zero_ns)
            self._note_boundaries(now)
            self.note_guardian()
            if not stopping:
                self._pull_triggers(now, faults)
                self._search(now, faults)
            if stopping:
                self._wait_no_longer_than_promised(now)
            elif self._must_stop(now, faults) or now >= self.end_ns:
                stopping = True
                self._stop_load(now, faults)
            self._take_in(now)
            self._stage.flush()
            view.update(state := self._state(now, faults))
            if self.metrics:
                self.metrics.update(state, self._stage.probe_ok)
            sleep(_TICK_S)
        self._take_in(now_ns())
        if not stopping:
            self._over_by_itself(now_ns(), faults)

    def _over_by_itself(self, now: int, faults: Conductor) -> None:
        """The load has ended before we saw that it was time, or before it was."""
        if now < self.end_ns - _CLOCKS_NS and not self._asked():
            self._cut_short(f"the load generator ended {(self.end_ns - now) / NS_PER_S:.1f} s too early")
        self._stop_load(now if self.message else max(now, self.end_ns), faults)

    def _search(self, now: int, faults: Conductor) -> None:
        """Go on with a search for capacity; the load ends when that is over."""
        if self._searching is None or now < self.zero_ns:
            return
        self._searching.step(now, faults, self.occurrences)
        if self._searching.over and now < self.end_ns:
            self.end_ns = now
            self._engine.stop("the search is over")

    def _note_boundaries(self, now: int) -> None:
        while self._boundaries and now < self.end_ns:
            at_ns = self.start_ns + round(self._boundaries[0][0] * NS_PER_S)
            if now < at_ns:
                return
            _, _, data = self._boundaries.popleft()
            self._events.emit("load", "conduct", "step", t_ns=at_ns, **data)

    def _pull_triggers(self, now: int, faults: Conductor) -> None:
        state = self._searching.state if self._searching else ""
        for fault in faults.waiting:
            come = self._triggers.come(
                fault, start_ns=self.start_ns, zero_ns=self.zero_ns, now=now, users=self._pulses.users, state=state
            )
            if come:
                faults.fire(fault, now, come)

    def note_guardian(self) -> None:
        """Tell what has become of the guardian, if anything has."""
        for news in self._guardian.news():
            self._messages.append(news.message)
            self._events.emit("guardian", "conduct", news.subject, state=news.state, message=news.message)

    def _interrupted(self) -> bool:
        """Tell, once, that the user wants an end."""
        if self.ended is ExitCode.INTERRUPTED or not self._interrupt.wanted.is_set():
            return False
        self.ended, self.message = ExitCode.INTERRUPTED, f"interrupted by {self._interrupt.signal}"
        self._events.emit("run", "conduct", "interrupted", signal=self._interrupt.signal)
        return True

    def _wait_no_longer_than_promised(self, now: int) -> None:
        if self._interrupted():
            self._engine.stop(self.message, at_once=True)
            self._drained_ns = now + _GRACE_NS
        if now > self._drained_ns:
            self._engine.kill()
            raise TrafficFailed("the load generator did not end; it was killed, and what it had flushed is kept")

    def _asked(self) -> bool:
        if self._engine.asked:
            self._cut_short(self._engine.asked)
        return bool(self._engine.asked)

    def _cut_short(self, why: str) -> None:
        self.message = why
        self._events.emit("instrument", "conduct", "cut", error=why)

    def _must_stop(self, now: int, faults: Conductor) -> bool:
        if self._interrupted() or self._asked():
            return True
        for died in self._stage.died():
            self.message = died.message
            self._events.emit(
                "system", "stage", died.service, state="died", code=died.code, ours=died.ours, message=died.message
            )
            return True
        if self._guardian.lost:
            self.message = "the run's guardian could not be kept alive"
            return True
        if stuck := faults.stuck:
            self.message = stuck[0]
            return True
        return any(self._crossed(abort, now) for abort in self._aborts)

    def _crossed(self, abort: Threshold, now: int) -> bool:
        window_s = abort.window_s or 0.0
        if now < self.zero_ns + window_s * NS_PER_S:
            return False
        observed = self._conditions.met(abort, now)
        if observed is None:
            return False
        self.ended, self.message = ExitCode.ABORTED, f"aborted: {abort.text} (observed {observed:.4g})"
        self._events.emit("abort", "conduct", abort.metric, threshold=abort.text, observed=observed)
        return True

    def _stop_load(self, now: int, faults: Conductor) -> None:
        early = now < self.end_ns
        if self._searching:
            self._searching.close(now)
        self._drained_ns = now + _GRACE_NS + (0 if early else round(self._plan.scenario.load.drain * NS_PER_S))
        if early:  # what is in flight is not waited for: somebody, or a limit, wants this to end
            self._engine.stop(self.message, at_once=True)
        else:
            self.steady.after(now, self._cleared_ns)
        self.end_ns = min(now, self.end_ns)
        self._enter("cooldown", self.end_ns)
        self._events.emit("load", "conduct", "stopped", t_ns=self.end_ns, early=early)
        faults.stop()

    def _take_in(self, now: int) -> None:
        progress = self._engine.batches()
        if self.metrics:
            self.metrics.take_in(progress.batches, progress.pulses)
        self._recent.add(now, progress.batches)
        if self._searching:
            self._searching.add(progress.batches)
        for batch in progress.batches:
            self._outcomes.update(counts(batch, "outcome"))
        for pulse in progress.pulses:
            self._pulses.add(pulse)
            if self._searching:
                self._searching.pulse(pulse)
            self._stage.sample_worker(pulse)
            error = clean(pulse.last_error)
            if error and error not in self._messages and len(self._messages) < _MOST_MESSAGES:
                self._messages.append(error)
                self._events.emit("instrument", "conduct", "raised", t_ns=pulse.t_ns, error=error)

    def _troubles(self) -> list[str]:
        """Return what cannot be recorded just now; said on a terminal and in its log while it lasts."""
        found = dict.fromkeys(t for t in (*self._pulses.troubles, self._stage.trouble) if t)
        return [f"cannot be written, and waits in memory: {trouble}" for trouble in found]

    def _state(self, now: int, faults: Conductor) -> LiveState:
        table = self._recent.table(now, _VIEW_S)
        p50, p95, p99 = percentiles_ms(table) or (None, None, None)
        return LiveState(
            elapsed_s=max(0.0, (now - self.start_ns) / NS_PER_S),
            total_s=self._plan.scenario.load.total_s,
            phase=self._phase or "starting",
            users=self._pulses.users,
            rate_per_s=self._pulses.rate_per_s,
            in_flight=self._pulses.in_flight,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            level=self._searching.words if self._searching else "",
            faults=tuple(sorted(faults.on)),
            outcomes=dict(self._outcomes),
            providers=counts(table, "provider"),
            messages=tuple([*self._messages, *faults.failed, *self._troubles()][-4:]),
        )
