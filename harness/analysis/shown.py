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
    from collections.abc import Callable, Iterable, Iterator

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
    """Return what the metrics of the target's file said in the healthy time; of a target without any, nothing.

    That is the baseline, or all of the measured part of a run that breaks nothing.
    """
    found = {name: list(series) for name, series in _by_metric(samples)}
    spans = when.spans("baseline") or when.spans("steady") or when.healthy
    looks = found.get("scrape_failed", [])
    failed = np.concatenate([series.within(spans) for series in looks]) if looks else np.zeros(0)
    first = {series.labels.get(_COPY, ""): int(series.moments[0]) for series in looks}

    def growth(series: _Series) -> float:
        since = first.get(series.labels.get(_COPY, ""), int(series.moments[0]))
        return sum(series.growth(span, since) for span in spans)

    kept = metrics.summed if metrics else {}
    gauges = [name for name in ((metrics.in_flight, metrics.memory) if metrics else ()) if name in found]
    counters = [name for name in kept if name in found and name not in gauges]
    return ShownMetrics(
        healthy_s=sum(end - begin for begin, end in spans) / NS_PER_S,
        looks=len(failed),
        looks_failed=int(failed.sum()),
        names=tuple(sorted(name for name in found if not name.startswith("scrape_"))),
        grew={name: _by_label(found[name], kept[name], growth) for name in counters},
        busiest={name: max(_by_label(found[name], _COPY, growth).values()) for name in counters},
        gauges={name: use for name in gauges if (use := _highest(found[name], spans))},
        breakers=_breakers(found, metrics, spans),
    )


def _by_label(all_series: Iterable[_Series], label: str, growth: Callable[[_Series], float]) -> dict[str, float]:
    grew: defaultdict[str, float] = defaultdict(float)
    for series in all_series:
        grew[series.labels.get(label, "")] += growth(series)
    return dict(grew)


def _highest(all_series: Iterable[_Series], spans: list[Span]) -> GaugeUse | None:
    seen = [values for series in all_series if len(values := series.within(spans))]
    uses = [GaugeUse(mean=float(v.mean()), max=float(v.max()), n=len(v)) for v in seen]
    return max(uses, key=lambda use: use.max, default=None)


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
