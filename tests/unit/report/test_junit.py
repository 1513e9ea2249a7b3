"""JUnit: what CI reads."""

# ruff: noqa: S314 - the XML is our own

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

from harness.model.verdict import Verdict
from harness.report.junit import junit
from tests.unit.report import story

if TYPE_CHECKING:
    from tests.unit.report.conftest import Reported

CASE_PARTS = ["properties", "skipped", "error", "failure", "system-out", "system-err"]


def test_one_case_a_threshold_and_one_for_validity(told: Reported) -> None:
    root = Xml.fromstring(junit(told.recording, told.findings, story.verdicts()))
    (suite,) = root
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert len(cases) == len(story.CHECKS) + 1
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "9",
        "1",
        "0",
        "3",
    )
    failed = cases["response_time{phase:fault}: p(95)<2s"].find("failure")
    assert failed is not None
    assert "while Bedrock hangs" in str(failed.get("message"))
    skipped = cases["time_to_first_byte: p(95)<1s"].find("skipped")
    assert skipped is not None
    assert "No streams were requested." in str(skipped.get("message"))


def test_a_case_carries_its_numbers(told: Reported) -> None:
    root = Xml.fromstring(junit(told.recording, told.findings, story.verdicts()))
    case = next(c for c in root.iter("testcase") if c.get("name") == "response_time: p(95)<3s")
    found = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert found == {"observed": "1020", "low": "940", "high": "1110", "n": "5365", "limit": "3000", "unit": "ms",
                     "recording": "run"}  # fmt: skip


def test_an_invalid_run_is_an_error(told: Reported) -> None:
    invalid = told.findings.validity.model_copy(update={"valid": False, "reasons": ("it was \x00late",)})
    findings = told.findings.model_copy(update={"validity": invalid})
    root = Xml.fromstring(junit(told.recording, findings, story.verdicts(Verdict.INVALID)))
    assert root.get("errors") == "1"
    assert [e.get("message") for e in root.iter("error")] == ["It was late."]


def test_it_keeps_to_the_common_schema(told: Reported) -> None:
    root = Xml.fromstring(junit(told.recording, told.findings, story.verdicts()))
    assert (root.tag, [s.tag for s in root]) == ("testsuites", ["testsuite"])
    for suite in root:
        assert {"name", "tests", "failures", "errors", "skipped", "time"} <= set(suite.keys())
        assert [part.tag for part in suite] == ["properties", *["testcase"] * (len(suite) - 1)]
        assert datetime.fromisoformat(str(suite.get("timestamp"))).tzinfo is None
        assert int(str(suite.get("tests"))) == len(suite) - 1
        for case in suite.findall("testcase"):
            assert {"name", "classname", "time"} == set(case.keys())
            parts = [CASE_PARTS.index(part.tag) for part in case]
            assert parts == sorted(parts)
