"""What is written is what is read: whole, cut anywhere, and finished."""

from __future__ import annotations

import gc
import json
import resource
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RecordingError
from harness.recording import layout
from harness.recording.finish import finish, streams
from harness.recording.reader import Recording, read_stream
from harness.recording.requests import OVERFLOW, RequestWriter
from harness.recording.tables import EventLog, LedgerWriter, SampleWriter
from harness.recording.tokens import TokenWriter

ROW: dict[str, Any] = {
    "due_ns": 1, "start_ns": 2, "first_byte_ns": 3, "end_ns": 4, "name": "n", "team": "t", "agent": "a", "tenant": "x",
    "request_id": 7, "outcome": "ok", "status": 200, "error": "", "provider": "bedrock", "cached": 0,
    "cache_lookups": 1, "cache_hits": 0, "tokens_in": 10, "tokens_out": 20, "bytes_in": 30, "bytes_out": 40,
}  # fmt: skip


def folder(path: Path, **manifest: Any) -> Path:
    (path / layout.MANIFEST).write_text(json.dumps({"schema": 1, "run_id": 5, **manifest}))
    return path


def write(path: Path, rows: list[dict[str, Any]], worker: str = "w0", *, flush_every: int = 3) -> Path:
    stream = path / layout.REQUESTS / f"{worker}.arrows"
    writer = RequestWriter(stream, worker, capacity=64)
    for number, row in enumerate(rows, 1):
        writer.add(**ROW | row)
        if number % flush_every == 0:
            writer.flush()
    writer.close()
    return stream


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [{"request_id": i, "name": f"n{i % 5}", "error": f"e{i % 300}", "due_ns": i * 10**12} for i in range(1000)]
    write(folder(tmp_path), rows)
    table = Recording.open(tmp_path).requests
    assert table.schema.equals(layout.REQUEST_SCHEMA)
    for column in ("request_id", "name", "error", "due_ns"):
        assert table.column(column).to_pylist() == [row[column] for row in rows]
    assert set(table.column("worker").to_pylist()) == {"w0"}


def test_texts_stay_finite_whatever_ids_systems_put_into_them(tmp_path: Path) -> None:
    texts = [f"order {i} failed" for i in range(900)] + ["x" * 1000] + [f"order {i} failed" for i in range(10)]
    write(folder(tmp_path), [{"request_id": i, "error": text} for i, text in enumerate(texts)])
    errors = Recording.open(tmp_path).requests.column("error").to_pylist()
    assert errors[:300] == texts[:300]
    assert set(errors[300:901]) == {OVERFLOW}
    assert errors[901:] == texts[901:], "those that were known stay known"


@pytest.fixture
def disk() -> Iterator[Callable[[int | None], None]]:
    """Let files grow up to so many bytes and no further; None takes the limit away."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before if size is None else (size, before[1]))

    yield limit
    limit(None)


def test_a_full_disk_is_said_and_what_waited_is_written_once_there_is_room(
    tmp_path: Path, disk: Callable[[int | None], None]
) -> None:
    stream = folder(tmp_path) / layout.REQUESTS / "w0.arrows"
    writer = RequestWriter(stream, "w0")

    def rows(first: int) -> None:
        for i in range(first, first + 100):
            writer.add(**ROW | {"request_id": i, "name": f"n{i}"})
        writer.flush()

    rows(0)
    disk(stream.stat().st_size + 5000)
    rows(100)
    rows(200)
    assert writer.trouble.startswith("file too large: ")
    assert str(stream) in writer.trouble
    assert writer.batches == 1
    cut, why = read_stream(stream)
    assert (len(cut), "cut in the middle" in why) == (100, True), "a kill now would cost what could not be written only"
    disk(None)
    rows(300)
    assert (writer.trouble, writer.batches) == ("", 4)
    writer.close()
    assert Recording.open(tmp_path).requests.column("request_id").to_pylist() == list(range(400))


def test_a_disk_that_stays_full_costs_rows_not_memory(
    tmp_path: Path, disk: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.recording.spool.MOST_WAITING", 20_000)
    writer = RequestWriter(folder(tmp_path) / layout.REQUESTS / "w0.arrows", "w0")
    tokens = TokenWriter(tmp_path / layout.TOKENS / "w0.arrows")
    samples = SampleWriter(tmp_path)
    disk(4000)
    for i in range(1000):
        writer.add(**ROW | {"request_id": i})
        tokens.add(i, array("q", range(10)))
        samples.sample("worker:w0", "cpu", i)
        if i % 100 == 99:
            writer.flush()
            tokens.flush()
            samples.flush()
    assert writer.unrecorded == 1000 - writer.written
    assert 100 <= writer.written < 500
    assert 100 <= samples.unrecorded < 1000
    assert 1000 <= tokens.unrecorded < 10_000
    assert samples.trouble
    with pytest.raises(OSError, match=r"bytes of it were lost"):
        writer.close()
    disk(None)
    samples.close()
    tokens.close()
    kept = Recording.open(tmp_path)
    assert kept.samples.column("value").to_pylist() == [float(i) for i in range(1000 - samples.unrecorded)]
    assert len(read_stream(tmp_path / layout.TOKENS / "w0.arrows")[0]) == 10_000 - tokens.unrecorded


def test_a_disk_full_at_the_end_leaves_the_stream_and_no_draft(
    tmp_path: Path, disk: Callable[[int | None], None]
) -> None:
    write(folder(tmp_path), [{"request_id": i, "due_ns": i * 7919**3 % 10**15} for i in range(3000)])
    before = Recording.open(tmp_path).requests
    disk(2000)
    with pytest.raises(OSError, match="File too large"):
        finish(tmp_path)
    disk(None)
    assert [p.name for p in (tmp_path / layout.REQUESTS).iterdir()] == ["w0.arrows"]
    assert Recording.open(tmp_path).requests.sort_by("request_id").equals(before)
    finish(tmp_path)
    assert Recording.open(tmp_path).requests.sort_by("request_id").equals(before)


def test_events_outlive_a_full_disk(tmp_path: Path, disk: Callable[[int | None], None]) -> None:
    events = EventLog(folder(tmp_path) / layout.EVENTS)
    events.emit("run", "conduct", "started")
    disk((tmp_path / layout.EVENTS).stat().st_size + 20)
    events.emit("phase", "conduct", "steady")
    assert events.trouble
    disk(None)
    events.emit("run", "conduct", "ended")
    events.close()
    assert [e.subject for e in Recording.open(tmp_path).events] == ["started", "steady", "ended"]


def test_finishing_keeps_every_value_and_both_workers(tmp_path: Path) -> None:
    folder(tmp_path)
    write(tmp_path, [{"request_id": i, "name": f"a{i}"} for i in range(10)], "w0")
    write(tmp_path, [{"request_id": 100 + i, "name": f"b{i}"} for i in range(10)], "w1")
    before = Recording.open(tmp_path).requests
    finish(tmp_path)
    assert streams(tmp_path) == []
    after = Recording.open(tmp_path).requests
    assert after.to_pylist() == before.to_pylist()
    assert after.schema.equals(layout.REQUEST_SCHEMA)


@pytest.mark.parametrize("room", [0, 500, 5_000, 20_000])
def test_a_disk_full_at_the_end_leaves_every_stream_and_no_draft(
    tmp_path: Path, disk: Callable[[int | None], None], room: int
) -> None:
    folder(tmp_path)
    draw = np.random.default_rng(3)
    moments = draw.integers(10**9, 10**15, (3000, 2)).tolist()
    rows = [{"due_ns": d, "end_ns": d + e, "request_id": i, "name": f"n{i}"} for i, (d, e) in enumerate(moments)]
    write(tmp_path, rows, flush_every=500)
    samples, tokens = SampleWriter(tmp_path), TokenWriter(tmp_path / layout.TOKENS / "w0.arrows")
    for number, (due, end) in enumerate(moments):
        samples.sample("metrics", "hits", float(due), t_ns=end)
        tokens.add(number, array("q", [due, end]))
    samples.close()
    tokens.close()
    before = {path: path.read_bytes() for path in streams(tmp_path)}
    assert len(before) == 3
    disk(room)
    with pytest.raises(OSError, match="large"):
        finish(tmp_path)
    disk(None)
    gc.collect()
    assert {path: path.read_bytes() for path in streams(tmp_path)} == before
    assert [p for p in tmp_path.rglob("*") if ".parquet" in p.name] == []
    finish(tmp_path)
    assert streams(tmp_path) == []
    assert Recording.open(tmp_path).requests.num_rows == 3000


@given(st.lists(st.lists(st.integers(1, 10**12), max_size=40), max_size=12), st.integers(1, 30))
def test_token_times_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, streamed: list[list[int]], capacity: int
) -> None:
    path = folder(tmp_path_factory.mktemp("tokens"))
    writer = TokenWriter(path / layout.TOKENS / "w0.arrows", capacity=capacity)
    for number, times in enumerate(streamed):
        writer.add(number, array("q", times))
    writer.close()
    rows = [{"request_id": number, "t_ns": t_ns} for number, times in enumerate(streamed) for t_ns in times]
    assert (path / layout.TOKENS).exists() == bool(rows)
    assert Recording.open(path).tokens.to_pylist() == rows
    finish(path)
    assert streams(path) == []
    assert Recording.open(path).tokens.to_pylist() == rows


@pytest.mark.parametrize("finished", [False, True])
def test_a_recording_from_before_streams_were_timed_opens(tmp_path: Path, finished: bool) -> None:
    write(folder(tmp_path), [{"request_id": i} for i in range(5)])
    stream = tmp_path / layout.REQUESTS / "w0.arrows"
    old = read_stream(stream)[0].drop_columns(list(layout.ADDED))
    with pa.OSFile(str(stream), "wb") as sink, pa.ipc.new_stream(sink, old.schema) as writer:
        writer.write_table(old)
    if finished:
        finish(tmp_path)
    table = Recording.open(tmp_path).requests
    assert table.schema.equals(layout.REQUEST_SCHEMA)
    assert {name: set(table.column(name).to_pylist()) for name in layout.ADDED} == {name: {-1} for name in layout.ADDED}
    assert Recording.open(tmp_path).tokens.num_rows == 0


@settings(max_examples=60)
@given(cut=st.integers(0, 100_000))
def test_a_stream_cut_anywhere_opens_with_all_whole_batches(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut")
    stream = write(path, [{"request_id": i, "name": f"n{i}"} for i in range(30)])
    data = stream.read_bytes()
    cut %= len(data)
    stream.write_bytes(data[:cut])
    table, missing = read_stream(stream)
    ids = table.column("request_id").to_pylist() if table.num_columns else []
    assert ids == list(range(len(ids)))
    assert len(ids) % 3 == 0
    assert missing or len(ids) == 30


def test_a_cut_recording_says_what_is_missing_and_is_never_overwritten(tmp_path: Path) -> None:
    stream = write(folder(tmp_path), [{"request_id": i} for i in range(9)])
    stream.write_bytes(stream.read_bytes()[:-500])
    finish(tmp_path)
    assert stream.exists()
    recording = Recording.open(tmp_path)
    assert recording.requests.num_rows < 9
    assert any("cut" in line for line in recording.truncated)
    assert not recording.finished


def test_full_buffers_are_written_by_themselves_when_there_is_no_other(tmp_path: Path) -> None:
    stream = tmp_path / "r" / "w.arrows"
    writer = RequestWriter(stream, "w", capacity=4)
    for i in range(12):
        writer.add(**ROW | {"request_id": i})
    assert writer.written == 4
    assert read_stream(stream)[0].num_rows == 4
    for i in range(12, 33):
        writer.add(**ROW | {"request_id": i})
    writer.close()
    assert writer.written == 33
    assert read_stream(stream)[0].column("request_id").to_pylist() == list(range(33))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_whatever_comes_between_the_pieces_of_a_flush_is_written_in_order(
    tmp_path_factory: pytest.TempPathFactory, between: list[int]
) -> None:
    """Also more than the buffers hold, new words, and another flush. What is there when a flush begins is on the
    disk when it ends."""
    stream = tmp_path_factory.mktemp("pieces") / "w.arrows"
    writer = RequestWriter(stream, "w", capacity=4)
    sent, comes = 0, iter(between)

    def more() -> None:
        nonlocal sent
        for _ in range(coming := next(comes, 0)):
            writer.add(**ROW | {"request_id": sent, "name": f"n{sent}"})
            sent += 1
        if coming == 9:
            writer.flush()

    for _ in between:
        more()
        before = sent
        writer.write(writer.set_aside(), more)
        assert read_stream(stream)[0].num_rows >= before
    writer.close()
    rows = read_stream(stream)[0]
    assert rows.column("request_id").to_pylist() == list(range(sent))
    assert rows.column("name").to_pylist() == [f"n{i}" for i in range(sent)]


def test_what_goes_wrong_in_a_piece_is_told_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that raised once would say StopIteration, and nobody know why."""
    writer = RequestWriter(tmp_path / "w.arrows", "w")
    writer.add(**ROW)
    with monkeypatch.context() as broken:
        broken.setattr(writer, "_longs", None)
        for _ in range(2):
            with pytest.raises(AttributeError, match="take"):
                writer.flush()
    writer.close()
    assert read_stream(tmp_path / "w.arrows")[0].num_rows == 1


def test_samples_ledger_and_events(tmp_path: Path) -> None:
    folder(tmp_path)
    samples, ledger, events = SampleWriter(tmp_path), LedgerWriter(tmp_path), EventLog(tmp_path / layout.EVENTS)
    samples.sample("process:agents", "cpu", 0.5, {"b": "2", "a": "1"}, t_ns=9)
    samples.flush()
    samples.sample("metrics", "hits", 3, t_ns=10)
    ledger.add(1, 2, "bedrock", 7, "meetmind", "coordinator", "claude", 10, 20, False, "ok")
    events.emit("phase", "conduct", "fault", t_ns=20)
    events.emit("phase", "conduct", "baseline", t_ns=10)
    for writer in (samples, ledger, events):
        writer.close()
    for _ in range(2):
        recording = Recording.open(tmp_path)
        assert [s["labels"] for s in recording.samples.to_pylist()] == ['{"a": "1", "b": "2"}', "{}"]
        assert recording.ledger.to_pylist()[0]["request_id"] == 7
        assert [e.subject for e in recording.events] == ["baseline", "fault"]
        finish(tmp_path)


def test_an_event_line_cut_by_a_kill_is_left_out_and_said(tmp_path: Path) -> None:
    log = EventLog(folder(tmp_path) / layout.EVENTS)
    log.emit("phase", "conduct", "baseline", t_ns=10)
    log.close()
    with (tmp_path / layout.EVENTS).open("a") as file:
        file.write('{"t_ns": 5, "ki')
    recording = Recording.open(tmp_path)
    assert len(recording.events) == 1
    assert recording.truncated == ["events.jsonl: last line cut"]


def test_what_is_no_recording_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such directory"):
        Recording.open(tmp_path / "none")
    with pytest.raises(RecordingError, match="no recording"):
        Recording.open(tmp_path)
    with pytest.raises(RecordingError, match="schema 99"):
        Recording.open(folder(tmp_path, schema=99))


def test_an_empty_recording_has_empty_tables_of_the_right_shape(tmp_path: Path) -> None:
    recording = Recording.open(folder(tmp_path))
    assert (recording.requests.num_rows, recording.canary.num_rows) == (0, 0)
    assert recording.samples.schema.names == layout.SAMPLE_SCHEMA.names
    assert recording.ledger.schema.names == layout.LEDGER_SCHEMA.names


def test_whatever_an_answer_holds_is_written_and_the_rest_too(tmp_path: Path) -> None:
    write(folder(tmp_path), [{"error": "half an emoji \ud83d", "request_id": 1}, {"request_id": 2}])
    assert Recording.open(tmp_path).requests.column("error").to_pylist() == ["half an emoji ?", ""]


def test_half_an_emoji_in_an_event_is_shown_as_such_and_loses_nothing_else(tmp_path: Path) -> None:
    events = EventLog(tmp_path / "events.jsonl")
    half = json.loads('"\\ud83d"')
    data = {"providers": {f"a{half}": [half, "b\u00e9", 2, None]}, "was": half}
    told = events.emit("health", "health", f"/{half}", t_ns=1, **data)
    events.emit("run", "conduct", "ended", t_ns=2)
    events.close()
    first, second = map(json.loads, (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines())
    assert (first["t_ns"], first["subject"]) == (1, "/?")
    assert first["data"] == told.data == {"providers": {"a?": ["?", "b\u00e9", 2, None]}, "was": "?"}
    assert second["subject"] == "ended"


def test_free_text_in_an_event_may_hold_any_line_separator(tmp_path: Path) -> None:
    log = EventLog(folder(tmp_path) / layout.EVENTS)
    log.emit("health", "health", "/health", t_ns=1, said="a\u2028b\u0085c")
    log.close()
    assert Recording.open(tmp_path).events[0].data == {"said": "a\u2028b\u0085c"}


@pytest.mark.parametrize("damage", ["plan", "deep plan", "parquet", "columns", "events"])
def test_a_damaged_recording_is_one_message(tmp_path: Path, damage: str) -> None:
    write(folder(tmp_path), [{"request_id": 1}])
    finish(tmp_path)
    recording = Recording.open(tmp_path)
    if damage == "plan":
        (tmp_path / layout.PLAN).write_text("a: [")
        with pytest.raises(RecordingError, match="as a plan"):
            _ = recording.plan
    elif damage == "deep plan":
        (tmp_path / layout.PLAN).write_text("[" * 3000)
        with pytest.raises(RecordingError, match="as a plan"):
            _ = recording.plan
    elif damage == "columns":
        pq.write_table(pa.table({"x": [1]}), tmp_path / "samples.parquet")
        with pytest.raises(RecordingError, match="cannot be read"):
            _ = recording.samples
    elif damage == "parquet":
        (parquet,) = (tmp_path / layout.REQUESTS).glob("*.parquet")
        parquet.write_bytes(parquet.read_bytes()[:-20])
        with pytest.raises(RecordingError, match="cannot be read"):
            _ = recording.requests
    else:
        (tmp_path / layout.EVENTS).write_bytes(b'\xff\xfe\n{"t_ns": 1}\n')
        with pytest.raises(RecordingError, match="not an event"):
            _ = recording.events
