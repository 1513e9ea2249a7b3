"""Signals of what the system has left: CPU, memory, capacity; and whether it is there at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.resources import CPU_FULL, MEMORY_FULL
from harness.export.signals import Above, Missing, Silent
from harness.report import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.export.signals import Signal
    from harness.export.source import Source

_WINDOW_S, _HOLD_S = 300, 600
_MIB = 2**20


def saturation(source: Source) -> Iterator[Signal | Missing]:
    """Yield alerts on CPU and memory near the limits of the container whose metrics were read."""
    shown, known = source.shown, source.limits
    why = "no limit is known: a run on containers with limits whose metrics.service is named would give it"
    cpu, memory = (known[1].cpu_limit, known[1].memory_limit_mib) if known else (None, None)
    if shown.cpu is None or cpu is None or known is None:
        yield Missing("CpuNearLimit", why if shown.cpu else "no counter of CPU seconds was recorded (metrics.cpu)")
    else:
        used = source.said.busiest[shown.cpu] / source.said.healthy_s if source.said.healthy_s else 0.0
        yield Above(
            name="CpuNearLimit",
            severity="ticket",
            summary=f"A process uses {units.share(CPU_FULL)} of the CPU it may: work begins to queue",
            limit=CPU_FULL * cpu,
            unit="cores",
            hold_s=_HOLD_S,
            evidence=source.evidence(
                f"{known[0]} used {units.cores(used)} while all was well; its limit is {units.cores(cpu)}",
                "", source.said.looks, f"limit x {CPU_FULL:g}",
            ),
            metric=shown.cpu,
            window_s=_WINDOW_S,
        )  # fmt: skip
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


def scale_out(source: Source) -> Iterator[Signal | Missing]:
    """Yield alerts at the load that one replica is to carry, from a capacity run."""
    advice, shown = source.advice, source.shown
    why = "it was not measured how much the system carries: a run of scenarios/capacity.yaml would give it"
    if shown.requests is None or advice is None:
        yield Missing(
            "ScaleOutRequests", why if shown.requests else "no counter of answers was recorded (metrics.requests)"
        )
    else:
        capacity = source.findings.capacity.governing.capacity.rate  # type: ignore[union-attr]
        yield Above(
            name="ScaleOutRequests",
            severity="ticket",
            summary="A replica gets as many requests as it was shown to carry with headroom: add one",
            limit=advice.rate_per_replica,
            unit="per_s",
            hold_s=_WINDOW_S,
            evidence=source.evidence(
                f"capacity at SLO in the worst state: {units.per_second(capacity.value)}",
                units.between(capacity.low, capacity.high, "per_s"),
                capacity.n,
                "lower end x headroom, by replica",
            ),
            metric=shown.requests[0],
            window_s=_WINDOW_S,
        )
    in_flight = getattr(advice, "in_flight_per_replica", None)
    if shown.in_flight is None or in_flight is None:
        yield Missing("ScaleOutInFlight", why if shown.in_flight else "no gauge of requests in flight was recorded "
                      "(metrics.in_flight)")  # fmt: skip
        return
    use = source.said.gauges.get(shown.in_flight)
    yield Above(
        name="ScaleOutInFlight",
        severity="ticket",
        summary="As much is in flight in a replica as it was shown to carry with headroom: add one",
        limit=in_flight,
        unit="count",
        hold_s=_WINDOW_S,
        evidence=source.evidence(
            f"{units.three(use.mean)} were in flight on average while all was well" if use else "the capacity",
            "", use.n if use else 0, "requests in flight per replica at capacity x headroom",
        ),
        metric=shown.in_flight,
    )  # fmt: skip


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
    said = (
        f"it said all was well for {units.seconds(found.false_ok_s)} of the outages, and raised {found.false_alarms} "
    )
    yield Missing(
        "HealthDown",
        f"the health page is no metric; let a prober of yours (such as blackbox_exporter) read it. In this run {said}"
        "false alarms",
    )
