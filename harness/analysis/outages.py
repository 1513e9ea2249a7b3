"""Outages of one kind together: how their times are distributed, who was answered, what they spent of a budget, and
what answers took meanwhile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.analysis.goodput import comeback
from harness.model.findings import Estimate, Failover, OutageKind, PerAnswer, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from harness.model.findings import Interval

MONTH_S = 30 * 86_400
"""What error budgets are counted over (SRE workbook, ch. 2: four weeks or a month)."""


PATIENCE_S = 60.0
"""How long a provider must have been watched before it is said that traffic never returned to it: breakers commonly
stay open for so long (Resilience4j: `waitDurationInOpenState`, 60 s)."""


def never_back(outage: Failover) -> bool:
    """Tell whether a provider that was well again was watched for long and stayed without its share."""
    return outage.failback_censored and outage.failback_beyond_s >= PATIENCE_S


def alike(failovers: Iterable[Failover]) -> dict[tuple[str, str], list[Failover]]:
    """Group outages by what was broken how: (upstream or service, kind), in order of injection."""
    found: dict[tuple[str, str], list[Failover]] = {}
    for failover in failovers:
        found.setdefault((failover.upstream, failover.kind), []).append(failover)
    return found


def outage_kinds(failovers: Iterable[Failover], availability: float) -> tuple[OutageKind, ...]:
    """Return what the outages that bit have in common, by what they were on and their kind, in order of injection.

    `availability` is what is promised over a month.
    """
    bit = alike(failover for failover in failovers if failover.bit)
    return tuple(_kind(upstream, kind, outages, availability) for (upstream, kind), outages in bit.items())


def _kind(upstream: str, kind: str, outages: Sequence[Failover], availability: float) -> OutageKind:
    answers = {how: sum(outage.answers[how] for outage in outages) for how in ("ok", "degraded", "failed")}
    due = sum(answers.values())
    unavailable = sum(outage.unavailable_s for outage in outages)
    return OutageKind(
        upstream=upstream,
        kind=kind,
        outages=len(outages),
        impact_s=_spread(outages, lambda o: o.impact_s, harmless=lambda o: not o.impact),
        detection_s=_spread(outages, lambda o: o.detection_s),
        failover_s=_spread(outages, lambda o: o.failover_s),
        recovery_s=_spread(outages, lambda o: o.recovery_s, censored=lambda o: o.censored),
        failback_s=_spread(outages, lambda o: o.failback_s, censored=lambda o: o.failback_censored),
        answered={how: n / due for how, n in answers.items()} if due else None,
        requests=due,
        unavailable_s=unavailable,
        budget_spent=unavailable / ((1 - availability) * MONTH_S),
        availability=availability,
        comeback=comeback(outages),
    )


def _no(_outage: Failover) -> bool:
    return False


def _spread(
    outages: Sequence[Failover],
    of: Callable[[Failover], Interval | None],
    *,
    censored: Callable[[Failover], bool] = _no,
    harmless: Callable[[Failover], bool] = _no,
) -> Spread | None:
    """Return how one time is distributed; None when no outage had it, nor should have had it and did not.

    Percentiles are those of the outages themselves (Hyndman & Fan 1996, type 1: the least time that at least so many
    of them did not exceed), read off the later ends of the intervals. One that never came within its observation is
    longer than all others.
    """
    told = [(outage, of(outage)) for outage in outages if not harmless(outage)]
    missing = sum(interval is None and censored(outage) for outage, interval in told)
    times = sorted(interval.high for _, interval in told if interval is not None)
    n = len(times) + missing
    if not n:
        return None

    def rank(share: float) -> float | None:
        place = max(1, math.ceil(share * n - 1e-9))
        return times[place - 1] if place <= len(times) else None

    return Spread(median=rank(0.5), p95=rank(0.95), max=rank(1.0), n=n, never=missing, ecdf=tuple(times))


def flaps(outages: Iterable[Failover]) -> int | None:
    """Return how often the provider changed in outages in which that could be told; None where it could in none."""
    known = [outage.flaps for outage in outages if outage.flaps is not None]
    return sum(known) if known else None


def told_apart(one: Estimate, other: Estimate) -> bool:
    """Tell whether two independent estimates differ by more than chance explains.

    The interval of their difference leaves out 0 (square-and-add: Zou & Donner 2008, Newcombe 1998). An open side
    explains any difference.
    """
    if one.value is None or other.value is None:
        return False
    low, high = (one, other) if one.value <= other.value else (other, one)
    if low.value is None or high.value is None or low.high is None or high.low is None:
        return False
    return high.value - low.value > math.hypot(low.high - low.value, high.value - high.low)


def per_answer(bit: Sequence[Failover], of: Callable[[Failover], PerAnswer | None]) -> PerAnswer | None:
    """Return something per answer over several outages, every answer counted once; None where it is not known."""
    parts = [figure for f in bit if (figure := of(f)) and figure.healthy.value is not None and figure.during.n]
    n = sum(part.during.n for part in parts)
    if not n:
        return None
    value = sum((part.during.value or 0.0) * part.during.n for part in parts) / n
    halves = [None if p.during.high is None else (p.during.high - (p.during.value or 0.0)) * p.during.n for p in parts]
    known = [half for half in halves if half is not None]
    half = math.hypot(*known) / n if len(known) == len(halves) else None
    during = Estimate(
        value=value, low=None if half is None else value - half, high=None if half is None else value + half, n=n
    )
    return PerAnswer(healthy=parts[0].healthy, during=during)
