"""Nothing of the generator's own holds up the loop that stamps when answers come.

In a process of its own: importing what is tested has gevent patch the process.
"""

from __future__ import annotations

import pytest

from tests.unit.traffic.test_locust_client import passes

RECORDER = """
import json
import tempfile
from array import array
from pathlib import Path
import gevent
from gevent.monkey import patch_all; patch_all()
from harness.model.target import Observe
from harness.observe import Observation
from harness.recording.reader import read_stream
from harness.recording.requests import RequestWriter
from harness.recording.tokens import TokenWriter
from harness.tokens import Arrivals
from harness.traffic.locust_record import Exchange, Recorder

folder = Path(tempfile.mkdtemp())
writers = RequestWriter(folder / "r", "w"), TokenWriter(folder / "t")
observe = Observe(token="sse:$.text", provider="sse:$.provider", error="sse:$.error")
recorder = Recorder(*writers, Observation(observe), stream_end="data: [DONE]", stream=1)

def stream(tokens):
    x = Exchange(recorder, "stream", {})
    x.due_ns, x.start_ns, x.end_ns, x.status = 1, 1, 2, 200
    x.headers = {"content-type": "text/event-stream"}
    x.arrivals = Arrivals()
    body = b'data: {"provider": "p"}\\n\\n'
    for n in range(tokens):
        body += b"data: " + json.dumps({"text": f"word {n}"}).encode() + b"\\n\\n"
        x.arrivals.add(len(body), n)
    x.body = body + b"data: [DONE]\\n\\n"
    x.bytes_in = len(x.body)
    x.arrivals.add(len(x.body), tokens)
    return x

turns = 0
def others():
    global turns
    while True:
        gevent.sleep(1e-9)
        turns += 1

def rows():
    for writer in writers:
        writer.close()
    return [read_stream(folder / name)[0] for name in "rt"]
"""


def test_long_answers_are_read_while_the_load_goes_on() -> None:
    """100 streams of 200 tokens take 100 ms and more to read; one of 20,000 as long by itself."""
    for streams, tokens in ((100, 200), (1, 20_000)):
        passes(f"""{RECORDER}
gevent.spawn(others)
gevent.sleep(0)
for _ in range({streams}):
    stream({tokens}).write()
before = turns
recorder.settle()
assert turns - before > 20, turns - before
requests, tokens = rows()
assert requests["stream_tokens"].to_pylist() == [{tokens}] * {streams}
assert set(requests["provider"].to_pylist()) == {{"p"}} and set(requests["outcome"].to_pylist()) == {{"ok"}}
assert tokens["t_ns"].to_pylist() == list(range({tokens})) * {streams}
""")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_stream_that_is_too_long_to_keep_is_read_as_it_passes(end: str) -> None:
    """Not all at once when it becomes too long: that would be a third of its tokens. Nor is what is no token yet looked
    at again with every piece, in which a long event comes here: that would be thousands of times."""
    passes(f"""{RECORDER}
from time import thread_time_ns

TOKENS, END = 20_000, {end!r}.encode()
x = stream(0)
x.body, x.arrivals, x.bytes_in, x.end_ns, x.open_stream, x.reported = b"", Arrivals(), 0, -1, True, True

def feed(piece, t_ns):
    x.bytes_in += len(piece)
    began = thread_time_ns()
    x.feed(piece, t_ns)
    return thread_time_ns() - began

events = [json.dumps({{"text": f"word {{n}}", "id": "0123456789" * 8}}).encode() for n in range(TOKENS)]
took = sorted(feed(b"data: " + event + END + END, n) for n, event in enumerate(events))
assert x.passing.cut > 1 << 20, x.passing.cut
assert took[-1] < sum(took) / 20, (took[-5:], sum(took))
long = sum(feed(b"x" * 10, TOKENS) for _ in range(40_000))
assert long < 2 * sum(took), (long, sum(took))
feed(END + END, TOKENS)
x.ended(TOKENS)
recorder.finish()
requests, tokens = rows()
assert requests["stream_tokens"].to_pylist() == [TOKENS]
assert tokens["t_ns"].to_pylist() == list(range(TOKENS))
""")


def test_answers_that_come_sooner_than_they_can_be_read_are_not_piled_up() -> None:
    passes(f"""{RECORDER}
most = 0
def more():
    global most
    while True:
        for _ in range(100):  # more than are read in between on any machine
            stream(40).write()
        gevent.sleep(1e-9)
        most = max(most, len(recorder._over))

load = gevent.spawn(more)
gevent.sleep(1)
with gevent.Timeout(10):  # what came by now is written, however much comes after it
    recorder.settle()
assert recorder._over and not load.dead
load.kill()
assert 200 < most < 400, most
recorder.finish()
requests, tokens = rows()
assert set(requests["stream_tokens"].to_pylist()) == {{40}} and len(tokens) == 40 * len(requests) > 40 * 300
""")


def test_what_ends_in_another_thread_is_written_by_ours() -> None:
    """Nobody's loop would run a greenlet that is spawned there."""
    passes(f"""{RECORDER}
died, over = [stream(300)], [stream(300) for _ in range(40)]
gevent.get_hub().threadpool.apply(died.clear)
gevent.get_hub().threadpool.apply(lambda: [x.write() for x in over])
assert recorder._reader is None and len(recorder._over) == 41
with gevent.Timeout(10):
    recorder.settle()
assert len(rows()[0]) == 41
""")


def test_an_answer_that_comes_while_an_arrival_waits_to_be_due_is_heard_at_once() -> None:
    """Bytes are sent by a process that has nothing to do with gevent, with the time in them."""
    passes("""
    import random
    import socket
    import statistics
    import subprocess
    import sys
    import time
    from gevent import socket as sockets
    from harness.traffic.locust_turn import Turn

    COUNT = 100
    SEND = "import os, time; [(time.sleep(.002), os.write(1, b'%020d' % time.monotonic_ns())) for _ in range(100)]"
    theirs, ours = socket.socketpair()
    sending = subprocess.Popen([sys.executable, "-c", SEND], stdout=theirs.fileno())
    late_ms = []

    def hear():
        with sockets.socket(fileno=ours.detach()) as heard:
            for _ in range(COUNT):
                sent_ns = int(heard.recv(20))
                late_ms.append((time.monotonic_ns() - sent_ns) / 1e6)

    hearing = Turn(hear, stream=random.Random(1))
    hearing.start()
    while not hearing.dead:
        turn = Turn(lambda: turn.wait_until_due(), stream=random.Random(1), due_ns=time.monotonic_ns() + 100_000_000)
        turn.start()
        turn.join()
    assert len(late_ms) == COUNT and sending.wait() == 0
    assert statistics.median(late_ms) < 1, sorted(late_ms)
    """)


def test_no_row_is_in_the_file_without_its_tokens() -> None:
    """Whenever the generator may be killed: looked at between all the pieces of what it writes, while it goes on."""
    passes(f"""{RECORDER}
from collections import Counter
from types import SimpleNamespace
from harness.traffic.locust_run import Run

requests, tokens = writers = RequestWriter(folder / "r", "w", capacity=8), TokenWriter(folder / "t")
recorder = Recorder(*writers, Observation(observe), stream_end="data: [DONE]", stream=1)
run, full = SimpleNamespace(_writer=requests, _tokens=tokens), []
requests.on_full, requests.on_exhausted = full.append, tokens.flush
seen = turns = exhausted = 0

def written(name):
    table = read_stream(folder / name)[0] if (folder / name).exists() else None
    return table["request_id"].to_pylist() if table else []

def more():
    global seen, turns, exhausted
    turns += 1
    for _ in range(1 if turns % 9 else 40):
        stream(30).write()
    before = requests.written
    recorder.settle()
    exhausted += requests.written > before
    rows, there = written("r"), Counter(written("t"))
    assert all(there[row] == 30 for row in rows), (there, rows)
    seen = len(rows)

for turn in range(30):
    more()
    Run._write(run, full.pop(0) if full else requests.set_aside(), more)
assert seen > 60 and exhausted > 2, (seen, exhausted)
""")
