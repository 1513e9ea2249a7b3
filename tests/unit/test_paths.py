"""Paths as they are said to people."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from harness.conduct import _announce
from harness.paths import shown
from tests.recordings import plan


def test_what_lies_below_is_said_from_there_and_all_else_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "reports" / "a") == shown(str(tmp_path / "reports" / "a")) == "reports/a"
    assert shown("reports/a") == "reports/a"
    assert shown(tmp_path.parent / "b") == str(tmp_path.parent / "b")
    assert shown(tmp_path / "a", tmp_path / "b") == str(tmp_path / "a")
    assert shown(tmp_path / "b" / "a", tmp_path / "b") == "a"


def test_a_run_says_where_it_records_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = StringIO()
    _announce(plan(), tmp_path / "reports" / "a", Console(file=said))
    assert said.getvalue().endswith("recording to reports/a\n")
