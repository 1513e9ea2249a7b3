"""The verdicts as JUnit XML (`junit.xml`), for CI: one test case a threshold, one for the run's validity.

A failed threshold is a failure, one with too little evidence is skipped and says so, and an invalid run is an error.
The numbers are properties of the case, as pytest's ``record_property`` and Maven's surefire write them; of the elements
of a case the order is that of the schemas in use: properties, then what became of it. Readers who know no properties
find the numbers in the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

from harness.model.verdict import Verdict
from harness.report import units, versions, words

if TYPE_CHECKING:
    from harness.model.findings import Findings
    from harness.model.verdict import Check, Verdicts
    from harness.recording.reader import Recording


def _clean(text: str) -> str:
    """Leave out what XML 1.0 cannot hold."""
    return "".join(c for c in text if c in "\t\n\r" or 0x20 <= ord(c) <= 0xD7FF or 0xE000 <= ord(c) <= 0xFFFD)


def _case(suite: Xml.Element, check: Check, recording: str) -> None:
    case = Xml.SubElement(suite, "testcase", classname=_clean(check.scope), name=_clean(check.threshold), time="0")
    properties = Xml.SubElement(case, "properties")
    for name in ("observed", "low", "high", "n", "limit"):
        value = getattr(check, name)
        if value is not None:
            Xml.SubElement(properties, "property", name=name, value=f"{value:g}" if name != "n" else str(value))
    Xml.SubElement(properties, "property", name="unit", value=_clean(check.unit))
    Xml.SubElement(properties, "property", name="recording", value=recording)
    said = f"{units.say(check.observed, check.unit)}, limit {units.say(check.limit, check.unit)}, n = {check.n:,}"
    message = f"{words.sentence(_clean(check.why))} ({said})"
    if check.verdict is Verdict.FAIL:
        Xml.SubElement(case, "failure", message=message, type="threshold").text = message
    elif check.verdict is Verdict.INCONCLUSIVE:
        Xml.SubElement(case, "skipped", message=message)
    elif check.verdict is Verdict.INVALID:
        Xml.SubElement(case, "error", message=message, type="invalid").text = message


def junit(recording: Recording, findings: Findings, verdicts: Verdicts) -> str:
    """Return the whole document."""
    suite, name = Xml.Element("testsuite", name=_clean(recording.plan.title)), _clean(recording.path.resolve().name)
    plan, properties = recording.plan, Xml.SubElement(suite, "properties")
    about = {"recording": name, "scenario": plan.scenario.scenario, "target": plan.target.target,
             "version": versions.told_apart(recording), "scale": f"{plan.scale:g}",
             "verdict": verdicts.verdict.value}  # fmt: skip
    for key, value in about.items():
        if value:
            Xml.SubElement(properties, "property", name=key, value=_clean(value))
    validity = Xml.SubElement(suite, "testcase", classname="run", name="can be believed", time="0")
    if not findings.validity.valid:
        message = " ".join(words.sentence(_clean(r)) for r in findings.validity.reasons)
        Xml.SubElement(validity, "error", message=message, type="invalid").text = message
    for check in verdicts.checks:
        _case(suite, check, name)
    counts = {
        "tests": len(suite.findall("testcase")),
        **{f"{w}s": len(suite.findall(f".//{w}")) for w in ("failure", "error")},
    }
    counts["skipped"] = len(suite.findall(".//skipped"))
    for name, number in counts.items():
        suite.set(name, str(number))
    suite.set("time", "0")
    started = recording.manifest.get("clock", {}).get("utc")
    if started:
        suite.set("timestamp", str(started)[:19])  # ISO 8601 without a zone, as the schemas have it; it is UTC
    suites = Xml.Element("testsuites", {**{k: str(v) for k, v in counts.items()}, "name": "agentstorm", "time": "0"})
    suites.append(suite)
    Xml.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(suites, encoding="unicode") + "\n"
