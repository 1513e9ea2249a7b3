"""Master and worker as they speak to each other, without a network: what is lost on it, late, or too much.

In a process of its own each: importing them has gevent patch it.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from tests.unit.traffic.test_locust_client import passes

_BOTH = """
import gevent.monkey; gevent.monkey.patch_all()
import resource
from array import array
from pathlib import Path
from types import SimpleNamespace
from gevent.queue import Queue
from harness.recording import layout, spool
from harness.recording.reader import read_stream
from harness.recording.requests import RequestWriter
from harness.recording.tokens import TokenWriter
from harness.traffic import locust_master, messages
from harness.traffic.locust_worker import Link

folder = Path(FOLDER)
(folder / "workload.py").write_text("")
said = []

class Runner:
    environment, other, losing, name = None, None, False, "far"
    def __init__(self): self.listeners = {}
    def register_message(self, kind, listener): self.listeners[kind] = listener
    def send_message(self, kind, data, client=""):
        if not self.losing:
            self.other.listeners[kind](SimpleNamespace(node_id=self.name, type=kind, data=data))

here, there = Runner(), Runner()
here.other, there.other = there, here
order = {"recording": str(folder), "workload": str(folder / "workload.py"), "load": {"total_s": 60}}
told = {"order": order, "local": [], "remote": 1, "password": "", "prepare_s": 30.0}
master = locust_master.Master(told, here, lambda say, **data: said.append((say, data)))
link = Link(there, Queue())

def join():
    there.send_message(messages.JOIN, messages.myself())

def beats(number):
    left = iter(range(number))
    locust_master.gevent = SimpleNamespace(sleep=lambda _: next(left))
    try:
        master.watch()
    except StopIteration:
        pass

def died():
    return [data["why"].partition(" ")[2] for say, data in said if say == "died"]

requests = RequestWriter(link.outboxes[layout.REQUESTS], "locust-0")
tokens = TokenWriter(link.outboxes[layout.TOKENS])
words = dict.fromkeys("team agent tenant outcome error provider".split(), "")
numbers = dict.fromkeys([n for n in layout.REQUEST_SCHEMA.names if n not in (*words, "name", "worker")], 0)

def add(number):
    requests.add(**{**words, **numbers, "request_id": number, "name": f"n{number}"})
    tokens.add(number, array("q", range(10)))

def flush():
    tokens.flush()
    requests.flush()
    link.say("flushed", worker="locust-0", batches=requests.batches, pulse={})

def end():
    tokens.close()
    requests.close()
    link.say("ended", worker="locust-0", batches=requests.batches, lost=0)

def written(table):
    return read_stream(folder / table / "locust-0.arrows")
"""


def both(folder: Path, script: str) -> None:
    passes(f"FOLDER = {str(folder)!r}\n{_BOTH}\n{textwrap.dedent(script)}")


def test_a_worker_is_silent_while_it_imports_and_dead_only_when_it_has(tmp_path: Path) -> None:
    both(
        tmp_path,
        """
        join()
        beats(50)
        assert died() == [], "25 s of an import that holds up its loop"
        link.say("ready", worker="locust-0")
        beats(9)
        assert died() == []
        beats(3)
        assert died() == ["was not heard of for 5 s)"], died()
        told["remote"], there.name = 2, "another"
        join()
        beats(62)
        assert died()[1:] == ["was not heard of for 30 s, while it imported the workload)"], died()
        """,
    )


def test_a_word_that_is_lost_is_noticed_and_nothing_is_written_behind_the_hole(tmp_path: Path) -> None:
    both(
        tmp_path,
        """
        join()
        for number in range(6):
            there.losing = number == 2
            add(number)
            flush()
        assert died() == ["of what it sent was lost)"], died()
        assert [data["batches"] for say, data in said if say == "flushed"] == [1, 2]
        end()
        assert link.dismissed.is_set() and said[-1][0] == "died", "it may go, and is not said to have ended well"
        beats(20)
        assert len(died()) == 1
        for table, rows in ((layout.REQUESTS, 2), (layout.TOKENS, 20)):
            found, cut = written(table)
            assert len(found) == rows and "never closed" in cut, (table, len(found), cut)
        """,
    )


def test_a_disk_that_stays_full_costs_counted_rows_and_no_memory(tmp_path: Path) -> None:
    both(
        tmp_path,
        """
        spool.MOST_WAITING = 50_000
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        join()
        for number in range(10_000):
            if number == 1000:
                resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
            if number == 8000:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            add(number)
            if number % 100 == 99:
                flush()
            waiting = [len(one._waiting) for one in master._workers["far"].spools.values()]
            assert max(waiting, default=0) < 120_000, waiting
        end()
        assert said[-1][0] == "ended"
        assert requests.unrecorded > 1000 and tokens.unrecorded > 10_000
        rows, cut = written(layout.REQUESTS)
        assert (len(rows), cut) == (10_000 - requests.unrecorded, "")
        numbers = rows.column("request_id").to_pylist()
        assert numbers[-1] == 9999 and rows.column("name").to_pylist() == [f"n{number}" for number in numbers]
        assert len(written(layout.TOKENS)[0]) == 100_000 - tokens.unrecorded
        """,
    )


def test_a_worker_that_joins_while_the_master_imports_gets_the_files(tmp_path: Path) -> None:
    both(
        tmp_path,
        """
        locust_master.load_workload = lambda *_: join()
        assert master.prepare() == {"files": 1, "bytes": 0}
        assert link.answers.get(timeout=1).data["files"] == {"workload.py": b""}
        """,
    )


def test_a_wall_clock_that_is_set_ends_no_worker() -> None:
    passes("""
    import gevent.monkey; gevent.monkey.patch_all()
    import time
    from types import SimpleNamespace
    import locust.runners
    from harness.traffic import locust_worker

    def nobody(host, port): raise ConnectionError
    locust_worker.Environment = lambda **_: SimpleNamespace(create_worker_runner=nobody)
    assert locust_worker.work({"master": ["127.0.0.1", 1]}, None, lambda *_, **__: None) == 1

    left = iter(range(3))
    locust.runners.gevent = SimpleNamespace(sleep=lambda _: next(left))
    ended = []
    runner = SimpleNamespace(last_heartbeat_timestamp=time.time() - 3600, quit=lambda: ended.append(1))
    try:
        locust.runners.WorkerRunner.heartbeat_timeout_checker(runner)
    except StopIteration:
        pass
    assert ended == []
    """)


def test_what_an_answer_is_may_be_said_twice() -> None:
    passes("""
    import gevent.monkey; gevent.monkey.patch_all()
    from geventhttpclient.header import Headers
    from harness.model.target import Observe
    from harness.observe import Observation
    from harness.traffic.locust_measuring import lowered
    from harness.traffic.locust_record import Recorder

    recorder = Recorder(None, None, Observation(Observe(token="sse:$.delta")), stream_end="", stream=1)
    for kinds, stream in ((["text/event-stream"] * 2, True), (["application/json", "text/event-stream"], False)):
        headers = Headers()
        for kind in kinds:
            headers.add("Content-Type", kind)
        assert recorder.hears(headers) == recorder.hears(lowered(headers.iterlower())) == stream
    """)
