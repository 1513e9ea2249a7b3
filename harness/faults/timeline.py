"""The faults of a plan on one timeline. Pure; times are seconds after the end of the warm-up, or after a trigger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.errors import PlanError
from harness.faults.compositions import SHORTEST_PERIOD_S, Flapping
from harness.faults.fault import UpstreamFault
from harness.faults.service import ServiceFault
from harness.model.base import nearest
from harness.model.trigger import InTurn, Recovered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.model.experiment import FaultSpec
    from harness.model.target import Upstream
    from harness.model.trigger import Trigger

_EPSILON_S = 1e-6


@dataclass(frozen=True)
class Occurrence:
    """One fault at one time."""

    begin_s: float
    end_s: float
    fault_id: str
    """``blackhole-bedrock-1``, or ``name-1``: unique in the run, numbered by time."""
    spec: FaultSpec
    experiment: str
    group: int = 0
    """Which fault of the plan it is, from 1, where that waits for a trigger; those by the clock are all 0, each that
    is spaced by recovery is by itself."""
    turn: InTurn | None = None
    """Of one that is spaced by recovery: after which other it comes."""
    place: str = ""
    """Where it is on (`Breakables.place`)."""

    @property
    def trigger(self) -> Trigger | None:
        """What `begin_s` and `end_s` count from; None: the end of the warm-up."""
        return self.turn or self.spec.trigger

    def __str__(self) -> str:
        if self.trigger is not None:
            return f"{self.fault_id} ({self.trigger}, of {self.experiment})"
        return f"{self.fault_id} ({self.begin_s:g} s to {self.end_s:g} s of {self.experiment})"


def occurrences(specs: Iterable[tuple[str, FaultSpec]], there: Breakables | None = None) -> list[Occurrence]:
    """Return every occurrence of all faults, by time, then those of each trigger; `specs` are (experiment, fault).
    Without `there` it is not known which upstreams are services, so each counts as a place of its own."""
    specs, there = list(specs), there or Breakables({})
    drafts = [
        (number if spec.trigger is not None else 0, begin, end, spec, experiment)
        for number, (experiment, spec) in enumerate(specs, 1)
        if spec.spaced_by == "clock"
        for begin, end in spec.occurrences()
    ]
    drafts.sort(key=lambda draft: draft[:3])
    count: Counter[str] = Counter()

    def called(spec: FaultSpec) -> str:
        count[spec.called] += 1
        return f"{spec.called}-{count[spec.called]}"

    found = [
        Occurrence(begin, end, called(spec), spec, name, group, place=there.place(spec))
        for group, begin, end, spec, name in drafts
    ]
    last: dict[str, str] = {}
    for group, (spec, name) in enumerate(_turns(specs), len(specs) + 1):
        place, fault_id = there.place(spec), called(spec)
        turn = InTurn(after=last[place]) if place in last else InTurn(at_s=spec.at if isinstance(spec.at, float) else 0)
        found.append(Occurrence(0.0, spec.for_s, fault_id, spec, name, group, turn, place))
        last[place] = fault_id
    return found


def _turns(specs: Iterable[tuple[str, FaultSpec]]) -> list[tuple[FaultSpec, str]]:
    """Return the faults that are spaced by recovery as often as each repeats, in turn: first of all the first time of
    each, by when it may begin."""
    turns = [
        (k, spec.at if isinstance(spec.at, float) else 0.0, number, spec, experiment)
        for number, (experiment, spec) in enumerate(specs)
        if spec.spaced_by == "recovery"
        for k in range(spec.repeat)
    ]
    return [(spec, experiment) for *_, spec, experiment in sorted(turns, key=lambda turn: turn[:3])]


@dataclass(frozen=True)
class Breakables:
    """What a target has that can be broken."""

    upstreams: Mapping[str, Upstream]
    services: Mapping[str, int] = field(default_factory=dict)
    """Number of copies of each."""
    behind: Mapping[str, str] = field(default_factory=dict)
    """Upstream -> the service that it is, where we start that."""
    groups: tuple[str, ...] = ()
    """Names that stand for several upstreams."""
    offers: frozenset[str] = frozenset({"services", "http"})
    """What of `fault.Need` there is."""

    def place(self, spec: FaultSpec) -> str:
        """Return where a fault is on, so that two faults on one upstream, or on it and its service, are seen to be."""
        if isinstance(spec, ServiceFault):
            return f"service {spec.on}"
        return f"service {self.behind[spec.on]}" if spec.on in self.behind else f"upstream {spec.on}"


def check(specs: Iterable[tuple[str, FaultSpec]], there: Breakables, load_end_s: float) -> None:
    """Raise PlanError, naming the experiment and the fault, when these faults cannot all be run.

    `load_end_s` is when the load ends, in seconds after the warm-up.
    """
    specs = list(specs)
    _check_names(specs)
    for experiment, spec in specs:
        _check_repeats(experiment, spec)
        _check_period(experiment, spec)
        if isinstance(spec, ServiceFault):
            _check_service(experiment, spec, there)
        else:
            _check_upstream(experiment, spec, there)
    found = occurrences(specs, there)
    for occurrence in found:
        if occurrence.end_s > load_end_s + _EPSILON_S:
            raise PlanError(
                f"{occurrence} would not end before the load does, after {load_end_s:g} s",
                where=f"experiment {occurrence.experiment}",
                hint="hold the load for longer, or begin the fault earlier, repeat it less or shorten its `for`",
                about=occurrence.spec,
            )
    _check_turns(found, load_end_s)
    # What a trigger begins while another fault is on there is left out then, and told.
    for place, group in {(o.place, o.group) for o in found}:
        for earlier, later in pairwise(o for o in found if (o.place, o.group) == (place, group)):
            if later.begin_s < earlier.end_s - _EPSILON_S:
                raise PlanError(
                    f"{earlier} and {later} overlap on {place}",
                    where=f"experiment {later.experiment}",
                    hint="it can have one fault at a time: move one of them (`at`, `for`, `every`)",
                    about=later.spec,
                )


def _check_turns(found: Sequence[Occurrence], load_end_s: float) -> None:
    """Those that are spaced by recovery must fit into the load even if service never had to recover."""
    turns = [o for o in found if o.turn is not None]
    for place in {o.place for o in turns}:
        mine = [o for o in turns if o.place == place]
        begin_s = min(o.turn.at_s for o in mine if o.turn is not None and not o.turn.after)
        on_s = sum(o.end_s for o in mine)
        if begin_s + on_s > load_end_s + _EPSILON_S:
            raise PlanError(
                f"{len(mine)} faults in turn on {place} are on for {on_s:g} s together, from {begin_s:g} s on, and the "
                f"load ends after {load_end_s:g} s",
                where=f"experiment {mine[0].experiment}",
                hint="hold the load for longer (recovery takes time, too), repeat them less or shorten their `for`",
                about=mine[0].spec,
            )


def _check_names(specs: Sequence[tuple[str, FaultSpec]]) -> None:
    """Names must be told apart, and whoever waits for one must not wait for itself."""
    names: dict[str, FaultSpec] = {}
    for experiment, spec in specs:
        if spec.name is not None and names.setdefault(spec.name, spec) is not spec:
            raise PlanError(
                f"two faults are called {spec.name!r}", where=f"experiment {experiment}", hint="rename one", about=spec
            )
    called = {spec.called: spec for _, spec in specs}
    for experiment, spec in specs:
        waiting = [spec]
        while isinstance(waited := waiting[-1].trigger, Recovered):
            if waited.recovered not in called:
                known, listed = tuple(called), ", ".join(called)
                raise PlanError(
                    f"{spec.called} waits for {waited.recovered!r} to recover, which is no fault of this plan",
                    where=f"experiment {experiment}",
                    hint=f"{nearest(waited.recovered, known)}its faults, by `name` or kind-upstream: {listed}",
                    about=spec,
                )
            waiting.append(called[waited.recovered])
            if waiting[-1] in waiting[:-1]:
                circle = " waits for ".join(fault.called for fault in waiting)
                raise PlanError(
                    f"{circle}: none of them would ever begin",
                    where=f"experiment {experiment}",
                    hint="begin one of them `at` a time",
                    about=spec,
                )


def _check_period(experiment: str, spec: FaultSpec) -> None:
    """`--scale` shortens a period that was long enough as it was written."""
    if isinstance(spec, Flapping) and spec.period < SHORTEST_PERIOD_S - _EPSILON_S:
        raise PlanError(
            f"flapping on {spec.on} has a period of {spec.period:g} s as scaled, shorter than {SHORTEST_PERIOD_S:g} s",
            where=f"experiment {experiment}",
            hint="give it a longer `period`, or shorten the plan by less (`--scale`)",
            about=spec,
        )


def _check_repeats(experiment: str, spec: FaultSpec) -> None:
    if spec.spaced_by == "recovery":
        return
    if spec.repeat > 1 and (spec.every is None or spec.every < spec.for_s - _EPSILON_S):
        every = "no `every`" if spec.every is None else f"`every` {spec.every:g} s"
        raise PlanError(
            f"{spec.kind} on {spec.on} repeats {spec.repeat} times with {every} and `for` {spec.for_s:g} s",
            where=f"experiment {experiment}",
            hint="give `every`, the time from one beginning to the next; it must be at least `for`, "
            "and long enough to see the recovery",
            about=spec,
        )


def _check_upstream(experiment: str, spec: FaultSpec, there: Breakables) -> None:
    upstreams = there.upstreams
    if spec.on not in upstreams:
        known = tuple(sorted(upstreams))
        raise PlanError(
            f"{spec.kind} names upstream {spec.on!r}, which the target does not have",
            where=f"experiment {experiment}",
            hint=f"{nearest(spec.on, (*known, *there.groups))}the target's upstreams: {', '.join(known) or 'none'}"
            + (f"; groups of them: {', '.join(there.groups)}" if there.groups else ""),
            about=spec,
        )
    protocol = upstreams[spec.on].protocol
    if not isinstance(spec, UpstreamFault):
        return
    if spec.needs_http and protocol != "http":
        raise PlanError(
            f"{spec.kind} on {spec.on} is a fault of HTTP answers, and the protocol of {spec.on} is {protocol}",
            where=f"experiment {experiment}",
            hint="put it on an upstream with `protocol: http`, or use a fault of the network, as `reset` or `cut`",
            about=spec,
        )
    if spec.needs_http and "http" not in there.offers:
        raise PlanError(
            f"{spec.kind} on {spec.on} needs the HTTP fault proxy, and the target names no image in which it could run",
            where=f"experiment {experiment}",
            hint="give its system `http_faults:`, an image with Python 3.11 or newer, as in targets/compose.yaml",
            about=spec,
        )
    if spec.needs_answer and protocol == "tcp":
        raise PlanError(
            f"{spec.kind} on {spec.on} could not be seen to bite: its protocol is tcp, which answers no question",
            where=f"experiment {experiment}",
            hint="give the upstream `protocol: http` or `protocol: redis` in the target, or use a `refuse` fault",
            about=spec,
        )


def _check_service(experiment: str, spec: ServiceFault, there: Breakables) -> None:
    where = f"experiment {experiment}"
    if spec.service not in there.services:
        known = tuple(sorted(there.services))
        raise PlanError(
            f"{spec.kind} names service {spec.service!r}, which the target does not start",
            where=where,
            hint=f"{nearest(spec.service, known)}the target's services: {', '.join(known) or 'none'}",
            about=spec,
        )
    copies = there.services[spec.service]
    if spec.replicas is not None and spec.replicas > copies:
        raise PlanError(
            f"{spec.kind} is for {spec.replicas} replicas of {spec.service}, of which there "
            f"{'is one' if copies == 1 else f'are {copies}'}",
            where=where,
            hint="start more with --replicas, or break fewer of them",
            about=spec,
        )
    if "limits" in spec.needs and "limits" not in there.offers:
        raise PlanError(
            f"{spec.kind} on {spec.service}: processes of this machine cannot be given less of it",
            where=where,
            hint="run it against containers, as in --target targets/compose.yaml",
            about=spec,
        )
