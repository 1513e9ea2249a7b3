"""Walks the timeline: injects each fault when it is due, sees it bite, takes it back, sees it gone.

One thread per site (an upstream, a service), because it has one fault at a time and waiting to see one must not delay
another's.
Whatever happens (an error, `stop`, a fault that never bit), what was injected is cleared; what cannot be cleared is
reported, kept, and tried again each second and by `stop`. A service that cannot be mended is given up after two tries
(`Conductor.stuck`): the fault goes with the service.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_S, now_ns, wait_until
from harness.errors import FaultFailed
from harness.faults import watch
from harness.faults.fault import Fault
from harness.faults.service import ServiceFault, ServiceSite
from harness.faults.watch import Moment
from harness.model.trigger import During

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from harness.faults.fault import Site
    from harness.faults.timeline import Occurrence
    from harness.journal import Journal
    from harness.recording.tables import EventLog

    Callback = Callable[["Occurrence", "Moment"], None]

_PREPARE_NS = NS_PER_S // 2
"""How long before its time a fault is prepared: the healthy answer measured, the journal written."""
_LATE_NS = NS_PER_S
"""A fault this late is left out, so that late repeats do not pile up."""
_RETRY_NS = NS_PER_S
"""Between one try to clear a fault and the next, while the load lasts."""
_MOST_TRIES = 2
"""To mend a service: each may take a minute and more, and the first may have met an engine that was busy."""


def _by_walk(occurrence: Occurrence) -> tuple[bool, str, int, float]:
    return isinstance(occurrence.spec, ServiceFault), occurrence.spec.on, occurrence.group, occurrence.begin_s


def _nothing(_occurrence: Occurrence, _when: object) -> None:
    """Nobody wants to know."""


def _always(_occurrence: Occurrence) -> str:
    """Nothing speaks against it."""
    return ""


@dataclass(frozen=True)
class Uncleared:
    """A fault that could not be cleared."""

    problem: str
    """In words."""
    on_service: bool
    """Whether it is on a service, and so goes with that."""


class _Walk:
    """One site, the faults that shall be on it by the clock or after one trigger, and the one that is, if any."""

    def __init__(self, site: Site, occurrences: Sequence[Occurrence]) -> None:
        self.site, self.occurrences = site, occurrences
        self.from_ns: int | None = None
        """What its times count from, once that is known."""
        self.begun = threading.Event()
        self.over = threading.Event()
        """Set when what is on shall end early."""
        self.on: tuple[Occurrence, Fault, int] | None = None
        """The fault to clear, with its entry in the journal."""
        self.healthy_ns = 0
        self.since_ns = 0
        """When it was first tried to clear it."""
        self.tries = 0
        """To clear it, in vain."""
        self.problem = ""
        """Why it is still on."""

    @property
    def given_up(self) -> bool:
        """Whether it is not tried any more to clear what is on."""
        return self.tries >= _MOST_TRIES and isinstance(self.site, ServiceSite)


class Conductor:
    """Runs the faults of a plan. `start`, then `wait` or `stop`; `stop` always, in the end.

    `t_zero_ns` is when the warm-up ends; `upstreams` and `services` have the sites by name. `on_effective` and
    `on_cleared` are called one at a time, with the fault and the moment, never for one that did not bite; `on` tells
    which are on then. `on_gone` is called with every fault that had its time, bit or not, and when (ns) it was known to
    be off. `objection` is asked before each is injected, in any thread, and returns why it must not be.
    """

    def __init__(  # noqa: PLR0913 - what it walks, where it tells, and whom it asks
        self,
        occurrences: Sequence[Occurrence],
        upstreams: Mapping[str, Site],
        services: Mapping[str, Site] | None = None,
        *,
        events: EventLog,
        journal: Journal,
        on_effective: Callback = _nothing,
        on_cleared: Callback = _nothing,
        on_gone: Callable[[Occurrence, int], None] = _nothing,
        objection: Callable[[Occurrence], str] = _always,
        deadline_s: float = 5.0,
    ) -> None:
        self._walks = [
            _Walk((services or {} if on_service else upstreams)[name], list(found))
            for (on_service, name, _), found in groupby(
                sorted(occurrences, key=_by_walk), key=lambda o: _by_walk(o)[:3]
            )
        ]
        self._events, self._journal = events, journal
        self._on_effective, self._on_cleared, self._on_gone = on_effective, on_cleared, on_gone
        self._objection = objection
        self._deadline_ns = int(deadline_s * NS_PER_S)
        self._stop = threading.Event()
        self._telling = threading.RLock()
        self._effective: set[str] = set()
        self._taken: dict[str, str] = {}
        """What is on, or about to be, by its place: an upstream and the service that it is are one."""
        self._end_ns: int | None = None
        self._threads: list[threading.Thread] = []
        self.failed: list[str] = []
        """Faults that did not bite, were left out, not cleared or not recorded, in words: they make a run invalid."""

    @property
    def on(self) -> frozenset[str]:
        """Ids of the faults that are effective and not yet seen cleared."""
        return frozenset(self._effective)

    def start(self, t_zero_ns: int, end_ns: int | None = None) -> None:
        """Begin the walk. What a trigger begins must end before `end_ns`."""
        self._end_ns = end_ns
        for walk in self._walks:
            if walk.occurrences[0].trigger is None:
                walk.from_ns = t_zero_ns
                walk.begun.set()
            name = f"faults-{walk.site.name}"
            thread = threading.Thread(target=self._follow, args=(walk,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def waiting(self) -> list[Occurrence]:
        """Of each trigger that has not fired, what it begins with."""
        return [walk.occurrences[0] for walk in self._walks if walk.from_ns is None]

    def fire(self, first: Occurrence, t_ns: int, evidence: str) -> None:
        """Tell that the trigger of `first` (see `waiting`) came at `t_ns`."""
        for walk in self._walks:
            if walk.from_ns is None and walk.occurrences[0] is first:
                self._tell("triggered", first, t_ns=t_ns, evidence=evidence)
                walk.from_ns = t_ns
                walk.begun.set()

    def release(self, fault_ids: Collection[str]) -> None:
        """Let these faults end now, of those that a trigger began. They are cleared a moment later: see `on`."""
        for walk in self._walks:
            if walk.occurrences[0].fault_id in fault_ids:
                walk.over.set()

    @property
    def stuck(self) -> list[str]:
        """Why services that were broken stay so, whatever is done: there is nothing left to be measured."""
        return [walk.problem for walk in self._walks if walk.given_up]

    @property
    def done(self) -> bool:
        """Whether every fault has had its time."""
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> list[Uncleared]:
        """Clear whatever is on, now, and return what could not be cleared. May be called twice."""
        self._stop.set()
        for walk in self._walks:
            walk.over.set()
            if walk.occurrences[0].trigger is not None and not walk.begun.is_set():
                walk.begun.set()
                for occurrence in walk.occurrences:
                    reason = f"never injected: it waited for its trigger ({occurrence.trigger}) until the load ended"
                    self.failed.append(f"{occurrence.fault_id}: {reason}")
                    self._tell("failed", occurrence, evidence=reason, bit=False)
        for thread in self._threads:
            thread.join()
        left = [(walk, problem) for walk in self._walks if (problem := self._clear(walk)) is not None]
        return [Uncleared(problem, isinstance(walk.site, ServiceSite)) for walk, problem in left]

    def _follow(self, walk: _Walk) -> None:
        walk.begun.wait()
        if walk.from_ns is None:  # the load is over
            return
        for occurrence in walk.occurrences:
            begin_ns = walk.from_ns + int(occurrence.begin_s * NS_PER_S)
            if not wait_until(begin_ns - _PREPARE_NS, self._stop):
                return
            try:
                self._check_turn(occurrence, begin_ns)
                self._run(walk, occurrence, begin_ns)
            except (FaultFailed, OSError) as error:
                self._failed(occurrence, str(error))
            except Exception as error:  # noqa: BLE001 - a thread has nobody to raise to; `failed` invalidates the run
                self._failed(occurrence, f"internal error: {error!r}")
            finally:
                self._settle(walk, occurrence)

    def _settle(self, walk: _Walk, occurrence: Occurrence) -> None:
        """Clear what is on, again and again while the load lasts; then others may have the site, and their turn."""
        while self._clear(walk) is not None and not walk.given_up:
            if not wait_until(now_ns() + _RETRY_NS, self._stop):
                return
        if walk.on is not None:
            return
        if self._taken.get(occurrence.place) == occurrence.fault_id:
            del self._taken[occurrence.place]
        with self._telling:
            self._on_gone(occurrence, now_ns())

    def _check_turn(self, occurrence: Occurrence, begin_ns: int) -> None:
        """FaultFailed when it cannot, or must not, be injected now."""
        if now_ns() > begin_ns + _LATE_NS:
            raise FaultFailed(f"left out: {(now_ns() - begin_ns) / NS_PER_S:.1f} s late, its predecessor took so long")
        over_ns = begin_ns + int((occurrence.end_s - occurrence.begin_s) * NS_PER_S) - (self._end_ns or 0)
        waited = occurrence.trigger is not None and not isinstance(occurrence.trigger, During)  # a state ends in time
        if waited and self._end_ns is not None and over_ns > 0:
            late_s = over_ns / NS_PER_S
            raise FaultFailed(f"left out: its trigger came so late that it would end {late_s:.1f} s after the load")
        if reason := self._objection(occurrence):
            raise FaultFailed(f"not injected: {reason}")
        while (holder := self._taken.setdefault(occurrence.place, occurrence.fault_id)) != occurrence.fault_id:
            # By the clock it may have begun to end, on another site of the same place.
            late = occurrence.trigger is not None or now_ns() > begin_ns + _LATE_NS
            if late or not wait_until(now_ns() + NS_PER_S // 50, self._stop):
                raise FaultFailed(f"left out: {holder} is still on")

    def _run(self, walk: _Walk, occurrence: Occurrence, begin_ns: int) -> None:
        """Inject one fault and hold it until its end; FaultFailed when it did not bite. Clearing is the caller's."""
        spec, site = occurrence.spec, walk.site
        if not isinstance(spec, Fault):
            raise FaultFailed(f"{spec.kind} has no behaviour: the experiment was read without the fault catalogue")
        walk.healthy_ns = site.probe.healthy_ns(spec.question())
        walk.on = (occurrence, spec, site.journal(self._journal, spec, occurrence.fault_id))
        lasts_ns = int((occurrence.end_s - occurrence.begin_s) * NS_PER_S)
        looks_ns = watch.takes_ns(spec, walk.healthy_ns)
        self._expires(walk, spec, begin_ns + lasts_ns)
        self._tell("journalled", occurrence)
        if not wait_until(begin_ns, self._stop):
            return
        since_ns = now_ns()
        self._tell("injecting", occurrence, t_ns=since_ns)
        spec.inject(site.ground, occurrence.fault_id)
        acknowledged_ns, until_ns = now_ns(), since_ns + lasts_ns
        # One on a small share takes long to meet where answers do, but it must not stay on for that.
        moment = watch.effective(
            spec,
            site.probe,
            since_ns=since_ns,
            healthy_ns=walk.healthy_ns,
            deadline_ns=acknowledged_ns + max(self._deadline_ns, min(looks_ns, lasts_ns)),
            stop=walk.over,
        )
        with self._telling:
            self._effective.add(occurrence.fault_id)
            self._tell("effective", occurrence, moment, acknowledged_ns=acknowledged_ns, bit=True, blocks=spec.blocks)
            self._on_effective(occurrence, moment)
        for state in spec.hold(site.ground, occurrence.fault_id, until_ns, walk.over):
            self._tell(state, occurrence)

    def _expires(self, walk: _Walk, spec: Fault, over_ns: int) -> None:
        """Note that what is on may be seen to go until some time after `over_ns`."""
        if walk.on is not None:
            looks_ns = watch.takes_ns(spec, walk.healthy_ns)
            self._journal.expires(walk.on[2], over_ns + int(spec.grace_s * NS_PER_S) + looks_ns)

    def _clear(self, walk: _Walk) -> str | None:
        """Take back what is on and see it gone; return what is wrong if that fails, which is told the first time."""
        if walk.on is None:
            return None
        if walk.given_up:
            return walk.problem
        occurrence, spec, entry = walk.on
        if not walk.tries:
            walk.since_ns = now_ns()
            self._tell("clearing", occurrence, t_ns=walk.since_ns)
        try:
            moment, doubt = self._undo(walk, occurrence, spec)
            self._journal.healed(entry)
        except (FaultFailed, OSError) as error:
            walk.problem = f"{occurrence.fault_id} could not be cleared: {error}"
            if not walk.tries:
                self.failed.append(walk.problem)
                self._tell("failed", occurrence, evidence=walk.problem, healed=False)
            walk.tries += 1
            return walk.problem
        walk.on, walk.tries = None, 0
        with self._telling:
            if doubt:
                self.failed.append(f"{occurrence.fault_id}: {doubt}")
                self._tell("failed", occurrence, evidence=doubt, healed=True)
            else:
                self._tell("cleared", occurrence, moment)
            if occurrence.fault_id in self._effective:
                self._effective.discard(occurrence.fault_id)
                self._on_cleared(occurrence, moment)
        return None

    def _undo(self, walk: _Walk, occurrence: Occurrence, spec: Fault) -> tuple[Moment, str]:
        """Take a fault back; return when, and what makes that doubtful. FaultFailed when it is, or may be, still on."""
        site, since_ns, deadline_ns = walk.site, walk.since_ns, now_ns() + self._deadline_ns
        while True:
            try:
                spec.clear(site.ground, occurrence.fault_id)
                break
            except FaultFailed:
                # A port that was given up may be in use for a moment by some outgoing connection.
                if now_ns() >= deadline_ns or not wait_until(now_ns() + NS_PER_S // 20):
                    raise
        self._expires(walk, spec, now_ns())  # nothing is left that the guardian could take back
        moment = Moment(since_ns, now_ns(), "read back")
        deadline_ns = now_ns() + self._deadline_ns  # a service may have taken long to be started again
        try:
            moment = watch.cleared(
                spec, site.probe, since_ns=since_ns, healthy_ns=walk.healthy_ns, deadline_ns=deadline_ns
            )
        except FaultFailed as error:
            self._expires(walk, spec, now_ns())
            if not (cause := site.other_cause(spec, walk.healthy_ns)):
                raise
            return moment, f"{error}; {cause}"  # not our doing any more
        return moment, ""

    def _failed(self, occurrence: Occurrence, reason: str) -> None:
        bit, stopped = occurrence.fault_id in self._effective, self._stop.is_set()
        if not stopped:
            self.failed.append(f"{occurrence.fault_id}: {reason}")
        elif not bit:
            reason = f"stopped before it was seen: {reason}"
        self._tell("failed", occurrence, evidence=reason, bit=bit, cut_short=bit and not stopped)

    def _tell(
        self, state: str, occurrence: Occurrence, moment: Moment | None = None, *, t_ns: int | None = None, **data: Any
    ) -> None:
        if moment is not None:
            t_ns = moment.high_ns
            data |= {"low_ns": moment.low_ns, "high_ns": moment.high_ns, "evidence": moment.evidence}
        spec = occurrence.spec
        about = {"kind": spec.kind, "upstream": spec.on, "experiment": occurrence.experiment}
        try:
            self._events.emit("fault", "faults", occurrence.fault_id, t_ns=t_ns, state=state, **about, **data)
        except (OSError, ValueError) as error:  # a full disk must not keep a fault on
            self.failed.append(f"{occurrence.fault_id}: its event {state!r} could not be written: {error}")
