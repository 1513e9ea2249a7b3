"""What the canary cannot send because of us is no failure of the system."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest

from harness.clock import now_ns, sleep
from harness.model.target import Observe
from harness.model.target import Probe as ProbeSpec
from harness.observe import Observation
from harness.probes import Canary
from harness.recording.reader import Recording
from harness.recording.tables import EventLog, SampleWriter

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("code", "outcome", "events"),
    [(errno.EMFILE, "dropped", 1), (errno.EADDRNOTAVAIL, "dropped", 1), (errno.ECONNREFUSED, "failed", 0)],
)
def test_for_want_of_files_or_ports_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, outcome: str, events: int
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, "so it is")

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "create_connection", refuse)
    spec = ProbeSpec.model_validate({"path": "/ask", "rate": "100/s", "timeout": "1s"})
    log, samples = EventLog(tmp_path / "events.jsonl"), SampleWriter(tmp_path)
    canary = Canary(spec, "http://127.0.0.1:1", Observation(Observe()), tmp_path, 7, log)
    canary.start()
    until = now_ns() + 10**8
    while now_ns() < until:
        sleep(0.02)
    canary.stop()
    log.close()
    samples.close()
    recording = Recording(tmp_path)
    rows = recording.canary.to_pylist()
    assert len(rows) > 2
    assert {row["outcome"] for row in rows} == {outcome}
    assert {row["start_ns"] < 0 for row in rows} == {outcome == "dropped"}
    assert [(e.kind, e.subject) for e in recording.events] == [("instrument", "unsent")] * events
    assert canary.ok is (None if events else False)
