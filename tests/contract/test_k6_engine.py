"""The load generator's contract on k6: what `test_engine.py` asks of Locust, of workloads written for k6."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import seeds
from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import MissingComponent, PlanError, TrafficFailed
from harness.model.load import Load
from harness.model.plan import Plan, Scenario
from harness.model.target import ExternalSystem, Observe, Target
from harness.recording.reader import read_stream
from harness.traffic import KINDS, Engine, Pulse, pacer
from tests.calibrate.serving import serving
from tests.contract import rate_steps
from tests.contract.test_engine import RUN_ID, server_log
from tests.having_k6 import k6_or_skip
from tests.k6_times import expect_even
from tests.processes import file_table

pytestmark = pytest.mark.real

OBSERVE = {
    "provider": ["header:x-provider", "sse:$.provider"],
    "answer": "json:$.answer",
    "error": ["json:$.error", "sse:$.error"],
    "degraded": "json:$.degraded",
    "stream_end": "data: [DONE]",
}


@pytest.fixture(scope="module", autouse=True)
def _k6() -> None:
    k6_or_skip()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as url:
        yield url


class Driver:
    """k6 over one workload; a double for the conductor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine: Engine | None = None
        self.pulses: list[Pulse] = []
        self.rows = 0

    def make(self, workload: str, load: dict[str, Any], seed: int = 7, **plan: Any) -> Engine:
        path = self.folder / "workload.js"
        path.write_text('import http from "k6/http";\n' + textwrap.dedent(workload))
        profile: Load = Scenario.model_validate({"scenario": "s", "workload": "w", "load": load}).load
        target = Target(
            target="t", system=ExternalSystem(kind="external"), url="http://x", observe=Observe.model_validate(OBSERVE)
        )
        scenario = Scenario(scenario="s", workload="workload.py", load=profile)
        made = Plan(target=target, scenario=scenario, seed=seed, workload_path=path, target_dir=self.folder, **plan)
        self.engine = KINDS["k6"](made, self.folder / "recording", RUN_ID)
        return self.engine

    def start(self, workload: str, load: dict[str, Any], url: str, seed: int = 7) -> Engine:
        engine = self.make(workload, load, seed)
        engine.prepare()
        self.start_ns = now_ns() + 100_000_000
        engine.begin(self.start_ns, url)
        return engine

    def look(self, engine: Engine) -> None:
        progress = engine.batches()
        self.rows += sum(batch.num_rows for batch in progress.batches)
        self.pulses += progress.pulses

    def watch_until(self, engine: Engine, happened: Callable[[], bool], within_s: float = 20.0) -> None:
        deadline = now_ns() + within_s * NS_PER_S
        while not happened():
            assert now_ns() < deadline, f"did not happen within {within_s} s"
            sleep(0.05)
            self.look(engine)

    def watch(self, engine: Engine, until_rows: int = sys.maxsize, within_s: float = 40.0) -> None:
        deadline = now_ns() + within_s * NS_PER_S
        while not engine.finished and self.rows < until_rows:
            assert now_ns() < deadline, f"not finished within {within_s} s; {self.rows} rows"
            sleep(0.05)
            self.look(engine)

    def table(self) -> pd.DataFrame:
        table, _ = read_stream(self.folder / "recording" / "requests" / "k6-0.arrows")
        frame: pd.DataFrame = table.to_pandas()
        words = frame.select_dtypes("category").columns
        return frame.astype(dict.fromkeys(words, str))

    def run(self, workload: str, load: dict[str, Any], url: str, seed: int = 7) -> pd.DataFrame:
        engine = self.start(workload, load, url, seed)
        self.watch(engine)
        engine.kill()
        frame = self.table()
        assert self.rows == len(frame)
        return frame.sort_values("due_ns", ignore_index=True)

    @property
    def log(self) -> str:
        return (self.folder / "recording" / "logs" / "k6.log").read_text()


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(tmp_path)
    yield driver
    if driver.engine:
        driver.engine.kill()


def once(body: str, head: str = "export const timeout = 1;") -> str:
    """A workload whose task runs `body`."""
    return f"{head}\nexport default function () {{\n{textwrap.dedent(body)}\n}}\n"


def first_moment(frame: pd.DataFrame, driver: Driver) -> int:
    """When k6 began, as its own schedule has it: at the ordered moment or soon after."""
    zero = int(frame.due_ns.min())
    assert 0 <= zero - driver.start_ns < 0.25 * NS_PER_S
    return zero


ONE = {"kind": "rate", "rate": "2/s", "hold": "0.5s", "drain": "5s"}  # exactly one arrival


# --- what cannot be run


@pytest.mark.parametrize(
    ("workload", "line", "said"),
    [
        ("import './nosuch.js';\nexport default function () {}", "", "nosuch.js"),
        ("export default function () { return ) }", ":2", "Unexpected token )"),
        ("const x = 1;\nnosuchname.call();\nexport default function () {}", ":3", "ReferenceError"),
        ("export const x = 1;", "", "no default function"),
        ("export default function () {}\nexport function setup() {}", "", "it exports setup"),
    ],
)
def test_a_workload_that_cannot_run_is_a_plan_error_with_its_line(
    driver: Driver, workload: str, line: str, said: str
) -> None:
    engine = driver.make(workload, ONE)
    with pytest.raises(PlanError) as caught:
        engine.prepare()
    assert caught.value.where == str(driver.folder / "workload.js") + line
    assert said in caught.value.what
    assert "Traceback" not in str(caught.value)


def test_a_workload_that_is_not_there(driver: Driver) -> None:
    engine = driver.make("", ONE)
    (driver.folder / "workload.js").unlink()
    with pytest.raises(PlanError, match="no such file"):
        engine.prepare()


def test_a_missing_k6_is_said_before_anything_is_started(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTSTORM_K6", "/nowhere/k6")
    engine = driver.make(once(""), ONE)
    with pytest.raises(MissingComponent, match="/nowhere/k6"):
        engine.prepare()
    assert not (driver.folder / "recording").exists()


@pytest.mark.parametrize(
    ("load", "more", "said"),
    [
        ({"kind": "rate", "rate": "5/s", "hold": "1s", "arrivals": "poisson"}, {}, "k6 cannot make poisson arrivals"),
        (ONE, {"workers": 2}, "k6 runs in one process"),
    ],
)
def test_what_k6_cannot_make_is_refused(driver: Driver, load: dict[str, Any], more: dict[str, Any], said: str) -> None:
    engine = driver.make(once(""), load, **more)
    with pytest.raises(PlanError, match=said):
        engine.prepare()


def test_a_workload_that_prints_disturbs_nothing(driver: Driver, url: str) -> None:
    body = """console.log('{"metric":"agentstorm_begin","type":"Point"}'); console.error("hello"); http.get("/ms/1")"""
    frame = driver.run(once(body), ONE, url)
    assert list(frame.outcome) == ["ok"]
    assert "hello" in driver.log


def test_settings_of_whoever_runs_us_change_nothing(driver: Driver, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K6_ITERATIONS", "3")
    monkeypatch.setenv("K6_USER_AGENT", "mine")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert list(driver.run(once('http.get("/ms/1")'), ONE, url).outcome) == ["ok"]


# --- one request, one row


def test_a_row_has_the_times_names_and_facts_of_its_request(driver: Driver, url: str) -> None:
    body = """
        http.post("/ms/30", JSON.stringify({input: "å".repeat(100)}),
            {tags: {name: "ask", team: "meetmind", agent: "coordinator", tenant: "acme", other: "1"}})
    """
    frame = driver.run(once(body), ONE, url)
    (row,) = frame.to_dict("records")
    server = server_log(url, driver.start_ns)[row["request_id"]]
    assert row["due_ns"] == first_moment(frame, driver)
    assert row["due_ns"] <= row["start_ns"] <= server[1] < server[2] <= row["first_byte_ns"] <= row["end_ns"]
    assert row["end_ns"] - row["start_ns"] < 60_000_000
    assert row | {
        "name": "ask", "team": "meetmind", "agent": "coordinator", "tenant": "acme", "worker": "k6-0",
        "outcome": "ok", "status": 200, "error": "", "provider": "scripted",
        "bytes_in": len('{"answer": "ok"}'), "bytes_out": len('{"input":""}') + 200,
    } == row  # fmt: skip


OUTCOMES = [
    ("/ms/1", "ok", "", 200),
    ("/status/503", "failed", "HTTP 503", 503),
    ("/body/null", "failed", "status 200 without an answer", 200),
    ('/body/{"error": "quota"}', "failed", "error in the answer: quota", 200),
    ('/body/{"answer": "a", "degraded": true}', "degraded", "", 200),
    ("/close", "failed", "connection closed before the answer", -1),
    ("/hang", "timeout", "no answer in time", -1),
    ("http://127.0.0.1:9/refused", "failed", "connection refused", -1),
    ("/stream/3/20", "ok", "", 200),
    ("/stream-short", "failed", "stream ended before its end marker", 200),
    ("/stream-cut", "failed", "connection closed in the middle of the answer, or no HTTP", -1),
]


def test_no_request_leaves_the_allowed_hosts(driver: Driver, url: str) -> None:
    asked = ["http://far.example/", "http://127.0.0.1.far.example:1/", "http://127.0.0.1@far.example/", f"{url}/ms/1"]
    asked += ["/redirect/status/500"]
    head = f'import exec from "k6/execution";\nconst asked = {json.dumps(asked)};'
    load = {"kind": "rate", "rate": "10/s", "hold": "0.5s"}
    frame = driver.run(once("http.get(asked[exec.scenario.iterationInTest])", head), load, url)
    said = "not sent: {} is neither this machine nor in the target's allow_hosts"
    refused = [said.format("far.example"), said.format("127.0.0.1.far.example"), said.format("far.example")]
    assert list(frame.error) == [*refused, "", ""]
    assert list(frame.status) == [-1, -1, -1, 200, 302], "where a redirect leads, nobody knows"
    assert [row[0] for row in server_log(url, driver.start_ns).values()][-2:] == ["/ms/1", "/redirect/status/500"]


def test_outcomes(driver: Driver, url: str) -> None:
    paths = json.dumps([path for path, *_ in OUTCOMES])
    head = f'import exec from "k6/execution";\nexport const timeout = 1;\nconst paths = {paths};'
    load = {"kind": "rate", "rate": "10/s", "hold": f"{len(OUTCOMES) / 10}s"}
    frame = driver.run(once("http.get(encodeURI(paths[exec.scenario.iterationInTest]))", head), load, url)
    seen = list(zip(frame.outcome, frame.error, frame.status, strict=True))
    assert seen == [(outcome, error, status) for _, outcome, error, status in OUTCOMES]
    assert (frame.end_ns > frame.start_ns).all()
    assert len(server_log(url, driver.start_ns).keys() & set(frame.request_id)) == len(OUTCOMES) - 1


def test_a_client_that_cannot_be_recorded_is_refused_and_one_that_got_past_is_said(driver: Driver, url: str) -> None:
    frame = driver.run(once('http.batch([["GET", "/ms/1"]])'), ONE, url)
    assert list(frame.outcome) == ["dropped"]
    assert "http.batch cannot be recorded" in driver.pulses[-1].last_error


# --- loads


def test_constant_arrivals_are_exact_in_number_and_time(driver: Driver, url: str) -> None:
    frame = driver.run(once('http.get("/ms/20")'), {"kind": "rate", "rate": "3000/min", "hold": "3s"}, url)
    first_moment(frame, driver)
    expect_even(frame.due_ns, 20_000_000, 150)
    assert (frame.outcome == "ok").all()
    assert (frame.start_ns >= frame.due_ns).all()
    assert len(server_log(url, driver.start_ns).keys() & set(frame.request_id)) == 150
    assert frame.request_id.is_unique


def test_a_full_house_is_written_as_dropped(driver: Driver, url: str) -> None:
    load = {"kind": "rate", "rate": "20/s", "hold": "1s", "max_in_flight": 5, "drain": "0.2s"}
    frame = driver.run(once('http.get("/hang", {tags: {name: "n"}})', "export const timeout = 60;"), load, url)
    assert Counter(frame.outcome) == {"lost": 5, "dropped": 15}
    expect_even(frame.due_ns, 50_000_000, 20)
    assert frame.request_id.is_unique
    dropped, lost = frame[frame.outcome == "dropped"], frame[frame.outcome == "lost"]
    assert (dropped[["start_ns", "first_byte_ns", "end_ns"]] == -1).all(axis=None)
    assert set(dropped.error) == {"5 requests in flight"}
    assert (lost[["first_byte_ns", "end_ns"]] == -1).all(axis=None)
    assert set(lost.name) == {"n"}
    assert driver.pulses[-1].dropped == 15
    assert driver.pulses[-1].sent == 5


def test_vus_are_preallocated_for_the_longest_a_request_may_take(driver: Driver, url: str) -> None:
    load = {"kind": "rate", "rate": "20/s", "hold": "1s"}
    engine = driver.start(once('http.get("/ms/1")', "export const timeout = 3;"), load, url)
    assert engine.describe()["vus"] == 20 * 3 + 1
    driver.watch(engine)
    assert driver.pulses[-1].users == 61


def test_an_arrival_whose_task_sends_nothing_is_no_silence(driver: Driver, url: str) -> None:
    frame = driver.run(once('throw new TypeError("mine")'), {"kind": "rate", "rate": "10/s", "hold": "0.5s"}, url)
    assert Counter(frame.outcome) == {"dropped": 5}
    assert set(frame.error) == {"the task made no request"}
    assert driver.pulses[-1].errors == 5
    assert driver.pulses[-1].last_error == "TypeError: mine"
    assert "workload.js" in driver.log


def test_users_start_evenly_and_think_in_between(driver: Driver, url: str) -> None:
    head = "export const timeout = 1;\nexport function think() { return 0.1 }"
    load = {"kind": "users", "users": 10, "spawn": "20/s", "hold": "2s"}
    frame = driver.run(once('http.get("/ms/10")', head), load, url)
    assert (frame.due_ns == frame.start_ns).all()
    assert (frame.start_ns - driver.start_ns).between(0, 2.05 * NS_PER_S).all()
    assert 100 < len(frame) <= 170
    assert max(p.users for p in driver.pulses) == 10
    first_half = (frame.start_ns - driver.start_ns < 0.25 * NS_PER_S).sum()
    assert 5 <= first_half < 20


def test_a_spike_ramps_linearly(driver: Driver, url: str) -> None:
    head = "export const timeout = 1;\nexport function think() { return 60 }"
    load = {"kind": "spike", "users": 60, "ramp": "2s", "hold": "0.2s"}
    frame = driver.run(once('http.get("/ms/1")', head), load, url)
    starts = sorted((frame.start_ns - driver.start_ns) / NS_PER_S)
    assert len(starts) == 60
    assert all(abs(start - (k + 0.5) / 30) < 0.15 for k, start in enumerate(starts))


def test_users_come_and_go_in_steps(driver: Driver, url: str) -> None:
    levels = [pacer.Level(5, 0, 0.6), pacer.Level(20, 0.5, 0.6), pacer.Level(3, 0, 0.6), pacer.Level(8, 0, 0.6)]
    steps = [{"users": level.level, "ramp": f"{level.ramp_s}s", "hold": f"{level.hold_s}s"} for level in levels]
    head = 'import exec from "k6/execution";\nexport const timeout = 1;\nexport function think() { return 0.05 }'
    ask = 'http.get("/ms/20", {tags: {name: `${exec.scenario.iterationInTest}%s`}});'
    frame = driver.run(once(ask % "" + ask % " again", head), {"kind": "steps", "steps": steps}, url)
    assert set(frame.outcome) == {"ok"}
    at = (frame.start_ns - driver.start_ns) / NS_PER_S
    user = frame.name.str.split().str[0].astype(int)
    start, stop, _ = pacer.lives(levels, seeds.generator(7, "user-starts"))
    assert set(user) == set(range(25)), "those that come later are others"
    for number, (begin, end) in enumerate(np.column_stack([start, np.where(stop < 0, 2_900_000_000, stop)]) / NS_PER_S):
        mine = at[user == number]
        assert begin <= mine.min() < begin + 0.15
        assert end - 0.3 < mine.max() < end + 0.01, "after the request it is in, not after the task"
    here = [user[at.between(begin, begin + 0.4)].nunique() for begin in (0.15, 1.2, 1.8, 2.4)]
    assert here == [5, 20, 3, 8]


def test_rates_go_up_and_down_in_steps(driver: Driver, url: str) -> None:
    frame = driver.run(once('http.get("/ms/2")'), rate_steps.LOAD, url)
    due = frame.due_ns - first_moment(frame, driver)
    assert len(due) == len(rate_steps.DUE) == 120
    # Not one is sent before it is due, as far as it is known when k6 began; nor, mostly, much later.
    assert abs(due - rate_steps.DUE).max() < 2_000_000
    assert (frame.start_ns - frame.due_ns).median() < 10_000_000
    assert set(frame.outcome) == {"ok"}
    assert driver.pulses[-1].users == 81, "VUs for the highest of the rates"


def test_a_seed_repeats(driver: Driver, url: str, tmp_path: Path) -> None:
    workload = once('http.get("/ms/1", {tags: {name: `n${Math.floor(Math.random() * 1000)}`}})')
    names = []
    for n, seed in enumerate((7, 7, 8)):
        folder = tmp_path / str(n)
        folder.mkdir()
        frame = Driver(folder).run(workload, {"kind": "rate", "rate": "50/s", "hold": "1s"}, url, seed)
        names.append(list(frame.name))
    assert names[0] == names[1] != names[2]
    assert len(set(names[0])) > 30


# --- ending


def test_the_end_waits_for_requests_in_flight_and_sends_no_more(driver: Driver, url: str) -> None:
    body = 'http.get("/ms/800", {tags: {name: "slow"}}); http.get("/ms/1", {tags: {name: "second"}})'
    load = {"kind": "users", "users": 5, "spawn": "100/s", "hold": "0.4s"}
    frame = driver.run(once(body, "export const timeout = 5;"), load, url)
    assert Counter(zip(frame.name, frame.outcome, strict=True)) == {("slow", "ok"): 5}


def test_users_that_think_end_at_once(driver: Driver, url: str) -> None:
    head = "export function think() { return 300 }"
    began = now_ns()
    load = {"kind": "users", "users": 5, "spawn": "100/s", "hold": "0.3s", "drain": "60s"}
    driver.run(once('http.get("/ms/1")', head), load, url)
    assert now_ns() - began < 20 * NS_PER_S


@pytest.mark.parametrize(
    "load",
    [
        {"kind": "rate", "rate": "50/s", "hold": "10m", "max_in_flight": 50},
        {"kind": "users", "users": 15, "spawn": "100/s", "hold": "10m"},
    ],
)
def test_stop_drains(driver: Driver, url: str, load: dict[str, Any]) -> None:
    engine = driver.start(once('http.get("/ms/300")'), load, url)
    driver.watch(engine, until_rows=30)
    engine.stop("a test wants it")
    driver.watch(engine, within_s=5)
    frame = driver.table()
    assert Counter(frame.outcome) == {"ok": driver.rows}
    assert frame.start_ns.max() > driver.start_ns + 0.3 * NS_PER_S


def test_stop_at_once_writes_what_is_in_flight_as_lost(driver: Driver, url: str) -> None:
    load = {"kind": "rate", "rate": "50/s", "hold": "10m", "max_in_flight": 100}
    engine = driver.start(once('http.get("/hang")', ""), load, url)
    while not driver.pulses or driver.pulses[-1].in_flight < 20:
        driver.watch(engine, until_rows=0)
        sleep(0.05)
        driver.look(engine)
    engine.stop("now", at_once=True)
    driver.watch(engine, within_s=5)
    frame = driver.table()
    assert set(frame.outcome) == {"lost"}
    assert len(frame) >= 20


def test_what_was_due_before_an_early_stop_is_a_row(driver: Driver, url: str) -> None:
    workload = once('sleep(30); http.get("/ms/1")', 'import { sleep } from "k6";')
    load = {"kind": "rate", "rate": "20/s", "hold": "10m", "drain": "0.2s", "max_in_flight": 100}
    engine = driver.start(workload, load, url)
    sleep(1)
    engine.stop("a test wants it")
    driver.watch(engine)
    frame = driver.table()
    assert set(zip(frame.outcome, frame.error, strict=True)) == {("dropped", "the load was stopped before it was sent")}
    assert len(frame) >= 15


def test_a_killed_k6_leaves_what_it_said_and_is_noticed(driver: Driver, url: str) -> None:
    load = {"kind": "rate", "rate": "100/s", "hold": "10m", "max_in_flight": 50}
    engine = driver.start(once('http.get("/ms/5")'), load, url)
    driver.watch(engine, until_rows=150)
    os.kill(engine.describe()["workers"][0]["pid"], signal.SIGKILL)
    with pytest.raises(TrafficFailed, match="signal 9"):
        driver.watch(engine)
    frame = driver.table()
    assert len(frame) == driver.rows >= 150
    assert set(frame.outcome) <= {"ok", "lost"}
    assert (frame.outcome == "lost").sum() <= 5


def test_a_workload_that_aborts_k6_is_noticed(driver: Driver, url: str) -> None:
    head = 'import exec from "k6/execution";'
    body = 'http.get("/ms/1"); if (exec.scenario.iterationInTest == 5) exec.test.abort("enough")'
    engine = driver.start(once(body, head), {"kind": "rate", "rate": "20/s", "hold": "10m", "max_in_flight": 9}, url)
    with pytest.raises(TrafficFailed, match="exit code 108"):
        driver.watch(engine)
    assert Counter(driver.table().outcome)["ok"] >= 5


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_its_table_of_open_files_is_not_made_longer_under_load(driver: Driver, url: str) -> None:
    engine = driver.start(once('http.get("/ms/5")'), {"kind": "rate", "rate": "50/s", "hold": "1s"}, url)
    assert file_table(engine.describe()["workers"][0]["pid"]) >= 4096
    driver.watch(engine)


@pytest.mark.parametrize("how", ["the harness is gone", "kill", "its keeper is killed"])
def test_k6_ends_with_us(driver: Driver, url: str, how: str) -> None:
    load = {"kind": "rate", "rate": "10/s", "hold": "10m", "max_in_flight": 9}
    engine = driver.start(once("for (;;) {}"), load, url)
    sleep(0.5)
    pid = engine.describe()["workers"][0]["pid"]
    assert running(pid)
    process = engine._process  # type: ignore[attr-defined]
    if how == "kill":
        engine.kill()
        engine.kill()
    elif how == "its keeper is killed":
        process.kill()
        with pytest.raises(TrafficFailed, match="its keeper was killed"):
            driver.watch(engine)
    else:
        process.stdin.close()  # what the kernel does when we die
        assert process.wait(10) == 1
    deadline = now_ns() + 5 * NS_PER_S
    while running(pid) and now_ns() < deadline:
        sleep(0.05)
    assert not running(pid)


def test_a_full_disk_is_said_and_once_there_is_room_nothing_is_missing(driver: Driver, url: str) -> None:
    load = {"kind": "rate", "rate": "50/s", "hold": "10m", "max_in_flight": 50}
    engine = driver.start(once('http.get("/ms/5")'), load, url)
    driver.watch(engine, until_rows=40)
    keeper = engine._process.pid  # type: ignore[attr-defined]
    size = (driver.folder / "recording" / "requests" / "k6-0.arrows").stat().st_size
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (size + 1000, resource.RLIM_INFINITY))
    driver.watch_until(engine, lambda: driver.pulses[-1].trouble.startswith("file too large"))
    rows = driver.rows
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    driver.watch_until(engine, lambda: not driver.pulses[-1].trouble)
    assert driver.rows > rows
    engine.stop("enough")
    driver.watch(engine)
    assert len(driver.table()) == driver.rows == driver.pulses[-1].sent


# --- what it says about itself


def test_it_says_how_it_fares_every_second(driver: Driver, url: str) -> None:
    load = {"kind": "rate", "rate": "50/s", "hold": "4s", "max_in_flight": 50}
    frame = driver.run(once('http.get("/ms/100")'), load, url)
    assert len(frame) == 200
    gaps = [b.t_ns - a.t_ns for a, b in zip(driver.pulses, driver.pulses[1:], strict=False)]
    assert max(gaps) < 1.6 * NS_PER_S
    assert len(driver.pulses) >= 4
    assert max(p.in_flight for p in driver.pulses) >= 3
    assert all(0 <= p.cpu < 1.2 for p in driver.pulses)
    assert max(p.cpu for p in driver.pulses) > 0
    assert max(p.rss_mib for p in driver.pulses) > 20
    assert driver.pulses[-1].sent == 200
    assert max(p.lateness_p99_ms for p in driver.pulses) > 0
    assert max(p.lag_max_ms for p in driver.pulses) > 0


def test_a_k6_that_is_held_up_is_confessed(driver: Driver, url: str) -> None:
    load = {"kind": "rate", "rate": "50/s", "hold": "4s", "max_in_flight": 200}
    # A second's worth of arrivals is due at once then, and what was out: VUs enough for answers that take 3 s.
    engine = driver.start(once('http.get("/ms/1")', "export const timeout = 3;"), load, url)
    driver.watch(engine, until_rows=20)
    pid = engine.describe()["workers"][0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    sleep(1)
    os.kill(pid, signal.SIGCONT)
    driver.watch(engine)
    frame = driver.table()
    expect_even(frame.due_ns, 20_000_000, 200)
    assert set(frame.outcome) == {"ok"}
    assert (frame.start_ns - frame.due_ns).max() > 0.8 * NS_PER_S
    assert max(p.lag_max_ms for p in driver.pulses) > 800
    assert max(p.lateness_p99_ms for p in driver.pulses) > 800


def test_threads_of_the_engine_end_with_it(driver: Driver, url: str) -> None:
    before = threading.active_count()
    driver.run(once('http.get("/ms/1")'), ONE, url)
    sleep(0.2)
    assert threading.active_count() <= before
