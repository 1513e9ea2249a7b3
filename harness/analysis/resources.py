"""What every process or container of the system used in the measured part of the run, and whose limit was reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.frame import numbers, words
from harness.model.findings import Resources, Usage

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.analysis.frame import Array
    from harness.analysis.timeline import Timeline

KINDS = ("process:", "container:")
USED = ("cpu", "cpu_of_limit", "throttled", "memory_mib", "memory_of_limit", "net", "net_in", "net_out", "pids")
LIMITS: dict[Literal["cpu", "memory"], str] = {"cpu": "cpu_limit", "memory": "memory_limit_mib"}

CPU_FULL = 0.8
"""Share of the CPU limit, p95: above it work queues; what is there first is the bottleneck (USE method, Gregg)."""
MEMORY_FULL = 0.9
"""Share of the memory limit, at most: the working set cannot shrink, what comes next is the kernel's OOM killer."""
THROTTLED = 0.1
"""Share of CFS periods, p95: each such period adds up to 100 ms to whatever it interrupts, however low the mean."""


def resources(samples: pa.Table, when: Timeline) -> dict[str, Resources]:
    """Return usage by name of service or container; a metric that was not sampled is None."""
    source, metric = words(samples, "source"), words(samples, "metric")
    moments, values = numbers(samples, "t_ns"), numbers(samples, "value")
    measured = (moments >= when.zero_ns) & (moments < when.end_ns)
    found = {}
    for word in sorted(w for w in source.words if w.startswith(KINDS)):
        owned = source.among([word])
        mine = {name: owned & metric.among([name]) for name in (*USED, *LIMITS.values(), "restarts")}
        used = {name: _usage(values[mine[name] & measured]) for name in USED}
        restarts = values[mine["restarts"] & measured]
        if any(used.values()) or len(restarts):
            limits = {name: values[mine[name] & _in_force(moments, mine[name], when)] for name in LIMITS.values()}
            found[word.partition(":")[2]] = Resources(
                **used,
                **{name: float(said[0]) if len(said) else None for name, said in limits.items()},
                limits_changed=tuple(what for what, name in LIMITS.items() if len(set(limits[name])) > 1),
                restarts=int(restarts[-1]) if len(restarts) else None,
                saturated=_saturated(used),
            )
    return found


def _usage(values: Array) -> Usage | None:
    if not len(values):
        return None
    return Usage(mean=float(values.mean()), p95=float(np.percentile(values, 95)), max=float(values.max()))


def _in_force(moments: Array, mine: Array, when: Timeline) -> Array:
    """Tell which of the samples of a limit, written down only when it changes, were in force in the measured part."""
    before = np.flatnonzero(mine & (moments <= when.zero_ns))
    began = moments[before[-1]] if len(before) else when.zero_ns
    inside: Array = (moments >= began) & (moments < when.end_ns)
    return inside


def _saturated(used: dict[str, Usage | None]) -> tuple[Literal["cpu", "throttled", "memory"], ...]:
    cpu, throttled, memory = used["cpu_of_limit"], used["throttled"], used["memory_of_limit"]
    found: list[Literal["cpu", "throttled", "memory"]] = []
    if cpu and cpu.p95 >= CPU_FULL:
        found.append("cpu")
    if throttled and throttled.p95 >= THROTTLED:
        found.append("throttled")
    if memory and memory.max >= MEMORY_FULL:
        found.append("memory")
    return tuple(found)
