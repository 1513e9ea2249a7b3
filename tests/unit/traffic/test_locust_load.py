"""What goes on in a generator's process, apart from its requests: chance, users that come to grief, rows that resist.

In a process of its own: importing what is tested has gevent patch the process.
"""

from __future__ import annotations

from tests.unit.traffic.test_locust_client import passes


def test_every_draw_of_a_workload_comes_from_the_plans_seed() -> None:
    passes("""
    import random
    import gevent
    from harness.traffic.locust_turn import Turn, install

    install(random.Random(7))
    truth = random.Random(7)
    assert [random.random() for _ in range(3)] == [truth.random() for _ in range(3)]
    random.seed()
    random.seed(None)
    assert random.random() == truth.random()
    random.seed(8)
    truth.seed(8)
    assert random.gauss(5, 2) == truth.gauss(5, 2)
    assert random.getstate() == truth.getstate()

    def draw(seen):
        for _ in range(3):
            seen.append(random.gauss(0, 1))
            gevent.sleep(0)

    seen = [[], []]
    turns = [Turn(draw, mine, stream=random.Random(n)) for n, mine in enumerate(seen)]
    for turn in turns:
        turn.start()
    gevent.joinall(turns, raise_error=True)
    for n, mine in enumerate(seen):
        alone = random.Random(n)
        assert mine == [alone.gauss(0, 1) for _ in range(3)], "and not what another user left"
    """)


def test_what_greenlets_of_a_task_draw_depends_on_nobodys_answers() -> None:
    passes("""
    import random
    import gevent
    from harness.traffic.locust_turn import Turn, install

    install(random.Random(7))

    def ask(drawn, wait_s):
        for _ in range(3):
            drawn.append(random.random())
            gevent.sleep(wait_s)

    def task(drawn, waits_s):
        drawn[0].append(random.random())
        gevent.joinall([gevent.spawn(ask, mine, wait_s) for mine, wait_s in zip(drawn[1:], waits_s)], raise_error=True)
        drawn[0].append(random.random())

    def run(*waits_s):
        drawn = [[] for _ in range(1 + len(waits_s))]
        turn = Turn(task, drawn, waits_s, stream=random.Random(1))
        turn.start()
        turn.get()
        return drawn

    alone = random.Random(1)
    drawn = run(0.001, 0.01, 0.003)
    assert drawn == run(0.02, 0.001, 0.001), "whoever is answered first"
    assert drawn[0] == [alone.random(), alone.random()], "as if the task had spawned nothing"
    assert len({number for mine in drawn for number in mine}) == 11, "and each draws its own"
    """)


AHEAD = """
    from types import SimpleNamespace
    import gevent
    import numpy as np
    from locust import FastHttpUser, User, task
    from locust.env import Environment
    from harness.clock import now_ns
    from harness.traffic import locust_open
    from harness.traffic.locust_levels import LevelsLoad
    from harness.traffic.locust_turn import take_due

    MS = 10**6
    locust_open._USUALLY_NS, locust_open._AHEAD = 100 * MS, 1.0
    sent, dropped, entered = [], [], []
    recorder = SimpleNamespace(drop=lambda due_ns, why: dropped.append(due_ns - begin))

    class Ours(FastHttpUser):
        host = "http://127.0.0.1:1"
        def on_start(self): entered.append(("on_start", now_ns() - begin))
        @task
        def t(self):
            entered.append(("task", now_ns() - begin))
            due_ns = take_due(wait=True)  # as our clients do
            sent.append((due_ns - begin, now_ns() - begin))

    class Another(User):
        @task
        def t(self): sent.append((take_due() - begin, now_ns() - begin))

    environment = Environment(user_classes=[Ours])
    begin = 0

    def started(kind, count, every_ms=50):
        global begin
        sent.clear(); dropped.clear(); entered.clear()
        begin = now_ns()
        due = np.arange(1, count + 1) * every_ms * MS
        environment.user_classes = [kind]
        load = LevelsLoad(environment, recorder, 1, due, 100, (0, 1), "constant")
        load.start(begin)
        return load
"""


def test_an_arrival_is_begun_ahead_and_sent_when_it_is_due() -> None:
    passes(
        AHEAD
        + """
    load = started(Ours, 5)
    gevent.sleep(0.4)
    assert [due for due, _ in sent] == [50 * MS, 100 * MS, 150 * MS, 200 * MS, 250 * MS] and not dropped
    assert all(at >= due for due, at in sent)
    users = [(what, at) for what, at in entered]
    assert users[0][0] == "on_start" and users[0][1] >= 50 * MS, "a new user is part of its arrival"
    ahead = [due - at for (due, _), at in zip(sent, [at for what, at in users if what == "task"])]
    assert max(ahead) > 10 * MS, "the later ones were begun before they were due"

    started(Another, 5)
    gevent.sleep(0.4)
    assert len(sent) == 5 and all(at >= due for due, at in sent), "its client knows of no due time"
    """
    )


def test_who_takes_long_to_get_ready_is_begun_so_much_earlier() -> None:
    """Where it is the machine that is slow. A task that waits before it asks is not asked to ask sooner."""
    passes(
        AHEAD
        + """
    from statistics import median

    locust_open._USUALLY_NS, locust_open._AHEAD = 2 * MS, 0.1
    takes_s = 0.006

    class Slow(Ours):
        @task
        def t(self):
            entered.append(("task", now_ns() - begin))
            gevent.sleep(takes_s)
            sent.append((take_due(wait=True) - begin, now_ns() - begin))

    Slow.tasks = [Slow.t]
    started(Slow, 10, every_ms=200)
    gevent.sleep(2.2)
    assert len(sent) == 10 and all(at >= due for due, at in sent)
    late = [(at - due) / MS for due, at in sent]
    assert late[1] > 3 and median(late[4:]) < late[1] / 2, late

    takes_s = 0.005
    load = started(Slow, 30, every_ms=100)
    gevent.sleep(0.65)
    takes_s = 0.04
    gevent.sleep(2.6)
    ahead = [(due - at) / MS for (due, _), at in zip(sent, [at for what, at in entered if what == "task"])]
    assert len(ahead) == 30 and max(ahead[2:6]) > 4 and max(ahead[-3:]) < 3, ahead

    class Elsewhere(User):
        @task
        def t(self): sent.append((take_due(wait=True) - begin, now_ns() - begin))

    load = started(Elsewhere, 10, every_ms=50)
    gevent.sleep(0.7)
    assert len(sent) == 10 and load._takes_ns == [0], "begun when it was due: nothing to learn from"
    """
    )


def test_what_was_begun_ahead_and_is_due_after_the_end_is_neither_sent_nor_dropped() -> None:
    passes(
        AHEAD
        + """
    def completed(load):
        load.complete(begin + 130 * MS)
        load.stop()

    def levelled(load):
        load.change(1, 130 * MS, 0.0, 1.0)

    for end in completed, levelled, lambda load: load.stop():
        load = started(Ours, 5)
        gevent.sleep(0.12)
        assert load.in_flight, "the third one is waiting"
        end(load)
        gevent.sleep(0.3)
        assert [due for due, _ in sent] == [50 * MS, 100 * MS] and not dropped, (end, sent, dropped)
        assert not load.in_flight
        load.kill()
        assert not dropped
        users = sum(map(len, load._idle.values()))
        assert users == (load.users if end is levelled else 0), "between levels a user that was called off stays"
    """
    )


def test_only_users_that_an_exception_ended_are_gone() -> None:
    passes("""
    from types import SimpleNamespace
    import gevent
    import numpy as np
    from locust import User, constant, task
    from locust.env import Environment
    from harness.clock import now_ns
    from harness.traffic.locust_closed import ClosedLoad, Users
    from harness.traffic.locust_measuring import Measuring
    from harness.traffic.locust_run import Run

    class Raises(User):
        wait_time = constant(0.01)
        @task
        def t(self): raise ValueError("in a task")

    class CannotStart(Raises):
        def on_start(self): raise ValueError("in on_start")

    class CannotStop(Raises):
        def on_stop(self): raise ValueError("in on_stop")

    def after(kind, stop_s, numbers=None):
        users = Users(np.zeros(2, int), np.full(2, stop_s * 10**9, int), np.arange(2))
        load = ClosedLoad(Environment(user_classes=[kind]), SimpleNamespace(in_flight=0), 1, users, numbers)
        load.start(now_ns())
        gevent.sleep(0.3)
        return load

    gone = after(Raises, 0.2)
    assert gone.errors >= 2 and not gone.users and not gone.extinct, "the last step has no users"
    assert not after(CannotStop, 0.2).extinct
    assert not after(Raises, 0.2, np.zeros(0, int)).extinct, "no user is ours"
    dead = after(CannotStart, 9)
    assert dead.extinct and dead.errors == 2

    run = object.__new__(Run)
    run._load, run._recorder = dead, SimpleNamespace(sent=0)
    assert "every user raised an exception" in run._broken()
    Measuring.stopping = True
    assert run._broken() == "", "it went on to its end"
    """)


def test_what_one_answer_does_to_us_costs_no_other_row() -> None:
    passes("""
    import locust
    import tempfile
    from pathlib import Path
    from types import SimpleNamespace
    from greenlet import GreenletExit
    from harness.model.request import Outcome
    from harness.observe import Reading
    from harness.recording.reader import read_stream
    from harness.recording.requests import RequestWriter
    from harness.recording.spool import Nowhere
    from harness.recording.tokens import TokenWriter
    from harness.traffic.locust_record import Exchange, Recorder

    def read(answer):
        if answer.status == 500:
            raise ValueError("odd")
        return Reading(Outcome.OK, "", "p", -1, -1, -1, -1, -1)

    path = Path(tempfile.mkdtemp()) / "r.arrows"
    writer = RequestWriter(path, "w")
    observation = SimpleNamespace(tokens=None, read=read)
    recorder = Recorder(writer, TokenWriter(Nowhere()), observation, stream_end="", stream=1)

    def exchange(name, status=200, **more):
        x = Exchange(recorder, name, {})
        x.start_ns, x.due_ns, x.end_ns, x.status, x.headers, x.context = 1, 1, 2, status, {}, {"team": "t"}
        vars(x).update(more)
        x.write()

    exchange("good")
    exchange("unreadable", 500)
    exchange("unreadable", 500, exception=GreenletExit())
    exchange(["no name"])
    exchange("long", bytes_in=2**31, bytes_out=2**40)
    exchange("no time", start_ns=2**70)
    exchange("also good")
    recorder.settle()
    open_ = Exchange(recorder, "open", {})
    open_.due_ns = 1
    recorder.begin(open_, 3)
    open_.status, open_.headers = 500, {}
    recorder._read = lambda x: 1 / 0
    assert recorder.lose() == 1
    writer.close()
    rows = read_stream(path)[0].select(["name", "outcome", "error", "bytes_in", "bytes_out", "team"]).to_pylist()
    most, why = 2**31 - 1, "the answer could not be read: "
    assert [row.pop("team") for row in rows] == ["t"] * 6 + [""]
    assert [tuple(row.values()) for row in rows] == [
        ("good", "ok", "", 0, 0),
        ("unreadable", "failed", why + "ValueError: odd", 0, 0),
        ("unreadable", "lost", "", 0, 0),
        ("['no name']", "failed", why + "TypeError: unhashable type: 'list'", 0, 0),
        ("long", "ok", "", most, most),
        ("also good", "ok", "", 0, 0),
        ("open", "lost", "", 0, 3),
    ], rows
    assert recorder.misread == 5
    """)


def test_half_an_emoji_in_an_exception_reaches_the_master_and_takes_nothing_with_it() -> None:
    passes("""
    from types import SimpleNamespace
    from gevent.queue import Queue
    from locust.env import Environment
    from locust.rpc.protocol import Message
    from harness.traffic.locust_driver import Load
    from harness.traffic.locust_worker import Link

    load = Load(Environment(), None, 1)
    load._note(ValueError("half: \\ud83d"))
    assert load.last_error == "ValueError: half: ?"

    sent = []
    def send(kind, data): sent.append(Message.unserialize(Message(kind, data, "w").serialize()).data)
    link = Link(SimpleNamespace(register_message=lambda *_: None, send_message=send), Queue())
    link.outboxes["requests"].write(b"\\xff row")
    link.say("broken", what="half: \\ud83d")
    (told,) = sent
    assert (told["say"], told["what"], told["rows"]["requests"][-1]) == ("broken", "half: ?", b"\\xff row")
    """)
