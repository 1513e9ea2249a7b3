"""Whatever stands in a provider's ledger, the table can be written and the rows after it are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from harness.analysis.ledger import Calls, losses
from harness.analysis.scan import Scan
from harness.clock import now_ns
from harness.model.request import trace_id
from harness.probes import ledger as probe
from harness.recording import layout
from harness.recording.reader import Recording, read_stream
from harness.recording.tables import EventLog, LedgerWriter

if TYPE_CHECKING:
    from pathlib import Path

    from harness.analysis.frame import Frame

RUN = 5
ROW = {
    "seq": 1, "received_ns": 1, "answered_ns": 2, "trace_id": trace_id(RUN, 7), "tenant": "t", "agent": "a",
    "model": "m", "tokens_in": 10, "tokens_out": 20, "stream": False, "status": "ok",
}  # fmt: skip


class Odd:
    """A ledger that heeds neither `after` nor `limit`."""

    def __init__(self, first: int) -> None:
        self.first, self.rows, self.asked = first, 0, 0

    def page(self, _after: int) -> dict[str, Any]:
        self.asked += 1
        assert self.asked < 20, "asked again and again"
        numbers = range(self.first, self.first + self.rows)
        rows = [ROW | {"seq": seq, "trace_id": trace_id(RUN, seq)} for seq in numbers]
        return {"first_seq": self.first, "next_seq": self.first + self.rows, "rows": rows, "in_flight": []}


@pytest.mark.parametrize(("first", "before", "after"), [(0, 0, 3), (0, 4, 3), (0, 1, 1), (1, 0, 1500), (1, 1500, 1)])
def test_each_row_is_read_once_and_the_reading_ends_whatever_a_ledger_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, before: int, after: int
) -> None:
    odd, table, events = Odd(first), LedgerWriter(tmp_path), EventLog(tmp_path / layout.EVENTS)
    monkeypatch.setattr(probe._Book, "page", odd.page)
    book = probe.Ledger({"bedrock": "http://127.0.0.1:1"}, RUN, table, events)
    monkeypatch.setattr(book, "_run", lambda: None)  # looks by hand
    book.start()
    for odd.rows in (before, before, 0, 0, after):  # it begins anew in between
        book.look()
        odd.asked = 0
    book.stop()
    table.close()
    events.close()
    numbers = [row["request_id"] for row in read_stream(tmp_path / "ledger.arrows")[0].to_pylist()]
    assert numbers == [*range(first, first + before), *range(first, first + after)]
    told = (tmp_path / layout.EVENTS).read_text()
    assert told.count("restarted") == bool(before)
    assert "error" not in told


def test_a_ledger_whose_pages_are_smaller_than_was_asked_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(after: int) -> dict[str, Any]:
        rows = [ROW | {"seq": seq, "trace_id": trace_id(RUN, seq)} for seq in range(after + 1, min(after + 4, 11))]
        return {"first_seq": 1, "next_seq": 11, "rows": rows, "in_flight": []}

    monkeypatch.setattr(probe._Book, "page", staticmethod(page))
    table, events = LedgerWriter(tmp_path), EventLog(tmp_path / layout.EVENTS)
    probe.Ledger({"bedrock": "http://127.0.0.1:1"}, RUN, table, events).look()
    table.close()
    events.close()
    rows = read_stream(tmp_path / "ledger.arrows")[0].to_pylist()
    assert [row["request_id"] for row in rows] == [*range(1, 11)]


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


@pytest.mark.parametrize(
    ("looks", "since"),
    [("good good good", None), ("good bad good", None), ("good bad bad", 1), ("bad bad bad", 0)],
    ids=["all are good", "one in between is not", "the last ones are not", "none is"],
)
def test_what_could_not_be_read_in_the_end_is_told_with_the_last_good_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: str, since: int | None
) -> None:
    def page(book: Any, _after: int) -> dict[str, Any]:
        if book.upstream == "bedrock" and now["look"] == "bad":
            raise OSError("connection refused")
        return {"first_seq": 1, "next_seq": 1, "rows": [], "in_flight": []}

    monkeypatch.setattr(probe._Book, "page", page)
    table, events = LedgerWriter(tmp_path), EventLog(tmp_path / layout.EVENTS)
    book = probe.Ledger({"bedrock": "http://127.0.0.1:1", "openai": "http://127.0.0.1:2"}, RUN, table, events)
    monkeypatch.setattr(book, "_run", lambda: None)  # looks by hand
    *others, last = looks.split()
    began, now = [now_ns()], {"look": last}
    book.start()
    for now["look"] in others:
        began.append(now_ns())
        book._guarded(book.look)
    now["look"] = last
    began.append(now_ns())
    book.stop()
    table.close()
    events.close()
    told = [e for e in Recording(tmp_path).events if e.subject == "unread"]
    assert [e.data["upstream"] for e in told] == ["bedrock"] * (since is not None)
    if since is not None:
        assert began[since] <= told[0].data["since_ns"] < began[since + 1]
        assert losses(told) == [("bedrock", told[0].data["since_ns"], told[0].t_ns, True)]


def test_each_request_that_a_ledger_knows_of_is_asked_for_once_whatever_the_order() -> None:
    ids = [7, -1, 3, 7, 2**40, 3, 0, -1]
    rows = [
        {"t_ns": 9 - i, "answered_ns": -1, "upstream": "p", "request_id": number, "tenant": "t", "agent": "a",
         "model": "m", "tokens_in": 1, "tokens_out": 1, "stream": False, "status": "ok"} for i, number in enumerate(ids)
    ]  # fmt: skip
    asked: list[list[int]] = []

    class Load(Scan):
        def holding(self, ids: Any) -> Frame:
            asked.append(ids.tolist())
            return super().holding(ids)

    Calls(lambda: pa.Table.from_pylist(rows, schema=layout.LEDGER_SCHEMA), Load([]))
    Calls(lambda: pa.Table.from_pylist([], schema=layout.LEDGER_SCHEMA), Load([]))
    assert asked == [[0, 3, 7, 2**40], []]
