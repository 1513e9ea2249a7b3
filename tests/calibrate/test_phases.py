"""Arrivals are as they are planned: no lockstep of closed users, Poisson where Poisson is asked for.

The index of dispersion is the variance of the counts in equal windows over their mean (Cox & Lewis, 1966): 1 for a
Poisson process, below for one that is more even, N for N users that fire together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from harness.clock import NS_PER_S, now_ns, sleep
from harness.model.plan import Plan, Scenario
from harness.model.target import ExternalSystem, Target
from harness.recording.reader import read_stream
from harness.traffic import LocustEngine
from tests.calibrate.serving import ask, serving

pytestmark = [pytest.mark.real, pytest.mark.slow]

WORKLOAD = """
from locust import FastHttpUser, between, constant, constant_pacing, constant_throughput, task
class U(FastHttpUser):
    wait_time = {wait}
    {login}
    @task
    def t(self):
        self.client.get("/ms/50", name="t")
"""
WINDOW_S = 0.5


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as url:
        yield url


def arrivals(folder: Path, url: str, load: dict[str, Any], wait: str = "constant(0)", login: str = "") -> Any:
    """Run `load`; return when its tasks' requests were sent, s after its start."""
    workload = folder / "workload.py"
    workload.write_text(WORKLOAD.format(wait=wait, login=login))
    plan = Plan(
        target=Target(target="t", system=ExternalSystem(kind="external"), url=url),
        scenario=Scenario.model_validate({"scenario": "s", "workload": "workload.py", "load": load}),
        seed=1,
        workload_path=workload,
        target_dir=folder,
    )
    engine = LocustEngine(plan, folder, run_id=5)
    try:
        engine.prepare()
        start_ns = now_ns() + NS_PER_S // 5
        engine.begin(start_ns, url)
        while not engine.finished:
            sleep(0.2)
            engine.batches()
    finally:
        engine.kill()
    table, cut = read_stream(folder / "requests" / "locust-0.arrows")
    assert not cut
    rows = table.to_pandas()
    assert set(rows.outcome) == {"ok"}
    return np.sort((rows.start_ns[rows.name == "t"] - start_ns) / NS_PER_S)


def dispersion(times: Any, begin: float, end: float) -> float:
    """Return the index of dispersion of the counts in windows of `WINDOW_S`."""
    counts, _ = np.histogram(times, np.arange(begin, end + WINDOW_S / 2, WINDOW_S))
    return float(counts.var(ddof=1) / counts.mean())


PACED = {
    "constant_pacing(6)": ("constant_pacing(6)", "", 6.0),
    "constant_throughput(1/6)": ("constant_throughput(1/6)", "", 6.0),
    # What one would write to get out of step: Locust's pacing takes the sleep for run time and waits so much less.
    "constant_pacing(6) after a login": (
        "constant_pacing(6)",
        "def on_start(self): self.client.get('/ms/700', name='login')",
        6.0,
    ),
}


@pytest.mark.parametrize(
    ("name", "spawn"),
    [*((name, "100/s") for name in list(PACED)[1:]), ("constant_pacing(6)", "20/s")],
)
def test_users_that_pace_themselves_are_not_in_step(tmp_path: Path, url: str, name: str, spawn: str) -> None:
    """100 users, one request each in 6 s."""
    wait, login, period = PACED[name]
    settled = 12.0 if spawn == "20/s" else 7.5
    load = {"kind": "users", "users": 100, "spawn": spawn, "warmup": f"{settled}s", "hold": "12s"}
    times = arrivals(tmp_path, url, load, wait, login)
    assert dispersion(times, settled, settled + 12) <= 1.1
    held = ((times >= settled) & (times < settled + 12)).sum()
    assert held == pytest.approx(100 * 12 / period, abs=3)


def test_users_that_think_at_random_are_not_in_step(tmp_path: Path, url: str) -> None:
    load = {"kind": "users", "users": 100, "spawn": "1000/s", "warmup": "6s", "hold": "14s"}
    times = arrivals(tmp_path, url, load, "between(2, 6)")
    windows = round(14 / WINDOW_S)
    assert dispersion(times, 6, 20) <= chi2.ppf(0.999, windows - 1) / (windows - 1)
    held = (times >= 6).sum()
    assert held == pytest.approx(100 * 14 / 4.05, rel=0.1)


def test_poisson_arrivals_are_sent_as_a_poisson_process(tmp_path: Path, url: str) -> None:
    load = {"kind": "rate", "rate": "50/s", "arrivals": "poisson", "hold": "20s"}
    times = arrivals(tmp_path, url, load)
    windows = round(20 / WINDOW_S)
    low, high = (chi2.ppf(p, windows - 1) / (windows - 1) for p in (0.001, 0.999))
    assert low <= dispersion(times, 0, 20) <= high
    gaps = np.diff(times)
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.12)


def test_a_pace_that_an_outage_broke_is_found_again(tmp_path: Path, url: str) -> None:
    """All answers are held for longer than a period, so all users come back at once; a period later they must not."""
    begin = now_ns() + 6 * NS_PER_S
    ask(f"{url}/stall/{begin}/{begin + 3 * NS_PER_S}")
    load = {"kind": "users", "users": 100, "spawn": "1000/s", "hold": "18s"}
    times = arrivals(tmp_path, url, load, "constant_pacing(2)")
    assert dispersion(times, 3, 18) > 1.5, "the outage is seen: without one it is below 1.1"
    assert dispersion(times, 13, 18) <= 1.1
