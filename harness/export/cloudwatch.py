"""Alarms for Amazon CloudWatch, as a CloudFormation template.

A template rather than input for ``put-metric-alarm``: one command makes all of it and takes it away again, and alarms
over two windows need a composite alarm that refers to two others. The metrics are those that the CloudWatch agent, or
the OpenTelemetry collector, scrapes from the system; of a counter it publishes how much it grew, so Sum over a period
is growth. Histograms do not arrive as such, and a counter of each process is summed away: what needs them is left out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.export.prometheus import about
from harness.export.signals import Above, BreakerOpen, Burn, CacheLow, Growing, ProviderShift, Signal, Silent, Slow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.export.signals import HandOver

_DAY_S = 86400
"""Longest period of an alarm."""
_LONGEST_DESCRIPTION = 1024


def template(found: HandOver) -> str:
    """Return the template; its Metadata say what could not be made of the recording, or of CloudWatch."""
    resources: dict[str, Any] = {}
    left_out = {one.name: one.why for one in found.missing}
    for signal in found.signals:
        make = _ALARMS.get(type(signal))
        made = make(signal, found) if make else {}
        if made:
            resources |= made
        else:
            left_out[signal.name] = _CANNOT.get(type(signal), "CloudWatch sums it over processes")
    document = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"Alarms for {found.target}, made by agentstorm from {', '.join(found.recordings)}"[:1024],
        "Metadata": {"Agentstorm": {"Recordings": list(found.recordings), "NotMade": left_out}},
        "Parameters": {
            "Namespace": {"Type": "String", "Default": found.namespace},
            "AlarmTopic": {"Type": "String", "Default": "", "Description": "ARN of an SNS topic to tell, or nothing"},
        },
        "Conditions": {"Tells": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopic"}, ""]}]}},
        "Resources": resources or {"Nothing": {"Type": "AWS::CloudFormation::WaitConditionHandle"}},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


_CANNOT: Mapping[type[Signal], str] = {
    Slow: "Prometheus histograms do not reach CloudWatch as such; use the load balancer's TargetResponseTime",
    Growing: "CloudWatch has no slope over hours; MemoryNearLimit is what is left",
    BreakerOpen: "the gauge's value for open is not known to lie beyond all others (metrics.breaker_states), and "
    "CloudWatch compares with more and less only",
}


def _tells() -> list[Any]:
    return [{"Fn::If": ["Tells", {"Ref": "AlarmTopic"}, {"Ref": "AWS::NoValue"}]}]


def _named(signal: Signal, found: HandOver, suffix: str = "") -> dict[str, Any]:
    told = "; ".join(f"{key}: {text}" for key, text in about(signal).items())
    return {
        "AlarmName": f"{found.target}-{signal.name}{suffix}"[:255],
        "AlarmDescription": f"[{signal.severity}] {signal.summary}. {told}"[:_LONGEST_DESCRIPTION],
    }


def _dimensions(found: HandOver, **own: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in (*found.dimensions, *own.items())]


def _query(name: str, metric: str, period: int, stat: str, dimensions: list[dict[str, str]]) -> dict[str, Any]:
    stated = {"Namespace": {"Ref": "Namespace"}, "MetricName": metric, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": stated, "Period": period, "Stat": stat}, "ReturnData": False}


def _ratio(expression: str, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*queries, {"Id": "share", "Expression": expression, "Label": "share", "ReturnData": True}]


def _compared(signal: Signal, periods: int, *, missing: str = "notBreaching") -> dict[str, Any]:
    return {
        "ComparisonOperator": "GreaterThanThreshold" if signal.rises else "LessThanThreshold",
        "Threshold": float(f"{signal.limit:.6g}"),
        "EvaluationPeriods": periods,
        "DatapointsToAlarm": periods,
        "TreatMissingData": missing,
    }


def _alarm(*parts: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for part in parts:
        properties |= part
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}


def _burn(signal: Burn, found: HandOver) -> dict[str, Any]:
    """Two alarms, of the long and the short window, and a composite one that rings when both are on.

    CloudWatch has no window beyond a day: three days are three of them in a row.
    """
    if not signal.good:
        return {}
    made, names = {}, []
    for which, window in (("Long", signal.long_s), ("Short", signal.short_s)):
        period, periods = (window, 1) if window <= _DAY_S else (_DAY_S, window // _DAY_S)
        good = [
            _query(f"good{n}", signal.metric, period, "Sum", _dimensions(found, **{signal.label: status}))
            for n, status in enumerate(signal.good)
        ]
        everything = _query("everything", signal.metric, period, "Sum", _dimensions(found))
        answered = " + ".join(f"FILL(good{n}, 0)" for n in range(len(good)))
        made[f"{signal.name}{which}"] = _alarm(
            _named(signal, found, f"-{which}"),
            {"Metrics": _ratio(f"1 - ({answered}) / everything", [everything, *good])},
            _compared(signal, periods),
        )
        names.append(f"{found.target}-{signal.name}-{which}")
    rule = " AND ".join(f'ALARM("{name}")' for name in names)
    both = {"AlarmRule": rule, "AlarmActions": _tells(), "OKActions": _tells()}
    composite = {
        "Type": "AWS::CloudWatch::CompositeAlarm",
        "DependsOn": list(made),
        "Properties": _named(signal, found) | both,
    }
    return made | {signal.name: composite}


def _single(signal: Signal, found: HandOver, *parts: Mapping[str, Any]) -> dict[str, Any]:
    tells = {"AlarmActions": _tells(), "OKActions": _tells()}
    return {signal.name: _alarm(_named(signal, found), *parts, tells)}


def _breaker(signal: BreakerOpen, found: HandOver) -> dict[str, Any]:
    """Of all replicas together: the value for open has to be the highest that any of them can show, or the lowest."""
    if not signal.others or min(signal.others) < signal.limit < max(signal.others):
        return {}
    statistic, operator = ("Maximum", "Greater") if signal.limit > max(signal.others) else ("Minimum", "Less")
    made = {}
    for number, owner in enumerate(signal.owners):
        stated = {
            "Namespace": {"Ref": "Namespace"},
            "MetricName": signal.metric,
            "Dimensions": _dimensions(found, **{signal.label: owner}),
            "Statistic": statistic,
            "Period": 60,
        }
        at = _compared(signal, 1) | {"ComparisonOperator": f"{operator}ThanOrEqualToThreshold"}
        named, tells = _named(signal, found, f"-{owner}"), {"AlarmActions": _tells(), "OKActions": _tells()}
        made[f"{signal.name}{number}"] = _alarm(named, stated, at, tells)
    return made


def _cache(signal: CacheLow, found: HandOver) -> dict[str, Any]:
    hits, misses = (
        _query(name, metric, signal.window_s, "Sum", _dimensions(found))
        for name, metric in (("hits", signal.hits), ("misses", signal.misses))
    )
    share = _ratio("FILL(hits, 0) / (FILL(hits, 0) + misses)", [hits, misses])
    return _single(signal, found, {"Metrics": share}, _compared(signal, 1))


def _shift(signal: ProviderShift, found: HandOver) -> dict[str, Any]:
    own = _query("own", signal.metric, signal.window_s, "Sum", _dimensions(found, **{signal.label: signal.primary}))
    everything = _query("everything", signal.metric, signal.window_s, "Sum", _dimensions(found))
    share = _ratio("FILL(own, 0) / everything", [own, everything])
    return _single(signal, found, {"Metrics": share}, _compared(signal, 1))


def _above(signal: Above, found: HandOver) -> dict[str, Any]:
    if signal.window_s:
        return {}
    period = 60
    stated = {
        "Namespace": {"Ref": "Namespace"}, "MetricName": signal.metric, "Dimensions": _dimensions(found),
        "Statistic": "Maximum", "Period": period,
    }  # fmt: skip
    return _single(signal, found, stated, _compared(signal, max(1, signal.hold_s // period)))


def _silent(signal: Silent, found: HandOver) -> dict[str, Any]:
    period = 60
    stated = {
        "Namespace": {"Ref": "Namespace"}, "MetricName": signal.metric, "Dimensions": _dimensions(found),
        "Statistic": "SampleCount", "Period": period,
    }  # fmt: skip
    below = {"ComparisonOperator": "LessThanThreshold", "Threshold": 1.0}
    return _single(
        signal, found, stated, _compared(signal, max(1, signal.hold_s // period), missing="breaching") | below
    )


_ALARMS: Mapping[type[Signal], Callable[[Any, HandOver], dict[str, Any]]] = {
    Burn: _burn,
    BreakerOpen: _breaker,
    CacheLow: _cache,
    ProviderShift: _shift,
    Above: _above,
    Silent: _silent,
}
