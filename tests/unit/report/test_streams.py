"""What is told of streams, on the page, in Markdown and on the terminal: the same, and only when there were any."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from harness.report.block_streams import said
from harness.report.markdown import markdown
from harness.report.terminal import print_summary
from tests.recordings import RecordingBuilder, plan
from tests.unit.report import story
from tests.unit.report.conftest import Reported, report


@pytest.fixture(scope="module")
def flowing(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """200 streams of one agent: first token after 100 ms, 20 a second, 11 tokens in an event; 4 cut, 2 held back."""
    builder = RecordingBuilder(tmp_path_factory.mktemp("flowing") / "run", plan())
    builder.phases(steady=0, cooldown=60)
    builder.instrument(0, 60)
    for n in range(200):
        came = [0.6] * 10 if n < 2 else (0.1 + 0.05 * np.arange(10)).tolist()
        outcome = "failed" if 2 <= n < 6 else "ok"
        builder.request(n / 4, 0.7, agent="<banking>", stream=came, tokens=(5, 110), outcome=outcome)
    return report(builder.close(61))


def test_streams_are_told_everywhere_in_the_same_words(flowing: Reported) -> None:
    words = said(flowing.findings).replace("\u00a0", " ")
    assert words == (
        "200 streams, 98 % complete: the first token took 100 ms (p50), 100 ms (p95), 105 ms (p99); each next one "
        "50 ms (p50), 50 ms (p95), 50 ms (p99); 95 % of streams ran at 20 tokens/s or more."
    )
    screen = Console(file=io.StringIO(), width=110)
    print_summary(screen, flowing.recording, flowing.findings, story.verdicts())
    assert isinstance(screen.file, io.StringIO)
    assert f"streams      {words}" in screen.file.getvalue()
    assert "**Streams**: 200 streams, 98" in markdown(flowing.recording, flowing.findings, story.verdicts())
    page = flowing.page.replace("\u00a0", " ")
    assert words in page
    assert "Of 2 streams all tokens arrived at once" in page
    assert "one carries 11 of the model&#39;s tokens" in page
    assert page.count("&lt;banking&gt;") > 1


def test_a_run_without_streams_has_no_such_block(told: Reported, tmp_path: Path) -> None:
    assert told.findings.load.streams is None
    assert 'id="streams"' not in told.page
    assert "**Streams**" not in markdown(told.recording, told.findings, story.verdicts())
