"""The built-in Toxiproxy against the real one: the same commands, at the same time, the same effects.

Each script has one proxy and both ends of its connections, and tells what it saw: facts, which must be equal on both
sides, and times, which must be within a tolerance. What is expected is said by the real one, not here.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.faults.toxiproxy_server import ToxiproxyServer
from tests.contract.toxiproxy_twins import (
    NAME,
    OPEN,
    Side,
    Watch,
    both,
    builtin_program,
    pause,
    real_program,
)

pytestmark = pytest.mark.real

TOLERANCE_MS = 40.0
"""The machine may be busy: both sides wait for the same processor."""
Seen = dict[str, Any]
"""Facts by what they are about; a float is a time in ms."""
SCRIPTS: list[Callable[[Side], Seen]] = []


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def sides(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    logs = tmp_path_factory.mktemp("logs")
    real = ToxiproxyServer.start(real_program(), logs / "real.log")
    builtin = ToxiproxyServer.start(builtin_program(request.param, logs), logs / "builtin.log", seed=1)
    pair = Side("real", real.address), Side("builtin", builtin.address)
    yield pair
    for side in pair:
        side.forget()
        side.upstream.close()
        side.session.close()
    builtin.stop()
    real.stop()
    said = (logs / "builtin.log").read_text().splitlines()
    assert [line for line in said if "no connection to" not in line] == []


def script(function: Callable[[Side], Seen]) -> Callable[[Side], Seen]:
    SCRIPTS.append(function)
    return function


def differences(real: Seen, builtin: Seen, tolerance_ms: float = TOLERANCE_MS) -> list[str]:
    found = [] if real.keys() == builtin.keys() else [f"seen: {sorted(real)}, built in: {sorted(builtin)}"]
    for what in real.keys() & builtin.keys():
        one, other = real[what], builtin[what]
        same = abs(one - other) <= tolerance_ms if isinstance(one, float) else one == other
        if not same:
            found.append(f"{what}: {one}, built in: {other}")
    return found


DATA = random.Random(5).randbytes(700_000)


def digest(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()[:16]


@script
def bytes_pass_both_ways(side: Side) -> Seen:
    client, upstream = side.connect()
    client.send(DATA[:50_000])
    upstream.send(DATA[:70_000])
    return {
        "up": digest(upstream.read(2, until=50_000)),
        "down": digest(client.read(2, until=70_000)),
        "states": (client.ended(0.1), upstream.ended(0.1)),
    }


@script
def a_close_goes_to_the_other_end(side: Side) -> Seen:
    client, upstream = side.connect()
    client.send(b"bye")
    client.close()
    first = upstream.ended(), upstream.received
    client, upstream = side.connect()
    upstream.send(b"bye")
    upstream.close()
    return {"client closed": first, "upstream closed": (client.ended(), client.received)}


@script
def a_reset_goes_to_the_other_end(side: Side) -> Seen:
    client, upstream = side.connect()
    client.reset()
    first = upstream.ended()
    client, upstream = side.connect()
    upstream.reset()
    return {"client reset": first, "upstream reset": client.ended()}


@script
def half_a_close(side: Side) -> Seen:
    client, upstream = side.connect()
    client.send(b"question")
    client.socket.shutdown(1)
    ended = upstream.ended(), upstream.received
    watch = Watch()
    return {"upstream": ended, "client": client.ended(), "after": watch.ms()}


@script
def no_upstream(side: Side) -> Seen:
    side.api("POST", f"/proxies/{NAME}", {"upstream": "127.0.0.1:1"})
    client = side.dial()
    return {"client": client.ended(), "enabled": side.api("GET", f"/proxies/{NAME}")[1]["enabled"]}


@script
def latency_on_both_streams(side: Side) -> Seen:
    side.add("latency", latency=120)
    client, upstream = side.connect()
    client.send(b"question")
    watch = Watch()
    upstream.read(1, until=8)
    up = watch.ms()
    watch = Watch()
    upstream.send(b"one")
    pause(60)
    upstream.send(b"two")
    client.read(1, until=3)
    one = watch.ms()
    client.read(1, until=3)
    return {"up": up, "one": one, "two": watch.ms(), "bytes": client.received}


@script
def latency_does_not_delay_the_end_alone(side: Side) -> Seen:
    side.add("latency", latency=150)
    client, upstream = side.connect()
    upstream.close()
    watch = Watch()
    seen: Seen = {"end": client.ended(), "after": watch.ms()}
    client, upstream = side.connect()
    upstream.send(b"last")
    upstream.close()
    watch = Watch()
    return seen | {"end after data": (client.ended(), client.received), "that after": watch.ms()}


@script
def latency_added_to_an_open_connection(side: Side) -> Seen:
    client, upstream = side.connect()
    upstream.send(b"fast")
    client.read(1, until=4)
    side.add("latency", latency=150)
    watch = Watch()
    upstream.send(b"slow")
    return {"bytes": client.read(1, until=4), "after": watch.ms()}


@script
def latency_changed_while_it_holds_bytes(side: Side) -> Seen:
    side.add("latency", latency=1000)
    client, upstream = side.connect()
    upstream.send(b"one")
    pause(30)
    upstream.send(b"two")
    pause(30)
    watch = Watch()
    side.change("latency", latency=200)
    client.read(2, until=3)
    one = watch.ms()
    client.read(2, until=3)
    return {"one": one, "two": watch.ms(), "bytes": client.received}


@script
def latency_removed_while_it_holds_bytes(side: Side) -> Seen:
    side.add("latency", latency=2000)
    client, upstream = side.connect()
    for number in range(20):
        upstream.send(b"%02d" % number)
        pause(3)
    watch = Watch()
    side.remove("latency")
    client.read(2, until=40)
    return {"bytes": client.received, "after": watch.ms()}


@script
def a_toxic_behind_a_busy_one_lets_it_go(side: Side) -> Seen:
    side.add("latency", latency=400)
    client, upstream = side.connect()
    upstream.send(b"held")
    pause(50)
    watch = Watch()
    side.add("slow_close", delay=10)
    seen: Seen = {"bytes": client.read(2, until=4), "after": watch.ms()}
    watch = Watch()
    upstream.send(b"next")
    return seen | {"next": client.read(1, until=4), "next after": watch.ms()}


@script
def latency_lets_many_pieces_travel_at_once(side: Side) -> Seen:
    side.add("latency", latency=200)
    client, upstream = side.connect()
    watch = Watch()
    for _ in range(10):
        upstream.send(b"piece")
        pause(12)
    client.read(2, until=5)
    first = watch.ms()
    client.read(2, until=45)
    return {"first": first, "last": watch.ms(), "bytes": client.received}


@script
def two_latencies(side: Side) -> Seen:
    side.add("latency", latency=80)
    body = {"name": "second", "type": "latency", "attributes": {"latency": 90}}
    side.api("POST", f"/proxies/{NAME}/toxics", body)
    client, upstream = side.connect()
    watch = Watch()
    upstream.send(b"both")
    client.read(1, until=4)
    first = watch.ms()
    side.remove("latency")
    watch = Watch()
    upstream.send(b"then")
    client.read(1, until=4)
    return {"both": first, "one": watch.ms(), "bytes": client.received}


@script
def bandwidth(side: Side) -> Seen:
    side.add("bandwidth", rate=50)
    client, upstream = side.connect()
    watch = Watch()
    upstream.send(DATA[:20_000])
    client.read(2, until=1)
    first, piece = watch.ms(), len(client.received)
    client.read(2, until=20_000 - piece)
    seen: Seen = {"first": first, "piece": piece, "all": watch.ms(), "bytes": digest(client.received)}
    watch = Watch()
    for _ in range(10):
        upstream.send(b"x" * 500)
        client.read(1, until=500)
    return seen | {"ten small": watch.ms()}


@script
def bandwidth_changed_and_removed(side: Side) -> Seen:
    side.add("bandwidth", rate=10)
    client, upstream = side.connect()
    upstream.send(DATA[:30_000])
    pause(150)
    watch = Watch()
    side.change("bandwidth", rate=1000)
    client.read(2, until=30_000 - len(client.received))
    changed = watch.ms()
    side.change("bandwidth", rate=0)
    upstream.send(b"stuck")
    stuck = client.read(0.2)
    watch = Watch()
    side.remove("bandwidth")
    client.read(1, until=5)
    return {"changed": changed, "stuck": stuck, "removed": watch.ms(), "bytes": digest(client.received)}


@script
def slow_close(side: Side) -> Seen:
    side.add("slow_close", delay=150)
    client, upstream = side.connect()
    upstream.send(b"data")
    upstream.close()
    watch = Watch()
    client.read(1, until=4)
    data = watch.ms()
    return {"data": data, "end": client.ended(), "after": watch.ms()}


@script
def slow_close_changed_and_removed_while_it_waits(side: Side) -> Seen:
    side.add("slow_close", delay=5000)
    client, upstream = side.connect()
    upstream.close()
    pause(50)
    side.change("slow_close", delay=4000)
    waits = client.ended(0.1)
    watch = Watch()
    side.remove("slow_close")
    return {"waits": waits, "end": client.ended(2), "after": watch.ms()}


@script
def timeout_holds_until_it_is_removed(side: Side) -> Seen:
    client, upstream = side.connect()
    side.add("timeout", timeout=0)
    upstream.send(b"lost")
    client.send(b"passes")
    seen: Seen = {
        "up": upstream.read(1, until=6),
        "down": client.read(0.15),
        "states": (client.state, upstream.state),
    }
    watch = Watch()
    side.remove("timeout")
    seen |= {"client": client.ended(), "after": watch.ms(), "upstream": upstream.ended()}
    client, upstream = side.connect()
    upstream.send(b"fine")
    return seen | {"new": client.read(1, until=4)}


@script
def timeout_on_both_streams(side: Side) -> Seen:
    """As the fault `blackhole` does it."""
    side.add("timeout", timeout=0)
    body = {"name": "up", "type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}
    side.api("POST", f"/proxies/{NAME}/toxics", body)
    client, upstream = side.connect()
    client.send(b"lost")
    upstream.send(b"lost")
    quiet = upstream.read(0.1), client.read(0.1), client.state, upstream.state
    side.remove("up")
    return {
        "quiet": quiet,
        "client": client.ended(),
        "upstream": upstream.ended(),
        "left": side.api("GET", f"/proxies/{NAME}/toxics"),
    }


@script
def timeout_ends_a_quiet_connection(side: Side) -> Seen:
    side.add("timeout", timeout=200)
    client, upstream = side.connect()
    watch = Watch()
    pause(120)
    upstream.send(b"lost")
    return {"end": client.ended(2), "after": watch.ms(), "bytes": client.received, "upstream": upstream.ended()}


@script
def timeout_that_a_client_closes(side: Side) -> Seen:
    side.add("timeout", timeout=0)
    client, upstream = side.connect()
    client.close()
    return {"upstream": upstream.ended()}


@script
def timeout_with_no_toxicity_ends_connections_when_removed(side: Side) -> Seen:
    side.add("timeout", toxicity=0, timeout=0)
    client, upstream = side.connect()
    upstream.send(b"passes")
    passed = client.read(1, until=6)
    side.remove("timeout")
    return {"passed": passed, "client": client.ended(), "upstream": upstream.ended()}


@script
def reset_peer_at_once(side: Side) -> Seen:
    side.add("reset_peer", timeout=0)
    client, upstream = side.connect()
    quiet = client.ended(0.1)
    upstream.send(b"data")
    return {"quiet": quiet, "client": client.ended(), "bytes": client.received, "upstream": upstream.ended()}


@script
def reset_peer_upstream_after_a_while(side: Side) -> Seen:
    side.add("reset_peer", "upstream", timeout=150)
    client, upstream = side.connect()
    client.send(b"data")
    watch = Watch()
    ended = client.ended()
    return {"client": ended, "after": watch.ms(), "upstream": (upstream.ended(), upstream.received)}


@script
def reset_peer_on_an_open_connection(side: Side) -> Seen:
    client, upstream = side.connect()
    side.add("reset_peer", timeout=0)
    upstream.send(b"data")
    return {"client": client.ended(), "bytes": client.received, "upstream": upstream.ended()}


@script
def reset_peer_with_no_toxicity_still_resets_what_ends(side: Side) -> Seen:
    side.add("reset_peer", toxicity=0, timeout=0)
    client, upstream = side.connect()
    upstream.send(b"data")
    passed = client.read(1, until=4)
    upstream.close()
    return {"passed": passed, "client": client.ended()}


@script
def reset_peer_removed_while_it_waits(side: Side) -> Seen:
    side.add("reset_peer", timeout=250)
    client, upstream = side.connect()
    upstream.send(b"data")
    pause(50)
    watch = Watch()
    side.remove("reset_peer")
    removed = watch.ms()
    return {"removed": removed, "client": client.ended(), "after": watch.ms(), "bytes": client.received}


@script
def slicer(side: Side) -> Seen:
    side.add("slicer", average_size=100, delay=20_000)
    client, upstream = side.connect()
    watch = Watch()
    upstream.send(DATA[:800])
    sizes: list[int] = []
    while sum(sizes) < 800 and client.state == OPEN:
        sizes.append(len(client.read(1, until=1)))
    seen: Seen = {"bytes": digest(client.received), "sizes": sizes, "after": watch.ms()}
    upstream.send(DATA[:20_000])
    pause(50)
    watch = Watch()
    side.remove("slicer")
    client.read(2, until=20_000 - (len(client.received) - 800))
    return seen | {"removed": watch.ms(), "all": digest(client.received)}


@script
def slicer_that_varies(side: Side) -> Seen:
    side.add("slicer", average_size=1000, size_variation=200)
    client, upstream = side.connect()
    upstream.send(DATA[:300_000])
    return {"bytes": digest(client.read(3, until=300_000))}


@script
def limit_data(side: Side) -> Seen:
    side.add("limit_data", bytes=10)
    client, upstream = side.connect()
    upstream.send(b"1234567")
    first = client.read(1, until=7)
    upstream.send(b"890ab")
    return {"first": first, "client": (client.ended(), client.received), "upstream": upstream.ended()}


@script
def limit_data_changed_and_removed(side: Side) -> Seen:
    side.add("limit_data", bytes=10)
    client, upstream = side.connect()
    upstream.send(b"12345678")
    client.read(1, until=8)
    side.change("limit_data", bytes=12)
    upstream.send(b"90")
    client.read(1, until=2)
    state = client.ended(0.1)
    side.remove("limit_data")
    upstream.send(b"and more of it")
    return {"state": state, "bytes": client.read(1, until=14), "after": client.ended(0.1)}


@script
def limit_data_of_nothing(side: Side) -> Seen:
    side.add("limit_data", bytes=0)
    client, upstream = side.connect()
    quiet = client.ended(0.1)
    upstream.send(b"x")
    return {"quiet": quiet, "client": (client.ended(), client.received)}


@script
def toxics_work_in_order(side: Side) -> Seen:
    side.add("limit_data", bytes=3000)
    side.add("bandwidth", rate=10)
    side.add("latency", latency=100)
    client, upstream = side.connect()
    watch = Watch()
    upstream.send(DATA[:9000])
    seen: Seen = {"end": client.ended(3), "bytes": digest(client.received), "after": watch.ms()}
    return seen


@script
def a_toxic_in_the_middle_is_removed(side: Side) -> Seen:
    side.add("slicer", average_size=50, delay=1000)
    side.add("latency", latency=100)
    side.add("bandwidth", rate=100)
    client, upstream = side.connect()
    upstream.send(DATA[:2000])
    pause(20)
    side.remove("latency")
    client.read(2, until=2000 - len(client.received))
    watch = Watch()
    upstream.send(DATA[:2000])
    client.read(2, until=2000)
    return {"bytes": digest(client.received), "after": watch.ms()}


@script
def switched_off_and_on(side: Side) -> Seen:
    client, upstream = side.connect()
    client.send(b"hello")
    upstream.read(1, until=5)
    side.enable(enabled=False)
    off = client.ended(), upstream.ended(), side.refuses()
    side.enable(enabled=True)
    client, upstream = side.connect()
    client.send(b"hello again")
    return {"off": off, "on": upstream.read(1, until=11)}


@script
def switched_off_with_bytes_held(side: Side) -> Seen:
    side.add("latency", latency=5000)
    client, upstream = side.connect()
    upstream.send(b"held")
    pause(50)
    watch = Watch()
    side.enable(enabled=False)
    return {"client": (client.ended(), client.received), "upstream": upstream.ended(), "after": watch.ms()}


@script
def switched_off_twice_with_toxics(side: Side) -> Seen:
    side.add("latency", latency=50)
    side.enable(enabled=False)
    side.enable(enabled=False)
    side.enable(enabled=True)
    client, upstream = side.connect()
    watch = Watch()
    upstream.send(b"late")
    client.read(1, until=4)
    return {"after": watch.ms(), "toxics": side.api("GET", f"/proxies/{NAME}/toxics")}


@script
def deleted(side: Side) -> Seen:
    client, upstream = side.connect()
    status = side.api("DELETE", f"/proxies/{NAME}")
    return {"status": status, "client": client.ended(), "upstream": upstream.ended(), "refuses": side.refuses()}


@script
def reset(side: Side) -> Seen:
    side.add("latency", latency=3000)
    side.add("timeout", "upstream", timeout=0)
    client, upstream = side.connect()
    upstream.send(b"held")
    pause(30)
    side.enable(enabled=False)
    ended = client.ended(), upstream.ended()
    answer = side.api("POST", "/reset")
    client, upstream = side.connect()
    client.send(b"up")
    upstream.send(b"down")
    passed = client.read(1, until=4), upstream.read(1, until=2)
    return {"ended": ended, "answer": answer, "passed": passed, "toxics": side.api("GET", f"/proxies/{NAME}/toxics")}


@script
def another_upstream(side: Side) -> Seen:
    client, upstream = side.connect()
    side.api("POST", f"/proxies/{NAME}", {"upstream": "127.0.0.1:1"})
    ended = client.ended(), upstream.ended()
    return {"ended": ended, "new": side.dial().ended()}


@script
def a_client_that_does_not_read(side: Side) -> Seen:
    """The sender is held up, nothing is lost, and toxics can still be put on and off."""
    client, upstream = side.connect()
    upstream.socket.settimeout(0.3)
    sent = 0
    try:
        while sent < 400_000_000:
            sent += upstream.socket.send(DATA)
    except TimeoutError:
        pass
    upstream.socket.settimeout(None)
    got = 0
    while got < sent and client.read(2, until=1_000_000):
        got += len(client.received)
        client.received = b""
    return {"held up": sent < 400_000_000, "all came": got == sent}


@script
def a_toxic_for_some_connections(side: Side) -> Seen:
    """Half of 160, give or take five sigma; a connection keeps what it drew."""
    side.add("timeout", toxicity=0.5, timeout=0)
    pairs = [side.connect() for _ in range(160)]
    for _, upstream in pairs:
        upstream.send(b"one")
    pause(100)
    first = [client.read(0.001) for client, _ in pairs]
    for _, upstream in pairs:
        upstream.send(b"two")
    pause(100)
    second = [client.read(0.001) for client, _ in pairs]
    hit = first.count(b"")
    stay = all((one == b"one") == (two == b"two") for one, two in zip(first, second, strict=True))
    return {"about half": abs(hit - 80) <= 32, "stay so": stay}


def test_latency_is_what_was_asked_for(sides: tuple[Side, Side]) -> None:
    """Of 30 answers none is early; half of them are late by less than 3 ms, or than twice what the real one's are."""

    def late(side: Side) -> list[float]:
        side.add("latency", latency=40)
        client, upstream = side.connect()
        found = []
        for _ in range(30):
            watch = Watch()
            upstream.send(b"x")
            client.read(1, until=1)
            found.append(watch.ms() - 40)
        return found

    real, ours = (sorted(found) for found in both(sides, late))
    assert min(real[0], ours[0]) >= -0.1
    assert ours[15] < max(3, 2 * real[15]), (ours, real)


def test_jitter_is_evenly_about_the_latency(sides: tuple[Side, Side]) -> None:
    def seen(side: Side) -> list[float]:
        side.add("latency", latency=30, jitter=25)
        client, upstream = side.connect()
        found = []
        for _ in range(60):
            watch = Watch()
            upstream.send(b"x")
            client.read(1, until=1)
            found.append(watch.ms() - 30)
        return found

    for found in both(sides, seen):
        assert min(found) >= -25.1
        assert -18 < sorted(found)[30] < 20  # five sigma of a median of 60, and a busy machine
        assert max(found) - min(found) > 25


@pytest.mark.parametrize("act", SCRIPTS, ids=lambda act: act.__name__)
def test_same(sides: tuple[Side, Side], act: Callable[[Side], Seen]) -> None:
    """Two tries: a moment without the processor is no difference, one that comes again is."""
    for attempt in range(3):
        real, builtin = both(sides, act)
        if not (found := differences(real, builtin)):
            return
        if attempt and not any(isinstance(value, float) for value in real.values()):
            break
    pytest.fail("; ".join(found))
