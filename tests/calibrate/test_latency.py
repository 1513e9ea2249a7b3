"""The stopwatch against a server that writes down its own times, and against a stall whose effect can be calculated.

Server, generator and everything else share the cores of the test machine. A bias claim is therefore the best of a
few tries: noise only ever adds, so the best try is the one that shows the instrument itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.clock import NS_PER_MS, NS_PER_S, now_ns, sleep
from harness.model.plan import Plan, Scenario
from harness.model.target import ExternalSystem, Target
from harness.recording.reader import read_stream
from harness.traffic import LocustEngine
from tests.calibrate.serving import Percentiles, ask, bias_ms, expect_no_bias, serving

pytestmark = [pytest.mark.real, pytest.mark.slow]

WORKLOAD = """
from locust import FastHttpUser, constant, task
class U(FastHttpUser):
    wait_time = constant({wait})
    @task
    def t(self):
        self.client.get({path!r})
"""


@pytest.fixture
def url() -> Iterator[str]:
    with serving() as url:
        yield url


def measure(
    folder: Path,
    url: str,
    path: str,
    load: dict[str, Any],
    *,
    wait: float = 0,
    stall: tuple[float, float] | None = None,
    workers: int = 1,
) -> pd.DataFrame:
    """Run `load` on `path`; return one row per request: response, service and the server's own time, in ms."""
    folder.mkdir()
    workload = folder / "workload.py"
    workload.write_text(WORKLOAD.format(path=path, wait=wait))
    plan = Plan(
        target=Target(target="t", system=ExternalSystem(kind="external"), url=url),
        scenario=Scenario.model_validate({"scenario": "s", "workload": "workload.py", "load": load}),
        seed=1,
        workload_path=workload,
        target_dir=folder,
        workers=workers,
    )
    engine = LocustEngine(plan, folder, run_id=5)
    try:
        engine.prepare()
        start_ns = now_ns() + NS_PER_S // 5
        if stall:
            begin, end = (start_ns + int(t * NS_PER_S) for t in stall)
            ask(f"{url}/stall/{begin}/{end}")
        engine.begin(start_ns, url)
        while not engine.finished:
            sleep(0.2)
            engine.batches()
    finally:
        engine.kill()
    streams = [read_stream(folder / "requests" / f"locust-{n}.arrows") for n in range(workers)]
    assert not any(cut for _, cut in streams)
    rows = pd.concat([table.to_pandas() for table, _ in streams], ignore_index=True)
    assert set(rows.outcome) == {"ok"}
    server = {int(row[3][19:35], 16): (row[2] - row[1]) / NS_PER_MS for row in ask(f"{url}/log")}
    return pd.DataFrame(
        {
            "response": (rows.end_ns - rows.due_ns) / NS_PER_MS,
            "service": (rows.end_ns - rows.start_ns) / NS_PER_MS,
            "server": [server[number] for number in rows.request_id],
        }
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stall_of_five_seconds_is_felt_by_everyone_it_held_up(tmp_path: Path, url: str, workers: int) -> None:
    """30 s at 1000/min against 50 ms, all answers held for 5 s: a request due u s into the stall takes 5 - u s longer.

    The stall begins as a request is due; the 84 of 500 that meet it give p95 = 3553 ms, p99 = 4751 ms (Hyndman & Fan
    type 7). A generator that waits for its answers says 52 and 54.
    """
    rate, seconds, begin, length, service = 1000 / 60, 30.0, 10.02, 5.0, 50.0
    due = np.arange(500) / rate
    truth = service + np.where((due >= begin) & (due < begin + length), begin + length - due, 0) * 1000
    assert np.percentile(truth, [95, 99]) == pytest.approx([3553, 4751], abs=1)

    load = {"kind": "rate", "rate": "1000/min", "hold": f"{seconds}s"}
    seen = measure(tmp_path / "run", url, "/ms/50", load, stall=(begin, begin + length), workers=workers)
    assert len(seen) == 500
    assert np.percentile(seen.response, [95, 99]) == pytest.approx([3553, 4751], rel=0.015)


LOADS: dict[str, tuple[dict[str, Any], float]] = {
    "1000/min": ({"kind": "rate", "rate": "1000/min", "hold": "12s"}, 0.0),
    "100 users": ({"kind": "users", "users": 100, "spawn": "50/s", "hold": "14s"}, 4.0),
}


@pytest.mark.parametrize(("name", "path"), [("1000/min", "/ms/50"), ("1000/min", "/bimodal"), ("100 users", "/ms/50")])
def test_service_time_agrees_with_the_servers_own_log(tmp_path: Path, url: str, name: str, path: str) -> None:
    load, wait = LOADS[name]

    def biases(attempt: int) -> Percentiles:
        seen = measure(tmp_path / str(attempt), url, path, load, wait=wait)
        assert len(seen) > 150
        # The client's time holds the server's, and the wire and two wake-ups besides.
        assert (seen.service > seen.server).all()
        return bias_ms(seen.service, seen.server)

    expect_no_bias(biases, url, path)
