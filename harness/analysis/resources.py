"""What every process or container of the system used in the measured part of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.frame import numbers, words
from harness.model.findings import Resources, Usage

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.analysis.frame import Array
    from harness.analysis.timeline import Timeline

KINDS = ("process:", "container:")
METRICS = ("cpu", "memory_mib", "net")


def resources(samples: pa.Table, when: Timeline) -> dict[str, Resources]:
    """Return usage by name of service or container; a metric that was not sampled is None."""
    source, metric = words(samples, "source"), words(samples, "metric")
    moments, values = numbers(samples, "t_ns"), numbers(samples, "value")
    measured = (moments >= when.zero_ns) & (moments < when.end_ns)
    found = {}
    for word in sorted(w for w in source.words if w.startswith(KINDS)):
        mine = measured & source.among([word])
        used = {name: _usage(values[mine & metric.among([name])]) for name in METRICS}
        if any(used.values()):
            found[word.partition(":")[2]] = Resources(**used)
    return found


def _usage(values: Array) -> Usage | None:
    if not len(values):
        return None
    return Usage(mean=float(values.mean()), p95=float(np.percentile(values, 95)), max=float(values.max()))
