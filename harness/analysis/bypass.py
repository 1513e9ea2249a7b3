"""Did the fault stand in the way of anything? Traffic that goes past the proxy is not broken by what is on the proxy.

A probe through the proxy sees such a fault bite; only those who were called, or who answered, can tell that the system
was not hit. The ledgers are the better witness; without them, answers that name their provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.ledger import losses
from harness.clock import NS_PER_MS
from harness.model.request import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.analysis.ledger import Calls
    from harness.analysis.scan import Scan
    from harness.analysis.timeline import FaultSpan, Span, Timeline
    from harness.recording.reader import Recording

_MARGIN_NS = 100 * NS_PER_MS
"""What was on its way through the proxy when the fault came has arrived by then."""


def past_the_proxy(when: Timeline, calls: Calls, load: Scan) -> Iterator[str]:
    """Yield a reason for each fault that lets nothing through, while calls got to its upstream nevertheless."""
    for fault in when.faults:
        span = _blocked(fault, when)
        if span is None:
            continue
        if fault.upstream in calls.upstreams:
            n = int((calls.by(fault.upstream) & (calls.received >= span[0]) & (calls.received < span[1])).sum())
            seen = f"its ledger has {n} calls"
        else:
            n = _answered(fault.upstream, load, span)
            seen = f"{n} answers name it, none of them from a cache,"
        if n:
            yield (
                f"Traffic went past the proxy in front of {fault.upstream}: {seen} from the time when {fault.fault} "
                f"({fault.kind}) let nothing through, so the fault did not do what it says. Let the system call "
                f"{fault.upstream} at the proxy's address only."
            )


def _blocked(fault: FaultSpan, when: Timeline) -> Span | None:
    """Return the stretch in which nothing could have got through, for a fault that lets nothing through."""
    if not fault.blocks or fault.effective is None:
        return None
    return fault.effective[1] + _MARGIN_NS, fault.clearing_ns if fault.clearing_ns is not None else when.end_ns


def _answered(provider: str, load: Scan, span: Span) -> int:
    """Return how many requests were sent and answered within `span`, certainly by this provider and by no cache."""
    kinds = load.kinds
    chosen = kinds.words("outcome").among([Outcome.OK]) & kinds.words("provider").among([provider])
    chosen &= kinds.numbers("cached") == 0
    return sum(
        int((chosen.take(frame.kind) & (frame.start >= span[0]) & (frame.end < span[1])).sum())
        for frame in load.blocks(None, span[1], alive_at=span[0])
    )


def never_called(when: Timeline, calls: Calls, recording: Recording) -> Iterator[str]:
    """Yield a reason for each upstream that was broken and that nobody ever called: there was nothing to take away.

    Only where its ledger was read and is whole, and where no other fault was on: with that, all calls to a second
    choice may have been made while this one was broken too. A spare (`Experiment.standby`) need not be called.
    """
    spare = {e.experiment for e in recording.plan.experiments if e.standby}
    upstreams = recording.plan.target.upstreams
    lost = {name for name, _ in losses(recording.events)}
    for name in dict.fromkeys(fault.upstream for fault in when.faults if fault.effective is not None):
        mine = [fault for fault in when.faults if fault.upstream == name]
        alone = not any(_overlap(one, other, when) for one in mine for other in when.faults if other.upstream != name)
        ledger = name in upstreams and upstreams[name].ledger is not None and name not in lost and len(calls)
        if ledger and alone and not calls.by(name).any() and not {fault.experiment for fault in mine} <= spare:
            yield (
                f"{name} was broken by {mine[0].fault}, but its ledger has not one call of this whole run: there was "
                "nothing to take away. Let the load use it, correct the upstream's address in the target, or say "
                "`standby: true` in the experiment if it is a spare."
            )


def _overlap(one: FaultSpan, other: FaultSpan, when: Timeline) -> bool:
    (begin, end), (other_begin, other_end) = one.on(when.end_ns), other.on(when.end_ns)
    return begin < other_end and other_begin < end
