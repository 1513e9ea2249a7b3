"""What a search for capacity (load kind `capacity`) changes in how its instrument is judged.

Its rates are meant to become too much, for the system; at a level that was too much for the load generator nothing is
learned of the system, and the search has counted it so. They are left out when the generator is judged, and told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.analysis.timeline import Span
    from harness.model.event import Event
    from harness.model.plan import Plan


def is_search(plan: Plan) -> bool:
    """Tell whether the load of `plan` searches for capacity."""
    return plan.scenario.load.kind == "capacity"


def beyond_generator(events: Sequence[Event]) -> list[Span]:
    """Return the stretches of levels at which the load generator was at its limit, and of their backlog."""
    spans, begins = [], {}
    for event in events:
        if event.kind != "capacity":
            continue
        level = event.data.get("state"), event.data.get("level")
        if event.subject == "level":
            begins[level] = event.t_ns
        elif event.subject == "level_ended" and event.data.get("by_generator"):
            spans.append((begins.get(level, event.t_ns), event.t_ns + NS_PER_S))
    return spans


def unreached(events: Sequence[Event]) -> Iterator[str]:
    """Yield a reason to call a search invalid for each state in which the generator could not make any load that told
    of the system."""
    for event in events:
        if event.kind == "capacity" and event.subject == "state_ended":
            data = event.data
            if data.get("reason") == "min_misses" and data.get("misses") is None:
                yield (
                    f"The load generator could not make even the lowest rate in state {data.get('state')}: give it "
                    "more --workers, or a faster or less busy machine."
                )


def notes(events: Sequence[Event]) -> Iterator[str]:
    """Yield a sentence for each level that tells nothing of the system, and each state that was not searched to its
    end."""
    for event in events:
        data = event.data
        if event.kind != "capacity":
            continue
        if event.subject == "level_ended" and data.get("by_generator"):
            yield (
                f"Level {data.get('level')} of state {data.get('state')} ({data.get('rate'):.4g}/s) says nothing about "
                f"the system: {data.get('why')}. Give it more --workers."
            )
        if event.subject == "state_ended" and data.get("reason") == "budget":
            why = data.get("why") or "its share of the budget was spent"
            yield f"The search in state {data.get('state')} is not finished: {why}."
