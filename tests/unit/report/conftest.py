"""Recordings that several tests of the report read; each is written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from harness.analysis import analyse
from harness.report.figures import Figures, figures
from harness.report.html import page
from tests.unit.report import story

if TYPE_CHECKING:
    from harness.model.findings import Findings
    from harness.recording.reader import Recording


@dataclass(frozen=True)
class Reported:
    """A recording, what it says, and its page."""

    recording: Recording
    findings: Findings
    figures: Figures
    page: str


def report(recording: Recording) -> Reported:
    findings, _ = analyse(recording)
    drawn = figures(recording, findings)
    return Reported(recording, findings, drawn, page(recording, findings, story.verdicts(), drawn))


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """The whole story."""
    return report(story.write(tmp_path_factory.mktemp("story") / "run"))


@pytest.fixture(scope="session")
def contained(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """The first minute and a half of the story, in containers."""
    path = tmp_path_factory.mktemp("contained") / "run"
    return report(story.write(path, hold=90.0, rate=2.0, containers=True))


@pytest.fixture(scope="session")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """The story of parts that are no provider."""
    return report(story.parts(tmp_path_factory.mktemp("parts") / "run"))
