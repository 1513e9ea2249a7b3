"""What a scan says of a recording, against plain numpy over all its rows: the same numbers, to the last bit."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.analysis import buckets, collecting, grouping, orders, scan, soak_series
from harness.analysis.dependence import effective_size
from harness.analysis.frame import ALWAYS, METRICS, Frame, Selection
from harness.analysis.orders import Orders
from harness.analysis.scan import Scan
from harness.analysis.soak_series import ServiceWindows
from harness.analysis.stats import Times, mean_ms, percentile, percentile_ms, percentiles_ms
from harness.recording import ordered
from harness.recording.finish import finish
from harness.recording.layout import ADDED
from harness.recording.reader import Recording
from harness.recording.requests import RequestWriter
from tests.recordings import RecordingBuilder

OUTCOMES = ("ok", "degraded", "failed", "timeout", "lost", "dropped")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups, blocks and clusters so small that every seam is met."""
    monkeypatch.setattr(ordered, "GROUP_ROWS", 16)
    monkeypatch.setattr(scan, "BLOCK", 7)
    monkeypatch.setattr(grouping, "ATOMS", 4)
    monkeypatch.setattr(collecting, "SUMS", 64)
    monkeypatch.setattr(collecting, "COUNTED", 32)
    monkeypatch.setattr(collecting, "FEW", 2)
    monkeypatch.setattr(orders, "SAMPLED_ROWS", 5)


row = st.fixed_dictionaries(
    {
        "gap": st.integers(1, 40),
        "late": st.integers(0, 3),
        "took": st.one_of(st.integers(0, 5), st.integers(0, 10**9)),
        "outcome": st.sampled_from(OUTCOMES + ("ok",) * 6),
        "name": st.sampled_from(["a", "b", "c"]),
        "tenant": st.sampled_from(["", "x"]),
        "worker": st.integers(0, 2),
        "tokens": st.one_of(st.just(-1), st.integers(-1, 3)),
    }
)


def write(path: Path, rows: list[dict[str, Any]], *, finished: bool) -> Recording:
    """Write rows in the order in which they ended, as workers do."""
    RecordingBuilder(path).close()
    for old in (path / "requests").rglob("*.parquet"):
        old.unlink()
    writers = {i: RequestWriter(path / "requests" / f"w{i}.arrows", f"w{i}", capacity=5) for i in range(3)}
    due, told = 100, []
    for number, r in enumerate(rows):
        due += r["gap"]
        start = due + r["late"]
        sent, over = r["outcome"] != "dropped", r["outcome"] not in ("dropped", "lost")
        end, tokens = start + r["took"], r.get("tokens", -1)
        told.append((end if over else due + 10**10, number, {
            "due_ns": due, "start_ns": start if sent else -1, "first_byte_ns": end if over else -1,
            "end_ns": end if over else -1, "name": r["name"], "team": "t", "agent": r["name"], "tenant": r["tenant"],
            "request_id": number, "outcome": r["outcome"], "status": 200, "error": "", "provider": "p", "cached": 0,
            "cache_lookups": 1, "cache_hits": 0, "tokens_in": 1, "tokens_out": 2, "bytes_in": 3, "bytes_out": 4,
            "first_token_ns": start + 2 if sent and tokens > 0 else -1, "stream_tokens": tokens,
            "last_token_ns": start + 2 * tokens if sent and tokens > 0 else -1,
        }))  # fmt: skip
    for _, number, columns in sorted(told, key=lambda entry: entry[:2]):
        writers[rows[number]["worker"]].add(**columns)
    for writer in writers.values():
        writer.close()
    if finished:
        finish(path)
    return Recording.open(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(row, max_size=120),
    cut=st.integers(100, 3000),
    finished=st.booleans(),
    room=st.sampled_from([0, 700, 10**6]),
)
def test_a_scan_says_what_numpy_says(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], cut: int, finished: bool, room: int
) -> None:
    recording = write(tmp_path_factory.mktemp("scan"), rows, finished=finished)
    whole = Frame.of(recording.requests, 10**10)
    load = Scan(recording.ordered("requests"))
    load._room = room
    load.last_ns = whole.last_ns
    assert load.rows == len(whole) == len(rows)
    asked = Orders(load, Scan(recording.ordered("canary")).whole(own=["first_byte_ns"]), [cut])
    samples = {}
    for metric in METRICS:
        for spans in ([ALWAYS], [(0, cut)], [(cut, ALWAYS[1])]):
            for word in ("", "a", "b", "nobody"):
                kinds = load.kinds.words("name").among([word]) if word else np.ones(len(load.kinds), bool)
                chosen = Selection(spans, kinds & load.kinds.told(metric))
                samples[metric, spans[0], word] = asked.ask(metric, chosen, (50, 95, 99), extremes=True, mean=True)
    asked.run()
    for (metric, span, word), sample in samples.items():
        mask = whole.within([span]) & (whole.words("name").among([word]) if word else True)
        plain = whole.times(metric, mask)
        assert (len(sample), sample.lost) == (len(plain), plain.lost)
        assert percentiles_ms(sample) == percentiles_ms(plain)
        assert mean_ms(sample).value == pytest.approx(mean_ms(plain).value)
        assert mean_ms(sample).high == pytest.approx(mean_ms(plain).high)
        if len(plain):
            assert (sample.at(0), sample.at(len(plain) - 1)) == (plain.at(0), plain.at(len(plain) - 1))
        counts = dict.fromkeys(OUTCOMES, 0)
        for outcome, n in zip(load.kinds.words("outcome").codes, asked.counts([span]), strict=True):
            counts[load.kinds.words("outcome").words[outcome]] += int(n)
        assert counts == {o: int((whole.ended_as([o]) & whole.within([span])).sum()) for o in OUTCOMES}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(row, max_size=120), finished=st.booleans())
def test_a_scan_finds_the_streams_among_all_requests(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], finished: bool
) -> None:
    recording = write(tmp_path_factory.mktemp("streams"), rows, finished=finished)
    whole = Frame.of(recording.requests)
    whole = whole.take(np.argsort(whole.due))
    expected = whole.take(np.flatnonzero(whole.numbers("stream_tokens") >= 0))
    found = Scan(recording.ordered("requests")).streams()
    for name in ("due_ns", "end_ns", "first_token_ns", "last_token_ns", "stream_tokens", "tokens_out", "request_id"):
        assert found.numbers(name).tolist() == expected.numbers(name).tolist(), name
    for name in ("outcome", "name"):
        assert [found.words(name).words[code] for code in found.words(name).codes] == [
            expected.words(name).words[code] for code in expected.words(name).codes
        ]


def test_a_finished_table_without_columns_that_came_later_opens(tmp_path: Path) -> None:
    rows = [
        {"gap": 1, "late": 0, "took": 5, "outcome": "ok", "name": "a", "tenant": "", "worker": 0, "tokens": 2}
        for _ in range(40)
    ]
    recording = write(tmp_path, rows, finished=True)
    assert len(Scan(recording.ordered("requests")).streams()) == 40
    before, (path,) = recording.requests, (p for p in recording.ordered("requests") if pq.read_metadata(p).num_rows)
    later = ["first_token_ns", "last_token_ns", "stream_tokens"]
    told = pq.read_metadata(path).metadata
    kept = {key: told[key] for key in (ordered.SPANS, ordered.KINDS)}
    table = pq.read_table(path).drop_columns(later).replace_schema_metadata(kept)
    pq.write_table(table, path, row_group_size=ordered.GROUP_ROWS)
    after = Recording.open(tmp_path)
    assert len(Scan(after.ordered("requests")).streams()) == 0
    assert after.requests.drop_columns(list(ADDED)).equals(before.drop_columns(list(ADDED)))
    assert {value for name in ADDED for value in after.requests.column(name).to_pylist()} == {-1}


def test_a_file_that_does_not_say_that_nothing_is_null_reads_the_same(tmp_path: Path) -> None:
    rows = [
        {"gap": 2, "late": i % 2, "took": i, "outcome": OUTCOMES[i % 6], "name": "ab"[i % 2], "tenant": "", "worker": 0}
        for i in range(60)
    ]
    recording = write(tmp_path, rows, finished=True)
    before = Scan(recording.ordered("requests")).whole()
    (path,) = (p for p in recording.ordered("requests") if pq.read_metadata(p).num_rows)
    told = pq.read_metadata(path).metadata
    table = pq.read_table(path)
    assert not any(field.nullable for field in table.schema)
    older = table.cast(pa.schema(field.with_nullable(True) for field in table.schema))
    kept = {key: told[key] for key in (ordered.SPANS, ordered.KINDS)}
    pq.write_table(older.replace_schema_metadata(kept), path, row_group_size=ordered.GROUP_ROWS)
    after = Scan(Recording.open(tmp_path).ordered("requests")).whole()
    assert after.kind.tolist() == before.kind.tolist()
    for name in ("due_ns", "start_ns", "end_ns"):
        assert after.numbers(name).tolist() == before.numbers(name).tolist()


def test_the_number_of_buckets_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    rows = [
        {"gap": 2, "late": 0, "took": int(t), "outcome": "lost" if i % 90 == 0 else "ok", "name": "abc"[i % 3],
         "tenant": "x", "worker": i % 2} for i, t in enumerate(np.exp(random.normal(15, 0.3, 2000)))
    ]  # fmt: skip
    recording = write(tmp_path, rows, finished=True)
    found = []
    for many in (4, 64, 4096):
        monkeypatch.setattr(orders, "how_many", lambda rows, many=many: many)
        load = Scan(recording.ordered("requests"))
        asked = Orders(load, Scan(recording.ordered("canary")).whole(), [1000])
        samples = [
            asked.ask("response_time", Selection(spans, load.kinds.words("name").among(names)), (50, 95, 99))
            for spans in ([ALWAYS], [(0, 1000)])
            for names in ("abc", "a")
        ]
        asked.run()
        found.append([percentiles_ms(sample) for sample in samples])
    assert found[0] == found[1] == found[2]
    assert [buckets.how_many(rows) for rows in (0, 10**6, 10**7, 10**8)] == [64, 512, 4096, 4096]


def test_what_stays_decoded_is_read_once_while_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"gap": 2, "late": 0, "took": i, "outcome": "ok", "name": "abc"[i % 3], "tenant": "x", "worker": 0}
        for i in range(160)
    ]
    recording, read = write(tmp_path, rows, finished=True), list[tuple[int, tuple[str, ...]]]()
    genuine = Scan._read

    def counted(self: Scan, group: Any, names: list[str]) -> Any:
        read.append((group.number, tuple(names)))
        return genuine(self, group, names)

    monkeypatch.setattr(Scan, "_read", counted)

    def twice(own: tuple[str, ...] = ()) -> int:
        read.clear()
        seen = [load.whole(own=own).end.tolist() for _ in range(2)]
        assert seen[0] == seen[1]
        return len(read)

    load = Scan(recording.ordered("requests"))
    assert twice() == 20, "ten row groups, twice"
    load.hold()
    assert twice() == 10
    assert twice(("request_id",)) == 20
    assert {names for _, names in read} == {("request_id",)}, "what is asked for now and then is not held"
    load.release()
    assert twice() == 20
    monkeypatch.setattr(scan, "HELD_BYTES", 4 * 16 * (4 + 8 + 8))
    monkeypatch.setattr(scan, "PART", 1)  # kinds of a long recording are held as they are stored
    load = Scan(recording.ordered("requests"))
    load.hold()
    assert twice() == 16, "room for four"
    monkeypatch.setattr(scan, "HELD_ROWS", 159)
    load.hold()
    load.release()
    load.hold()
    assert twice() == 20, "of long recordings nothing is held"


@pytest.mark.parametrize("period", [2, 3, 4, 8, 64])
def test_the_rows_that_choose_the_buckets_are_of_every_sort_where_a_load_takes_turns(period: int) -> None:
    rows = buckets.scattered(1 << 18, 1 << 15)
    assert (np.diff(rows) > 0).all()
    assert rows[0] >= 0
    assert rows[-1] < 1 << 18
    assert np.bincount(rows % period, minlength=period) == pytest.approx(np.full(period, len(rows) / period), rel=0.2)


@pytest.mark.parametrize("ties", [False, True])
def test_long_stretches_are_worth_the_same_in_batches_as_in_numpys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, ties: bool
) -> None:
    monkeypatch.setattr(ordered, "GROUP_ROWS", 1 << 13)
    monkeypatch.setattr(scan, "BLOCK", 1 << 12)
    monkeypatch.setattr(collecting, "SUMS", 1 << 16)
    random = np.random.default_rng(7)
    n = 40_000
    drift = np.repeat(random.normal(0, 0.5, n // 400), 400)
    took = np.exp(random.normal(15, 0.3, n) + drift).astype(int)
    rows = [
        {"gap": 1, "late": 0, "took": int(t) // 10**6 if ties else int(t), "outcome": "ok", "name": "abc"[i % 3],
         "tenant": "x", "worker": 0} for i, t in enumerate(took)
    ]  # fmt: skip
    recording = write(tmp_path, rows, finished=True)
    load = Scan(recording.ordered("requests"))
    asked = Orders(load, Scan(recording.ordered("canary")).whole(), [])
    chosen = Selection([ALWAYS], np.ones(len(load.kinds), bool))
    sample = asked.ask("service_time", chosen, (50, 95, 99))
    asked.run()
    plain = load.whole().times("service_time", np.ones(n, bool))
    for percent in (50, 95, 99):
        one, other = percentile_ms(sample, percent), percentile_ms(plain, percent)
        assert (one.value, one.n) == (other.value, other.n)
        assert one.value is not None
        assert one.value == np.percentile(plain.values, percent) / 1e6
        worth = sample.worth(np.percentile(plain.values, percent)), effective_size(plain.values <= one.value * 1e6)
        assert worth[0] == pytest.approx(worth[1], rel=0.35), "batches of another size estimate the same"
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
    assert len(sample) == n
    assert n > orders.SHORT


@pytest.mark.parametrize("closed", [True, False])
def test_parts_looked_at_by_several_threads_say_what_the_whole_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, closed: bool
) -> None:
    """Values to the last bit; what an interval rests on is another estimate of the same."""
    monkeypatch.setattr(scan, "PART", 200)
    random = np.random.default_rng(3)
    took = np.exp(random.normal(15, 0.3, 3000)).astype(int)
    rows = [
        {"gap": 2, "late": 0 if closed else i % 3, "took": int(t), "name": "abc"[i % 3], "tenant": "x",
         "outcome": ("dropped" if not closed and i % 50 == 0 else "lost" if i % 70 == 0 else "ok"), "worker": i % 3}
        for i, t in enumerate(took)
    ]  # fmt: skip
    recording = write(tmp_path, rows, finished=True)
    whole = Frame.of(recording.requests, 10**10)
    load = Scan(recording.ordered("requests"))
    load.last_ns = whole.last_ns
    assert len(load.parts()) == scan.MOST_PARTS
    assert load.punctual is closed
    asked = Orders(load, Scan(recording.ordered("canary")).whole(own=["first_byte_ns"]), [])
    chosen = [load.kinds.words("name").among(word) for word in ("abc", "a")]
    samples = {
        (metric, i): asked.ask(
            metric, Selection([ALWAYS], c & load.kinds.told(metric)), (50, 99), mean=True, extremes=True
        )
        for metric in METRICS
        for i, c in enumerate(chosen)
    }
    bare = asked.ask("lateness", Selection([ALWAYS], load.kinds.told("lateness") & chosen[1]), (99,), bare=True)
    asked.run()
    for (metric, i), sample in samples.items():
        plain = whole.times(metric, whole.words("name").among("abc" if i == 0 else "a"))
        assert (len(sample), sample.lost) == (len(plain), plain.lost)
        for percent in (50, 99):
            one, other = percentile_ms(sample, percent), percentile_ms(plain, percent)
            assert (one.value, one.n) == (other.value, other.n)
            assert sample.worth(percentile(sample, percent)) == pytest.approx(
                effective_size(plain.values <= percentile(plain, percent)), rel=0.2
            )
        assert mean_ms(sample).value == pytest.approx(mean_ms(plain).value)
        assert (sample.at(0), sample.at(len(plain) - 1)) == (plain.at(0), plain.at(len(plain) - 1))
    lateness = whole.times("lateness", whole.words("name").among("a"))
    assert (len(bare), percentile(bare, 99)) == (len(lateness), percentile(lateness, 99))


def test_batches_follow_one_another_in_due_order_whichever_part_is_looked_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fewer than 4,096 rows each is a batch, so that nothing is left over between parts: the worth is numpy's."""
    monkeypatch.setattr(scan, "PART", 200)
    random = np.random.default_rng(11)
    drift = np.cumsum(random.normal(0, 0.1, 2000)) + np.arange(2000) / 300
    rows = [
        {"gap": 2, "late": 0, "took": int(t), "outcome": "ok", "name": "a", "tenant": "x", "worker": 0}
        for t in np.exp(15 + drift / 4)
    ]
    load = Scan(write(tmp_path, rows, finished=True).ordered("requests"))
    asked = Orders(load, Scan([]).whole(own=["first_byte_ns"]), [])
    sample = asked.ask("response_time", Selection([ALWAYS], np.ones(len(load.kinds), bool)), (50, 95))
    never = asked.ask("lateness", Selection([ALWAYS], np.ones(len(load.kinds), bool)), (99,))
    asked.run()
    plain = load.whole().times("response_time", np.ones(len(rows), bool))
    assert len(load.parts()) == scan.MOST_PARTS
    for percent in (50, 95):
        assert percentile_ms(sample, percent) == percentile_ms(plain, percent)
        assert sample.worth(percentile(sample, percent)) == effective_size(plain.values <= percentile(plain, percent))
    assert sample.worth(percentile(sample, 50)) < len(rows) / 20, "one that the order matters for"
    assert (len(never), percentile(never, 99)) == (len(rows), 0.0), "where nobody was late, nobody has to look"


def test_the_windows_of_a_soak_say_what_numpy_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_series, "_PER_WINDOW", 17)
    random = np.random.default_rng(2)
    rows = [
        {"gap": 3000 if i == 150 else int(random.integers(1, 20)), "late": 0, "took": int(random.integers(1, 10**6)),
         "outcome": random.choice(OUTCOMES + ("ok",) * 6), "name": "abc"[i % 3], "tenant": "x", "worker": i % 3}
        for i in range(400)
    ]  # fmt: skip
    recording = write(tmp_path, rows, finished=True)
    whole, load = Frame.of(recording.requests, 10**10), Scan(recording.ordered("requests"))
    load.last_ns = whole.last_ns
    begin, end = 400, int(whole.due.max()) - 100
    asked = Orders(load, Scan(recording.ordered("canary")).whole(), [begin + 7, 2000])
    windows = ServiceWindows(load, begin, end)
    assert (len(windows), windows.edges[0], windows.edges[-1]) == (23, begin, end)
    asked.run([windows])
    told, empty, percentiles, sums = whole.answered | whole.lost, 0, windows.percentiles(), windows.sums()
    for number, span in enumerate(pairwise(windows.edges.tolist())):
        inside = whole.within([span])
        assert sums["answered"][number] == (inside & whole.answered).sum()
        assert sums["bad"][number] == (inside & whole.ended_as(["failed", "timeout"])).sum()
        assert sums["answers"][number] == (inside & whole.ended_as(["ok", "degraded"])).sum()
        assert (sums["hits"][number], sums["lookups"][number]) == (0, inside.sum())
        times = whole.response[inside & told]
        empty += not len(times)
        expected = np.percentile(times, (50, 95)) / 1e6 if len(times) else np.full(2, np.nan)
        assert np.array_equal(percentiles[:, number], expected, equal_nan=True)
    assert 0 < empty < 20, "nothing was due for a while"


def test_finished_tables_hold_every_row_whatever_the_order(tmp_path: Path) -> None:
    rows = [
        {"gap": 3, "late": i % 2, "took": (i * 7919) % 1000, "outcome": OUTCOMES[i % 6], "name": "ab"[i % 2],
         "tenant": "", "worker": i % 3} for i in range(200)
    ]  # fmt: skip
    before = write(tmp_path, rows, finished=False)
    told = sorted(before.requests.to_pylist(), key=lambda r: r["request_id"])
    finish(tmp_path)
    after = Recording.open(tmp_path)
    assert sorted(after.requests.to_pylist(), key=lambda r: r["request_id"]) == told
    due = [due for frame in Scan(after.ordered("requests")).blocks() for due in frame.due.tolist()]
    assert due == sorted(due)
    held = Scan(after.ordered("requests")).holding(np.array([5, 77, 10**6]))
    assert held.numbers("request_id").tolist() == [5, 77]


def test_a_sample_of_nothing_says_so() -> None:
    nothing = Times(np.zeros(0, np.int64), np.zeros(0, bool))
    assert percentile_ms(nothing, 50).value is None
