"""What the system's own metrics said in healthy times, from the samples of its scrapes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.scrapes import COPY, breaker_gauge, scraped
from harness.clock import NS_PER_S
from harness.model.shown import GaugeUse, ShownMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from harness.analysis.frame import Array
    from harness.analysis.scrapes import Series
    from harness.analysis.timeline import Span, Timeline
    from harness.model.target import Metrics


def shown(samples: pa.Table, metrics: Metrics | None, when: Timeline) -> ShownMetrics:
    """Return what the metrics of the target's file said in the healthy time; of a target without any, nothing.

    That is the baseline, or all of the measured part of a run that breaks nothing; of a load that fills the system up
    it is no healthy time, whatever it is called (`export.source.Source.full`).
    """
    found = scraped(samples)
    spans = when.spans("baseline") or when.spans("steady") or when.healthy
    looks = found.get("scrape_failed", [])
    failed = np.concatenate([series.within(spans) for series in looks]) if looks else np.zeros(0)

    def growth(series: Series) -> float:
        return sum(series.growth(span) for span in spans)

    kept = metrics.summed if metrics else {}
    gauges = [name for name in ((metrics.in_flight, metrics.memory) if metrics else ()) if name in found]
    counters = [name for name in kept if name in found and name not in gauges]
    return ShownMetrics(
        healthy_s=sum(end - begin for begin, end in spans) / NS_PER_S,
        looks=len(failed),
        looks_failed=int(failed.sum()),
        names=tuple(sorted(name for name in found if not name.startswith("scrape_"))),
        grew={name: _by_label(found[name], kept[name], growth) for name in counters},
        busiest={name: max(_by_label(found[name], COPY, growth).values()) for name in counters},
        gauges={name: use for name in gauges if (use := _highest(found[name], spans))},
        breakers=_breakers(found, metrics, spans),
    )


def _by_label(all_series: Iterable[Series], label: str, growth: Callable[[Series], float]) -> dict[str, float]:
    grew: defaultdict[str, float] = defaultdict(float)
    for series in all_series:
        grew[series.labels.get(label, "")] += growth(series)
    return dict(grew)


def _highest(all_series: Iterable[Series], spans: list[Span]) -> GaugeUse | None:
    seen = [values for series in all_series if len(values := series.within(spans))]
    uses = [GaugeUse(mean=float(v.mean()), max=float(v.max()), n=len(v)) for v in seen]
    return max(uses, key=lambda use: use.max, default=None)


def _breakers(found: dict[str, list[Series]], metrics: Metrics | None, spans: list[Span]) -> dict[str, float]:
    gauge = breaker_gauge(metrics)
    if gauge is None or metrics is None:
        return {}
    name, label = gauge
    open_values = [float(value) for value, state in metrics.breaker_states.items() if state == "open"]
    seen: defaultdict[str, list[Array]] = defaultdict(list)
    for series in found.get(name, []):
        seen[series.labels.get(label, "")].append(np.isin(series.within(spans), open_values))
    shares = {owner: np.concatenate(looks) for owner, looks in seen.items()}
    return {owner: float(looks.mean()) if len(looks) else 0.0 for owner, looks in sorted(shares.items())}
