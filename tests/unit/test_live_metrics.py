"""The run's own metrics: what is counted, what a scrape reads, and that docs/operations.md lists all of it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.cli_export import METRICS_BIND, live_metrics
from harness.errors import PlanError
from harness.live_metrics import BUCKETS_S, FAMILIES, LiveMetrics, serving
from harness.recording.layout import REQUEST_SCHEMA
from harness.report.live import LiveState
from harness.web import get
from tests.recordings import experiment, plan

MS = 1_000_000


def batch(*rows: tuple[str, float | None]) -> pa.RecordBatch:
    """Return requests (outcome, milliseconds or None when never answered)."""
    columns: dict[str, Any] = {}
    for field in REQUEST_SCHEMA:
        words = pa.types.is_dictionary(field.type) or pa.types.is_string(field.type)
        columns[field.name] = pa.array(["" if words else 0] * len(rows)).cast(field.type)
    columns["outcome"] = pa.array([outcome for outcome, _ in rows]).cast(REQUEST_SCHEMA.field("outcome").type)
    columns["end_ns"] = pa.array([-1 if ms is None else round(ms * MS) for _, ms in rows], pa.int64())
    return pa.RecordBatch.from_pydict(columns, schema=REQUEST_SCHEMA)


def pulse(sent: int, worker: str = "w0") -> Any:
    return SimpleNamespace(worker=worker, lag_max_ms=3.0, cpu=0.25, sent=sent, dropped=1, errors=2)


def scraped(port: int) -> dict[tuple[str, tuple[str, ...]], float]:
    status, body = get(f"http://127.0.0.1:{port}/metrics", 5.0)
    assert status == 200
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def state(**changes: Any) -> LiveState:
    return LiveState(**{"elapsed_s": 12.5, "total_s": 60.0, "phase": "baseline", "users": 7, "in_flight": 3, **changes})


@pytest.fixture
def metrics() -> LiveMetrics:
    return LiveMetrics(plan(experiments=[experiment()]), ["bedrock-blackhole"])


def test_requests_are_counted_and_timed_exactly_once(metrics: LiveMetrics) -> None:
    metrics.take_in([batch(("ok", 20), ("ok", 25), ("degraded", 26)), batch(("timeout", 120_001), ("lost", None))], [])
    metrics.take_in([batch(("ok", 700), ("dropped", None))], [])
    with serving(metrics, "127.0.0.1", 0) as port:
        seen = scraped(port)
    outcomes = {labels[0]: n for (name, labels), n in seen.items() if name == "agentstorm_requests_total"}
    assert outcomes == {"ok": 3, "degraded": 1, "failed": 0, "timeout": 1, "lost": 1, "dropped": 1}
    buckets = {labels[0]: n for (name, labels), n in seen.items() if name == "agentstorm_response_time_seconds_bucket"}
    assert (buckets["0.025"], buckets["0.05"], buckets["0.5"], buckets["1.0"], buckets["120.0"], buckets["+Inf"]) == (
        2, 3, 3, 4, 4, 5,
    )  # fmt: skip
    assert len(buckets) == len(BUCKETS_S) + 1
    assert seen["agentstorm_response_time_seconds_sum", ()] == pytest.approx(120.772)


def test_what_the_live_view_shows_is_there_and_ends_with_the_run(metrics: LiveMetrics) -> None:
    with serving(metrics, "127.0.0.1", 0) as port:
        before = scraped(port)
        metrics.take_in([], [pulse(10), pulse(11, "w1")])
        metrics.update(state(faults=("bedrock-blackhole",), phase="fault"), probe_ok=False)
        during = scraped(port)
        metrics.ended(["a proxy"])
        after = scraped(port)
    assert before["agentstorm_phase_info", ("starting",)] == 1
    assert before["agentstorm_fault_active", ("bedrock-blackhole",)] == 0
    assert ("agentstorm_probe_up", ()) not in before
    assert during["agentstorm_phase_info", ("fault",)] == 1
    assert during["agentstorm_fault_active", ("bedrock-blackhole",)] == 1
    assert (during["agentstorm_users", ()], during["agentstorm_in_flight_requests", ()]) == (7, 3)
    assert during["agentstorm_probe_up", ()] == 0
    assert during["agentstorm_generator_sent_total", ("w1",)] == 11
    assert during["agentstorm_generator_lag_seconds", ("w0",)] == 0.003
    assert ("agentstorm_healed", ()) not in during
    assert (after["agentstorm_healed", ()], after["agentstorm_left", ()]) == (0, 1)
    assert after["agentstorm_fault_active", ("bedrock-blackhole",)] == 0
    assert (after["agentstorm_users", ()], after["agentstorm_phase_info", ("ended",)]) == (0, 1)


def test_a_port_in_use_is_refused_in_words(metrics: LiveMetrics) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(PlanError, match=rf"--metrics-port: cannot listen on 127.0.0.1:{port}"),
            serving(metrics, "127.0.0.1", port),
        ):
            pass


def test_an_address_without_a_port_shows_nothing_and_is_refused() -> None:
    with (
        pytest.raises(PlanError, match=r"--metrics-bind 10\.0\.0\.5: nobody is shown"),
        live_metrics(plan(), (), None, "10.0.0.5"),
    ):
        pass
    with live_metrics(plan(), (), None, METRICS_BIND) as metrics:
        assert metrics is None


def test_nothing_is_left_of_the_server(metrics: LiveMetrics) -> None:
    threads = set(threading.enumerate())
    with serving(metrics, "127.0.0.1", 0) as port:
        scraped(port)
    assert set(threading.enumerate()) <= threads
    with pytest.raises(OSError, match="refused"):
        get(f"http://127.0.0.1:{port}/metrics", 1.0)


def test_the_page_about_operations_lists_every_metric() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(agentstorm_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    told = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), says) for name, kind, labels, says in rows]
    assert told == [(f.name, f.kind, f.labels, f.says) for f in FAMILIES.values()]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH (Debian: prometheus)")
def test_prometheus_has_no_objection(metrics: LiveMetrics) -> None:
    metrics.take_in([batch(("ok", 20))], [pulse(1)])
    metrics.update(state(), probe_ok=True)
    metrics.ended([])
    with serving(metrics, "127.0.0.1", 0) as port:
        _, body = get(f"http://127.0.0.1:{port}/metrics", 5.0)
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
