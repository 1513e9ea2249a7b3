"""Whatever stands in a provider's ledger, the table can be written and the rows after it are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.model.request import trace_id
from harness.probes import ledger as probe
from harness.recording import layout
from harness.recording.reader import read_stream
from harness.recording.tables import EventLog, LedgerWriter

if TYPE_CHECKING:
    from pathlib import Path

RUN = 5
ROW = {
    "seq": 1, "received_ns": 1, "answered_ns": 2, "trace_id": trace_id(RUN, 7), "tenant": "t", "agent": "a",
    "model": "m", "tokens_in": 10, "tokens_out": 20, "stream": False, "status": "ok",
}  # fmt: skip


def look(path: Path, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Return the rows written for an odd row and a good one after it, and the events."""
    page = {"first_seq": 1, "next_seq": 3, "rows": [ROW | odd, ROW | {"seq": 2}], "in_flight": []}
    monkeypatch.setattr(probe._Book, "page", lambda *_: page)
    table, events = LedgerWriter(path), EventLog(path / layout.EVENTS)
    book = probe.Ledger({"bedrock": "http://127.0.0.1:1"}, RUN, table, events)
    book._guarded(book.look)
    table.close()
    events.close()
    return read_stream(path / "ledger.arrows")[0].to_pylist(), (path / layout.EVENTS).read_text()


@pytest.mark.parametrize(
    ("column", "value", "written"),
    [
        ("tenant", 5, "5"),
        ("tenant", None, ""),
        ("tenant", "\ud83d", "?"),
        ("tokens_in", 2**40, 2**31 - 1),
        ("tokens_in", -(2**40), -1),
        ("status", "\ud83d", "?"),
    ],
)
def test_what_can_be_converted_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, value: Any, written: Any
) -> None:
    rows, events = look(tmp_path, monkeypatch, {column: value})
    assert [row[column] for row in rows] == [written, ROW[column]]
    assert events == ""


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("received_ns", 2**70),
        ("answered_ns", float("inf")),
        ("tokens_in", float("nan")),
        ("tokens_out", "many"),
        ("trace_id", 5),
        ("trace_id", f"{RUN:016x}" + "f" * 16),
    ],
)
def test_a_row_that_is_none_is_told_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, value: Any
) -> None:
    rows, events = look(tmp_path, monkeypatch, {column: value})
    assert [row["request_id"] for row in rows] == [7]
    assert "1 rows left out" in events
