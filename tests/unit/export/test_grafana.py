"""The dashboard is one that Grafana imports: known fields and units, panels side by side, queries that parse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.export.grafana import dashboard
from harness.export.signals import HandOver
from harness.live_metrics import FAMILIES
from tests.unit.export.test_prometheus import promtool, ran

UNITS = {"s", "short", "percentunit", "reqps", "bytes"}
"""Grafana's own ids of units, those in use here."""
PANEL = {
    *("id", "type", "title", "description", "datasource", "gridPos", "fieldConfig", "options", "targets"),
    *("collapsed", "panels"),
}
TOP = {
    "title", "uid", "tags", "schemaVersion", "editable", "graphTooltip", "time", "refresh", "annotations", "templating",
    "panels",
}  # fmt: skip


@pytest.fixture
def document(found: HandOver) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(dashboard(found))
    return made


def drawn(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {panel["title"]: panel for panel in document["panels"] if panel["type"] == "timeseries"}


def test_fields_are_those_of_grafanas_schema(document: dict[str, Any]) -> None:
    assert set(document) == TOP
    assert document["schemaVersion"] >= 36
    for panel in document["panels"]:
        assert set(panel) <= PANEL
    for panel in drawn(document).values():
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in UNITS
        assert defaults["thresholds"]["steps"][0]["value"] is None
        assert [target["refId"] for target in panel["targets"]] == list("ABCD")[: len(panel["targets"])]


def test_the_data_source_is_a_variable(document: dict[str, Any]) -> None:
    (variable,) = document["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    (faults,) = document["annotations"]["list"]
    sources = [p["datasource"] for p in drawn(document).values()] + [faults["datasource"]]
    assert {source["uid"] for source in sources} == {"${datasource}"}
    assert faults["expr"].split(" ")[0] in FAMILIES


def test_panels_do_not_lie_on_each_other(document: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])


def test_limits_are_drawn_where_they_were_measured(document: dict[str, Any], found: HandOver) -> None:
    limits = {signal.name: signal.limit for signal in found.signals}
    panels = drawn(document)
    for title, name in (
        ("Failed answers", "ErrorBudgetBurnFast"),
        ("Cache hit rate", "CacheHitRateLow"),
        ("Memory by replica", "MemoryNearLimit"),
        ("llm_request_duration_seconds (as fine as its buckets)", "LatencyP95"),
        ("Share of calls by provider", "ProviderShift"),
    ):
        panel = panels[title]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] == limits[name]
        assert panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "line"
        assert "planted" in panel["description"]
    assert panels["Answers by status"]["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "off"


def test_what_was_not_measured_is_said(document: dict[str, Any]) -> None:
    (text,) = [panel for panel in document["panels"] if panel["type"] == "text"]
    assert "ScaleOutRequests" in text["options"]["content"]


@promtool
def test_prometheus_parses_every_query(document: dict[str, Any], tmp_path: Path) -> None:
    queries = [target["expr"] for panel in drawn(document).values() for target in panel["targets"]]
    queries.append(document["annotations"]["list"][0]["expr"])
    rules = [
        {"record": f"panel:{n}", "expr": query.replace("$__rate_interval", "5m")} for n, query in enumerate(queries)
    ]
    with (tmp_path / "rules.yaml").open("w") as out:
        YAML().dump({"groups": [{"name": "panels", "rules": rules}]}, out)
    assert f"{len(queries)} rules found" in ran("check", "rules", str(tmp_path / "rules.yaml"))
