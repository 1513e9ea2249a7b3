"""A load whose rate is changed while it runs: every request is due when the schedule of its level says, to the ns."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.clock import NS_PER_S, now_ns
from harness.traffic import pacer
from tests.calibrate.serving import serving
from tests.contract.test_engine import Driver, once

pytestmark = pytest.mark.real

GET = once("self.client.get('/ms/5')")
SEED = 7
WARM_UP_S = 0.5
LEVELS = ((1, 0.6, 200.0, 10.0), (2, 1.4, 25.0, 10.0), (3, 1.9, 0.0, 0.0), (4, 2.2, 120.0, 0.5))
"""(number, begin in s, rate, longest s): up, down while the next arrival is far, a pause, and one that ends itself."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as url:
        yield url


def load(arrivals: str, **more: Any) -> dict[str, Any]:
    bounds = {"min": "50/s", "max": "500/s", "budget": "10m", "warmup": f"{WARM_UP_S}s", "drain": "5s"}
    return {"kind": "capacity", "arrivals": arrivals, **bounds, **more}


def passed(t_ns: int) -> bool:
    return now_ns() >= t_ns


def planned(arrivals: str) -> list[np.ndarray[Any, Any]]:
    """The schedule of each level, the warm-up first, ns after the load's start."""
    found = []
    levels = [(0, 0.0, 50.0, WARM_UP_S), *LEVELS]
    for (number, begin_s, rate, seconds), end_s in zip(levels, [level[1] for level in levels[1:]] + [9.0], strict=True):
        due = round(begin_s * NS_PER_S) + pacer.level(arrivals, rate, seconds, SEED, number)
        found.append(due[due < round(end_s * NS_PER_S)])
    return found


@pytest.mark.parametrize(("arrivals", "workers"), [("constant", 1), ("poisson", 2)])
def test_due_times_are_the_schedule(arrivals: str, workers: int, url: str, tmp_path: Path) -> None:
    driver = Driver(tmp_path, "locust", workers)
    try:
        engine = driver.start(GET, load(arrivals), url, SEED)
        for number, begin_s, rate, seconds in LEVELS:
            begin_ns = round(begin_s * NS_PER_S)
            told_ns = driver.start_ns + begin_ns - NS_PER_S // 5
            driver.watch_until(engine, partial(passed, told_ns))
            engine.change(number, begin_ns, rate, seconds)
        driver.watch_until(engine, partial(passed, driver.start_ns + 3 * NS_PER_S))
        engine.stop("the search is over")
        driver.watch(engine)
    finally:
        driver.end()
    rows, schedule = driver.table(), planned(arrivals)
    assert [len(level) for level in schedule][3] == 0, "the pause"
    due = np.sort(np.concatenate(schedule))
    assert (rows.due_ns.to_numpy() - driver.start_ns).tolist() == due.tolist()
    assert set(rows.outcome) == {"ok"}
    for level in schedule:
        shares = rows[(rows.due_ns - driver.start_ns).isin(level)].worker.value_counts()
        assert not len(level) or shares.max() - shares.min() <= 1
        assert not len(level) or len(shares) == workers


def test_a_level_is_the_same_whatever_came_before() -> None:
    once_more = pacer.level("poisson", 80.0, 3.0, SEED, 2)
    assert once_more.tolist() == pacer.level("poisson", 80.0, 3.0, SEED, 2).tolist()
    assert once_more.tolist() != pacer.level("poisson", 80.0, 3.0, SEED, 3).tolist()
    longer = pacer.level("poisson", 80.0, 30.0, SEED, 2)
    assert np.abs(longer[: len(once_more)] - once_more).max() <= 1, "how long it may last moves no arrival"
    assert len(pacer.level("constant", 0.0, 3.0, SEED, 2)) == 0
