"""Did the fault stand in the way of anything? Traffic that goes past the proxy is not broken by what is on the proxy.

A probe through the proxy sees such a fault bite; only those who were called, or who answered, can tell that the system
was not hit. The ledgers are the better witness; without them, answers that name their provider, and whether anybody
was ever connected to the proxy.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.frame import numbers, overlap, words
from harness.analysis.ledger import losses
from harness.clock import NS_PER_MS, NS_PER_S
from harness.model.request import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from harness.analysis.frame import Array
    from harness.analysis.ledger import Calls
    from harness.analysis.scan import Scan
    from harness.analysis.timeline import FaultSpan, Span, Timeline
    from harness.recording.reader import Recording

_MARGIN_NS = 100 * NS_PER_MS
"""What was on its way through the proxy when the fault came has arrived by then, unless its provider let it wait."""
_PROBED_NS = 2 * NS_PER_S
"""A fault's probe socket is connected from so long before the fault to so long after it."""
_FEWEST_LOOKS = 10
"""With fewer looks at the connections, callers that keep none open may have been missed."""


def past_the_proxy(when: Timeline, calls: Calls, load: Scan) -> Iterator[str]:
    """Yield a reason for each fault that lets nothing through, while calls got to its upstream nevertheless."""
    for fault in when.faults:
        span = _blocked(fault, when)
        if span is None:
            continue
        if fault.upstream in calls.upstreams:
            n = _made(fault.upstream, calls, load, span)
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


def _made(upstream: str, calls: Calls, load: Scan, span: Span) -> int:
    """Return how many calls an upstream received within `span` that were certainly made within it, too.

    One that had passed the proxy before may have waited in the upstream's own queue, which nobody sees. So those count
    whose request was sent within it; where that is not known, those received once every request that was under way
    at its beginning was over. Where all goes past the proxy none of these hangs, so that is soon.
    """
    rows = np.flatnonzero(calls.by(upstream) & (calls.received >= span[0]) & (calls.received < span[1]))
    request = calls.load_row[rows]
    known = request >= 0
    n = int((calls.called.start[request[known]] >= span[0]).sum())
    if known.all():
        return n
    return n + int((calls.received[rows[~known]] >= _under_way_until(span[0], load)).sum())


def _under_way_until(moment: int, load: Scan) -> int:
    """Return when the last of the requests was over that were under way at a moment, which is it if none was. Lost ones
    are left out: nobody knows when they were."""
    ends = (
        frame.end[(frame.start >= 0) & (frame.start < moment) & (frame.end > moment)]
        for frame in load.blocks(None, moment, alive_at=moment)
    )
    return max((int(end.max()) for end in ends if len(end)), default=moment)


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

    Only where its ledger was read and is whole, or without one where its proxy's connections were counted; and where no
    other fault was on: with that, all calls to a second choice may have been made while this one was broken too. A
    spare (`Experiment.standby`) need not be called.
    """
    spare = {e.experiment for e in recording.plan.experiments if e.standby}
    for name in dict.fromkeys(fault.upstream for fault in when.faults if fault.effective is not None):
        mine = [fault for fault in when.faults if fault.upstream == name]
        alone = not any(_overlap(one, other, when) for one in mine for other in when.faults if other.upstream != name)
        if not alone or {fault.experiment for fault in mine} <= spare:
            continue
        if witness := _nobody(name, when, calls, recording):
            yield (
                f"{name} was broken by {mine[0].fault}, but {witness}: there was nothing to take away. Let the load "
                "use it, correct the upstream's address in the target, see that the system calls it at its proxy's, or "
                "say `standby: true` in the experiment if it is a spare."
            )


def _nobody(name: str, when: Timeline, calls: Calls, recording: Recording) -> str:
    """Return what shows that nobody ever called an upstream; "" where somebody did, or nobody can know."""
    upstream = recording.plan.target.upstreams.get(name)
    if upstream is not None and upstream.ledger is not None:
        whole = name not in {loss.upstream for loss in losses(recording.events)} and len(calls)
        return "its ledger has not one call of this whole run" if whole and not calls.by(name).any() else ""
    seen = _connections(name, when, recording.samples)
    if len(seen) < _FEWEST_LOOKS or seen.any():
        return ""
    return f"not one connection to its proxy was open in {len(seen):,} looks while no fault was on"


def _connections(name: str, when: Timeline, samples: pa.Table) -> Array:
    """Return how many callers were connected to an upstream's proxy, look by look, without those that a probe of ours
    may have been among: around and during faults on it."""
    chosen = words(samples, "source").among(["proxies"]) & words(samples, "metric").among(["connections"])
    chosen &= words(samples, "labels").among([json.dumps({"upstream": name}, sort_keys=True)])
    moments = numbers(samples, "t_ns")
    for fault in (fault for fault in when.faults if fault.upstream == name):
        end_ns = fault.on(when.end_ns)[1]
        chosen &= (moments < fault.injecting_ns - _PROBED_NS) | (moments > end_ns + _PROBED_NS)
    found: Array = numbers(samples, "value")[chosen]
    return found


def _overlap(one: FaultSpan, other: FaultSpan, when: Timeline) -> bool:
    return bool(overlap([one.on(when.end_ns)], [other.on(when.end_ns)]))
