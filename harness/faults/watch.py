"""Has the fault bitten? Is it gone? Asked of the path itself, with an interval for the moment.

The truth of *effective* lies between the moment the first call to the proxy (or the service's engine) was made (nothing
can be broken before) or, when later, the last probe that was still served, and the sending of the first probe that met
the fault. That probe is sent after the call was acknowledged, so the fault was on when it left, however long it then
waited for nothing.

*Cleared* lies between the first call or the last probe that still met the fault, and the first answer.

A fault on a share of connections is met by a share of probes, at least `Fault.met_by`. One that is served then does not
show that the fault was not on yet, so it does not raise the beginning of the interval; and only as many in a row as a
fault that is still on would let through once in a thousand times show that it is gone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.clock import NS_PER_MS, NS_PER_S, now_ns, sleep
from harness.errors import FaultFailed

if TYPE_CHECKING:
    from threading import Event

    from harness.faults.fault import Asks, Fault
    from harness.faults.probe_socket import Seen

_PAUSE_S = 0.002
_CLEAR_PATIENCE_NS = NS_PER_S
_WAITING = {"silent", "stalled"}
"""Outcomes that only waiting shows."""
_DOUBT = 0.001
"""Chance that a fault that is still on is taken for one that is gone."""


@dataclass(frozen=True)
class Moment:
    """When something became true: not before `low_ns`, not after `high_ns` (monotonic)."""

    low_ns: int
    high_ns: int
    evidence: str
    """What the deciding probe saw."""


def effective(fault: Fault, probe: Asks, *, since_ns: int, healthy_ns: int, deadline_ns: int, stop: Event) -> Moment:
    """Probe until the fault is seen. `since_ns`: when the first call to the proxy was made.

    FaultFailed when no probe saw it before `deadline_ns`, or `stop` was set first.
    """
    low_ns, last = since_ns, "nothing"
    patience_ns = fault.patience_ns(healthy_ns)
    while now_ns() < deadline_ns and not stop.is_set():
        seen, last = _ask(fault, probe, patience_ns, stop)
        if seen is not None and seen.outcome in _WAITING and seen.took_ns < patience_ns and stop.is_set():
            break  # nothing came yet because it was told not to wait any more: that is no fault's face
        if seen is not None and fault.bites(seen, healthy_ns):
            return Moment(low_ns, seen.sent_ns, f"probe {seen}; healthy {healthy_ns / NS_PER_MS:.3g} ms")
        if seen is not None and seen.outcome == "answered" and fault.met_by() >= 1:
            low_ns = max(low_ns, seen.sent_ns)
        sleep(_PAUSE_S)
    raise FaultFailed(
        f"{fault.kind} on {fault.on} was acknowledged but no probe saw it bite; the last probe saw: "
        f"{last}; healthy {healthy_ns / NS_PER_MS:.3g} ms"
    )


def _ask(fault: Fault, probe: Asks, patience_ns: int, stop: Event | None = None) -> tuple[Seen | None, str]:
    """Ask once; return what was met, also in words. None when whoever runs a service could not be asked just now, which
    says nothing about it."""
    try:
        seen = probe.ask(patience_ns, stop, fault.question())
    except FaultFailed as error:
        return None, str(error)
    return seen, str(seen)


def answers_needed(met_by: float) -> int:
    """Return how many answers in a row show that a fault is gone that a share `met_by` of probes would meet."""
    return 1 if met_by >= 1 else math.ceil(math.log(_DOUBT) / math.log(1 - met_by))


def takes_ns(fault: Fault, healthy_ns: int) -> int:
    """Return how long looking for a fault, or for its end, may well take where an answer takes `healthy_ns`: twice as
    many answers, one after the other, as show that it is gone. As many probes miss one that is on once in a million."""
    return 2 * answers_needed(fault.met_by()) * (healthy_ns + int(_PAUSE_S * NS_PER_S))


def cleared(fault: Fault, probe: Asks, *, since_ns: int, healthy_ns: int, deadline_ns: int) -> Moment:
    """Probe until the upstream answers as before; FaultFailed when it does not before `deadline_ns`, or until that many
    answers could have come (`takes_ns`), whichever is later."""
    low_ns, last = since_ns, "nothing"
    patience_ns = max(_CLEAR_PATIENCE_NS, fault.patience_ns(healthy_ns))
    needed = answers_needed(fault.met_by())
    deadline_ns = max(deadline_ns, now_ns() + takes_ns(fault, healthy_ns))
    well = 0
    while True:  # at least once, however late it is
        seen, last = _ask(fault, probe, patience_ns)
        if seen is not None:
            affected = fault.lingers(seen, healthy_ns)
            well = well + 1 if seen.outcome == "answered" and not affected else 0
            if well == needed:
                said = f"probe {seen}" if well == 1 else f"{well} probes in a row, last {seen}"
                return Moment(low_ns, seen.end_ns, said)
            if affected:
                low_ns = max(low_ns, seen.sent_ns)
        if now_ns() >= deadline_ns:
            break
        if not well:
            sleep(_PAUSE_S)
    raise FaultFailed(f"{fault.kind} on {fault.on} was taken back but it does not answer as before: last probe {last}")
