"""What has settled and what grows without end, on simulated single-server queues that begin empty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.clock import NS_PER_S
from harness.settling import Change, Level, window_s

MU = 50.0
LIMIT_S = 0.5
SHORTEST_S, LONGEST_S = 10.0, 90


def queue(rho: float, seed: int, seconds: float = LONGEST_S) -> tuple[Any, Any]:
    """When requests of an M/M/1 queue are due and end, s (Lindley's recursion)."""
    random = np.random.default_rng(seed)
    count = int(rho * MU * seconds * 1.2) + 50
    due = np.cumsum(random.exponential(1 / (rho * MU), count))
    work = random.exponential(1 / MU, count)
    done = np.cumsum(work)
    end = done + np.maximum.accumulate(due - (done - work))
    return due, end


def level(due: Any, end: Any, rate: float, now_s: int, dropped: int = 0, width_s: float = 5.0) -> Level:
    """What is known after `now_s` seconds."""
    ended = end <= now_s
    seen = np.arange(1, now_s + 1)
    in_flight = np.searchsorted(due, seen) - np.searchsorted(end, seen)
    ns = NS_PER_S
    return Level(
        rate,
        width_s,
        0,
        now_s * ns,
        (end[ended] * ns).astype(np.int64),
        (end - due)[ended],
        seen * ns,
        in_flight,
        dropped,
    )


def course(rho: float, seed: int) -> tuple[str, int, int]:
    """What becomes of a level, after how many seconds, with how many in flight."""
    due, end = queue(rho, seed)
    rate = rho * MU
    width = window_s(rate, SHORTEST_S)
    for now_s in range(1, LONGEST_S + 1):
        seen = level(due, end, rate, now_s, width_s=width)
        in_flight = int(seen.in_flight[-1])
        if seen.saturated(LIMIT_S):
            return "saturated", now_s, in_flight
        if now_s >= SHORTEST_S and seen.at_rest:
            return "settled", now_s, in_flight
    return "unsettled", LONGEST_S, in_flight


@pytest.mark.parametrize("rho", [0.05, 0.4, 0.7])
def test_a_system_with_room_settles(rho: float) -> None:
    found = [course(rho, seed) for seed in range(60)]
    assert {what for what, _, _ in found} == {"settled"}
    assert np.median([after_s for _, after_s, _ in found]) <= 2 * SHORTEST_S


@pytest.mark.parametrize("rho", [1.3, 2.0])
def test_a_queue_that_grows_is_seen_before_it_is_long(rho: float) -> None:
    for what, after_s, in_flight in (course(rho, seed) for seed in range(60)):
        assert what == "saturated"
        assert after_s <= 20
        assert in_flight <= 2 * rho * MU * LIMIT_S + 20 + rho * MU, (
            "no more than what came within a second of the limit"
        )


def test_what_hangs_is_saturated_though_nothing_is_answered() -> None:
    due = np.arange(1, 61 * 10) / 10
    hanging = np.full(len(due), 1e6)
    assert not level(due, hanging, 10.0, 2).saturated(LIMIT_S)
    assert "in flight" in level(due, hanging, 10.0, 4).saturated(LIMIT_S)
    assert not level(due, hanging, 10.0, 30).at_rest


def test_a_dropped_request_is_a_full_queue() -> None:
    due, end = queue(0.5, 1)
    assert "3 requests were due and not sent" in level(due, end, 25.0, 10, dropped=3).saturated(LIMIT_S)


def test_little_traffic_has_longer_windows() -> None:
    assert window_s(100, 10) == 5
    assert window_s(1, 10) == 20, "twenty answers in each"
    assert window_s(100, 0.1) == 2, "the generator speaks once a second"


def test_a_drift_is_told_from_noise() -> None:
    random = np.random.default_rng(3)
    times = np.arange(0, 20 * NS_PER_S, NS_PER_S // 50)
    still, drifting, known = 0, 0, 0
    for _ in range(200):
        noise = random.exponential(1.0, len(times))
        steady = Level(50, 10, 0, 20 * NS_PER_S, times, noise, times, noise)
        risen = steady.change(times, noise * np.where(times < 10 * NS_PER_S, 1, 1.5))
        change = steady.change(times, noise)
        assert change is not None
        assert risen is not None
        still += change.none
        drifting += risen.up
        known += 1
    assert still >= 0.95 * known
    assert drifting >= 0.95 * known


def test_too_little_says_nothing() -> None:
    nothing = np.zeros(0, np.int64)
    empty = Level(5, 5, 0, 20 * NS_PER_S, nothing, nothing, nothing, nothing)
    assert empty.change(nothing, nothing) is None
    assert not empty.at_rest
    assert not empty.saturated(LIMIT_S)
    assert Change(1.0, 1.04, 0.05).none
