"""Findings and verdicts of a recording that is somebody else's."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from harness import assess as assess_module
from harness.assess import assess
from harness.recording import layout
from harness.recording.reader import Recording
from tests.recordings import RecordingBuilder, plan


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    builder = RecordingBuilder(tmp_path / "run", plan(hold_s=4))
    builder.phases(steady=0, cooldown=4)
    for i in range(40):
        builder.request(i / 10)
    builder.instrument(0, 4)
    builder.close(5)
    return Recording.open(builder.path)


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def write(path: Path, _text: str) -> None:
        raise OSError(number, "not possible", str(path))

    monkeypatch.setattr(assess_module, "write_whole", write)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_recording_that_may_not_be_written_is_judged_and_that_is_said(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    told = assess(recording)
    (recording.path / layout.FINDINGS).unlink()
    refuse(monkeypatch, number)
    assert assess(recording) == told
    assert not (recording.path / layout.FINDINGS).exists()
    assert [line.partition(" is not kept: ")[2] for line in caplog.messages] == ["not possible"] * 2


def test_a_full_disk_is_no_matter_of_whose_recording_it_is(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError, match="not possible"):
        assess(recording)
