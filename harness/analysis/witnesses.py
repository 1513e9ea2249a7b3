"""What our own witnesses, the ledgers' readers and the other probes, did not get to see or could not understand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.ledger import losses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.model.event import Event


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
