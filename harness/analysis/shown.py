"""What the system's own metrics said in healthy times, from the samples of its scrapes."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.frame import numbers, words
from harness.clock import NS_PER_S
from harness.model.shown import GaugeUse, ShownMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from harness.analysis.frame import Array
    from harness.analysis.timeline import Span, Timeline
    from harness.model.target import Metrics

SOURCE = "metrics"
_COPY = "instance"


@dataclass(frozen=True)
class _Series:
    """One series of one metric, by time."""

    labels: dict[str, str]
    moments: Array
    values: Array

    def within(self, spans: Iterable[Span]) -> Array:
        """Return the values seen within `spans`."""
        inside = np.zeros(len(self.moments), bool)
        for begin, end in spans:
            inside |= (self.moments >= begin) & (self.moments < end)
        found: Array = self.values[inside]
        return found

    def growth(self, span: Span, first_scrape_ns: int) -> float:
        """Return how much a counter grew from the last look before `span` to the last one in it.

        A series that was not there before began at 0, as clients show a label set once it was used; a drop means that
        the process restarted and counts from 0.
        """
        begin, end = np.searchsorted(self.moments, span)
        if begin == end:
            return 0.0
        known = 0.0 if first_scrape_ns < span[0] else float(self.values[0])
        before = float(self.values[begin - 1]) if begin else known
        series = np.concatenate(([before], self.values[begin:end]))
        steps = np.diff(series)
        return float(np.where(steps >= 0, steps, series[1:]).sum())


def shown(samples: pa.Table, metrics: Metrics | None, when: Timeline) -> ShownMetrics:
    """Return what the metrics of the target's file said in the healthy time; of a target without any, nothing."""
    found = _series(samples)
    spans = when.healthy
    looks = found.get("scrape_failed", [])
    failed = np.concatenate([series.within(spans) for series in looks]) if looks else np.zeros(0)
    first = {series.labels.get(_COPY, ""): int(series.moments[0]) for series in looks}
    kept = metrics.summed if metrics else {}
    if metrics:
        kept |= dict.fromkeys((name for name in (metrics.cache_hits, metrics.cache_misses) if name), "")
    grew: dict[str, dict[str, float]] = {}
    per_process: dict[str, float] = {}
    for name, label in kept.items():
        by_value: defaultdict[str, float] = defaultdict(float)
        by_copy: defaultdict[str, float] = defaultdict(float)
        for series in found.get(name, []):
            copy = series.labels.get(_COPY, "")
            growth = sum(series.growth(span, first.get(copy, int(series.moments[0]))) for span in spans)
            by_value[series.labels.get(label, "")] += growth
            by_copy[copy] += growth
        if by_value:
            grew[name], per_process[name] = dict(by_value), max(by_copy.values())
    gauges = {}
    for name in filter(None, (metrics.in_flight, metrics.memory) if metrics else ()):
        uses = [use for series in found.get(name, []) if (use := _use(series.within(spans)))]
        if uses:
            gauges[name] = max(uses, key=lambda use: use.max)
    return ShownMetrics(
        healthy_s=sum(end - begin for begin, end in spans) / NS_PER_S,
        looks=len(failed),
        looks_failed=int(failed.sum()),
        names=tuple(sorted(name for name in found if not name.startswith("scrape_"))),
        grew=grew,
        per_process=per_process,
        gauges=gauges,
        breakers=_breakers(found, metrics, spans),
    )


def _breakers(found: dict[str, list[_Series]], metrics: Metrics | None, spans: list[Span]) -> dict[str, float]:
    if metrics is None or metrics.breaker is None:
        return {}
    name, _, label = metrics.breaker.rstrip("}").partition("{")
    open_values = [float(value) for value, state in metrics.breaker_states.items() if state == "open"]
    seen: defaultdict[str, list[Array]] = defaultdict(list)
    for series in found.get(name, []):
        seen[series.labels.get(label, "")].append(np.isin(series.within(spans), open_values))
    shares = {owner: np.concatenate(looks) for owner, looks in seen.items()}
    return {owner: float(looks.mean()) if len(looks) else 0.0 for owner, looks in sorted(shares.items())}


def _use(values: Array) -> GaugeUse | None:
    return GaugeUse(mean=float(values.mean()), max=float(values.max()), n=len(values)) if len(values) else None


def _series(samples: pa.Table) -> dict[str, list[_Series]]:
    return {name: list(series) for name, series in _by_metric(samples)}


def _by_metric(samples: pa.Table) -> Iterator[tuple[str, Iterator[_Series]]]:
    metric, labels = words(samples, "metric"), words(samples, "labels")
    moments, values = numbers(samples, "t_ns"), numbers(samples, "value")
    scraped = words(samples, "source").among([SOURCE])
    for code in np.unique(metric.codes[scraped]):
        rows = np.flatnonzero(scraped & (metric.codes == code))
        rows = rows[np.argsort(moments[rows], kind="stable")]

        def each(rows: Array = rows) -> Iterator[_Series]:
            told = labels.codes[rows]
            for label in np.unique(told):
                mine = rows[told == label]
                yield _Series(json.loads(labels.words[label] or "{}"), moments[mine], values[mine])

        yield metric.words[code], each()
