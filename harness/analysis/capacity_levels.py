"""The levels of a recording: which stretch of which state was at which load, by its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis.frame import overlap
from harness.clock import NS_PER_S
from harness.model.load import StepsLoad

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.analysis.timeline import Timeline
    from harness.model.event import Event
    from harness.model.load import Load

HEALTHY = "healthy"
SETTLING = 0.25
"""Share of a step's hold that is left to it to settle. A `capacity` load says itself when each level had settled."""


@dataclass(frozen=True)
class Stretch:
    """One level as it was run, ns: what is measured of it lies between `begin_ns` and `end_ns`."""

    state: str
    level: int
    rate: float | None
    users: int | None
    begin_ns: int
    end_ns: int
    settled: bool
    """Whether it is known to have had the time to settle before `begin_ns`."""
    by_generator: str = ""
    """Why the load itself said that not the system, but its generator was at its limit; empty when it did not."""


def stretches(load: Load, events: Sequence[Event], when: Timeline) -> list[Stretch]:
    """Return the levels, in the order they were run; none where the load had no levels."""
    found = list(_searched(events))
    if not found and isinstance(load, StepsLoad):
        found = list(_steps(load, events, when))
    return [s for s in found if s.end_ns > s.begin_ns]


def _searched(events: Sequence[Event]) -> Iterator[Stretch]:
    """Yield the levels of a `capacity` load; one that the run's end cut short is none."""
    began: dict[tuple[str, int], Event] = {}
    settled: dict[tuple[str, int], int] = {}
    for event in events:
        if event.kind != "capacity" or "level" not in event.data:
            continue
        key = str(event.data.get("state", HEALTHY)), int(event.data["level"])
        if event.subject == "level":
            began[key] = event
            settled.pop(key, None)
        elif event.subject == "settled":
            settled[key] = event.t_ns
        elif event.subject == "level_ended" and key in began:
            said = event.data.get("settled_ns")
            since = settled.get(key) if said is None else int(said)
            begin = began[key].t_ns if since is None else since
            rate, why = float(began[key].data["rate"]), str(event.data.get("why", ""))
            by_generator = why if event.data.get("by_generator") else ""
            yield Stretch(*key, rate, None, begin, event.t_ns, since is not None, by_generator)


def _steps(load: StepsLoad, events: Sequence[Event], when: Timeline) -> Iterator[Stretch]:
    """Yield the steps that were begun, without their ramps; a fault on for most of one makes it another state."""
    starts = {int(e.data["step"]): e.t_ns for e in events if e.kind == "load" and e.subject == "step"}
    numbers: dict[str, int] = {}
    for number, step in enumerate(load.steps, 1):
        if number not in starts or not step.level:
            continue
        warmup = load.warmup if number == 1 else 0.0
        begin = starts[number] + round((warmup + step.ramp + SETTLING * step.hold) * NS_PER_S)
        end = min(starts.get(number + 1, when.end_ns), when.end_ns)
        state = _state(when, begin, end)
        numbers[state] = numbers.get(state, 0) + 1
        rate = step.level if load.open_loop else None
        users = None if load.open_loop else int(step.level)
        yield Stretch(state, numbers[state], rate, users, begin, end, settled=True)


def _state(when: Timeline, begin: int, end: int) -> str:
    """Return what was broken for most of a step."""
    for fault in when.faults:
        on = overlap([fault.on(when.end_ns)], [(begin, end)])
        if 2 * sum(until - since for since, until in on) > end - begin:
            return f"{fault.upstream} {fault.kind}"
    return HEALTHY
