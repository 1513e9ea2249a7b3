"""What our own witnesses, the ledgers' readers and the other probes, did not get to see or could not understand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.ledger import losses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harness.model.event import Event
    from harness.model.findings import Failover


def blind_spots(events: Sequence[Event], unsent: int) -> Iterator[str]:
    """Yield what a reader should know of them; `unsent` requests of the canary were dropped."""
    for loss in losses(events):
        yield f"The ledger of {loss.upstream} is not whole: {loss.why}."
    for event in events:
        match event.kind, event.subject:
            case "instrument", "unsent":
                yield (
                    f"Requests of the canary were not sent, {unsent} in all ({event.data.get('error')}), and nobody "
                    "knows what it would have been told: allow more open files (`ulimit -Hn`), or let it ask less."
                )
            case "probe", "unknown_word":
                yield f"The health page says {event.data.get('word')!r}, a word that is not known: taken for ok."


def hanging_users(failovers: Iterable[Failover], within_s: float) -> Iterator[str]:
    """Yield what a reader should know of outages in which users of a closed loop hung, and no canary asked instead.

    Users who wait ask for nothing, and seconds in which nothing is due are taken as those after or before. It shows in
    that nothing succeeded for longer than is counted as unavailable and a good answer may take (`within_s`).
    """
    hidden = [f for f in failovers if f.in_flight and f.worst_stall_s > f.unavailable_s + within_s]
    if not hidden:
        return
    worst = max(hidden, key=lambda f: f.worst_stall_s - f.unavailable_s)
    others = f" (and likewise in {len(hidden) - 1} more)" if len(hidden) > 1 else ""
    yield (
        f"Users hung and no canary asked in their place: in {worst.fault} nothing succeeded for "
        f"{worst.worst_stall_s:.1f} s, and {worst.unavailable_s:.1f} s count as unavailable{others}. How long service "
        "was gone, and when it had recovered, nobody could tell: give the target a probe."
    )
