"""A synthetic recording of a search for the capacity: a system of a few connections, at one rate after another.

Requests come by chance and are served in the order they came, by one of `connections` at a time, each for `work_s` of
an exponential or a constant time. So it is known what it carries, and that the pool is what fills up.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.recordings import RecordingBuilder, ns, plan

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from harness.recording.reader import Recording


@dataclass(frozen=True)
class System:
    """What serves the load."""

    connections: int = 8
    work_s: float = 0.3
    cpu_per_request: float = 0.01
    """Core-seconds of the gateway per request."""
    cpu_at_rest: float = 0.0
    """Cores that the gateway uses without any."""
    refuses_from: float = 1e9
    """Offered rate from which the provider refuses every tenth call."""

    @property
    def most(self) -> float:
        """Requests per second it can serve."""
        return self.connections / self.work_s


@dataclass(frozen=True)
class Search:
    """The levels of one state; without any, one that the search did not get to."""

    state: str = "healthy"
    rates: Sequence[float] = (4, 8, 16, 22, 25, 30)
    system: System = System()


def record(
    path: Path,
    *searches: Search,
    hold_s: float = 40.0,
    settle_s: float = 10.0,
    gap_s: float = 20.0,
    seed: int = 1,
    replicas: int = 1,
    events: bool = True,
    unsettled: Collection[int] = (),
    **of_plan: Any,
) -> Recording:
    """Write the recording. `events` off: as a `steps` load would, whose levels are only in the plan.

    `unsettled` are the levels, counted over all states, that were cut before they had settled.
    """
    searches = searches or (Search(),)
    rates = [rate for search in searches for rate in search.rates]
    steps = [{"rate": f"{rate}/s", "hold": f"{settle_s + hold_s + gap_s}s"} for rate in rates]
    of_plan.setdefault("slo", {"response_time": "2s", "good_share": 0.99})
    of_plan.setdefault("load", {"kind": "steps", "steps": steps})
    the_plan = plan(**of_plan)
    builder = RecordingBuilder(path, the_plan.model_copy(update={"replicas": replicas}))
    random, at, number = np.random.default_rng(seed), 0.0, 0
    builder.event(0.0, "load", "started")
    builder.event(0.0, "phase", "steady")
    for search in searches:
        if events:
            builder.event(at, "capacity", "state", state=search.state)
        for level, rate in enumerate(search.rates, 1):
            number += 1
            if events:
                about = {"state": search.state, "level": level}
                builder.event(at, "capacity", "level", rate=rate, **about)
                at_rest = number not in unsettled
                if at_rest:
                    builder.event(at + settle_s, "capacity", "settled", **about)
                settled = ns(at + settle_s) if at_rest else None
                ended = {"rate": rate, "settled_ns": settled, "outcome": "meets", "why": ""}
                builder.event(at + settle_s + hold_s, "capacity", "level_ended", **about, **ended)
            else:
                builder.event(at, "load", "step", step=number, of=len(rates), rate=rate, ramp_s=0.0)
            _level(builder, search.system, rate, at, settle_s + hold_s, random)
            at += settle_s + hold_s + gap_s
        if events:
            reason = "bracketed" if search.rates else "budget"
            builder.event(at, "capacity", "state_ended", state=search.state, meets=None, misses=None, reason=reason)
    builder.event(at, "phase", "cooldown")
    builder.event(at, "load", "stopped", early=False)
    builder.instrument(0, at)
    return builder.close(at + 1)


def _level(
    builder: RecordingBuilder, system: System, rate: float, at: float, lasts: float, random: np.random.Generator
) -> None:
    free = [at] * system.connections
    due = at + np.cumsum(random.exponential(1 / rate, round(lasts * rate * 1.5) + 20))
    for number, come in enumerate(due[due < at + lasts]):
        begin = max(come, heapq.heappop(free))
        end = begin + system.work_s * float(random.exponential())
        heapq.heappush(free, end)
        refused = rate >= system.refuses_from and number % 10 == 0
        request = builder.request(float(come), end - come, outcome="failed" if refused else "ok", ledger=False)
        builder.call("bedrock", begin, end, request, status="rejected" if refused else "ok")
    for second in range(int(lasts)):
        used = system.cpu_at_rest + min(rate, system.most) * system.cpu_per_request
        builder.sample(at + second, "process:gateway", "cpu", used)


def one_replica_fewer(system: System) -> System:
    """Return the system with half of its connections gone."""
    return replace(system, connections=system.connections // 2)
