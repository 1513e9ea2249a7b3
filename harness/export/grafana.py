"""A dashboard for Grafana (10 or newer): what the system shows, with the limits that were measured drawn in.

Faults of a run that is scraped by the same Prometheus (``agentstorm run --metrics-port``) appear as annotations.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.export.prometheus import about
from harness.export.promql import cache_share, failed_share, rate, series
from harness.export.signals import Above, Burn, CacheLow, ProviderShift, Signal, Slow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.export.signals import HandOver, Shown

SCHEMA_VERSION = 39
"""Of Grafana 10.4 and 11; newer ones migrate it when they import."""
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WINDOW = "$__rate_interval"
_WIDTH, _HEIGHT = 24, 8
_AT_LIMIT, _WELL = "red", "green"

Queries = list[tuple[str, str]]
"""(query, legend)."""


def dashboard(found: HandOver) -> str:
    """Return the dashboard as JSON to import."""
    panels = [*_system(found), *_harness()]
    placed = [panel | _place(number, panel) for number, panel in enumerate([*panels, _about(found)])]
    fault = {
        "name": "Faults",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": _AT_LIMIT,
        "expr": "agentstorm_fault_active == 1",
        "step": "10s",
        "titleFormat": "{{fault}}",
        "textFormat": "injected by agentstorm",
        "useValueForTime": False,
    }
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    document = {
        "title": f"{found.target} (agentstorm)",
        "uid": None,
        "tags": ["agentstorm"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "annotations": {"list": [fault]},
        "templating": {"list": [source]},
        "panels": _flow(placed),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _place(number: int, panel: dict[str, Any]) -> dict[str, Any]:
    wide = panel["type"] in ("row", "text")
    height = 1 if panel["type"] == "row" else _HEIGHT
    return {"id": number + 1, "gridPos": {"w": _WIDTH if wide else _WIDTH // 2, "h": height, "x": 0, "y": 0}}


def _flow(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put panels side by side, from left to right and top to bottom."""
    x = y = height = 0
    for panel in panels:
        place = panel["gridPos"]
        if x + place["w"] > _WIDTH:
            x, y, height = 0, y + height, 0
        place["x"], place["y"] = x, y
        x, height = x + place["w"], max(height, place["h"])
    return panels


def _row(title: str) -> dict[str, Any]:
    return {"type": "row", "title": title, "collapsed": False, "panels": []}


def _panel(
    title: str, unit: str, queries: Queries, limit: Signal | None = None, *, stacked: bool = False
) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": _WELL, "value": None}]
    style, said = "off", ""
    if limit is not None:
        at = {"color": _AT_LIMIT if limit.rises else _WELL, "value": limit.limit}
        steps = [{"color": _WELL if limit.rises else _AT_LIMIT, "value": None}, at]
        style = "line"
        said = "\n\n".join([f"**{limit.name}**: {limit.summary}", *(f"{k}: {v}" for k, v in about(limit).items())])
    custom: dict[str, Any] = {
        "drawStyle": "line",
        "fillOpacity": 10 if stacked else 0,
        "thresholdsStyle": {"mode": style},
    }
    if stacked:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    defaults: dict[str, Any] = {
        "unit": unit,
        "min": 0,
        "custom": custom,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if unit == "percentunit":
        defaults["max"] = 1 if limit is None or not limit.rises else None
    return {
        "type": "timeseries",
        "title": title,
        "description": said,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {k: v for k, v in defaults.items() if v is not None}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi"}
        },
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(queries)
        ],
    }  # fmt: skip


def _system(found: HandOver) -> Iterator[dict[str, Any]]:
    shown, selector = found.shown, found.selector
    limits = {signal.name: signal for signal in found.signals}
    yield _row(found.target)
    if shown.requests:
        yield from _answers(shown, selector, limits)
    if shown.latency:
        yield _latency(shown.latency, selector, limits)
    if shown.breaker:
        metric, label = shown.breaker
        states = [(f"max by ({label}) ({series(metric, selector)})", f"{{{{{label}}}}}")]
        yield _panel("Breakers", "short", states, limits.get("BreakerOpen"))
    if shown.cache:
        share = cache_share(*shown.cache, _WINDOW, selector)
        yield _panel("Cache hit rate", "percentunit", [(share, "hits")], _of(CacheLow, limits, "CacheHitRateLow"))
    if shown.provider_calls:
        metric, label = shown.provider_calls
        by = f"sum by ({label}) (rate({series(metric, selector)}[{_WINDOW}]))"
        share = f"{by} / scalar({rate(metric, _WINDOW, selector)})"
        limit = _of(ProviderShift, limits, "ProviderShift")
        yield _panel("Share of calls by provider", "percentunit", [(share, f"{{{{{label}}}}}")], limit)
    yield from _left(shown, selector, limits)


def _of(kind: type[Signal], limits: dict[str, Signal], name: str) -> Signal | None:
    signal = limits.get(name)
    return signal if isinstance(signal, kind) else None


def _answers(shown: Shown, selector: str, limits: dict[str, Signal]) -> Iterator[dict[str, Any]]:
    if shown.requests is None:
        return
    metric, label = shown.requests
    by_status = f"sum by ({label}) (rate({series(metric, selector)}[{_WINDOW}]))"
    yield _panel("Answers by status", "reqps", [(by_status, f"{{{{{label}}}}}")], stacked=True)
    per_replica = f"sum by (instance) (rate({series(metric, selector)}[{_WINDOW}]))"
    scale_out = _of(Above, limits, "ScaleOutRequests")
    yield _panel("Answers by replica", "reqps", [(per_replica, "{{instance}}")], scale_out)
    share = failed_share(metric, label, shown.failed, _WINDOW, selector)
    yield _panel("Failed answers", "percentunit", [(share, "failed")], _of(Burn, limits, "ErrorBudgetBurnFast"))


def _latency(metric: str, selector: str, limits: dict[str, Signal]) -> dict[str, Any]:
    buckets = f"sum by (le) (rate({series(f'{metric}_bucket', selector)}[{_WINDOW}]))"
    queries = [(f"histogram_quantile({p}, {buckets})", f"p{p * 100:g}") for p in (0.5, 0.95, 0.99)]
    limit = _of(Slow, limits, "LatencyP95") or _of(Slow, limits, "LatencySLO")
    return _panel(f"{metric} (as fine as its buckets)", "s", queries, limit)


def _left(shown: Shown, selector: str, limits: dict[str, Signal]) -> Iterator[dict[str, Any]]:
    each = "{{instance}}"
    if shown.in_flight:
        queries = [(f"sum by (instance) ({series(shown.in_flight, selector)})", each)]
        yield _panel("In flight by replica", "short", queries, _of(Above, limits, "ScaleOutInFlight"))
    if shown.cpu:
        queries = [(f"sum by (instance) (rate({series(shown.cpu, selector)}[{_WINDOW}]))", each)]
        yield _panel("CPU by replica (cores)", "short", queries, _of(Above, limits, "CpuNearLimit"))
    if shown.memory:
        queries = [(f"sum by (instance) ({series(shown.memory, selector)})", each)]
        yield _panel("Memory by replica", "bytes", queries, _of(Above, limits, "MemoryNearLimit"))


def _harness() -> Iterator[dict[str, Any]]:
    buckets = f"sum by (le) (rate(agentstorm_response_time_seconds_bucket[{_WINDOW}]))"
    yield _row("agentstorm, while it runs")
    yield _panel("Requests by outcome", "reqps", [(f"sum by (outcome) (rate(agentstorm_requests_total[{_WINDOW}]))", "{{outcome}}")], stacked=True)  # fmt: skip  # noqa: E501
    times = [(f"histogram_quantile({p}, {buckets})", f"p{p * 100:g}") for p in (0.5, 0.95, 0.99)]
    yield _panel("Response time (as fine as its buckets)", "s", times)
    yield _panel("Load", "short", [("agentstorm_users", "users"), ("agentstorm_in_flight_requests", "in flight")])
    yield _panel("Generator: is it the bottleneck?", "s", [("agentstorm_generator_lag_seconds", "lag of {{worker}}")])


def _about(found: HandOver) -> dict[str, Any]:
    lines = [f"Limits drawn here were measured in {', '.join(found.recordings)}; each panel's description says which."]
    lines += [f"- no **{one.name}**: {one.why}" for one in found.missing]
    options = {"mode": "markdown", "content": "\n".join(lines)}
    return {"type": "text", "title": "Where the limits are from", "options": options}
