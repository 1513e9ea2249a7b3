"""Each kind of load on the real engine: when requests are due, who makes them, and what happens when nobody can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.clock import NS_PER_S, now_ns
from harness.errors import PlanError, WorkloadFailed
from harness.model.load import ReplayLoad
from harness.traffic import arrivals
from tests.calibrate.serving import serving
from tests.contract import rate_steps
from tests.contract.test_engine import Driver, once, server_log

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture(params=["locust"])  # k6: test_k6_engine.py
def driver(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Driver]:
    driver = Driver(tmp_path, request.param)
    yield driver
    if driver.engine:
        driver.engine.kill()


# --- arrivals from a file


def replay(driver: Driver, text: str, **keys: Any) -> dict[str, Any]:
    """Write arrivals beside the workload and return the load, resolved as a plan's would be."""
    (driver.folder / "arrivals.csv").write_text(text)
    load, driver.replayed = arrivals.fixed(
        ReplayLoad(kind="replay", file="arrivals.csv", **keys), driver.folder, scale=1
    )
    return load.model_dump(mode="json")


def test_arrivals_are_replayed_to_the_nanosecond(driver: Driver, url: str) -> None:
    gaps = np.random.default_rng(1).exponential(5e6, 300).astype(int)
    times = np.cumsum(gaps)
    times[100:110] = times[100]  # ten at once
    text = "id,seconds\n" + "".join(f"{n},{t // NS_PER_S}.{t % NS_PER_S:09d}\n" for n, t in enumerate(times.tolist()))
    frame = driver.run(once("self.client.get('/ms/2')"), replay(driver, text, column="seconds"), url)
    assert sorted(frame.due_ns - driver.start_ns) == times.tolist()
    assert set(frame.outcome) == {"ok"}
    assert len(server_log(url).keys() & set(frame.request_id)) == 300


def test_a_file_that_changed_after_the_plan_was_made_is_refused(driver: Driver, url: str) -> None:
    engine = driver.make(once("self.client.get('/ms/2')"), replay(driver, "0\n1\n"))
    (driver.folder / "arrivals.csv").write_text("0\n2\n")
    with pytest.raises(PlanError, match=r"arrivals\.csv: has changed since the plan was made"):
        engine.prepare()


# --- what a task sends


def test_of_what_a_task_sends_at_once_the_first_is_due_and_nothing_is_dropped(driver: Driver, url: str) -> None:
    workload = """
        import gevent
        from gevent.pool import Pool
        class U(FastHttpUser):
            def on_start(self):
                gevent.spawn(self.poll)  # what it sends is on nobody's schedule
            def poll(self):
                gevent.sleep(0.02)
                self.client.get("/ms/1", name="poll")
            @task
            def t(self):
                gevent.sleep(0.05)
                Pool(2).map(lambda _: self.client.get("/ms/5", name="ask"), range(3))
    """
    frame = driver.run(workload, {"kind": "rate", "rate": "20/s", "hold": "1s", "drain": "5s"}, url)
    assert set(frame.outcome) == {"ok"}
    due = frame[frame.due_ns < frame.start_ns]
    assert sorted(due.due_ns - driver.start_ns) == [i * 50_000_000 for i in range(20)]
    assert set(due.name) == {"ask"}
    assert Counter(frame.name)["ask"] > 40


# --- steps


def test_rates_go_up_and_down_in_steps(driver: Driver, url: str) -> None:
    frame = driver.run(once("self.client.get('/ms/2')"), rate_steps.LOAD, url)
    due = np.sort(frame.due_ns - driver.start_ns)
    assert due.tolist() == rate_steps.DUE.tolist()
    assert np.histogram(due, np.array([0, 1, 1.5, 2, 2.3, 2.8]) * NS_PER_S)[0].tolist() == [40, 30, 40, 0, 10]


USERS = """
    import itertools
    numbers = itertools.count()
    class U(FastHttpUser):
        wait_time = constant(0.05)
        def on_start(self): self.number = next(numbers)
        def on_stop(self): self.client.get("/ms/1", name="bye")
        @task
        def t(self):
            self.client.get("/ms/20", name=f"u{self.number}")
            self.client.get("/ms/20", name="second")
"""


def test_users_come_and_go_in_steps(driver: Driver, url: str) -> None:
    levels = [(5, 0.0), (20, 0.5), (3, 0.0), (8, 0.0)]
    steps = [{"users": users, "ramp": f"{ramp}s", "hold": "1.2s"} for users, ramp in levels]
    frame = driver.run(USERS, {"kind": "steps", "steps": steps}, url)
    assert set(frame.outcome) == {"ok"}
    start = (frame.start_ns - driver.start_ns) / NS_PER_S
    named = frame[frame.name.str.startswith("u")]
    seen, begin = [], 0.0
    for _, ramp in levels:
        inside = start.loc[named.index].between(begin + ramp + 0.4, begin + ramp + 1.2)
        seen.append(set(named.name[inside]))
        begin += ramp + 1.2
    assert [len(names) for names in seen] == [5, 20, 3, 8]
    assert seen[2] < seen[0] < seen[1], "the latest to come are the first to go"
    assert len(seen[3] - seen[1]) == 5, "those that come later are others"
    byes = start[frame.name == "bye"]
    assert len(byes) == 17, "who leaves says so; at the end nothing more is sent"
    assert byes.between(2.9, 3.1).all(), "after the request they are in, not after the task"


def test_users_that_leave_while_they_think_leave_at_once(driver: Driver, url: str) -> None:
    steps = [{"users": 6, "hold": "1s"}, {"users": 1, "hold": "1.5s"}]
    driver.run(USERS.replace("constant(0.05)", "constant(300)"), {"kind": "steps", "steps": steps}, url)
    frame = driver.table()
    assert (frame.name == "bye").sum() == 5
    assert min(p.users for p in driver.pulses if p.t_ns > driver.start_ns + 1.2 * NS_PER_S) <= 1


# --- who starts when


def test_users_start_evenly_and_not_once_a_second(driver: Driver, url: str) -> None:
    workload = once("self.client.get('/ms/1')").replace("    @task", "    wait_time = constant(3000)\n    @task")
    frame = driver.run(workload, {"kind": "users", "users": 60, "spawn": "20/s", "hold": "3.2s"}, url)
    starts = sorted((frame.start_ns - driver.start_ns) / NS_PER_S)
    assert len(starts) == 60
    assert all(abs(start - (k + 0.5) / 20) < 0.1 for k, start in enumerate(starts))
    assert max(np.diff(starts)) < 0.2


# --- users of an open loop


@pytest.mark.parametrize("client", ["FastHttpUser", "HttpUser"])
def test_users_of_an_open_loop_log_in_once_and_keep_their_session(driver: Driver, url: str, client: str) -> None:
    workload = f"""
        class U({client}):
            def on_start(self):
                self.client.get("/login", name="login")
            @task
            def t(self):
                me = self.client.get("/whoami", name="me").json()["answer"]
                assert me.startswith("session="), me
                self.client.get("/ms/30", name=me)
    """
    frame = driver.run(workload, {"kind": "rate", "rate": "20/s", "hold": "1.5s"}, url)
    names = Counter(frame.name)
    assert set(frame.outcome) == {"ok"}
    assert names["me"] == 30
    assert names["login"] == len(names) - 2 == driver.pulses[-1].users < 10, "one login each; users are used again"
    due = frame[frame.name == "me"]
    assert sorted(due.due_ns - driver.start_ns) == [i * 50_000_000 for i in range(30)]
    others = frame[frame.name != "me"]
    assert (others.due_ns == others.start_ns).all(), "only the first request of a task is due"


def test_time_to_log_in_is_no_lateness_of_the_generator(driver: Driver, url: str) -> None:
    workload = """
        class U(FastHttpUser):
            def on_start(self): self.client.get("/ms/300", name="login")
            @task
            def t(self): self.client.get("/ms/1", name="t")
    """
    frame = driver.run(workload, {"kind": "rate", "rate": "4/s", "hold": "1s"}, url)
    task = frame[frame.name == "t"]
    assert (task.start_ns - task.due_ns).max() > 0.29 * NS_PER_S, "the user did wait"
    assert max(p.lateness_p99_ms for p in driver.pulses) < 100


def test_an_arrival_whose_user_logs_in_as_the_load_ends_is_sent(driver: Driver, url: str) -> None:
    workload = """
        class U(FastHttpUser):
            def on_start(self):
                for _ in range(3):
                    self.client.get("/ms/300", name="login")
            @task
            def t(self): self.client.get("/ms/1", name="t")
    """
    frame = driver.run(workload, {"kind": "rate", "rate": "4/s", "hold": "1s"}, url)
    assert Counter(zip(frame.name, frame.outcome, strict=True)) == {("login", "ok"): 12, ("t", "ok"): 4}
    assert frame.start_ns.max() > driver.start_ns + 1.6 * NS_PER_S, "after the end of the load"


def test_an_arrival_goes_on_where_its_user_is_and_leaves_what_interrupts(driver: Driver, url: str) -> None:
    workload = """
        class Cart(SequentialTaskSet):
            def on_start(self): print("cart entered")
            def on_stop(self): print("cart left")
            @task
            def add(self): self.client.get("/ms/1", name="add")
            @task
            def pay(self): self.client.get("/ms/1", name="pay")
            @task
            def leave(self): self.interrupt()
        class Shop(TaskSet):
            tasks = [Cart]
        class U(FastHttpUser):
            tasks = [Shop]
    """
    frame = driver.run(workload, {"kind": "rate", "rate": "20/s", "hold": "0.5s"}, url)
    assert list(zip(frame.name, frame.outcome, strict=True)) == [("add", "ok"), ("pay", "ok")] * 5
    assert driver.log.count("cart entered") == 5
    assert driver.log.count("cart left") == 5, "four interrupts, and the end of the load"


def test_task_sets_that_only_hand_over_do_not_hang_the_load(driver: Driver, url: str) -> None:
    workload = """
        class Empty(TaskSet):
            @task
            def leave(self): self.interrupt()
        class U(FastHttpUser):
            tasks = [Empty]
    """
    frame = driver.run(workload, {"kind": "rate", "rate": "10/s", "hold": "0.5s"}, url)
    assert set(zip(frame.outcome, frame.error, strict=True)) == {("dropped", "the task made no request")}
    assert len(frame) == 5


def test_a_task_of_an_open_loop_may_wait_and_every_user_stops(driver: Driver, url: str) -> None:
    workload = """
        class U(FastHttpUser):
            wait_time = constant(0.2)
            def on_stop(self): print("stopped")
            @task
            def t(self):
                self.client.get("/ms/1", name="one")
                self.wait()
                self.client.get("/ms/1", name="two")
    """
    frame = driver.run(workload, {"kind": "rate", "rate": "20/s", "hold": "1s"}, url)
    names = Counter(frame.name)
    assert names["one"] == 20
    assert 14 <= names["two"] <= 17, "those that wait as the load ends send no more"
    assert set(frame.outcome) == {"ok"}
    assert driver.log.count("stopped") == driver.pulses[-1].users
    two = frame[frame.name == "two"].start_ns.min() - frame[frame.name == "one"].start_ns.min()
    assert 0.19 * NS_PER_S < two < 0.3 * NS_PER_S


def test_a_user_that_stops_itself_is_replaced(driver: Driver, url: str) -> None:
    workload = """
        from locust.exception import StopUser
        class U(FastHttpUser):
            def on_stop(self): self.client.get("/ms/1", name="bye")
            @task
            def t(self):
                self.client.get("/ms/1", name="t")
                raise StopUser
    """
    frame = driver.run(workload, {"kind": "rate", "rate": "10/s", "hold": "0.5s"}, url)
    assert Counter(frame.name) == {"t": 5, "bye": 5}
    assert driver.pulses[-1].users == 5
    assert driver.pulses[-1].errors == 0


def test_a_class_of_a_fixed_count_alone_gets_no_arrivals(driver: Driver) -> None:
    workload = once("self.client.get('/ms/1')").replace("    @task", "    weight = 0\n    fixed_count = 3\n    @task")
    engine = driver.make(workload, {"kind": "rate", "rate": "10/s", "hold": "1s"})
    with pytest.raises(PlanError, match="every weight is 0"):
        engine.prepare()


# --- workloads that make no load


def broken(driver: Driver, url: str, workload: str, load: dict[str, Any]) -> str:
    """Run a load of ten minutes; return what the engine says when it gives up, soon."""
    began = now_ns()
    engine = driver.start(workload, {"hold": "10m", **load}, url)
    with pytest.raises(WorkloadFailed) as caught:
        driver.watch(engine)
    assert now_ns() - began < 15 * NS_PER_S
    assert "Traceback" not in str(caught.value)
    assert "logs/locust.log" in str(caught.value)
    assert "Traceback" in driver.log
    assert driver.rows == len(driver.table()), "what was recorded is kept"
    return str(caught.value)


CLOSED, OPEN = {"kind": "users", "users": 5, "spawn": "10/s"}, {"kind": "rate", "rate": "50/s"}
LOGIN = """
    class U(FastHttpUser):
        def on_start(self):
            self.client.get("/status/401", name="login").json()["token"]
        @task
        def t(self): self.client.get("/ms/1")
"""


def test_on_start_that_raises_in_every_user_ends_the_run(driver: Driver, url: str) -> None:
    said = broken(driver, url, LOGIN, CLOSED)
    assert (
        "workload.py: every user raised an exception and ended, the last one KeyError: 'token' (workload.py:5)" in said
    )
    assert Counter(driver.table().name) == {"login": 5}


@pytest.mark.parametrize("load", [CLOSED, OPEN])
def test_a_workload_that_raises_before_any_request_ends_the_run(driver: Driver, url: str, load: dict[str, Any]) -> None:
    workload = LOGIN.replace(
        'self.client.get("/status/401", name="login").json()["token"]', "raise ValueError('no key')"
    )
    assert "ValueError: no key (workload.py:5)" in broken(driver, url, workload, load)


def test_test_start_that_raises_ends_the_run_before_it_begins(driver: Driver, url: str) -> None:
    workload = "@events.test_start.add_listener\ndef begin(environment, **_):\n    open('/nowhere/users.csv')\n"
    engine = driver.start(workload + once("self.client.get('/ms/1')"), {**OPEN, "hold": "10m"}, url)
    with pytest.raises(WorkloadFailed, match=r"a test_start listener raised FileNotFoundError.*\(workload.py:4\)"):
        driver.watch(engine, within_s=10)
    assert driver.rows == 0


def test_one_user_that_fails_is_not_the_end(driver: Driver, url: str) -> None:
    workload = """
        import itertools
        numbers = itertools.count()
        class U(FastHttpUser):
            wait_time = constant(0.1)
            def on_start(self):
                if next(numbers) == 0:
                    raise ValueError("unlucky")
            @task
            def t(self): self.client.get("/ms/1")
    """
    frame = driver.run(workload, {"kind": "users", "users": 4, "spawn": "100/s", "hold": "2.5s"}, url)
    assert set(frame.outcome) == {"ok"}
    assert driver.pulses[-1].errors == 1
