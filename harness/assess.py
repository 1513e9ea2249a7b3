"""From a recording to its findings and verdicts, written beside it. Needs no live system."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.analysis import analyse
from harness.judge import judge
from harness.memory import frugal
from harness.recording import layout
from harness.whole import write_whole

if TYPE_CHECKING:
    from harness.model.base import Frozen
    from harness.model.findings import Findings
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording


def assess(recording: Recording) -> tuple[Findings, Verdicts]:
    """Analyse and judge a recording; writes ``findings.json`` and ``verdicts.json``."""
    frugal()
    findings, measure = analyse(recording)
    verdicts = judge(recording.plan, findings, measure)
    _write(recording, layout.FINDINGS, findings)
    _write(recording, layout.VERDICTS, verdicts)
    return findings, verdicts


def _write(recording: Recording, name: str, data: Frozen) -> None:
    text = json.dumps(data.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    write_whole(recording.path / name, text)
