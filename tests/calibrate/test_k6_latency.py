"""k6's stopwatch, as the recording has it, against the same truths as Locust's (`test_latency`).

Noise of the machine only ever adds, so a bias claim is the best of a few tries.
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
from harness.traffic import K6Engine
from tests.calibrate.serving import Percentiles, ask, bias_ms, expect_no_bias, serving
from tests.having_k6 import k6_or_skip
from tests.k6_times import expect_even

pytestmark = [pytest.mark.real, pytest.mark.slow]

WORKLOAD = """
import http from "k6/http";
export const timeout = 10;
export function think() {{ return {wait}; }}
export default function () {{ http.get("{path}"); }}
"""


@pytest.fixture(scope="module", autouse=True)
def _k6() -> None:
    k6_or_skip()


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
) -> pd.DataFrame:
    """Run `load` on `path`; return one row per request: due and start (ns), response, service, the server's own, ms."""
    folder.mkdir()
    workload = folder / "workload.js"
    workload.write_text(WORKLOAD.format(path=path, wait=wait))
    plan = Plan(
        target=Target(target="t", system=ExternalSystem(kind="external"), url=url),
        scenario=Scenario.model_validate({"scenario": "s", "workload": "workload.py", "load": load}),
        engine="k6",
        seed=1,
        workload_path=workload,
        target_dir=folder,
    )
    engine = K6Engine(plan, folder, run_id=5)
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
    table, cut = read_stream(folder / "requests" / "k6-0.arrows")
    assert not cut
    rows = table.to_pandas().sort_values("due_ns", ignore_index=True)
    assert set(rows.outcome) == {"ok"}
    server = {int(row[3][19:35], 16): row for row in ask(f"{url}/log")}
    received, answered = (np.array([server[number][k] for number in rows.request_id]) for k in (1, 2))
    return pd.DataFrame(
        {
            "due": rows.due_ns - start_ns,
            "response": (rows.end_ns - rows.due_ns) / NS_PER_MS,
            "service": (rows.end_ns - rows.start_ns) / NS_PER_MS,
            "server": (answered - received) / NS_PER_MS,
            "there": (received - rows.start_ns) / NS_PER_MS,
            "back": (rows.end_ns - answered) / NS_PER_MS,
        }
    )


def test_a_thousand_a_minute_are_due_at_even_times(tmp_path: Path, url: str) -> None:
    load = {"kind": "rate", "rate": "1000/min", "warmup": "0s", "hold": "18s"}
    seen = measure(tmp_path / "run", url, "/ms/5", load)
    expect_even(seen.due, 60_000_000, 300)
    assert 0 <= seen.due[0] < 0.25 * NS_PER_S


def test_a_stall_of_five_seconds_is_felt_by_everyone_it_held_up(tmp_path: Path, url: str) -> None:
    """As in `test_latency`; k6 begins some ms after the ordered moment, so the truth is taken at its own due times."""
    begin, length, service = 10.02, 5.0, 50.0
    load = {"kind": "rate", "rate": "1000/min", "hold": "30s"}
    seen = measure(tmp_path / "run", url, "/ms/50", load, stall=(begin, begin + length))
    assert len(seen) == 500
    due = seen.due / NS_PER_S
    held = (due >= begin) & (due < begin + length)
    truth = service + np.where(held, begin + length - due, 0) * 1000
    assert np.percentile(truth, [95, 99]) == pytest.approx([3553, 4751], rel=0.015)
    # What it held up is answered all at once, which takes k6 and the server 10 ms, on a bad day 28. The goal is 1.5 %.
    assert np.percentile(seen.response, [95, 99]) == pytest.approx(np.percentile(truth, [95, 99]), rel=0.01)


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
        # The client's time holds the server's: the two clocks are tied together to well below the time on the wire.
        assert (seen.there > 0).all()
        assert (seen.back > 0).all()
        return bias_ms(seen.service, seen.server)

    expect_no_bias(biases, url, path)
