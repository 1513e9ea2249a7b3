"""What gets used up as load grows, and at which load: the first of them is the bottleneck.

Utilisation grows in a straight line with throughput, U = X D (the utilisation law: Denning & Buzen, Computing Surveys
10, 1978), until something is full. Where a level got there, the load is read off between levels; where none did, a
line through them says where it would, and is labelled as what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.capacity_plan import rising
from harness.analysis.dependence import student
from harness.analysis.resources import CPU_FULL
from harness.model.capacity import NOT_THE_SYSTEMS, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.analysis.capacity_use import Resource, UnderWay
    from harness.analysis.frame import Array
    from harness.model.capacity import Level

REFUSED = 0.01
"""Share of calls refused at which a provider's limit is called reached: an SLO of 99 % leaves no more."""
FAR = 3.0
"""A limit more than so many times beyond the highest load tested is not told."""
PLATEAU = 0.05
"""Calls under way at an upstream may differ by so much and still be called constant."""
GROWTH = 1.3
"""Requests in flight have to grow by so much while they do."""
HELD = 0.3
"""Variance by mean of the calls under way, below which something holds their number: by chance it would be 1."""


@dataclass(frozen=True)
class Look:
    """One stretch (a level, or part of one) as the search for exhausted pools sees it."""

    rate: float
    in_flight: float
    upstream: UnderWay
    cpu: float | None
    """Highest share of CPU of all processes and containers."""
    refused: float


def limits(
    levels: Sequence[Level], resources: dict[str, Resource], pools: Sequence[Limit], *, saturated: bool
) -> tuple[Limit, ...]:
    """Return what gets used up, the earliest first; measured before extrapolated where they are equal.

    Once throughput was seen to grow no more (`saturated`), a limit beyond it is none: the load never gets there.
    """
    told = [level for level in levels if level.counts]
    found = [*pools, *_resources(told, resources), *_refusals(told)]
    if saturated:
        found = [limit for limit in found if not limit.extrapolated]
    return tuple(sorted(found, key=lambda limit: (limit.rate, limit.extrapolated)))


def saturated(levels: Sequence[Level]) -> bool:
    """Return whether throughput was seen to grow no more with load.

    Either more came than left, on a level that never settled, and what came waited for too long: without the second
    it may be no more than the requests that were under way when the level was cut. Or a level that had settled brought
    no more than a lower one, and certainly not half of the rise that would be in proportion: not by chance.
    """
    told = sorted((level for level in levels if level.counts), key=_load)
    fell_behind = any(
        not level.settled
        and level.slo == "misses"
        and level.achieved.high is not None
        and level.achieved.high < level.offered
        for level in told
    )
    return fell_behind or any(_no_more(lower, higher) for lower, higher in combinations(told, 2))


def _load(level: Level) -> float:
    return level.offered if level.users is None else float(level.users)


def _no_more(lower: Level, higher: Level) -> bool:
    before, after = lower.achieved, higher.achieved
    if not (lower.settled and higher.settled and 0 < _load(lower) < _load(higher)):
        return False
    if before.low is None or after.high is None:
        return False
    half_way = 1 + (_load(higher) / _load(lower) - 1) / 2
    return (after.value or 0.0) <= (before.value or 0.0) and after.high < before.low * half_way


def _resources(levels: Sequence[Level], resources: dict[str, Resource]) -> Iterator[Limit]:
    for name, resource in resources.items():
        seen = [level for level in levels if name in level.used]
        up = rising(seen)
        if not up:
            continue
        rates, shares = (
            np.array(x) for x in zip(*((lv.achieved.value or 0.0, lv.used[name]) for lv in up), strict=True)
        )
        highest = max(level.used[name] for level in seen)
        rate = crossing(rates, shares, resource.full_at)
        if rate is None and highest >= resource.full_at:  # on a level that brought no more
            rate = float(rates[-1])
        extrapolated = rate is None
        # Memory grows with time, not with load; what is none of the system's does not stop its load.
        if rate is None and resource.kind not in ("memory", *NOT_THE_SYSTEMS):
            rate = _beyond(rates, shares, resource.full_at)
        at_most = bool(shares[0] >= resource.full_at)
        if at_most and resource.kind == "cpu":  # a part that is used without load has it full earlier
            rate = float(rates[0] * resource.full_at / shares[0])
        if rate is None:
            continue
        evidence = (
            f"a straight line through {len(seen)} levels, of which the highest used {highest:.0%} of {resource.of}"
            if extrapolated
            else f"{highest:.0%} of {resource.of} on the highest level, {resource.full_at:.0%} is called full"
            f"{_between(rates, shares, resource.full_at)}"
        )
        yield Limit(
            resource=name, kind=resource.kind, of=resource.of, full_at=resource.full_at, highest=highest, rate=rate,
            extrapolated=extrapolated, at_most=at_most, evidence=evidence,
        )  # fmt: skip


def crossing(rates: Array, shares: Array, full_at: float) -> float | None:
    """Return the lowest rate (ascending) at which a share gets to `full_at`, between levels; None if none did."""
    full = np.flatnonzero(shares >= full_at)
    if not len(full):
        return None
    after = int(full[0])
    if not after:
        return float(rates[0])
    part = (full_at - shares[after - 1]) / (shares[after] - shares[after - 1])
    return float(rates[after - 1] + part * (rates[after] - rates[after - 1]))


def _between(rates: Array, shares: Array, full_at: float) -> str:
    """Return in words between which levels a share got to `full_at`, and no better is known; empty where none did."""
    full = np.flatnonzero(shares >= full_at)
    if not len(full):
        return ""
    if not full[0]:
        return f"; so it was on the lowest level, at {rates[0]:.3g} requests/s"
    return f"; it got there between levels at {rates[full[0] - 1]:.3g} and {rates[full[0]]:.3g} requests/s"


def _beyond(rates: Array, shares: Array, full_at: float) -> float | None:
    """Return where the line through the levels gets to `full_at`; None if it certainly does not before `FAR`, or may
    not rise at all."""
    if len(rates) < 3 or rates[-1] <= rates[0]:
        return None
    (slope, start), covariance = np.polyfit(rates, shares, 1, cov="unscaled")
    residual = float(((shares - start - slope * rates) ** 2).sum()) / (len(rates) - 2)
    if slope <= student(len(rates) - 2) * np.sqrt(residual * covariance[0, 0]):
        return None
    rate = float((full_at - start) / slope)
    return max(rate, float(rates[-1])) if rate <= FAR * rates[-1] else None


def _refusals(levels: Sequence[Level]) -> Iterator[Limit]:
    for upstream in dict.fromkeys(name for level in levels for name in level.rate_limited):
        seen = [(level.achieved.value or 0.0, level.rate_limited.get(upstream, 0.0)) for level in levels]
        rates, shares = np.array(sorted(seen)).T
        rate = crossing(rates, shares, REFUSED)
        if rate is not None:
            yield Limit(
                resource=f"{upstream} rate limit", kind="rate_limit", of="its calls", full_at=REFUSED,
                highest=float(shares.max()), rate=rate, extrapolated=False, at_most=bool(shares[0] >= REFUSED),
                evidence=f"{upstream} refused {shares.max():.1%} of its calls on the highest level (its ledger)",
            )  # fmt: skip


def pool(upstream: str, looks: Sequence[Look]) -> Limit | None:
    """Return the connection pool to an upstream that was exhausted; None if none was.

    It shows in the provider's own ledger: calls under way stay at one whole number, scatter far less than chance has
    them, and requests in flight in the system grow all the same. A full CPU, or calls refused, would explain it
    without a pool.
    """
    most = max((look.upstream.mean for look in looks), default=0.0)
    flat = sorted(
        (look for look in looks if look.upstream.mean >= (1 - PLATEAU) * most and look.upstream.spread <= HELD),
        key=lambda look: look.in_flight,
    )
    if len(flat) < 2 or not most:
        return None
    size = max(look.upstream.top for look in flat)
    held = all(look.upstream.top == size and look.upstream.mean >= 0.9 * size for look in flat)
    grew = flat[-1].in_flight >= GROWTH * flat[0].in_flight
    cpu = [look.cpu for look in flat if look.cpu is not None]
    if not (held and grew) or max(cpu, default=0.0) >= CPU_FULL or max(look.refused for look in flat) >= REFUSED:
        return None
    busy = f"no CPU is above {max(cpu):.0%}" if cpu else "CPU was not sampled"
    return Limit(
        resource=f"{upstream} pool", kind="pool", of=f"{size} connections", full_at=1.0,
        # Of the least loaded of them: where load is far too much, answers may come late or never.
        highest=flat[-1].upstream.mean / size, rate=flat[0].rate, extrapolated=False,
        evidence=f"calls under way at {upstream} stay at {size} (its ledger) while requests in flight grow from "
        f"{flat[0].in_flight:.3g} to {flat[-1].in_flight:.3g}, and {busy}",
    )  # fmt: skip


def slices(span: tuple[int, int], many: int) -> list[tuple[int, int]]:
    """Return a stretch cut into equal parts, ns."""
    return list(pairwise(int(edge) for edge in np.linspace(*span, many + 1)))
