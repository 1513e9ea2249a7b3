"""The last seconds: what the live view shows and abort conditions look at."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from harness.clock import NS_PER_MS, NS_PER_S
from harness.live import Recent, counts, percentiles_ms
from harness.recording.reader import read_stream
from harness.recording.requests import RequestWriter
from tests.unit.recording.test_recording import ROW


def batch(path: Path, rows: list[dict[str, object]]) -> pa.RecordBatch:
    writer = RequestWriter(path, "w")
    for row in rows:
        writer.add(**ROW | row)
    writer.close()
    return read_stream(path)[0].to_batches()[0]


def test_only_requests_of_the_window_count(tmp_path: Path) -> None:
    recent = Recent(keep_s=20)
    for second in range(30):
        rows = [
            {"due_ns": second * NS_PER_S + i, "end_ns": second * NS_PER_S + i, "outcome": f"o{second % 2}"}
            for i in range(10)
        ]
        recent.add((second + 1) * NS_PER_S, [batch(tmp_path / f"{second}", list(rows))])
    table = recent.table(30 * NS_PER_S, 5)
    assert table.num_rows == 50
    assert counts(table, "outcome") == {"o0": 20, "o1": 30}
    assert recent.table(30 * NS_PER_S, 100).num_rows == 10 * 21, "older ones were let go"


def test_a_request_counts_when_it_is_over_not_when_it_was_due(tmp_path: Path) -> None:
    recent = Recent(keep_s=30)
    now = 100 * NS_PER_S
    timeouts: list[dict[str, object]] = [{"due_ns": now - 60 * NS_PER_S, "end_ns": now - i} for i in range(200)]
    recent.add(now, [batch(tmp_path / "a", timeouts)])
    assert recent.table(now, 30).num_rows == 200


def test_percentiles_are_of_answered_requests(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"due_ns": 0, "end_ns": i * NS_PER_MS} for i in range(101)]
    table = pa.Table.from_batches([batch(tmp_path / "a", [*rows, {"due_ns": 0, "end_ns": -1}])])
    assert percentiles_ms(table) == pytest.approx((50, 95, 99))
    assert percentiles_ms(table.slice(0, 0)) is None


def test_an_empty_window_is_empty() -> None:
    table = Recent(5).table(10 * NS_PER_S, 5)
    assert (table.num_rows, counts(table, "provider")) == (0, {})
