"""What surrounds a load tells what it could not record."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.recording.tables import EventLog
from harness.stage import Stage
from tests.recordings import plan


def test_rows_that_a_full_disk_cost_are_told_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, journal = EventLog(tmp_path / "events.jsonl"), SimpleNamespace(still_open=list)
    stage = Stage(plan(), tmp_path, 1, events, journal, lambda _: None)  # type: ignore[arg-type]
    monkeypatch.setattr("harness.recording.spool.MOST_WAITING", 0)  # all that is handed in is too much
    for number in range(3):
        stage.samples.sample("worker:w0", "cpu", number)
    stage.down()
    events.close()
    told: list[dict[str, Any]] = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(e["kind"], e["subject"], e["data"]) for e in told[1:]] == [("instrument", "unrecorded", {"rows": 3})]
