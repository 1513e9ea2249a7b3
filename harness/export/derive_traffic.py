"""Signals of what users get: the error budget, slow answers, breakers, the cache, who answers."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from harness.analysis.histogram import cumulative, percentile_bounds
from harness.analysis.stats import needed_for, wilson
from harness.export.signals import BreakerOpen, Burn, CacheLow, Missing, ProviderShift, Severity, Slow
from harness.report import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.export.signals import Signal
    from harness.export.source import Source

HOUR_S, DAY_S = 3600, 86400
BURNS: tuple[tuple[str, Severity, float, int, int], ...] = (
    ("ErrorBudgetBurnFast", "page", 14.4, HOUR_S, 300),
    ("ErrorBudgetBurnMedium", "page", 6, 6 * HOUR_S, 1800),
    ("ErrorBudgetBurnSlow", "ticket", 1, 3 * DAY_S, 6 * HOUR_S),
)
"""Name, severity, burn rate, long and short window: 2 %, 5 % and 10 % of a 30-day budget (Google, The Site Reliability
Workbook, 2018, ch. 5, table 5-8). The short window ends the alert when the trouble ends."""
LEAST_LOOKUPS = 100
_SLOW_WINDOW_S, _SLOW_HOLD_S = 600, 300
_CACHE_WINDOW_S, _CACHE_HOLD_S = 1800, 900
_SHIFT_WINDOW_S, _SHIFT_HOLD_S = 300, 120


def error_budget(source: Source) -> Iterator[Signal | Missing]:
    """Yield an alert for each burn rate; its limit is the promise, and the baseline is checked against it."""
    shown, slo = source.shown, source.plan.scenario.slo
    if shown.requests is None:
        for name, *_ in BURNS:
            yield Missing(
                name, "no counter of answers by status was recorded; name it as metrics.requests and run again"
            )
        return
    metric, label = shown.requests
    grew = source.said.grew[metric]
    failing = [status for status in grew if re.fullmatch(shown.failed, status)]
    total, bad = round(sum(grew.values())), round(sum(grew[status] for status in failing))
    low, high = wilson(bad, total)
    measured = f"failed answers by {metric}: {units.share(bad / total if total else None)}"
    healthy = source.healthy
    if healthy and healthy.failed_share.value is not None:
        measured += f"; of the users' requests {units.share(healthy.failed_share.value)} failed, whatever their status"
    budget = 1 - slo.availability
    for name, severity, factor, long_s, short_s in BURNS:
        limit = factor * budget
        if total == 0:
            yield Missing(name, f"{metric} did not grow while all was well; a longer baseline would give it")
        elif low > limit:
            yield Missing(
                name, f"it would always be on: {measured}, beyond {units.share(limit)}; fix that first", noisy=True
            )
        else:
            promised = (
                f"{factor:g} x the error budget of {units.share(budget)} (availability {units.share(slo.availability)})"
            )
            yield Burn(
                name=name,
                severity=severity,
                summary=f"At this rate the error budget of 30 days is gone within {units.three(30 / factor)} days",
                limit=limit,
                unit="share",
                hold_s=0,
                evidence=source.evidence(measured, units.between(low, high, "share"), total, promised),
                metric=metric,
                label=label,
                failed=shown.failed,
                good=tuple(sorted(status for status in grew if status and status not in failing)),
                factor=factor,
                long_s=long_s,
                short_s=short_s,
            )


def slow(source: Source) -> Iterator[Signal | Missing]:
    """Yield the SLO, and p95 and p99 of the baseline, as bounds of the metric's own buckets.

    "More than 5 % above the bound" is what "p95 above the bound" means, and no interpolation between bounds blurs it.
    """
    metric, slo = source.shown.latency, source.plan.scenario.slo
    if metric is None:
        for name in ("LatencySLO", "LatencyP95", "LatencyP99"):
            yield Missing(name, "no histogram of durations was recorded; name it as metrics.latency and run again")
        return
    rows = cumulative(source.said.grew[f"{metric}_bucket"])
    n = rows[-1].count if rows else 0
    yield _slo(source, metric, slo.response_time, 1 - slo.good_share)
    for percent in (95, 99):
        name = f"LatencyP{percent}"
        if n < needed_for(percent):
            yield Missing(
                name, f"p{percent} needs {needed_for(percent):,} observations of {metric} while all is well, there "
                f"were {n:,}; a longer baseline (load.hold, or the first fault later) would give it",
            )  # fmt: skip
            continue
        low, high = percentile_bounds(rows, percent / 100)
        wanted = high * source.margin
        bound = next((row for row in rows if row.bound >= wanted and math.isfinite(row.bound)), None)
        if bound is None:
            yield Missing(name, f"p{percent} of {metric} lies above {units.seconds(low)}, and it has no bucket far "
                          "enough above that to alert on; give it more buckets")  # fmt: skip
            continue
        yield Slow(
            name=name,
            severity="ticket",
            summary=f"More than {100 - percent} % of {metric} take longer than {units.seconds(bound.bound)}",
            limit=bound.bound,
            unit="s",
            hold_s=_SLOW_HOLD_S,
            evidence=source.evidence(
                f"p{percent} of {metric} while all was well{_users(source, percent)}",
                f"{units.seconds(low)} to {units.seconds(high)}, the bounds of its buckets" if low else
                f"up to {units.seconds(high)}, a bound of its buckets",
                n,
                f"upper end x {source.margin:g} = {units.seconds(wanted)}, up to its next bucket",
            ),
            metric=metric,
            le=bound.le,
            share=(100 - percent) / 100,
            window_s=_SLOW_WINDOW_S,
        )  # fmt: skip


def _users(source: Source, percent: int) -> str:
    healthy = source.healthy
    users = getattr(healthy.response_ms, f"p{percent}") if healthy else None
    return f"; users waited {units.estimate(users, 'ms')}" if users and users.value is not None else ""


def _slo(source: Source, metric: str, slo_s: float, allowed: float) -> Signal | Missing:
    rows = cumulative(source.said.grew[f"{metric}_bucket"])
    bound = next((row for row in rows if row.bound >= slo_s and math.isfinite(row.bound)), None)
    if bound is None:
        return Missing(
            "LatencySLO", f"{metric} has no bucket at or beyond the SLO of {units.seconds(slo_s)}; give it one"
        )
    n = rows[-1].count
    low, high = wilson(n - bound.count, n)
    measured = (
        f"share of {metric} above {units.seconds(bound.bound)}: {units.share((n - bound.count) / n if n else None)}"
    )
    if low > allowed:
        return Missing("LatencySLO", f"it would always be on: {measured}, beyond {units.share(allowed)}", noisy=True)
    rounded = "" if bound.bound == slo_s else f", up to the next bucket of {metric}"
    return Slow(
        name="LatencySLO",
        severity="page",
        summary=f"More than {units.share(allowed)} of {metric} take longer than {units.seconds(bound.bound)}",
        limit=bound.bound,
        unit="s",
        hold_s=_SLOW_HOLD_S,
        evidence=source.evidence(
            measured + _users(source, 99),
            units.between(low, high, "share"),
            n,
            f"SLO of {units.seconds(slo_s)}{rounded}",
        ),
        metric=metric,
        le=bound.le,
        share=allowed,
        window_s=_SLOW_WINDOW_S,
    )


def breakers(source: Source) -> Iterator[Signal | Missing]:
    """Yield an alert on an open breaker; what is on it, the system has decided itself."""
    shown, spec = source.shown.breaker, source.metrics
    if shown is None or spec is None:
        yield Missing("BreakerOpen", "no gauge of breakers was recorded; name it as metrics.breaker and run again")
        return
    metric, label = shown
    was_open = {owner: share for owner, share in source.said.breakers.items() if share > 0}
    if was_open:
        told = ", ".join(f"{owner} in {units.share(share)} of looks" for owner, share in was_open.items())
        yield Missing("BreakerOpen", f"it would be on in healthy times: open was {told}", noisy=True)
        return
    states = {float(value): state for value, state in spec.breaker_states.items()}
    values = [value for value, state in states.items() if state == "open"]
    if len(values) != 1 or not source.said.looks:
        yield Missing(
            "BreakerOpen", "no single value of the gauge means open (metrics.breaker_states), or it was not read"
        )
        return
    times = [f.detection_s.high for f in source.findings.failovers if f.detection_s is not None]
    seen = (
        f"; after an outage began it opened within {units.seconds(max(times))} ({len(times)} outages)" if times else ""
    )
    yield BreakerOpen(
        name="BreakerOpen",
        severity="ticket",
        summary=f"A circuit breaker is open: the {label} is taken to be down",
        limit=values[0],
        unit="(the gauge's value for open)",
        hold_s=0,
        evidence=source.evidence(
            f"no breaker was open while all was well{seen}", "", source.said.looks, "none: the value that means open"
        ),
        metric=metric,
        label=label,
        owners=tuple(source.said.breakers),
        others=tuple(sorted(set(states) - set(values))),
    )


def cache(source: Source) -> Iterator[Signal | Missing]:
    """Yield an alert on a hit rate well below that of the baseline."""
    witness = source.cache
    if source.shown.cache is None or witness is None or witness.n < LEAST_LOOKUPS:
        seen = (
            ""
            if witness is None
            else f" ({witness.n} lookups were seen while all was well, {LEAST_LOOKUPS} are needed)"
        )
        yield Missing("CacheHitRateLow", "needs metrics.cache_hits and metrics.cache_misses, and a baseline with "
                      f"lookups{seen}")  # fmt: skip
        return
    low, high = wilson(witness.hits, witness.n)
    if low <= 0:
        yield Missing("CacheHitRateLow", f"none of {witness.n:,} lookups hit; there is no rate to fall below")
        return
    hits, misses = source.shown.cache
    yield CacheLow(
        name="CacheHitRateLow",
        severity="ticket",
        summary="The cache answers far less than it did when it was measured: answers cost more and take longer",
        limit=low / source.margin,
        unit="share",
        hold_s=_CACHE_HOLD_S,
        evidence=source.evidence(
            f"share of cache lookups that hit while all was well: {units.share(witness.hit_rate)}",
            units.between(low, high, "share"),
            witness.n,
            f"lower end / {source.margin:g}",
        ),
        hits=hits,
        misses=misses,
        window_s=_CACHE_WINDOW_S,
    )


def primary(source: Source) -> Iterator[Signal | Missing]:
    """Yield an alert on the primary provider's share of calls: when it falls, a failover has happened."""
    shown = source.shown.provider_calls
    if shown is None:
        yield Missing("ProviderShift", "no counter of calls by provider was recorded; name it as "
                      "metrics.provider_calls and run again")  # fmt: skip
        return
    metric, label = shown
    grew = {owner: count for owner, count in source.said.grew[metric].items() if owner}
    total = round(sum(grew.values()))
    if total < LEAST_LOOKUPS:
        yield Missing("ProviderShift", f"{metric} grew by {total} while all was well, {LEAST_LOOKUPS} are needed; "
                      "a longer baseline would give it")  # fmt: skip
        return
    owner = max(grew, key=lambda name: grew[name])
    low, high = wilson(round(grew[owner]), total)
    yield ProviderShift(
        name="ProviderShift",
        severity="ticket",
        summary=f"Fewer calls than usual go to {owner}: others have taken over",
        limit=low / source.margin,
        unit="share",
        hold_s=_SHIFT_HOLD_S,
        evidence=source.evidence(
            f"share of calls that went to {owner} while all was well: {units.share(grew[owner] / total)}",
            units.between(low, high, "share"),
            total,
            f"lower end / {source.margin:g}",
        ),
        metric=metric,
        label=label,
        primary=owner,
        window_s=_SHIFT_WINDOW_S,
    )
