"""From k6's words to rows, and from a plan to k6's words: what needs no k6."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import seeds
from harness.clock import NS_PER_MS, NS_PER_S
from harness.errors import PlanError
from harness.model.load import Load
from harness.model.plan import Scenario
from harness.model.target import Observe
from harness.observe import Observation
from harness.planfile import resolve
from harness.recording.reader import read_stream
from harness.recording.requests import RequestWriter
from harness.traffic import k6_main, pacer
from harness.traffic.k6_engine import K6Engine
from harness.traffic.k6_record import Book, Schedule, explain
from harness.traffic.k6_refusal import refusal
from harness.traffic.k6_run import due
from harness.traffic.k6_samples import Samples, time_ns
from harness.traffic.k6_scenarios import MOST_VUS, shape

ZERO = 1795540701 * NS_PER_S  # 2026-11-24T17:18:21Z
PERIOD = 20 * NS_PER_MS


def load(**profile: Any) -> Load:
    made: Load = Scenario.model_validate({"scenario": "s", "workload": "w", "load": profile}).load
    return made


# --- a plan as k6 is told it


def test_arrivals_are_as_many_and_as_far_apart_as_the_plan_says() -> None:
    made = shape(load(kind="rate", rate="1000/min", hold="1h"), 1)
    assert (made.count, made.period_ns) == (60_000, 60_000_000)
    scenario = made.scenario
    assert (scenario["executor"], scenario["rate"], scenario["timeUnit"]) == (
        "constant-arrival-rate", 60_000, "3600000000000ns",
    )  # fmt: skip
    assert scenario["duration"] == "3599970ms"  # between the last arrival and what would be the next


@pytest.mark.parametrize("rate", ["7/s", "333/min", "0.3/s", "1234.5/s"])
def test_k6s_period_is_the_plans_to_a_nanosecond(rate: str) -> None:
    profile = load(kind="rate", rate=rate, hold="10m")
    made = shape(profile, 1)
    assert made.count == len(pacer.constant(profile.rate, 600))  # type: ignore[union-attr]
    assert abs(made.period_ns - NS_PER_S / profile.rate) <= 1  # type: ignore[union-attr]


def test_users_start_when_locusts_do() -> None:
    made = shape(load(kind="users", users=100, spawn="10/s", hold="1m"), 7)
    truth = pacer.starts(100, 10, seeds.generator(7, "user-starts")) / NS_PER_MS
    assert [start for start, _ in made.lives_ms] == pytest.approx(truth.tolist(), abs=0.001)
    assert {leave for _, leave in made.lives_ms} == {60_000}
    assert (made.scenario["executor"], made.scenario["vus"], made.rate) == ("per-vu-iterations", 100, 0)


def test_users_of_steps_come_and_go_when_locusts_do() -> None:
    steps = [
        {"users": 5, "hold": "10s"},
        {"users": 20, "ramp": "5s", "hold": "10s"},
        {"users": 3, "ramp": "2s", "hold": "10s"},
        {"users": 8, "hold": "10s"},
    ]
    made = shape(load(kind="steps", warmup="30s", steps=steps), 7)
    levels = [pacer.Level(5, 0, 40), pacer.Level(20, 5, 10), pacer.Level(3, 2, 10), pacer.Level(8, 0, 10)]
    start, stop, _ = pacer.lives(levels, seeds.generator(7, "user-starts"))
    assert (len(start), made.scenario["vus"], made.scenario["iterations"]) == (25, 25, 1)
    total_ms = 77_000
    truth = [(a / NS_PER_MS, b / NS_PER_MS if b >= 0 else total_ms) for a, b in zip(start, stop, strict=True)]
    assert np.array(made.lives_ms) == pytest.approx(np.array(truth), abs=0.001)
    for at_ms, here in ((39_000, 5), (54_000, 20), (58_000, 3), (66_999, 3), (67_001, 8)):
        assert sum(begin <= at_ms < end for begin, end in made.lives_ms) == here
    assert (made.rate, made.count, made.scenario["maxDuration"]) == (0, 0, "77500ms")


def k6_arrivals_ns(scenario: dict[str, Any]) -> Iterator[int]:
    """Give what k6 makes of a `ramping-arrival-rate` (1.8.1: `lib/executor/ramping_arrival_rate.go`, `cal`)."""
    assert scenario["timeUnit"].endswith("h")
    unit = int(scenario["timeUnit"][:-1]) * 3600 * NS_PER_S
    assert unit < 2**63
    rate, number, area, begin = scenario["startRate"] / unit, 1, 0.0, 0
    for stage in scenario["stages"]:
        before, rate, length = rate, stage["target"] / unit, int(stage["duration"].removesuffix("ns"))
        done, area = area, area + length * ((rate - before) / 2 + before)
        while number <= area:
            if before == rate:
                at = (number - done) / rate
            else:
                root = math.sqrt(length * (before**2 * length + 2 * (number - done) * (rate - before)))
                at = (before * length - root) / (before - rate)
            yield int(at) + begin
            number += 1
        begin += length


@pytest.mark.parametrize(
    ("levels", "warmup"),
    [
        ([("40/s", 0, 0.5), ("80/s", 0.5, 0.5), ("0/s", 0, 0.3), ("20/s", 0, 0.5)], 0.5),
        ([("500/min", 0, 120), ("1000/min", 10, 120), ("200/min", 0, 120)], 30),
        ([("0/s", 0, 5), ("10/s", 7, 3), ("0/s", 2, 4), ("333/min", 1.5, 60)], 0),
        ([("7/h", 0, 3600), ("0.37/s", 60, 100.25), ("1234.5/s", 3, 20)], 0),
    ],
)
def test_rates_of_steps_have_the_arrivals_locusts_have(levels: list[tuple[str, float, float]], warmup: float) -> None:
    steps = [{"rate": rate, "ramp": f"{ramp}s", "hold": f"{hold}s"} for rate, ramp, hold in levels]
    profile = load(kind="steps", warmup=f"{warmup}s", steps=steps)
    made = shape(profile, 1)
    plan = [pacer.Level(step.level, ramp, hold) for step, (_, ramp, hold) in zip(profile.steps, levels, strict=True)]  # type: ignore[union-attr]
    plan[0] = plan[0]._replace(hold_s=plan[0].hold_s + warmup)
    truth = pacer.ramps(plan)
    found = np.array(list(k6_arrivals_ns(made.scenario))) - round(made.lead_ms * NS_PER_MS)
    assert len(found) == made.count == len(truth)
    assert (found - truth).min() >= -2
    assert (found - truth).max() < 0.2 * NS_PER_MS
    assert made.rate == max(level.level for level in plan)
    schedule = due(json.loads(json.dumps(asdict(made))))
    assert schedule is not None
    schedule.zero_ns = ZERO
    assert [schedule.due_ns(n) - ZERO for n in range(made.count)] == truth.tolist()


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"kind": "rate", "rate": "1/s", "arrivals": "poisson", "hold": "1s"}, "poisson arrivals"),
        ({"kind": "steps", "arrivals": "poisson", "steps": [{"rate": "1/s", "hold": "1s"}]}, "poisson arrivals"),
        ({"kind": "users", "users": MOST_VUS + 1, "hold": "1s"}, "at most"),
        ({"kind": "steps", "steps": [{"users": n, "hold": "1s"} for n in (40_000, 0, 40_000)]}, "80000 users: k6"),
        ({"kind": "capacity", "min": "1/s", "max": "2/s", "budget": "1h"}, "kind 'capacity'"),
    ],
)
def test_what_k6_cannot_make_is_refused(profile: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        shape(load(**profile), 1)


def scenario_file(folder: Path, text: str) -> str:
    (folder / "scenarios").mkdir()
    (folder / "scenarios" / "mine.py").touch()
    path = folder / "scenarios" / "mine.yaml"
    path.write_text(f"scenario: mine\nworkload: mine.py\n{text}\n")
    return str(path)


def test_the_workload_is_the_script_beside_the_locust_file(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, "load: {kind: users, users: 1, hold: 1s}")
    with pytest.raises(PlanError) as caught:
        resolve(path, engine="k6")
    assert f"{path}:2" in str(caught.value)
    assert f"write {tmp_path / 'scenarios' / 'mine.js'}" in caught.value.hint
    (tmp_path / "scenarios" / "mine.js").touch()
    assert resolve(path, engine="k6").workload_path == tmp_path / "scenarios" / "mine.js"
    assert resolve(path).workload_path == tmp_path / "scenarios" / "mine.py"


def test_a_load_k6_cannot_make_is_said_with_its_line(tmp_path: Path) -> None:
    path = scenario_file(tmp_path, "load:\n  kind: rate\n  rate: 1/s\n  arrivals: poisson\n  hold: 1s")
    (tmp_path / "scenarios" / "mine.js").touch()
    with pytest.raises(PlanError) as caught:
        resolve(path, engine="k6")
    assert caught.value.where == f"{path}:6"
    with pytest.raises(PlanError, match="--workers"):
        resolve("smoke", engine="k6", workers=2)


# --- what k6 says


def test_times_are_read_to_the_nanosecond() -> None:
    assert time_ns("2026-11-24T17:18:21.882859496Z") == ZERO + 882_859_496
    assert time_ns("2026-11-24T17:18:21.5Z") == ZERO + NS_PER_S // 2
    assert time_ns("2026-11-24T17:18:21Z") == ZERO


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (0, "", None),
        (1503, "", None),
        (1050, "request timeout", ("timeout", "no answer in time")),
        (1211, "dial: i/o timeout", ("timeout", "no answer in time")),
        (1212, "dial tcp 127.0.0.1:9: connect: connection refused", ("failed", "connection refused")),
        (1000, 'Get "http://x/1": EOF', ("failed", "connection closed before the answer")),
        (1000, "unexpected EOF", ("failed", "connection closed in the middle of the answer, or no HTTP")),
        (1101, "lookup nowhere: no such host", ("failed", "lookup nowhere: no such host")),
    ],
)
def test_errors_are_told_in_the_words_of_the_other_engine(code: int, text: str, said: tuple[str, str] | None) -> None:
    assert explain(code, text) == said


@pytest.mark.parametrize(
    ("least", "began", "zero"),
    [
        (ZERO + 300_000, ZERO, ZERO + 200_000),  # a little before its first word
        (ZERO + 50_000, ZERO, ZERO),  # not before the ms it names
        (ZERO + 30 * NS_PER_MS, ZERO, ZERO + NS_PER_MS),  # k6 was held up: nor after it
    ],
)
def test_when_k6_began_is_known_to_a_millisecond(least: int, began: int, zero: int) -> None:
    schedule = Schedule(PERIOD, 100)
    assert not schedule.settle()
    schedule.seen(3, least + 3 * PERIOD)
    schedule.seen(4, least + 5 * NS_PER_MS + 4 * PERIOD)
    schedule.began_ns = began
    assert schedule.settle()
    assert schedule.due_ns(2) == zero + 2 * PERIOD


def test_where_rates_change_k6_may_take_its_time_to_begin() -> None:
    schedule = Schedule(0, 3, np.array([0, 5, 7]) * NS_PER_MS)
    schedule.began_ns = ZERO
    for index, at_ms in ((0, 31.0), (1, 35.2), (2, 38.0)):
        schedule.seen(index, ZERO + round(at_ms * NS_PER_MS))
    assert schedule.settle()
    assert [schedule.due_ns(n) - ZERO for n in range(3)] == [30_100_000, 35_100_000, 37_100_000]


def line(metric: str, at_ms: float, value: float = 1, said: Any = None, request_id: int = 0) -> bytes:
    ns = round(at_ms * NS_PER_MS)
    time = f"2026-11-24T17:18:{21 + ns // NS_PER_S:02d}.{ns % NS_PER_S:09d}Z"
    data: dict[str, Any] = {"time": time, "value": value, "tags": {"scenario": "load"}}
    if said is not None:
        data["metadata"] = {"agentstorm": json.dumps(said)}
    if request_id:
        data["metadata"] = {"agentstorm_id": str(request_id)}
    return json.dumps({"metric": metric, "type": "Point", "data": data}, separators=(",", ":")).encode() + b"\n"


ANSWER = {"status": 200, "headers": {"X-Provider": "bedrock"}, "body": "{}", "error": "", "code": 0, "receiving": 2}


class Told:
    """A book that was told some lines."""

    def __init__(self, folder: Path, *, open_loop: bool = True) -> None:
        self.path = folder / "requests" / "k6-0.arrows"
        self.writer = RequestWriter(self.path, "k6-0")
        observation = Observation(Observe.model_validate({"provider": "header:x-provider"}))
        self.book = Book(self.writer, observation, Schedule(PERIOD, 10) if open_loop else None, -ZERO, 1000, vus=2)
        self.samples = Samples(self.book)

    def rows(self) -> pd.DataFrame:
        self.lost = self.book.close()
        self.writer.close()
        frame: pd.DataFrame = read_stream(self.path)[0].to_pandas()
        words = frame.select_dtypes("category").columns
        return frame.astype(dict.fromkeys(words, str)).sort_values("due_ns", ignore_index=True)


def test_every_arrival_becomes_a_row_at_its_due_time(tmp_path: Path) -> None:
    told = Told(tmp_path)
    text = b"".join(
        [
            b'{"type":"Metric","data":{"name":"vus"},"metric":"vus"}\n',
            line("agentstorm_arrival", 0.1, 0, {"start_ms": ZERO / NS_PER_MS}),
            line("agentstorm_begin", 0.2, 7001, {"name": "a", "arrival": 0}),
            line("agentstorm_arrival", 20.2, 1),
            line("agentstorm_begin", 20.3, 7002, {"name": "b", "arrival": 1}),
            line("dropped_iterations", 40.1),  # no VU free: k6 does not number this one
            line("http_req_blocked", 51, 0.1, request_id=7001),
            line("http_req_duration", 51, 50, request_id=7001),
            line("agentstorm_end", 51.4, 7001, ANSWER),
            line("agentstorm_arrival", 60.3, 2),
            line("agentstorm_silent", 60.4, 2),
            line("agentstorm_arrival", 80.3, 3),
        ]
    )
    for k in range(0, len(text), 100):  # as it comes, not line by line
        told.samples.feed(text[k : k + 100])
    rows = told.rows()
    assert list(rows.due_ns) == [n * PERIOD for n in range(5)]
    assert list(rows.outcome) == ["ok", "lost", "dropped", "dropped", "dropped"]
    assert list(rows.error[2:]) == [
        "2 requests in flight", "the task made no request", "the load was stopped before it was sent",
    ]  # fmt: skip
    first = rows.loc[0]
    assert (first.start_ns, first.first_byte_ns, first.end_ns) == (200_000, 49_000_000, 51_000_000)
    assert (first["name"], first.provider, first.request_id, first.bytes_in) == ("a", "bedrock", 7001, 2)
    assert (rows.loc[1].start_ns, rows.loc[1].end_ns) == (20_300_000, -1)
    assert rows.request_id.is_unique
    assert (told.lost, told.book.sent, told.book.dropped) == (1, 2, 3)


def test_an_arrival_more_than_planned_is_on_no_schedule(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.samples.feed(line("agentstorm_arrival", 0.1, 0, {"start_ms": ZERO / NS_PER_MS}))
    told.samples.feed(line("dropped_iterations", 0.3))
    told.samples.feed(line("agentstorm_arrival", 180.1, 9))  # its tenth, and the eleventh with the one dropped
    told.samples.feed(line("agentstorm_begin", 180.2, 7001, {"name": "a", "arrival": 9}))
    rows = told.rows()
    assert list(rows.outcome) == ["dropped", "dropped", "lost"]
    assert rows.due_ns[2] == rows.start_ns[2] == 180_200_000


@pytest.mark.parametrize(
    ("said", "received"),
    [
        ({"headers": {"Content-Length": "2"}}, 2),
        ({"headers": {"Content-Length": "22", "Content-Encoding": "gzip"}, "body": "x" * 1000}, 22),
        ({"headers": {}, "cut": 3_000_000}, 3_000_000),
        ({"headers": {"Content-Length": "5000"}, "body": ""}, 0),  # of an answer to HEAD
        ({"headers": {"Content-Length": "5000"}, "body": "", "error": "unexpected EOF", "code": 1000}, 0),
    ],
)
def test_bytes_are_those_that_came(tmp_path: Path, said: dict[str, Any], received: int) -> None:
    told = Told(tmp_path, open_loop=False)
    told.samples.feed(line("agentstorm_begin", 0.2, 7001, {"name": "a"}))
    told.samples.feed(line("agentstorm_end", 51.4, 7001, ANSWER | said))
    assert list(told.rows().bytes_in) == [received]


def test_an_answer_longer_than_its_column_holds_is_a_row(tmp_path: Path) -> None:
    told = Told(tmp_path, open_loop=False)
    told.samples.feed(line("agentstorm_begin", 1, 7, {"name": "head"}))
    told.samples.feed(
        line("agentstorm_end", 2, 7, {**ANSWER, "headers": {"Content-Length": str(2**40)}, "sent": 2**31})
    )
    (row,) = told.rows().itertuples()
    assert (row.outcome, row.bytes_in, row.bytes_out) == ("ok", 2**31 - 1, 2**31 - 1)


def test_whoever_asks_k6s_keeper_to_stop_is_told_of(tmp_path: Path) -> None:
    engine = K6Engine(None, tmp_path, 1)  # type: ignore[arg-type]
    assert engine.asked == ""
    engine._inbox.put({"say": "asked", "reason": "SIGTERM"})
    engine.batches()
    assert engine.asked == "k6-0 was asked to stop (SIGTERM)"


@pytest.mark.parametrize("fails", ["serve", "nothing"])
def test_what_is_known_is_written_whatever_fails_in_k6s_keeper(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    said: list[tuple[str, Any]] = []
    commands = SimpleNamespace(read=lambda: [{"do": "prepare"}], gone=False)
    closed: list[bool] = []
    run = SimpleNamespace(close=lambda: closed.append(True), stop=None)

    def serve(_: Any) -> None:
        if fails == "serve":
            raise struct.error("too large")

    monkeypatch.setattr(k6_main, "Commands", lambda: commands)
    monkeypatch.setattr(k6_main, "signal", SimpleNamespace(signal=lambda *_: None, SIGINT=2, SIGTERM=15, SIG_IGN=1))
    monkeypatch.setattr(k6_main, "privileges", SimpleNamespace(ask=lambda: 0))
    monkeypatch.setattr(k6_main, "Run", lambda *_: run)
    monkeypatch.setattr(k6_main.Server, "serve", serve)
    monkeypatch.setattr(k6_main, "announce", lambda say, **data: said.append((say, data)))
    assert k6_main.main() == (1 if fails == "serve" else 0)
    assert closed == [True]
    assert said == ([("failed", {"what": "its keeper failed: error: too large"})] if fails == "serve" else [])


def test_an_order_longer_than_a_pipe_holds_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = {"do": "prepare", "shape": {"lives_ms": [[n + 0.5, 60_000.0] for n in range(10_000)]}}
    (tmp_path / "said").write_text(json.dumps(order) + "\n")
    assert (tmp_path / "said").stat().st_size > 2 * 65536
    heard: list[Any] = []

    def start(order: Any, *_: Any) -> Any:
        heard.append(order)
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(k6_main, "signal", SimpleNamespace(signal=lambda *_: None, SIGINT=2, SIGTERM=15, SIG_IGN=1))
    monkeypatch.setattr(k6_main, "privileges", SimpleNamespace(ask=lambda: 0))
    monkeypatch.setattr(k6_main, "Run", start)
    monkeypatch.setattr(k6_main.Server, "serve", lambda _: None)
    with (tmp_path / "said").open("rb") as said:
        monkeypatch.setattr(k6_main, "_COMMANDS", said.fileno())
        assert k6_main.main() == 0
        assert heard == [order]
        assert k6_main.main() == 1, "nobody is there to order anything"


def test_a_request_past_our_functions_is_no_silence(tmp_path: Path) -> None:
    told = Told(tmp_path, open_loop=False)
    told.samples.feed(line("http_req_duration", 5, 3))
    assert told.book.errors == 1
    assert "past agentstorm" in told.book.last_error
    told.rows()


def test_lag_is_how_late_the_watch_woke_up(tmp_path: Path) -> None:
    told = Told(tmp_path, open_loop=False)
    for at in (50, 100, 180, 230):
        told.samples.feed(line("agentstorm_tick", at, 50))
    assert told.book.lags_ns == [0, 30 * NS_PER_MS, 0]
    told.rows()


# --- why k6 refused


@pytest.mark.parametrize(
    ("said", "line", "what"),
    [
        ("ReferenceError: x is not defined\n\tat file://{w}:5:1(3)\n", ":5", "ReferenceError: x is not defined"),
        (
            "could not initialize '/t/main.js': could not load JS test '/t/main.js': file://{w}: Line 2:37 No )",
            ":2",
            "Line 2:37 No )",
        ),
        ("TypeError: no\n\tat file:///elsewhere.js:5:1(3)\n", "", "TypeError: no"),
    ],
)
def test_a_refusal_names_the_line(tmp_path: Path, said: str, line: str, what: str) -> None:
    workload, log = tmp_path / "w.js", tmp_path / "k6.log"
    assert refusal(log, workload) is None
    entries = [{"level": "error", "msg": said.format(w=workload)}, {"level": "info", "msg": "later"}]
    log.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    found = refusal(log, workload)
    assert found is not None
    assert (found.where, found.what) == (f"{workload}{line}", f"k6 cannot run it: {what}")
