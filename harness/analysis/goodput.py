"""Whether good answers come back after a fault, and up to which load they do."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from harness.clock import NS_PER_S
from harness.model.goodput import Comeback, Flow, Goodput, LoadLevel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harness.analysis.timeline import Span
    from harness.analysis.windows import Felt
    from harness.model.event import Event
    from harness.model.findings import Failover

SAME_LOAD = 0.15
"""Loads that differ by no more than this share of the lower one are one level: Poisson arrivals and closed-loop users
vary by so much in a window of some hundred requests."""


def flow(felt: Felt, span: Span) -> Flow:
    """Return what was due of the load in a stretch, and what of it was answered well; the canary is ours."""
    due = good = 0
    for frame in felt.load.blocks(*span):
        due += int((~frame.dropped).sum())
        good += int(felt.good(frame).sum())
    seconds = max(1, span[1] - span[0]) / NS_PER_S
    return Flow(offered_per_s=due / seconds, good_per_s=good / seconds)


def goodput(felt: Felt, events: Iterable[Event], during: Span, until: int) -> Goodput:
    """Return the goodput around a fault that was on `during` a stretch and watched `until` then, ns."""
    window, off = felt.window_ns, during[1]
    changes = [event.t_ns for event in events if event.kind == "load" and event.subject == "step"]
    until = min([until, *(change for change in changes if change >= off)])
    return Goodput(
        before=flow(felt, (during[0] - window, during[0])),
        during=flow(felt, during),
        after=flow(felt, (until - window, until)) if until - window >= off else None,
        watched_s=(until - off) / NS_PER_S,
    )


def comeback(outages: Sequence[Failover]) -> Comeback | None:
    """Return from which loads service came back after outages of one kind; None where none was watched for long enough
    after its end, or met any load."""
    told = [o for o in outages if o.goodput and o.goodput.after and o.goodput.before.offered_per_s]
    if not told:
        return None
    levels = tuple(map(_level, _levels(told)))
    failing = next((n for n, level in enumerate(levels) if level.came_back < level.outages), len(levels))
    return Comeback(
        levels=levels,
        back_up_to_per_s=levels[failing - 1].offered_per_s if failing else None,
        not_from_per_s=levels[failing].offered_per_s if failing < len(levels) else None,
    )


def _offered(outage: Failover) -> float:
    return outage.goodput.before.offered_per_s if outage.goodput else 0.0


def _levels(outages: list[Failover]) -> Iterator[list[Failover]]:
    """Yield outages of about the same load together, by load."""
    ordered = sorted(outages, key=_offered)
    begin = 0
    for n, (lower, upper) in enumerate(pairwise(ordered), 1):
        if _offered(upper) > (1 + SAME_LOAD) * _offered(lower):
            yield ordered[begin:n]
            begin = n
    yield ordered[begin:]


def _level(outages: list[Failover]) -> LoadLevel:
    back = [since for o in outages if (since := _back_after_s(o)) is not None]
    seen = [o.goodput for o in outages if o.goodput]
    after = [flows.after for flows in seen if flows.after]
    due = sum(flow.offered_per_s for flow in after)
    calls = [o.provider_calls_per_answer for o in outages]
    ratios = [c.during.value / c.healthy.value for c in calls if c and c.healthy.value and c.during.value is not None]
    lost = [o.goodput for o in outages if o.goodput and _back_after_s(o) is None]
    return LoadLevel(
        offered_per_s=median(map(_offered, outages)),
        outages=len(outages),
        came_back=len(back),
        longest_s=max(back, default=None),
        watched_s=min(flows.watched_s for flows in lost or seen),
        good_share=sum(flow.good_per_s for flow in after) / due if due else None,
        amplification=median(ratios) if ratios else None,
    )


def _back_after_s(outage: Failover) -> float | None:
    """Return how long after the fault's end service was good again, 0 where it was before; None where it was not under
    the load that the fault met."""
    if outage.censored or outage.goodput is None:
        return None
    later = outage.recovery_after_clearing_s
    since = later.high if later else 0.0
    return since if since <= outage.goodput.watched_s else None
