"""The series of the system's own metrics, from the samples of its scrapes, and how much a counter grew."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.frame import numbers, words

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from harness.analysis.frame import Array
    from harness.analysis.timeline import Span
    from harness.model.target import Metrics

SOURCE = "metrics"
COPY = "instance"
"""The label that tells which copy of the system was asked."""


@dataclass(frozen=True)
class Series:
    """One series of one metric, by time."""

    labels: dict[str, str]
    moments: Array
    """Monotonic ns, ascending."""
    values: Array
    from_nothing: bool = False
    """Whether it was missing when its copy first answered, and so began at 0: clients show what was used."""

    def within(self, spans: Iterable[Span]) -> Array:
        """Return the values seen within `spans`."""
        inside = np.zeros(len(self.moments), bool)
        for begin, end in spans:
            inside |= (self.moments >= begin) & (self.moments < end)
        found: Array = self.values[inside]
        return found

    def growth(self, span: Span) -> float:
        """Return how much a counter grew from the last look before `span`, or else the first in it, to the last in it.

        A drop means that the process restarted and counts from 0.
        """
        begin, end = np.searchsorted(self.moments, span)
        if begin == end:
            return 0.0
        first = 0.0 if self.from_nothing else float(self.values[0])
        before = float(self.values[begin - 1]) if begin else first
        series = np.concatenate(([before], self.values[begin:end]))
        steps = np.diff(series)
        return float(np.where(steps >= 0, steps, series[1:]).sum())


def scraped(samples: pa.Table, only: str | None = None) -> dict[str, list[Series]]:
    """Return all series of what was scraped, by metric; what scrapes tell of themselves (``scrape_ms`` ...) too. With
    `only`, those of that metric. What was shown as no number (NaN, infinite) was not shown."""
    metric, labels = words(samples, "metric"), words(samples, "labels")
    moments, values = numbers(samples, "t_ns"), numbers(samples, "value")
    ours = words(samples, "source").among([SOURCE]) & np.isfinite(values)
    told = {int(code): json.loads(labels.words[code] or "{}") for code in np.unique(labels.codes[ours])}
    looks: dict[str, int] = {}
    answered = np.flatnonzero(ours & metric.among(["scrape_failed"]) & (values == 0))
    for row in answered[np.argsort(moments[answered], kind="stable")]:
        looks.setdefault(told[int(labels.codes[row])].get(COPY, ""), int(moments[row]))
    found: dict[str, list[Series]] = {}
    for code in np.unique(metric.codes[ours if only is None else ours & metric.among([only])]):
        rows = np.flatnonzero(ours & (metric.codes == code))
        rows = rows[np.argsort(moments[rows], kind="stable")]
        for label in np.unique(labels.codes[rows]):
            mine = rows[labels.codes[rows] == label]
            about = told[int(label)]
            late = looks.get(about.get(COPY, ""), 2**62) < moments[mine[0]]
            found.setdefault(metric.words[code], []).append(Series(about, moments[mine], values[mine], bool(late)))
    return found


def breaker_gauge(metrics: Metrics | None) -> tuple[str, str] | None:
    """Return the gauge of breaker states and its label that names whose breaker it is; None where the file has none."""
    if metrics is None or metrics.breaker is None:
        return None
    name, _, label = metrics.breaker.rstrip("}").partition("{")
    return name, label


def breaker_looks(samples: pa.Table, metrics: Metrics | None) -> dict[str, Array]:
    """Return when the state of each upstream's breaker could be read, in any copy: monotonic ns, in no order."""
    gauge = breaker_gauge(metrics)
    if gauge is None or metrics is None:
        return {}
    states = [float(value) for value in metrics.breaker_states]
    looks: dict[str, list[Array]] = {}
    for series in scraped(samples, gauge[0]).get(gauge[0], []):
        looks.setdefault(series.labels.get(gauge[1], ""), []).append(series.moments[np.isin(series.values, states)])
    return {owner: np.concatenate(moments) for owner, moments in looks.items()}
