"""How many users, and what gets used up first: a load of levels, read state by state (`methods.md`, Capacity)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.capacity_levels import HEALTHY, stretches
from harness.analysis.capacity_limits import Look, limits, pool, saturated, slices
from harness.analysis.capacity_notes import notes
from harness.analysis.capacity_plan import HEADROOM, advice, costs, planned, users_of
from harness.analysis.capacity_rows import SLICES, in_flight, measured
from harness.analysis.capacity_slo import bracket
from harness.analysis.capacity_use import Used, refused, under_way
from harness.analysis.frame import overlap
from harness.analysis.scan import joined
from harness.analysis.soak_series import instruments
from harness.analysis.usl import fit, joined_points
from harness.clock import NS_PER_S
from harness.model.capacity import CapacityFindings, CapacityState, SloCapacity, of_cpu
from harness.model.cost import CostFindings
from harness.model.estimate import Estimate
from harness.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from harness.analysis.capacity_levels import Stretch
    from harness.analysis.capacity_rows import Measured
    from harness.analysis.capacity_slo import Bracket
    from harness.analysis.frame import Frame
    from harness.analysis.ledger import Calls
    from harness.analysis.scan import Scan
    from harness.analysis.timeline import Timeline
    from harness.model.capacity import Level, Usl
    from harness.recording.reader import Recording


def capacity(
    recording: Recording,
    load: Scan,
    calls: Calls,
    when: Timeline,
    cost: CostFindings | Literal["unsupported"] | None,
) -> CapacityFindings | None:
    """Return what a `capacity` or `steps` load showed; None of any other load, or when it had no levels."""
    found = stretches(recording.plan.scenario.load, recording.events, when)
    if not found:
        return None
    return _Capacity(recording, load, calls, when, cost).findings(found)


@dataclass(frozen=True)
class _Run:
    """One level with what it was read from."""

    stretch: Stretch
    measured: Measured
    looks: dict[str, list[Look]]
    """By upstream: the parts of the level, for the search for pools."""

    @property
    def level(self) -> Level:
        return self.measured.level


class _Capacity:
    def __init__(
        self,
        recording: Recording,
        load: Scan,
        calls: Calls,
        when: Timeline,
        cost: CostFindings | Literal["unsupported"] | None,
    ) -> None:
        self._plan, self._load, self._calls, self._when = recording.plan, load, calls, when
        self._cost = cost if isinstance(cost, CostFindings) else None
        cores = recording.manifest.get("host", {}).get("cores")
        self._used = Used(recording.samples, cores, instruments(recording.manifest), self._plan.target.stand_ins)
        self._think_s: float | None = getattr(self._plan.scenario.load, "think", None)

    def findings(self, found: Sequence[Stretch]) -> CapacityFindings:
        runs = [self._run(stretch) for stretch in found]
        # A state that was to be searched in and was not may be the worst of all.
        asked: tuple[str, ...] = getattr(self._plan.scenario.load, "states", ())
        names = dict.fromkeys((*asked, *(stretch.state for stretch in found)))
        states = tuple(self._state(name, [run for run in runs if run.stretch.state == name]) for name in names)
        carried = {s.state: rate for s in states if (rate := planned(s.capacity)) is not None}
        below = next((s.state for s in states if s.capacity.state == "below"), None)
        known = all(s.capacity.known for s in states)
        slo = self._plan.scenario.slo
        return CapacityFindings(
            open_loop=self._plan.scenario.load.open_loop,
            slo_response_s=slo.response_time,
            slo_good_share=slo.good_share,
            think_s=self._think_s,
            headroom=HEADROOM,
            replicas=self._plan.replicas,
            currency=self._cost.currency if self._cost else None,
            states=states,
            worst=below or (min(carried, key=lambda name: carried[name]) if known else None),
        )

    # --- one level ---------------------------------------------------------------------------------------------------

    def _rows(self, stretch: Stretch) -> Frame:
        """Return the requests under way at any time of a level, dropped ones that were due in it too."""
        kept = []
        for frame in self._load.blocks(None, stretch.end_ns, alive_at=stretch.begin_ns):
            alive = (frame.end >= stretch.begin_ns) | (frame.due >= stretch.begin_ns) | frame.lost
            kept.append(frame.take(np.flatnonzero(alive)))
        return joined(kept, self._load.kinds, self._load.last_ns)

    def _run(self, stretch: Stretch) -> _Run:
        rows, span = self._rows(stretch), (stretch.begin_ns, stretch.end_ns)
        seen = measured(stretch, rows, self._plan.scenario.slo, self._when.zero_ns, self._think_s)
        used = self._used.shares(span)
        upstreams = self._calls.upstreams
        level = seen.level.model_copy(
            update={
                "used": used,
                "upstream_in_flight": {name: under_way(self._calls, name, span).mean for name in upstreams},
                "rate_limited": {name: refused(self._calls, name, span) for name in upstreams},
            }
        )
        seen = type(seen)(level, seen.trial, seen.points)
        cpus = [name for name, one in self._used.resources.items() if of_cpu(one.kind, name)]
        cpu = [used[name] for name in cpus if name in used]
        looks = {name: self._looks(name, rows, span, max(cpu, default=None)) for name in upstreams}
        return _Run(stretch, seen, looks)

    def _looks(self, upstream: str, rows: Frame, span: tuple[int, int], cpu: float | None) -> list[Look]:
        sent = rows.take(np.flatnonzero(rows.start >= 0))
        ends = np.where(sent.end >= 0, sent.end, span[1])
        return [
            Look(
                rate=int((rows.answered & (rows.end >= part[0]) & (rows.end < part[1])).sum())
                * NS_PER_S
                / (part[1] - part[0]),
                in_flight=in_flight(sent.start, ends, part),
                upstream=under_way(self._calls, upstream, part),
                cpu=cpu,
                refused=refused(self._calls, upstream, part),
            )
            for part in slices(span, SLICES)
        ]

    # --- one state ---------------------------------------------------------------------------------------------------

    def _state(self, name: str, runs: Sequence[_Run]) -> CapacityState:
        told = [run for run in runs if run.level.counts]
        levels = tuple(run.level for run in runs)
        found = bracket([run.measured.trial for run in told], 1 - self._plan.scenario.slo.good_share)
        beyond = _untold(found, levels)
        carried = self._carried(found, [run.level for run in told]).model_copy(update={"untold": beyond})
        law = self._law(name, told)
        pools = [
            limit
            for upstream in self._calls.upstreams
            if (limit := pool(upstream, [look for run in told for look in run.looks[upstream]]))
        ]
        no_more = bool(law and law.fits and law.past_knee) or saturated([run.level for run in told])
        full = limits(levels, self._used.resources, pools, saturated=no_more)
        cpu = [key for key, one in self._used.resources.items() if one.kind == "cpu"]
        what = advice(
            name, carried, levels, full, cpu, think_s=self._think_s, headroom=HEADROOM, replicas=self._plan.replicas
        )
        per_1k = self._per_1k(name, [run.stretch for run in runs])
        return CapacityState(
            state=name,
            levels=levels,
            capacity=carried,
            usl=law,
            limits=full,
            advice=what,
            cost_per_1k=per_1k,
            **costs(per_1k, what),
            notes=tuple(
                notes(levels, found, law, full, untold=beyond, users_known=carried.users is not None, saturated=no_more)
            ),
        )

    def _law(self, name: str, runs: Sequence[_Run]) -> Usl | None:
        points = [run.measured.points for run in runs]
        return fit(joined_points(points), generator(self._plan.seed, f"capacity {name}"))

    def _carried(self, found: Bracket, levels: Sequence[Level]) -> SloCapacity:
        """Return the capacity in requests and in users, whichever of the two the levels were."""
        n = len(levels)
        ends = (found.value, found.low, found.high)
        if not self._plan.scenario.load.open_loop:
            users = Estimate(value=ends[0], low=ends[1], high=ends[2], n=n)
            return SloCapacity(state=found.state, rate=in_requests(found, levels), users=users)
        rate = Estimate(value=ends[0], low=ends[1], high=ends[2], n=n)
        think = self._think_s
        thinking = None if think is None else users_of(rate, levels, think, self._plan.scenario.slo.response_time)
        return SloCapacity(state=found.state, rate=rate, users=thinking)

    def _per_1k(self, name: str, found: Sequence[Stretch]) -> float | None:
        """Return what 1000 requests of this state cost; None where the account does not tell it apart.

        It knows the healthy state and the states of steps by their names; one that was searched in by the faults that
        were on. A fault that was on for a part of a healthy step makes it no outage.
        """
        if self._cost is None:
            return None
        key: str | None = name
        if name != HEALTHY and name not in self._cost.by_state:
            spans = [(s.begin_ns, s.end_ns) for s in found]
            on = (f for f in self._when.faults if overlap([f.on(self._when.end_ns)], spans))
            key = next((f"{fault.upstream} {fault.kind}" for fault in on), None)
        spend = self._cost.by_state.get(key) if key else None
        return None if spend is None else spend.per_1k_requests


def _untold(found: Bracket, levels: Sequence[Level]) -> int:
    """Return how many levels lie beyond the only end that is known: none of them tells anything."""
    loads = [float(level.users) if level.users is not None else level.rate or 0.0 for level in levels]
    if found.state == "at_least":
        return sum(load > (found.low or 0.0) for load in loads)
    return sum(load < (found.high or 0.0) for load in loads) if found.state == "below" else 0


def in_requests(found: Bracket, levels: Sequence[Level]) -> Estimate:
    """Return the capacity of a closed loop, found in users, in requests per second.

    How much a level achieved is known no better than its own interval says; the ends are those of the levels at the
    ends and of all between, because throughput falls with users past the knee. None where the level at an end has too
    few requests for an interval.
    """
    load = [(float(level.users or 0), level.achieved) for level in levels]
    least, most = (-np.inf if found.low is None else found.low), (np.inf if found.high is None else found.high)
    between = [(users, achieved) for users, achieved in load if least <= users <= most]
    value = None
    if found.value is not None:
        x, y = np.array(sorted((users, achieved.value or 0.0) for users, achieved in load)).T
        value = float(np.interp(found.value, x, y))
    low = _furthest([(users, achieved.low) for users, achieved in between], found.low, min)
    high = _furthest([(users, achieved.high) for users, achieved in between], found.high, max)
    return Estimate(value=value, low=low, high=high, n=len(levels))


def _furthest(
    rates: Sequence[tuple[float, float | None]], end: float | None, furthest: Callable[[Iterable[float]], float]
) -> float | None:
    if end is None or any(rate is None for users, rate in rates if users == end):
        return None
    return furthest(rate for _, rate in rates if rate is not None)
