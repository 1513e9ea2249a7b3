"""Signals of what the system has left: CPU, memory, capacity; and whether it is there at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.resources import CPU_FULL, MEMORY_FULL
from harness.export.signals import Above, Growing, Missing, Silent
from harness.report import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.export.signals import Signal
    from harness.export.source import Source

_WINDOW_S, _HOLD_S = 300, 600
_MIB = 2**20
_GROWTH_S = 6 * 3600
"""Long enough for a leak that fills a container within days to stand out of what comes and goes."""


def saturation(source: Source) -> Iterator[Signal | Missing]:
    """Yield alerts on CPU and memory near the limits of the container whose metrics were read."""
    shown, known = source.shown, source.limits
    why = "no limit is known: a run on containers with limits whose metrics.service is named would give it"
    cpu, memory = (known[1].cpu_limit, known[1].memory_limit_mib) if known else (None, None)
    if shown.cpu is None or cpu is None or known is None:
        yield Missing("CpuNearLimit", why if shown.cpu else "no counter of CPU seconds was recorded (metrics.cpu)")
    else:
        yield _cpu(source, shown.cpu, known[0], cpu)
    use = source.said.gauges.get(shown.memory or "")
    if use is None or memory is None or known is None or shown.memory is None:
        yield Missing("MemoryNearLimit", why if use else "no gauge of memory was recorded (metrics.memory)")
        return
    limit = MEMORY_FULL * memory
    if use.max / _MIB > limit:
        yield Missing("MemoryNearLimit", f"it would be on in healthy times: {units.mib(use.max / _MIB)} of "
                      f"{units.mib(memory)} were in use", noisy=True)  # fmt: skip
        return
    yield Above(
        name="MemoryNearLimit",
        severity="page",
        summary=f"A process holds {units.share(MEMORY_FULL)} of the memory it may: next it is killed",
        limit=limit * _MIB,
        unit="bytes",
        hold_s=_WINDOW_S,
        evidence=source.evidence(
            f"{known[0]} held {units.mib(use.max / _MIB)} at most while all was well; its limit is {units.mib(memory)}",
            "", use.n, f"limit x {MEMORY_FULL:g}",
        ),
        metric=shown.memory,
    )  # fmt: skip


def _cpu(source: Source, metric: str, owner: str, cores: float) -> Signal | Missing:
    limit, said = CPU_FULL * cores, source.said
    used = said.busiest[metric] / said.healthy_s if said.healthy_s else 0.0
    if used > limit:
        return Missing(
            "CpuNearLimit",
            f"it would be on in healthy times: {units.cores(used)} of {units.cores(cores)} were in use on average",
            noisy=True,
        )
    return Above(
        name="CpuNearLimit",
        severity="ticket",
        summary=f"A process uses {units.share(CPU_FULL)} of the CPU it may: work begins to queue",
        limit=limit,
        unit="cores",
        hold_s=_HOLD_S,
        evidence=source.evidence(
            f"{owner} used {units.cores(used)} while all was well; its limit is {units.cores(cores)}",
            "", said.looks, f"limit x {CPU_FULL:g}",
        ),
        metric=metric,
        window_s=_WINDOW_S,
    )  # fmt: skip


def growth(source: Source) -> Iterator[Signal | Missing]:
    """Yield an alert on memory that grows faster than it did in a soak that found no leak."""
    metric, drift = source.shown.memory, source.drift
    if metric is None or drift is None or drift.slope is None or drift.verdict == "inconclusive":
        longer = getattr(drift, "needed_s", None)
        long = f" of about {units.seconds(longer)}" if longer else ""
        yield Missing(
            "MemoryGrows", f"a soak{long} on containers, with metrics.memory and metrics.service, would give it"
        )
        return
    if drift.verdict == "leak":
        grows = units.mib(drift.slope.value)
        yield Missing("MemoryGrows", f"it would always be on: {grows} an hour leaked ({drift.why})", noisy=True)
        return
    highest = max(drift.threshold, drift.slope.high or 0.0)
    yield Growing(
        name="MemoryGrows",
        severity="ticket",
        summary=f"Memory has grown for {units.seconds(_GROWTH_S)} by more than it ever did in a soak: a leak",
        limit=highest * source.margin * _MIB / 3600,
        unit="bytes per second",
        hold_s=3600,
        evidence=source.evidence(
            f"slope of the memory of {drift.owner.partition(':')[2]}, an hour: {_slope(drift.slope.value)}",
            f"{_slope(drift.slope.low)} to {_slope(drift.slope.high)}",
            drift.n,
            f"upper end, or the {units.mib(drift.threshold)} an hour that are not worth a look, x {source.margin:g}",
        ),
        metric=metric,
        window_s=_GROWTH_S,
    )


def _slope(value: float | None) -> str:
    return "open" if value is None else f"{units.three(value)} MiB"


def scale_out(source: Source) -> Iterator[Signal | Missing]:
    """Yield alerts at the load that one replica is to carry, from a capacity run: of the state that governs."""
    shown, found = source.shown, source.findings.capacity
    worst = found.governing if found else None
    metrics = (
        ("ScaleOutRequests", shown.requests, "no counter of answers was recorded (metrics.requests)"),
        ("ScaleOutInFlight", shown.in_flight, "no gauge of requests in flight was recorded (metrics.in_flight)"),
    )
    if found is None or worst is None or worst.advice is None:
        why, noisy = (
            "it was not measured how much the system carries: a run of scenarios/capacity.yaml would give it",
            False,
        )
        if worst is not None and worst.capacity.state == "below":
            why, noisy = f"not even the lowest load that was tried met the SLO (state {worst.state})", True
        for name, metric, unnamed in metrics:
            yield Missing(name, why if metric or noisy else unnamed, noisy=noisy)
        return
    advice, rate = worst.advice, worst.capacity.rate
    where = f"in the state that governs, {worst.state}"
    measured, of = f"capacity at SLO {where}: {units.per_second(rate.value)}", "the capacity"
    if rate.value is None:
        measured, of = f"no level missed the SLO {where}", "the highest load shown to meet it"
    headroom = f"{of} x headroom {found.headroom:g}, by replica"
    if advice.limited_by:
        headroom = f"the rate at which {advice.limited_by} is full, below {headroom}"
    if not advice.shown:
        headroom += "; not itself shown to meet the SLO"
    interval = units.between(rate.low, rate.high, "per_s")
    if shown.requests is None:
        yield Missing(metrics[0][0], metrics[0][2])
    else:
        yield Above(
            name="ScaleOutRequests",
            severity="ticket",
            summary="A replica gets as many requests as it was shown to carry with headroom: add one",
            limit=advice.rate_per_replica,
            unit="per_s",
            hold_s=_WINDOW_S,
            evidence=source.evidence(measured, interval, rate.n, headroom),
            metric=shown.requests[0],
            window_s=_WINDOW_S,
            cautious=True,
        )
    if shown.in_flight is None or advice.in_flight_per_replica is None:
        yield Missing(metrics[1][0], metrics[1][2])
        return
    yield Above(
        name="ScaleOutInFlight",
        severity="ticket",
        summary="As much is in flight in a replica as it was shown to carry with headroom: add one",
        limit=advice.in_flight_per_replica,
        unit="count",
        hold_s=_WINDOW_S,
        evidence=source.evidence(measured, interval, rate.n, f"requests in flight at {headroom}"),
        metric=shown.in_flight,
        cautious=True,
    )


def silent(source: Source) -> Iterator[Signal | Missing]:
    """Yield an alert on metrics that are gone: the system is down, or nobody reads them."""
    shown, said = source.shown, source.said
    known = shown.requests or shown.provider_calls or shown.breaker
    metric = known[0] if known else shown.cache[0] if shown.cache else None
    if metric is None or not said.looks:
        yield Missing("MetricsGone", "no metrics of the system were recorded; name them in the target's file (metrics)")
        return
    yield Silent(
        name="MetricsGone",
        severity="page",
        summary="The system shows its metrics no more: it is down, or is not asked",
        limit=0,
        unit="count",
        hold_s=120,
        evidence=source.evidence(
            f"{said.looks_failed} of {said.looks:,} readings of its metrics failed while all was well", "", said.looks,
            "none: nothing at all for two minutes",
        ),
        metric=metric,
    )  # fmt: skip


def health(source: Source) -> Iterator[Signal | Missing]:
    """Yield why there is no alert on the health page: what it says is in no metric of the system."""
    found = source.findings.health
    if found is None:
        return
    said = f"it said all was well for {units.seconds(found.false_ok_s)} of the outages"
    if found.false_alarms is not None:
        said += f", and raised {units.plural(found.false_alarms, 'false alarm')}"
    yield Missing(
        "HealthDown",
        f"the health page is no metric; let a prober of yours (such as blackbox_exporter) read it. In this run {said}",
    )
