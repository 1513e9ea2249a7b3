"""Which version of the system ran: said at the head of every report, and nowhere where it is not known."""

from __future__ import annotations

import io
from copy import copy
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from harness.report import overview, units, versions
from harness.report.html import page
from harness.report.junit import junit
from harness.report.languages import LANGUAGES
from harness.report.markdown import markdown
from harness.report.terminal import print_summary
from tests.recordings import RecordingBuilder, plan
from tests.unit.report import story

if TYPE_CHECKING:
    from pathlib import Path

    from harness.recording.reader import Recording
    from tests.unit.report.conftest import Reported

COMPOSE = {"system": {"kind": "compose", "file": "compose.yml", "publish": {"agents": 8000}}}


def of(recording: Recording, version: str | None) -> Recording:
    """Return the recording as one of that version."""
    told = copy(recording)
    told.plan = told.plan.model_copy(update={"target": told.plan.target.model_copy(update={"version": version})})
    return told


def heads(told: Reported, version: str | None) -> dict[str, str]:
    """Return what stands at the head of each form of the report."""
    recording, verdicts, screen = of(told.recording, version), story.verdicts(), Console(file=io.StringIO(), width=100)
    print_summary(screen, recording, told.findings, verdicts)
    assert isinstance(screen.file, io.StringIO)
    html, swedish = (page(recording, told.findings, verdicts, told.figures, lang=lang) for lang in ("en", "sv"))
    return {
        "html": html[: html.index('id="checks"')],
        "swedish": swedish[: swedish.index('id="checks"')],
        "markdown": markdown(recording, told.findings, verdicts).partition("\n|")[0],
        "terminal": screen.file.getvalue().partition("p(95)")[0],
        "junit": junit(recording, told.findings, verdicts).partition("<testcase")[0],
    }


def test_every_report_says_it_at_its_head(told: Reported) -> None:
    found = heads(told, "1.4.2")
    assert "<dt>version</dt><dd>1.4.2</dd>" in found["html"]
    assert "<dt>version</dt><dd>1.4.2</dd>" in found["swedish"]
    assert "on synthetic (version 1.4.2). " in found["markdown"]
    assert "\nsynthetic, version 1.4.2\n" in found["terminal"]
    assert '<property name="version" value="1.4.2" />' in found["junit"]


def test_nothing_is_said_where_it_is_not_given(told: Reported) -> None:
    found = heads(told, None)
    assert [
        form for form, text in found.items() if ">version<" in text or "version " in text or '"version"' in text
    ] == []


def test_several_runs_say_each_version_once(told: Reported) -> None:
    def facts(*given: str | None) -> dict[str, str]:
        runs = [overview.Run(of(told.recording, one), told.findings, story.verdicts()) for one in given]
        return dict(overview._facts(runs, LANGUAGES["en"]))

    assert facts("1", "1")["version"] == "1"
    assert facts("1", None, "2")["version"] == f"1; {units.NONE}; 2"
    assert "version" not in facts(None, None)


IMAGES = {
    "agents:dev": {"id": "sha256:0123456789abcdef0123", "digests": []},
    "redis:7": {"id": "sha256:fedcba9876543210fedc", "digests": ["redis@sha256:1"]},
    "toxiproxy:2": {"id": "sha256:aaaaaaaaaaaaaaaaaaaa", "digests": []},
    "sha256:9999": {"id": "sha256:99999999999999999999", "digests": []},
}
CONTAINERS = {
    "agents-1": "agents:dev", "agents-2": "agents:dev", "redis": "redis:7", "toxiproxy": "toxiproxy:2",
    "agentstorm-http-faults": "sha256:9999",
}  # fmt: skip


def described(**containers: str) -> dict[str, Any]:
    return {"images": IMAGES, "containers": {name: {"id": "c", "image": image} for name, image in containers.items()}}


def composed(path: Path, target: dict[str, Any], **how: Any) -> Recording:
    builder = RecordingBuilder(path, plan(target=target))
    if how:
        builder.component("system", **how)
    return builder.close(1)


@pytest.mark.parametrize(
    ("target", "how", "said"),
    [
        (COMPOSE, described(**CONTAINERS), "agents:dev 0123456789ab, redis:7 fedcba987654"),
        (COMPOSE, described(old="sha256:9999"), "999999999999"),  # its name is another image's by now
        (COMPOSE, {}, ""),  # it never came up
        (COMPOSE | {"version": "1.4.2"}, described(**CONTAINERS), "1.4.2"),
        ({}, {"pids": {"agents": 1}}, ""),
    ],
)
def test_containers_without_a_version_are_told_by_their_images(
    target: dict[str, Any], how: dict[str, Any], said: str, tmp_path: Path
) -> None:
    recording = composed(tmp_path / "run", target, **how)
    assert (versions.of_system(recording) or versions.images(recording)) == said
    assert versions.of_system(recording) == (said if "version" in target else "")
