"""The template's alarms are what CloudWatch's own API takes, and hold the planted limits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate
import pytest

from harness.export.cloudwatch import template
from harness.export.signals import BreakerOpen, HandOver

OPERATIONS = {"AWS::CloudWatch::Alarm": "PutMetricAlarm", "AWS::CloudWatch::CompositeAlarm": "PutCompositeAlarm"}


@pytest.fixture(scope="module")
def service() -> botocore.model.ServiceModel:
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("cloudwatch", "service-2"))


@pytest.fixture
def document(found: HandOver) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(template(HandOver(**{**vars(found), "dimensions": (("ClusterName", "prod"),)})))
    return made


def resolved(value: Any) -> Any:
    """Return what CloudFormation makes of a value: references and conditions filled in."""
    if isinstance(value, list):
        return [resolved(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "Ref" in value:
        return {"Namespace": "CWAgent/Prometheus", "AlarmTopic": "arn:aws:sns:eu-north-1:1:ops"}[value["Ref"]]
    if "Fn::If" in value:
        return resolved(value["Fn::If"][1])
    return {key: resolved(one) for key, one in value.items()}


def test_cloudwatch_takes_every_alarm(document: dict[str, Any], service: botocore.model.ServiceModel) -> None:
    names = []
    for resource in document["Resources"].values():
        properties = resolved(resource["Properties"])
        shape = service.operation_model(OPERATIONS[resource["Type"]]).input_shape
        report = botocore.validate.ParamValidator().validate(properties, shape)
        assert not report.has_errors(), report.generate_report()
        assert len(properties["AlarmDescription"]) <= 1024
        assert len(properties["AlarmName"]) <= 255
        names.append(properties["AlarmName"])
    assert len(set(names)) == len(names) > 10


def test_periods_are_those_that_cloudwatch_evaluates(document: dict[str, Any]) -> None:
    for resource in document["Resources"].values():
        properties = resource["Properties"]
        periods = [query["MetricStat"]["Period"] for query in properties.get("Metrics", []) if "MetricStat" in query]
        for period in [*periods, *([properties["Period"]] if "Period" in properties else [])]:
            total_s = period * properties["EvaluationPeriods"]
            assert period % 60 == 0
            assert total_s <= (7 * 86400 if period >= 3600 else 86400)
        returning = [query for query in properties.get("Metrics", []) if query["ReturnData"]]
        assert len(returning) == (1 if "Metrics" in properties else 0)
        assert len({query["Id"] for query in properties.get("Metrics", [])}) == len(properties.get("Metrics", []))


def test_limits_metrics_and_dimensions_are_those_measured(document: dict[str, Any], found: HandOver) -> None:
    made, limits = document["Resources"], {signal.name: signal.limit for signal in found.signals}
    fast = made["ErrorBudgetBurnFastLong"]["Properties"]
    assert fast["Threshold"] == pytest.approx(0.0144)
    assert fast["Metrics"][-1]["Expression"] == "1 - (FILL(good0, 0)) / everything"
    good = next(query for query in fast["Metrics"] if query["Id"] == "good0")["MetricStat"]["Metric"]
    assert good["MetricName"] == "http_requests_total"
    assert {d["Name"]: d["Value"] for d in good["Dimensions"]} == {"ClusterName": "prod", "status_code": "200"}
    assert made["CacheHitRateLow"]["Properties"]["Threshold"] == pytest.approx(limits["CacheHitRateLow"], rel=1e-4)
    assert made["CacheHitRateLow"]["Properties"]["ComparisonOperator"] == "LessThanThreshold"
    assert made["MemoryNearLimit"]["Properties"]["Threshold"] == pytest.approx(limits["MemoryNearLimit"], rel=1e-4)
    assert made["MetricsGone"]["Properties"]["TreatMissingData"] == "breaching"


def test_a_composite_alarm_refers_to_alarms_that_are_made(document: dict[str, Any]) -> None:
    named = {resource["Properties"]["AlarmName"] for resource in document["Resources"].values()}
    composite = [r["Properties"] for r in document["Resources"].values() if "AlarmRule" in r["Properties"]]
    assert len(composite) == 3
    for properties in composite:
        rule = properties["AlarmRule"]
        assert [part for part in rule.split('"')[1::2] if part not in named] == []
        assert rule.count("ALARM(") == 2


@pytest.mark.parametrize(
    ("limit", "others", "alarm"),
    [
        (2, (0, 1), ("Maximum", "GreaterThanOrEqualToThreshold", 2)),
        (0, (1, 2), ("Minimum", "LessThanOrEqualToThreshold", 0)),
        (1, (0, 2), None),
        (1, (), None),
    ],
)
def test_a_breaker_is_open_at_its_value_and_at_no_other(
    found: HandOver, limit: float, others: tuple[float, ...], alarm: tuple[str, str, float] | None
) -> None:
    (breaker,) = (signal for signal in found.signals if isinstance(signal, BreakerOpen))
    document = json.loads(template(replace(found, signals=(replace(breaker, limit=limit, others=others),))))
    made = [r["Properties"] for name, r in document["Resources"].items() if name.startswith("BreakerOpen")]
    told = {(one["Statistic"], one["ComparisonOperator"], one["Threshold"]) for one in made}
    assert (told, len(made)) == ((set(), 0) if alarm is None else ({alarm}, 2))
    assert ("breaker_states" in document["Metadata"]["Agentstorm"]["NotMade"].get("BreakerOpen", "")) == (alarm is None)


def test_what_cloudwatch_cannot_do_is_said(document: dict[str, Any]) -> None:
    left_out = document["Metadata"]["Agentstorm"]["NotMade"]
    assert "histograms" in left_out["LatencyP95"]
    assert "capacity.yaml" in left_out["ScaleOutRequests"]
    assert "CpuNearLimit" in left_out


def test_one_without_any_alarm_can_still_be_deployed(found: HandOver) -> None:
    document = json.loads(template(HandOver(**{**vars(found), "signals": ()})))
    assert len(document["Resources"]) == 1
