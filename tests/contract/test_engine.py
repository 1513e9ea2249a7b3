"""The load generator's contract, on the real Locust subprocess against a real server with a script."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import textwrap
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import PlanError, TrafficFailed
from harness.generator_process import GeneratorProcess
from harness.model.load import Load
from harness.model.plan import Plan, Replayed, Scenario
from harness.model.request import trace_id
from harness.model.target import ExternalSystem, Observe, Target
from harness.recording.layout import REQUEST_SCHEMA
from harness.recording.reader import read_stream
from harness.traffic import KINDS, Engine, Pulse
from tests.calibrate.serving import serving
from tests.processes import file_table

pytestmark = pytest.mark.real

RUN_ID = 77
OBSERVE = {
    "provider": ["header:x-provider", "sse:$.provider"],
    "answer": "json:$.answer",
    "error": ["json:$.error", "sse:$.error"],
    "degraded": "json:$.degraded",
    "token": "sse:$.delta",
    "stream_end": "data: [DONE]",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as url:
        yield url


class Driver:
    """One engine over one workload; a double for the conductor."""

    def __init__(self, folder: Path, kind: str, workers: int = 1, **options: Any) -> None:
        self.options = options
        self.folder, self.kind, self.workers = folder, kind, workers
        self.engine: Engine | None = None
        self.pulses: list[Pulse] = []
        self.rows = 0
        self.replayed: Replayed | None = None

    def make(self, workload: str, load: dict[str, Any], seed: int = 7) -> Engine:
        path = self.folder / "workload.py"
        path.write_text("from locust import *\n" + textwrap.dedent(workload))
        profile: Load = Scenario.model_validate({"scenario": "s", "workload": "w", "load": load}).load
        target = Target(
            target="t", system=ExternalSystem(kind="external"), url="http://x", observe=Observe.model_validate(OBSERVE)
        )
        plan = Plan(
            target=target,
            scenario=Scenario(scenario="s", workload="workload.py", load=profile),
            seed=seed,
            workload_path=path,
            target_dir=self.folder,
            workers=self.workers,
            **self.options,
            replayed=self.replayed,
        )
        self.engine = KINDS[self.kind](plan, self.folder / "recording", RUN_ID)
        return self.engine

    def start(self, workload: str, load: dict[str, Any], url: str, seed: int = 7) -> Engine:
        engine = self.make(workload, load, seed)
        engine.prepare()
        self.start_ns = now_ns() + 50_000_000
        engine.begin(self.start_ns, url)
        return engine

    def cycle(self, client: str, bodies: list[str]) -> str:
        """A workload whose n-th arrival, of all workers together, runs the n-th body."""
        tasks = "".join(f"    def t{n}(self):\n{textwrap.indent(body, ' ' * 8)}\n" for n, body in enumerate(bodies))
        step = "    @task\n    def t(self):\n        getattr(self, f't{next(number)}')()\n"
        count = f"itertools.count(getattr(environment.runner, 'worker_index', 0), {self.workers})"
        number = f"@events.init.add_listener\ndef _(environment, **_):\n    global number\n    number = {count}\n"
        return f"import itertools\n{number}class U({client}):\n    network_timeout = 1\n{tasks}{step}"

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

    def end(self) -> None:
        if self.engine:
            self.engine.kill()

    def table(self) -> pd.DataFrame:
        """All rows, in the order they were due."""
        streams = sorted((self.folder / "recording" / "requests").glob("*.arrows"))
        frame: pd.DataFrame = pd.concat([read_stream(stream)[0].to_pandas() for stream in streams], ignore_index=True)
        words = [f.name for f in REQUEST_SCHEMA if pa.types.is_dictionary(f.type)]
        frame = frame.astype(dict.fromkeys(words, str))
        return frame.sort_values("due_ns", kind="stable", ignore_index=True)

    def most(self, field: str) -> float:
        """The most that all workers together said of `field`, each at its own latest pulse."""
        last: dict[str, float] = {}
        most = 0.0
        for pulse in self.pulses:
            last[pulse.worker] = getattr(pulse, field)
            most = max(most, sum(last.values()))
        return most

    def run(self, workload: str, load: dict[str, Any], url: str, seed: int = 7) -> pd.DataFrame:
        engine = self.start(workload, load, url, seed)
        self.watch(engine)
        engine.kill()
        frame = self.table()
        assert self.rows == len(frame)
        return frame

    @property
    def writes(self) -> str:
        """The process that writes the rows."""
        return "locust-0" if self.workers == 1 else "locust-master"

    @property
    def log(self) -> str:
        return (self.folder / "recording" / "logs" / "locust.log").read_text()


@pytest.fixture(params=[("locust", 1), ("locust", 2)], ids=lambda p: f"{p[0]}-{p[1]}")  # k6: test_k6_engine.py
def driver(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Driver]:
    driver = Driver(tmp_path, *request.param)
    yield driver
    driver.end()


def server_log(url: str, since_ns: int = 0) -> dict[int, list[Any]]:
    """The server's own account of this run: request id -> [path, received_ns, answered_ns, ...].

    Without `since_ns` also of the tests' before, whose ids may be the same.
    """
    with urllib.request.urlopen(f"{url}/log") as answer:  # noqa: S310 - our own server
        rows = json.load(answer)
    ours = [row for row in rows if row[3].startswith(f"00-{trace_id(RUN_ID, 0)[:16]}") and row[1] >= since_ns]
    return {int(row[3][19:35], 16): row for row in ours}


def once(body: str) -> str:
    """A workload whose single task runs `body` (with `self`)."""
    return "class U(FastHttpUser):\n    @task\n    def t(self):\n" + textwrap.indent(textwrap.dedent(body), " " * 8)


ONE = {"kind": "rate", "rate": "2/s", "hold": "0.5s", "drain": "5s"}  # exactly one arrival


# --- workloads that cannot be used


@pytest.mark.parametrize(
    ("workload", "line", "said"),
    [
        ("import nosuchmodule", ":2", "ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("class U(FastHttpUser):\n    @task\n    def t(self): return )", ":4", "SyntaxError"),
        ("def helper():\n    return 1 / 0\nhelper()", ":3", "ZeroDivisionError"),
        ("raise SystemExit(3)", ":2", "SystemExit"),
        ("x = 1", "", "no user class"),
        ("class U(FastHttpUser):\n    abstract = True\n    @task\n    def t(self): ...", "", "no user class"),
        ("class U(FastHttpUser):\n    pass", ":2", "user class U has no task"),
        ("class U(FastHttpUser):\n    weight = 0\n    @task\n    def t(self): ...", "", "every weight is 0"),
    ],
)
def test_a_workload_that_cannot_run_is_a_plan_error_with_its_line(
    driver: Driver, workload: str, line: str, said: str
) -> None:
    engine = driver.make(workload, ONE)
    with pytest.raises(PlanError) as caught:
        engine.prepare()
    assert caught.value.where == str(driver.folder / "workload.py") + line
    assert said in caught.value.what
    assert "Traceback" not in str(caught.value)


def test_a_workload_that_is_not_there(driver: Driver) -> None:
    engine = driver.make("", ONE)
    (driver.folder / "workload.py").unlink()
    with pytest.raises(PlanError, match="no such file"):
        engine.prepare()


def test_a_generator_that_cannot_import_its_own_says_why_and_the_log_has_it(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locust.py").write_text("raise ImportError('half an installation')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    engine = driver.make("", ONE)
    with pytest.raises(TrafficFailed, match="ImportError: half an installation"):
        engine.prepare()
    assert "Traceback" in driver.log


def test_a_process_started_before_there_was_a_plan_makes_the_load(driver: Driver, url: str) -> None:
    with GeneratorProcess() as early, GeneratorProcess() as of_no_use:
        engine = driver.make("print('in the log')\n" + once("self.client.get('/ms/5')"), ONE)
        engine.prepare(early)
        described = engine.describe()
        first = described["workers"][0] if driver.workers == 1 else described["master"]
        engine.begin(now_ns() + NS_PER_S // 2, url)
        driver.watch(engine)
        assert first["pid"] == early.process.pid
    assert len(driver.table()) == 1
    assert "in the log" in driver.log
    assert of_no_use.process.returncode == -signal.SIGKILL


def test_a_workload_that_prints_reads_and_exits_disturbs_nothing(driver: Driver, url: str) -> None:
    workload = """
        import sys, os
        print('{"say": "ended", "batches": 99}', flush=True)
        os.write(1, b"raw\\n")
        assert sys.stdin.read() == ""
    """
    frame = driver.run(
        textwrap.dedent(workload) + once("print('hello', flush=True)\nself.client.get('/ms/1')"), ONE, url
    )
    assert list(frame.outcome) == ["ok"]
    assert "hello" in driver.log
    assert '"batches": 99' in driver.log


@pytest.mark.parametrize("client", ["FastHttpUser", "HttpUser"])
def test_the_first_request_is_not_the_first_of_its_process(driver: Driver, url: str, client: str) -> None:
    """What it would be the first to import makes it late; whatever was done beforehand is nobody's request."""
    workload = """
        import os, sys
        from locust import events

        @events.test_start.add_listener
        def before(**_):
            global known
            known = set(sys.modules)

        @events.test_stop.add_listener
        def after(environment, **_):
            counted, new = environment.stats.total.num_requests, sorted(set(sys.modules) - known)
            os.write(1, f"counted {counted}, imported {new}\\n".encode())  # in one piece: workers share a log
    """
    body = "self.client.get('/ms/1')\nself.client.post('/ms/1', json={'a': 1})\nself.client.get('/stream/3/5')"
    task = once(body).replace("FastHttpUser", client)
    frame = driver.run(textwrap.dedent(workload) + task, ONE, url)
    assert list(frame.outcome) == ["ok"] * 3
    assert "counted 3, imported []" in driver.log
    assert "before the load" not in driver.log


# --- one request, one row


def test_a_row_has_the_times_names_and_facts_of_its_request(driver: Driver, url: str) -> None:
    body = """
        self.client.post('/ms/30', json={'input': 'x' * 100}, name='ask',
                         context={'team': 'meetmind', 'agent': 'coordinator', 'tenant': 'acme', 'other': 1})
    """
    frame = driver.run(once(body), ONE, url)
    (row,) = frame.to_dict("records")
    server = server_log(url)[row["request_id"]]
    assert row["due_ns"] == driver.start_ns
    assert row["due_ns"] <= row["start_ns"] <= server[1] < server[2] <= row["first_byte_ns"] <= row["end_ns"]
    assert row | {
        "name": "ask", "team": "meetmind", "agent": "coordinator", "tenant": "acme", "worker": "locust-0",
        "outcome": "ok", "status": 200, "error": "", "provider": "scripted",
        "bytes_in": len('{"answer": "ok"}'), "bytes_out": len('{"input": ""}') + 100,
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
]


def each(bodies: list[str]) -> dict[str, Any]:
    return {"kind": "rate", "rate": "10/s", "hold": f"{len(bodies) / 10}s"}


@pytest.mark.parametrize("client", ["FastHttpUser", "HttpUser"])
def test_outcomes(driver: Driver, url: str, client: str) -> None:
    argument = ", timeout=1" if client == "HttpUser" else ""
    bodies = [f"self.client.get({path!r}, name='n'{argument})" for path, *_ in OUTCOMES]
    frame = driver.run(driver.cycle(client, bodies), each(bodies), url).sort_values("due_ns")
    if client == "HttpUser":  # urllib3 says of a connection that closed no more than that it did
        frame.loc[frame.error.str.startswith("transport error"), "error"] = "connection closed before the answer"
    seen = list(zip(frame.outcome, frame.error, frame.status, strict=True))
    assert seen == [(outcome, error, status) for _, outcome, error, status in OUTCOMES]
    assert (frame.end_ns > frame.start_ns).all()
    assert len(server_log(url, driver.start_ns).keys() & set(frame.request_id)) == len(OUTCOMES) - 1


JUDGEMENTS = [
    ("r.failure('too short')", "failed", "too short"),
    ("r.success()", "ok", ""),
    ("pass", "failed", "HTTP 500"),
    ("assert r.status_code == 200, 'not good'", "failed", "not good"),
]


@pytest.mark.parametrize("client", ["FastHttpUser", "HttpUser"])
def test_the_workloads_own_judgement_counts(driver: Driver, url: str, client: str) -> None:
    bodies = [f"with self.client.get('/status/500', catch_response=True) as r:\n    {body}" for body, *_ in JUDGEMENTS]
    frame = driver.run(driver.cycle(client, bodies), each(bodies), url).sort_values("due_ns")
    seen = list(zip(frame.outcome, frame.error, frame.status, strict=True))
    assert seen == [(outcome, error, 500) for _, outcome, error in JUDGEMENTS]


def test_the_workloads_own_listeners_hear_what_locust_tells_them(driver: Driver, url: str) -> None:
    workload = """
        @events.request.add_listener
        def heard(name, response_time, exception, context, **_):
            print("heard", name, exception, context["agent"])
        @events.test_start.add_listener
        def begun(environment, **_): print("begun", environment.host)
    """
    body = "self.client.get('/ms/5', name='n', context={'agent': 'a'})"
    driver.run(textwrap.dedent(workload) + once(body), ONE, url)
    assert "heard n None a" in driver.log
    assert f"begun {url}" in driver.log


def test_an_error_that_comes_again_and_again_does_not_fill_the_log(driver: Driver, url: str) -> None:
    workload = """
        @events.request.add_listener
        def deaf(**_): raise KeyError("deaf")
        class U(FastHttpUser):
            wait_time = constant(0)
            @task
            def t(self):
                self.client.get("/ms/1")
                raise ValueError(f"no {id(object())}")
    """
    driver.run(workload, {"kind": "users", "users": 5, "hold": "2s"}, url)
    times = int(driver.most("errors"))
    assert times > 200
    each_full, each_line = 5, len(str(times))
    for error in ("ValueError: no", "KeyError: 'deaf'"):
        assert each_full <= driver.log.count(error) <= driver.workers * (2 * each_full + each_line), error
    assert "for the 100th time" in driver.log
    assert all(pulse.last_error.endswith("(workload.py:10)") for pulse in driver.pulses if pulse.errors)


@pytest.mark.parametrize("path", ["/ms/200", "/stream/2/100", "/tokens/3/50/bare", "/body/x%0D%0A"])
def test_listeners_hear_how_long_it_took_whichever_way_it_went(driver: Driver, url: str, path: str) -> None:
    """Plain answers go the short way; others are handed to Locust when they have begun."""
    workload = """
        import time
        @events.request.add_listener
        def heard(response_time, start_time, response, **_):
            print("HEARD", response_time, 1000 * (time.time() - start_time), 1000 * response.elapsed.total_seconds())
    """
    frame = driver.run(textwrap.dedent(workload) + once(f"self.client.get({path!r}, name='n')"), ONE, url)
    took_ms, since_ms, elapsed_ms = map(float, driver.log.partition("HEARD ")[2].splitlines()[0].split())
    service_ms = float(frame.end_ns[0] - frame.start_ns[0]) / 1e6
    first_byte_ms = float(frame.first_byte_ns[0] - frame.start_ns[0]) / 1e6
    assert service_ms - 1 <= took_ms <= since_ms <= service_ms + 50
    assert 0 < elapsed_ms <= first_byte_ms + 1


@pytest.mark.parametrize("client", ["FastHttpUser", "HttpUser"])
def test_that_a_request_waited_to_be_due_is_no_part_of_its_time(driver: Driver, url: str, client: str) -> None:
    """It is begun up to 2 ms ahead: Locust's clock must not run then. With `params` it goes Locust's own way."""
    workload = f"""
        from locust import events
        @events.request.add_listener
        def heard(response_time, **_): print("HEARD", response_time)
        class U({client}):
            @task
            def t(self): self.client.get("/ms/1", params={{}})
    """
    frame = driver.run(workload, {"kind": "rate", "rate": "10/s", "hold": "2s"}, url).sort_values("end_ns")
    heard = [float(line.split()[1]) for line in driver.log.splitlines() if line.startswith("HEARD")]
    beyond = np.array(heard) - (frame.end_ns - frame.start_ns).to_numpy() / 1e6
    assert len(heard) == 20
    assert abs(np.median(beyond)) < 0.7


def test_a_client_of_the_workloads_own_is_recorded_from_its_event(driver: Driver, url: str) -> None:
    workload = """
        import time
        class U(User):
            @task
            def t(self):
                time.sleep(0.1)
                self.environment.events.request.fire(request_type="RPC", name="own", response_time=100,
                    response_length=5, exception=None, context={"agent": "a"})
                self.environment.events.request.fire(request_type="RPC", name="own", response_time=100,
                    response_length=5, exception=ValueError("bad"), context={"agent": "a"})
    """
    frame = driver.run(workload, ONE, url)
    assert list(frame.outcome) == ["ok", "failed"]
    assert list(frame.error) == ["", "bad"]
    assert list(frame.end_ns - frame.start_ns) == [100_000_000] * 2
    assert frame.due_ns[0] == driver.start_ns
    assert frame.due_ns[1] == frame.start_ns[1]


# --- streams


READS = {
    "iter_content": "with self.client.get({path!r}, stream=True, catch_response=True) as r:\n"
    "    for _ in r.iter_content(): pass",
    "stops at the marker": "with self.client.get({path!r}, stream=True, catch_response=True) as r:\n"
    "    while b'[DONE]' not in r.stream.readline(b'\\n'): pass",
    "iter_lines": "for line in self.client.iter_lines({path!r}): pass",
    "after the call": "r = self.client.get({path!r}, stream=True)\nr.content",
    "not as a stream": "self.client.get({path!r})",
}


def test_a_streams_times_are_those_of_its_bytes(driver: Driver, url: str) -> None:
    bodies = [body.format(path="/stream/5/40") for body in READS.values()]
    frame = driver.run(driver.cycle("FastHttpUser", bodies), each(bodies), url).sort_values("due_ns")
    server = server_log(url)
    for how, row in zip(READS, frame.to_dict("records"), strict=True):
        first, whole = (row["first_byte_ns"] - row["start_ns"]) / 1e6, (row["end_ns"] - row["start_ns"]) / 1e6
        assert (row["outcome"], row["error"], row["provider"]) == ("ok", "", "scripted"), how
        assert 40 <= first < 120, how
        assert 200 <= whole < 400, how
        assert row["end_ns"] >= server[row["request_id"]][2], how
        assert row["bytes_in"] > 150, how
        assert row["stream_tokens"] == 5, how
        assert row["first_byte_ns"] <= row["first_token_ns"] < row["first_byte_ns"] + 1_000_000, how
        assert 130 <= (row["last_token_ns"] - row["first_token_ns"]) / 1e6 < 300, how


CUT = "connection closed in the middle of the answer, or no HTTP"
UNREAD = "stream not read to its end by the workload"
BAD_STREAMS = [
    (READS["iter_content"].format(path="/stream-short"), "stream ended before its end marker"),
    (READS["iter_content"].format(path="/stream-cut"), CUT),
    (READS["after the call"].format(path="/stream-cut"), CUT),
    ("r = self.client.get('/stream/5/40', stream=True)\nr.stream.read(10)", UNREAD),
    ("self.client.get('/stream/5/40', stream=True)", UNREAD),
]


def test_a_stream_without_its_end_failed(driver: Driver, url: str) -> None:
    bodies = [body for body, _ in BAD_STREAMS]
    frame = driver.run(driver.cycle("FastHttpUser", bodies), each(bodies), url).sort_values("due_ns")
    assert list(frame.error) == [error for _, error in BAD_STREAMS]
    assert set(zip(frame.outcome, frame.status, strict=True)) == {("failed", 200)}
    assert list(frame.stream_tokens)[:3] == [2, 2, 2]  # what came before it was cut has come


def test_a_stream_in_flight_at_the_end_keeps_the_tokens_that_came(driver: Driver, url: str) -> None:
    load = {"kind": "rate", "rate": "2/s", "hold": "0.5s", "drain": "0.5s"}
    frame = driver.run(once(READS["iter_content"].format(path="/stream/100/50")), load, url)
    assert list(frame.outcome) == ["lost"]
    assert 5 <= frame.stream_tokens[0] <= 25
    assert frame.start_ns[0] < frame.first_token_ns[0] < frame.last_token_ns[0]
    tokens, _ = read_stream(driver.folder / "recording" / "tokens" / "locust-0.arrows")
    assert set(tokens["request_id"].to_pylist()) == {frame.request_id[0]}
    assert tokens.num_rows == frame.stream_tokens[0]


def test_answers_that_are_no_streams_have_no_tokens(driver: Driver, url: str) -> None:
    frame = driver.run(driver.cycle("FastHttpUser", ["self.client.get('/ms/1')"]), each(["x", "y"]), url)
    assert (frame[["first_token_ns", "last_token_ns", "stream_tokens"]] == -1).all(axis=None)
    assert not (driver.folder / "recording" / "tokens").exists()


# --- loads


def test_constant_arrivals_are_exact_in_number_and_time(driver: Driver, url: str) -> None:
    frame = driver.run(once("self.client.get('/ms/20')"), {"kind": "rate", "rate": "3000/min", "hold": "3s"}, url)
    assert sorted(frame.due_ns - driver.start_ns) == [i * 20_000_000 for i in range(150)]
    assert Counter((frame.due_ns - driver.start_ns) // NS_PER_S) == {0: 50, 1: 50, 2: 50}
    assert (frame.outcome == "ok").all()
    assert (frame.start_ns >= frame.due_ns).all()
    assert len(server_log(url).keys() & set(frame.request_id)) == 150


def test_a_full_house_is_written_as_dropped(driver: Driver, url: str) -> None:
    load = {"kind": "rate", "rate": "20/s", "hold": "1s", "max_in_flight": 5, "drain": "0.2s"}
    frame = driver.run(once("self.client.get('/hang', name='n')"), load, url)
    assert Counter(frame.outcome) == {"lost": 5, "dropped": 15}
    dropped, lost = frame[frame.outcome == "dropped"], frame[frame.outcome == "lost"]
    assert (dropped[["start_ns", "first_byte_ns", "end_ns"]] == -1).all(axis=None)
    assert (lost[["first_byte_ns", "end_ns"]] == -1).all(axis=None)
    assert set(lost.name) == {"n"}
    assert driver.most("dropped") == 15
    assert driver.most("sent") == 5


def test_an_arrival_whose_task_sends_nothing_is_no_silence(driver: Driver, url: str) -> None:
    frame = driver.run(once("raise KeyError('mine')"), {"kind": "rate", "rate": "10/s", "hold": "0.5s"}, url)
    assert Counter(frame.outcome) == {"dropped": 5}
    assert set(frame.error) == {"the workload raised KeyError before its request"}
    assert driver.most("errors") == 5
    assert driver.pulses[-1].last_error == "KeyError: 'mine' (workload.py:5)"
    assert "workload.py" in driver.log


def test_users_start_evenly_and_think_in_between(driver: Driver, url: str) -> None:
    workload = once("self.client.get('/ms/10')").replace("    @task", "    wait_time = constant(0.1)\n    @task")
    load = {"kind": "users", "users": 10, "spawn": "20/s", "hold": "2s"}
    frame = driver.run(workload, load, url)
    assert (frame.due_ns == frame.start_ns).all()
    assert (frame.start_ns - driver.start_ns).between(0, 2.05 * NS_PER_S).all()
    # 10 users, each (2 s - its start) / (10 ms + 100 ms): about 160; a closed loop is never faster than that.
    assert 100 < len(frame) <= 170
    assert driver.most("users") == 10
    first_half = (frame.start_ns - driver.start_ns < 0.25 * NS_PER_S).sum()
    assert 5 <= first_half < 20


def test_a_spike_ramps_linearly(driver: Driver, url: str) -> None:
    workload = once("self.client.get('/ms/1')").replace("    @task", "    wait_time = constant(3000)\n    @task")
    frame = driver.run(workload, {"kind": "spike", "users": 60, "ramp": "2s", "hold": "0.2s"}, url)
    starts = sorted((frame.start_ns - driver.start_ns) / NS_PER_S)
    assert len(starts) == 60
    assert all(abs(start - (k + 0.5) / 30) < 0.15 for k, start in enumerate(starts))


def test_tasks_and_classes_are_picked_by_weight_and_a_seed_repeats(driver: Driver, url: str, tmp_path: Path) -> None:
    workload = """
        import random
        class Often(FastHttpUser):
            weight = 3
            @task(4)
            def a(self): self.client.get("/ms/1", name=f"a{random.randrange(100)}")
            @task(1)
            def b(self): self.client.get("/ms/1", name="b")
        class Rare(FastHttpUser):
            @task
            def c(self): self.client.get("/ms/1", name="c")
    """
    load = {"kind": "rate", "rate": "200/s", "hold": "2s"}
    frames = []
    for n, seed in enumerate((7, 7, 8)):
        folder = tmp_path / str(n)
        folder.mkdir()
        frames.append(Driver(folder, driver.kind, driver.workers).run(workload, load, url, seed))
    names = [list(frame.sort_values("due_ns").name) for frame in frames]
    assert names[0] == names[1] != names[2]
    kinds = Counter(name[0] for name in names[0])
    assert 180 < kinds["a"] < 290  # 240 of 400, by 5 standard deviations
    assert 25 < kinds["b"] < 100
    assert 55 < kinds["c"] < 145


def test_sequences_of_tasks_go_on_where_they_were(driver: Driver, url: str) -> None:
    workload = """
        class Steps(SequentialTaskSet):
            @task
            def one(self): self.client.get("/ms/1", name="one")
            @task
            def two(self): self.client.get("/ms/1", name="two")
        class U(FastHttpUser):
            tasks = [Steps]
    """
    frame = driver.run(workload, {"kind": "rate", "rate": "10/s", "hold": "0.6s"}, url)
    assert len(frame) == 6
    for _, mine in frame.groupby("worker"):
        assert list(mine.name) == (["one", "two"] * 3)[: len(mine)]


# --- ending


def test_the_end_waits_for_requests_in_flight_and_sends_no_more(driver: Driver, url: str) -> None:
    body = "self.client.get('/ms/800', name='slow')\nself.client.get('/ms/1', name='second')"
    frame = driver.run(once(body), {"kind": "users", "users": 5, "spawn": "100/s", "hold": "0.4s"}, url)
    assert Counter(zip(frame.name, frame.outcome, strict=True)) == {("slow", "ok"): 5}


def test_users_that_think_end_at_once(driver: Driver, url: str) -> None:
    workload = once("self.client.get('/ms/1')").replace("    @task", "    wait_time = constant(300)\n    @task")
    began = now_ns()
    driver.run(workload, {"kind": "users", "users": 5, "spawn": "100/s", "hold": "0.3s", "drain": "60s"}, url)
    assert now_ns() - began < 20 * NS_PER_S


def test_its_table_of_open_files_is_not_made_longer_under_load(driver: Driver, url: str) -> None:
    engine = driver.start(once("self.client.get('/ms/5')"), {"kind": "rate", "rate": "50/s", "hold": "1s"}, url)
    assert all(file_table(worker["pid"]) >= 4096 for worker in engine.describe()["workers"])
    driver.watch(engine)


@pytest.mark.parametrize("how", ["command", "SIGTERM"])
def test_stop_drains(driver: Driver, url: str, how: str) -> None:
    engine = driver.start(once("self.client.get('/ms/300')"), {"kind": "rate", "rate": "50/s", "hold": "10m"}, url)
    driver.watch(engine, until_rows=30)
    if how == "command":
        engine.stop("a test wants it")
    else:
        os.kill(engine.describe()["workers"][0]["pid"], signal.SIGTERM)
    driver.watch(engine)
    assert Counter(driver.table().outcome) == {"ok": driver.rows}
    assert engine.asked.partition(" on ")[0] in (
        [""] if how == "command" else ["locust-0", "locust-0 was asked to stop (SIGTERM)"]
    )


def test_a_stop_ends_the_schedule_at_its_moment_however_long_the_workload_takes_to_stop(
    driver: Driver, url: str
) -> None:
    workload = (
        "from gevent.monkey import get_original\nfrom locust import events\nblock = get_original('time', 'sleep')\n"
        "@events.test_stopping.add_listener\ndef dawdle(**_):\n    block(0.5)\n"
    )
    engine = driver.start(
        workload + once("self.client.get('/ms/1')"), {"kind": "rate", "rate": "20/s", "hold": "10m"}, url
    )
    driver.watch(engine, until_rows=15)
    engine.stop("a test wants it")
    driver.watch(engine)
    frame = driver.table()
    assert (frame.outcome == "ok").all()
    assert sorted(frame.due_ns - driver.start_ns) == [i * 50_000_000 for i in range(len(frame))]


def test_stop_at_once_writes_what_is_in_flight_as_lost(driver: Driver, url: str) -> None:
    engine = driver.start(once("self.client.get('/hang')"), {"kind": "rate", "rate": "50/s", "hold": "10m"}, url)
    while driver.most("in_flight") < 20:
        driver.watch(engine, until_rows=0)
        sleep(0.05)
        driver.look(engine)
    engine.stop("now", at_once=True)
    driver.watch(engine, within_s=5)
    outcomes = driver.table().sort_values("due_ns").outcome
    assert len(outcomes) >= 20
    # What was due in the milliseconds before, one of each worker's at most, may not have been sent yet.
    assert (outcomes[:-2] == "lost").all()
    assert set(outcomes[-2:]) <= {"lost", "dropped"}


def test_a_killed_generator_leaves_what_it_flushed_and_is_noticed(driver: Driver, url: str) -> None:
    engine = driver.start(once("self.client.get('/ms/5')"), {"kind": "rate", "rate": "100/s", "hold": "10m"}, url)
    driver.watch(engine, until_rows=150)
    os.kill(engine.describe()["workers"][0]["pid"], signal.SIGKILL)
    with pytest.raises(TrafficFailed, match="signal 9"):
        driver.watch(engine)
    frame = driver.table()
    assert len(frame) == driver.rows >= 150
    assert set(frame[frame.worker == "locust-0"].outcome) == {"ok"}
    assert set(frame[frame.worker != "locust-0"].outcome) <= {"ok", "lost", "dropped"}


def test_a_generator_that_can_write_no_more_ends_the_load_and_is_noticed(driver: Driver, url: str) -> None:
    workload = (
        "from harness.traffic.locust_pulse import PulseMaker\n"
        "def fail(*_): raise ValueError('no pulse')\nPulseMaker.pulse = fail\n"
    )
    load = {"kind": "rate", "rate": "50/s", "hold": "10m"}
    engine = driver.start(workload + once("self.client.get('/ms/5')"), load, url)
    with pytest.raises(TrafficFailed, match="ValueError: no pulse"):
        driver.watch(engine, within_s=15)


def test_the_generator_ends_when_the_harness_is_gone_even_if_the_workload_is_busy(driver: Driver, url: str) -> None:
    engine = driver.start(once("while True: pass"), {"kind": "rate", "rate": "10/s", "hold": "10m"}, url)
    sleep(0.5)
    processes = [held.process for held in engine._processes.values()]  # type: ignore[attr-defined]
    for process in processes:
        process.stdin.close()  # what the kernel does when we die
    assert [process.wait(10) for process in processes] == [1] * len(processes)


# --- what it says about itself


def test_a_loop_that_is_held_up_is_confessed(driver: Driver, url: str) -> None:
    workload = "from gevent.monkey import get_original\nblock = get_original('time', 'sleep')\n"
    body = "block(0.3)\nself.client.get('/ms/1')"
    frame = driver.run(workload + once(body), {"kind": "rate", "rate": "2/s", "hold": "3s"}, url)
    assert len(frame) == 6
    assert max(p.lag_max_ms for p in driver.pulses) > 200
    assert max(p.lateness_p99_ms for p in driver.pulses) > 290
    assert 0 <= max(p.cpu for p in driver.pulses) < 1.5
    assert driver.most("sent") == 6
    assert driver.pulses[-1].rss_mib > 20


def test_a_stall_of_the_generator_is_caught_up_without_skipping(driver: Driver, url: str) -> None:
    workload = "from gevent.monkey import get_original\nblock = get_original('time', 'sleep')\nonce = [1]\n"
    body = "if once and len(once) == 1:\n    once.append(1)\n    block(1)\nself.client.get('/ms/1')"
    frame = driver.run(workload + once(body), {"kind": "rate", "rate": "100/s", "hold": "2s"}, url)
    assert sorted(frame.due_ns - driver.start_ns) == [i * 10_000_000 for i in range(200)]
    assert (frame.outcome == "ok").all()
    assert (frame.start_ns - frame.due_ns).max() > 0.9 * NS_PER_S


def test_a_stall_at_the_very_end_loses_no_arrival(driver: Driver, url: str) -> None:
    workload = "from gevent.monkey import get_original\nblock = get_original('time', 'sleep')\nn = [0]\n"
    body = "n[0] += 1\nif n[0] == 15:\n    block(1)\nself.client.get('/ms/1')\nself.client.get('/ms/1', name='second')"
    frame = driver.run(workload + once(body), {"kind": "rate", "rate": "20/s", "hold": "1s"}, url)
    first = frame[frame.name != "second"]
    assert sorted(first.due_ns - driver.start_ns) == [i * 50_000_000 for i in range(20)]
    assert (frame.outcome == "ok").all()


def test_what_was_due_before_an_early_stop_is_a_row(driver: Driver, url: str) -> None:
    workload = "import gevent\n" + once("gevent.sleep(30)\nself.client.get('/ms/1')")
    engine = driver.start(workload, {"kind": "rate", "rate": "20/s", "hold": "10m", "drain": "0.2s"}, url)
    sleep(1)
    stopped_ns = now_ns()
    engine.stop("a test wants it")
    driver.watch(engine)
    frame = driver.table()
    assert set(zip(frame.outcome, frame.error, strict=True)) == {("dropped", "the load was stopped before it was sent")}
    due = sorted(frame.due_ns - driver.start_ns)
    assert due == [i * 50_000_000 for i in range(len(due))]
    assert len(due) >= (stopped_ns - driver.start_ns) // 50_000_000


def test_threads_of_the_engine_end_with_it(driver: Driver, url: str) -> None:
    before = threading.active_count()
    driver.run(once("self.client.get('/ms/1')"), ONE, url)
    sleep(0.2)
    assert threading.active_count() <= before


def test_a_workload_that_reads_locusts_statistics_finds_them_true(driver: Driver, url: str) -> None:
    workload = """
    import json, logging
    from locust import events
    @events.test_stop.add_listener
    def judge(environment, **_):
        stats = environment.stats
        entry = stats.get("echo", "GET")
        logging.warning("TOTALS " + json.dumps([
            stats.total.num_requests, stats.total.num_failures, entry.num_requests, entry.num_failures,
            round(stats.total.fail_ratio, 3), sorted(e.occurrences for e in stats.errors.values()),
            entry.min_response_time > 0, entry.max_response_time < 5000, sum(entry.response_times.values()),
            len(stats.total.num_reqs_per_sec) <= 5,
        ]))
    class U(FastHttpUser):
        @task
        def t(self):
            self.client.get("/ms/1", name="echo")
            self.client.get("/status/503", name="bad")
    """
    frame = driver.run(workload, {"kind": "rate", "rate": "200/s", "hold": "2s", "drain": "5s"}, url)
    good, bad = (int((frame.name == name).sum()) for name in ("echo", "bad"))
    assert good == bad == 400
    said = [json.loads(line.partition("TOTALS ")[2]) for line in driver.log.splitlines() if "TOTALS" in line]
    assert len(said) == driver.workers, "each worker hears of its own, as under Locust"
    n = 400 // driver.workers
    assert said == [[2 * n, n, n, 0, 0.5, [n], True, True, n, True]] * driver.workers


def test_a_full_disk_is_said_and_once_there_is_room_nothing_is_missing(driver: Driver, url: str) -> None:
    load = {"kind": "rate", "rate": "50/s", "hold": "60s", "drain": "5s"}
    engine = driver.start(once("self.client.get('/ms/5')"), load, url)
    driver.watch(engine, until_rows=40)
    processes: dict[str, Any] = engine._processes  # type: ignore[attr-defined]
    keeper = processes[driver.writes].process.pid
    size = max(f.stat().st_size for f in (driver.folder / "recording" / "requests").iterdir())
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (size + 1000, resource.RLIM_INFINITY))
    driver.watch_until(engine, lambda: driver.pulses[-1].trouble.startswith("file too large"))
    rows = driver.rows
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    driver.watch_until(engine, lambda: driver.rows > rows + 100 and not driver.pulses[-1].trouble)
    engine.stop("enough")
    driver.watch(engine)
    assert len(driver.table()) == driver.rows == driver.most("sent")
