"""The search for capacity, on simulated queues whose capacity is known in closed form."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from harness.search import Found, Outcome, Search, Tried

RESOLUTION = 0.05


def searched(search: Search, outcome: Callable[[float], Outcome | Tried]) -> Found:
    """Run a search to its end."""
    for _ in range(100):
        rate = search.next()
        if rate is None:
            return search.found()
        became = outcome(rate)
        search.add(became if isinstance(became, Tried) else Tried(rate, became))
    raise AssertionError(f"it goes on for ever: {search.tried}")


def share_slower(rate: float, servers: int, mu: float, limit_s: float) -> float:
    """The share of requests of an M/M/c queue that take longer than `limit_s` (Erlang C; Kleinrock)."""
    a = rate / mu
    waits = a**servers / math.factorial(servers) / (1 - a / servers)
    waits /= sum(a**k / math.factorial(k) for k in range(servers)) + waits
    free = servers - 1 - a
    more = mu * limit_s if abs(free) < 1e-9 else (1 - math.exp(-mu * limit_s * free)) / free
    return math.exp(-mu * limit_s) * (1 + waits * more)


def capacity(servers: int, mu: float, limit_s: float, good_share: float) -> float:
    """The rate at which exactly `good_share` of requests are answered within `limit_s`."""
    low, high = 0.0, servers * mu * (1 - 1e-9)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if share_slower(middle, servers, mu, limit_s) <= 1 - good_share else (low, middle)
    return low


def good(rate: float, servers: int, mu: float, limit_s: float, random: np.random.Generator, requests: int) -> float:
    """The share of good requests of a simulated M/M/c queue once it has settled."""
    due, work = np.cumsum(random.exponential(1 / rate, requests)), random.exponential(1 / mu, requests)
    if servers == 1:  # Lindley's recursion
        done = np.cumsum(work)
        took = done + np.maximum.accumulate(due - (done - work)) - due
    else:
        free, ends = [0.0] * servers, []
        for arrival, takes in zip(due.tolist(), work.tolist(), strict=True):
            ends.append(max(arrival, heapq.heappop(free)) + takes)
            heapq.heappush(free, ends[-1])
        took = np.array(ends) - due
    return float((took[requests // 5 :] <= limit_s).mean())


@pytest.mark.parametrize(
    ("servers", "mu", "limit_s", "good_share", "requests", "seeds", "within"),
    [(1, 60.0, 0.1, 0.9, 50_000, 60, 0.05), (4, 5.0, 0.7, 0.95, 10_000, 20, 0.075)],
)
def test_finds_the_capacity_of_a_queue(
    servers: int, mu: float, limit_s: float, good_share: float, requests: int, seeds: int, within: float
) -> None:
    truth, errors = capacity(servers, mu, limit_s, good_share), []
    for seed in range(seeds):
        random = np.random.default_rng(seed)

        def outcome(rate: float, random: np.random.Generator = random) -> Outcome:
            if rate >= servers * mu:
                return "saturated"
            return "meets" if good(rate, servers, mu, limit_s, random, requests) >= good_share else "misses"

        found = searched(Search(2, 1000, RESOLUTION), outcome)
        assert found.reason == "bracketed"
        assert found.meets
        assert found.misses
        assert found.meets < found.misses <= found.meets * (1 + RESOLUTION) * 1.001
        errors.append(math.sqrt(found.meets * found.misses) / truth - 1)
    # Half a bracket is the resolution's; the rest is left for what so many requests leave open.
    assert np.mean(np.abs(errors) <= within) >= 0.95, errors
    assert abs(np.mean(errors)) < 0.02


def knows(capacity: float) -> Callable[[float], Outcome]:
    """A system without noise."""
    return lambda rate: "meets" if rate <= capacity else "misses"


@pytest.mark.parametrize("start", [None, 30.0, 3.0, 700.0])
@pytest.mark.parametrize("truth", [5.0, 5.01, 31.0, 32.9, 77.7, 499.9])
def test_is_right_wherever_it_begins(truth: float, start: float | None) -> None:
    search = Search(5, 500, RESOLUTION, start)
    found = searched(search, knows(truth))
    rates = [tried.rate for tried in search.tried]
    assert len(set(rates)) == len(rates) <= math.log2(500 / 5) + math.log2(math.log(2) / math.log(1 + RESOLUTION)) + 5
    assert found.reason == "bracketed"
    assert found.meets is not None
    assert found.misses is not None
    assert found.meets <= truth < found.misses <= found.meets * (1 + RESOLUTION) + 0.01


def test_a_start_near_the_truth_saves_levels() -> None:
    anew, near = Search(1, 1000, RESOLUTION), Search(1, 1000, RESOLUTION, 95.0)
    searched(anew, knows(100)), searched(near, knows(100))
    assert len(near.tried) <= 4 < len(anew.tried)


def test_nothing_loops_whatever_the_outcomes() -> None:
    outcomes: list[Outcome] = ["meets", "misses", "saturated", "unsettled"]
    for seed in range(300):
        random = np.random.default_rng(seed)
        search = Search(1, 200, 0.01, start=None if seed % 2 else 20.0)
        drawn = iter(random.integers(4, size=100).tolist())
        found = searched(search, lambda _, drawn=drawn: outcomes[next(drawn)])  # type: ignore[misc]
        assert len(search.tried) <= 2 * 20
        assert all(a.rate != b.rate or a.outcome == "unsettled" for a, b in pairwise(search.tried))
        assert max(Counter(tried.rate for tried in search.tried).values()) <= 2
        if found.meets is not None and found.misses is not None:
            assert found.meets < found.misses


@pytest.mark.parametrize(
    ("truth", "expected"), [(1e9, Found(500, None, "max_reached")), (1.0, Found(None, 5, "min_misses"))]
)
def test_a_capacity_out_of_range_is_said_to_be(truth: float, expected: Found) -> None:
    assert searched(Search(5, 500, RESOLUTION), knows(truth)) == expected


def test_a_generator_at_its_limit_is_no_capacity() -> None:
    def outcome(rate: float) -> Tried:
        return Tried(rate, "unsettled", by_generator=True) if rate > 100 else Tried(rate, "meets")

    found = searched(Search(5, 500, RESOLUTION), outcome)
    assert (found.misses, found.reason) == (None, "max_reached")
    assert found.meets
    assert 100 / (1 + RESOLUTION) <= found.meets <= 100


def test_a_generator_that_was_disturbed_leaves_a_wider_bracket() -> None:
    search = Search(5, 500, RESOLUTION)
    for rate, became in ((40, "meets"), (80, "saturated"), (41, "unsettled")):
        search.add(Tried(rate, became, by_generator=became == "unsettled"))  # type: ignore[arg-type]
    assert search.next() is None
    assert search.found() == Found(40, 80, "bracketed")


def test_a_disturbed_level_is_tried_once_more() -> None:
    search = Search(5, 500, RESOLUTION)
    search.add(Tried(5, "unsettled"))
    assert search.next() == 5
    search.add(Tried(5, "meets"))
    assert (search.meets, search.next()) == (5, 10)
    search.add(Tried(10, "unsettled"))
    search.add(Tried(10, "unsettled"))
    assert search.next() == pytest.approx(math.sqrt(50), abs=0.01)


def test_a_search_that_was_broken_off_says_so() -> None:
    search = Search(5, 500, RESOLUTION)
    assert search.found() == Found(None, None, "budget")
    search.add(Tried(5, "meets"))
    search.add(Tried(10, "saturated"))
    assert search.found() == Found(5, 10, "budget")
