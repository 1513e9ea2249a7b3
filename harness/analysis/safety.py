"""What the run's own safety has to say: was the system well before it was broken, and was anybody there to heal it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.model.findings import SteadyLook

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.model.event import Event


def steady_looks(events: Sequence[Event]) -> tuple[SteadyLook, ...]:
    """Return how the system was before the first fault and after the last, of each experiment."""
    return tuple(
        SteadyLook.model_validate(
            {"when": e.subject, **{key: e.data.get(key) for key in ("experiment", "state", "checks")}}
        )
        for e in events
        if e.kind == "steady"
    )


def sick_before(events: Sequence[Event]) -> Iterator[str]:
    """Yield why no fault was injected, for each experiment whose system was sick before."""
    for experiment, sick in _sick(events, "before"):
        yield (
            f"The system was sick before the first fault of {experiment}, so none was injected: {sick}. Make it well, "
            "or say what its steady state is (steady_state in the experiment)."
        )


def hung(events: Sequence[Event]) -> Iterator[str]:
    """Yield what the guardian had to do, or could not be there to do."""
    for event in events:
        state, said = event.data.get("state"), str(event.data.get("message"))
        if event.kind == "guardian" and state in _SAY:
            yield f"{said[:1].upper()}{said[1:]}{_SAY[state]}"


_SAY = {
    "took_back": ": the harness had hung, been stopped or failed to, so nothing it timed then counts. Run it again.",
    "replaced": ": what killed it may have hit the load, too, and for a moment nobody would have healed. Run it again.",
    "lost": ": see logs/guardian.log.",
}


def notes(events: Sequence[Event]) -> Iterator[str]:
    """Yield what a reader should know besides."""
    for experiment, sick in _sick(events, "after"):
        yield f"The system was not in its steady state again at the end of {experiment}: {sick}."


def _sick(events: Sequence[Event], when: str) -> Iterator[tuple[str, str]]:
    """Yield each experiment whose system was sick `before` its first or `after` its last fault, and what was wrong."""
    for look in steady_looks(events):
        if look.when == when and look.state == "sick":
            sick = [check for check in look.checks if check.state == "sick" and check.observed is not None]
            yield look.experiment, "; ".join(f"{c.threshold} (observed {c.observed:.4g})" for c in sick)
