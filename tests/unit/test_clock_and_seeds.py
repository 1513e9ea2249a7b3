"""Time and chance, the two things only one module each may touch."""

from __future__ import annotations

import threading

from harness.clock import NS_PER_S, Anchor, anchor, now_ns, wait_until
from harness.seeds import generator, python_random


def test_an_anchor_ties_monotonic_to_wall_time() -> None:
    base = Anchor(1_000 * NS_PER_S, "2026-01-01T00:00:00+00:00")
    assert base.wall(1_090 * NS_PER_S).isoformat() == "2026-01-01T00:01:30+00:00"
    assert abs((anchor().monotonic_ns - now_ns()) / NS_PER_S) < 1


def test_waiting_ends_at_the_time_or_when_stopped() -> None:
    assert wait_until(now_ns() + 2_000_000)
    stop = threading.Event()
    stop.set()
    assert not wait_until(now_ns() + 60 * NS_PER_S, stop)
    assert not wait_until(0, stop), "stopped outranks due"
    assert wait_until(0, threading.Event())


def test_streams_repeat_and_do_not_move_each_other() -> None:
    first = generator(7, "arrivals").random(5)
    generator(7, "faults").random(1000)
    assert (generator(7, "arrivals").random(5) == first).all()
    assert (generator(7, "users").random(5) != first).all()
    assert (generator(8, "arrivals").random(5) != first).all()
    assert python_random(7, "a").random() == python_random(7, "a").random()
