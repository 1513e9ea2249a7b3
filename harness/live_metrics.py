"""The run's own metrics while it lasts, for Prometheus: what the live view shows, and the counts behind it.

The conductor hands over what it has anyway, a few times a second; what Prometheus asks for is made in the server's own
threads. Nobody waits for a scrape. Times are counted into buckets here, which is approximate; the report is exact.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from harness.clock import NS_PER_S
from harness.errors import PlanError
from harness.model.request import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from prometheus_client.core import Metric

    from harness.model.plan import Plan
    from harness.report.live import LiveState

BUCKETS_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""From an answer out of a cache to the longest time-outs that language models are given."""
_MS_PER_S = 1000


@dataclass(frozen=True)
class Family:
    """One metric: its name, type, labels, and what it says."""

    name: str
    kind: str
    labels: tuple[str, ...]
    says: str


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            "agentstorm_run_info", "gauge", ("scenario", "experiments", "target", "seed"), "What is running; always 1"
        ),
        Family("agentstorm_phase_info", "gauge", ("phase",), "The phase the run is in; 1 for that one only"),
        Family("agentstorm_elapsed_seconds", "gauge", (), "Time since the load began"),
        Family("agentstorm_planned_seconds", "gauge", (), "Length of the load as planned"),
        Family("agentstorm_requests_total", "counter", ("outcome",), "Requests that are over, by outcome"),
        Family("agentstorm_response_time_seconds", "histogram", (), "From when a request was due to its answer's end"),
        Family("agentstorm_in_flight_requests", "gauge", (), "Requests that are out and not over"),
        Family("agentstorm_users", "gauge", (), "Users running"),
        Family("agentstorm_sent_per_second", "gauge", (), "Requests sent per second, over the last five seconds"),
        Family("agentstorm_generator_sent_total", "counter", ("worker",), "Requests sent, by load process"),
        Family("agentstorm_generator_dropped_total", "counter", ("worker",), "Requests that were due and never sent"),
        Family(
            "agentstorm_generator_errors_total", "counter", ("worker",), "Exceptions that left the workload's own code"
        ),
        Family(
            "agentstorm_generator_lag_seconds",
            "gauge",
            ("worker",),
            "Longest time its loop was late in its last second",
        ),
        Family("agentstorm_generator_cpu_ratio", "gauge", ("worker",), "Share of a core it uses (k6: of all cores)"),
        Family("agentstorm_fault_active", "gauge", ("fault",), "1 while the fault is on"),
        Family("agentstorm_probe_up", "gauge", (), "1 if the canary's latest request was answered; absent without one"),
        Family("agentstorm_healed", "gauge", (), "1 once everything is undone, 0 if something is left; absent before"),
        Family("agentstorm_left", "gauge", (), "Things that could not be undone; absent before the end"),
    )
}
"""Every metric there is, by name."""

Samples = list[tuple[tuple[str, ...], float]]


class PulseLike(Protocol):
    """What is read of a load process's pulse (`traffic.base.Pulse`)."""

    @property
    def worker(self) -> str: ...
    @property
    def lag_max_ms(self) -> float: ...
    @property
    def cpu(self) -> float: ...
    @property
    def sent(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def errors(self) -> int: ...


class LiveMetrics:
    """The metrics of one run, as a collector of `prometheus_client`. `faults` are the names of those planned."""

    def __init__(self, plan: Plan, faults: Iterable[str] = ()) -> None:
        experiments = "+".join(e.experiment for e in plan.experiments)
        self._run = (plan.scenario.scenario, experiments, plan.target.target, str(plan.seed))
        self._planned_s = plan.scenario.load.total_s
        self._lock = Lock()
        self._outcomes = dict.fromkeys((str(outcome) for outcome in Outcome), 0)
        self._buckets = np.zeros(len(BUCKETS_S) + 1, np.int64)
        self._total_ns = 0
        self._pulses: dict[str, PulseLike] = {}
        self._faults = dict.fromkeys(faults, False)
        self._state: LiveState | None = None
        self._probe_ok: bool | None = None
        self._left: int | None = None

    def take_in(self, batches: Iterable[pa.RecordBatch], pulses: Iterable[PulseLike]) -> None:
        """Count requests (`layout.REQUEST_SCHEMA`), and keep the latest pulse of each load process."""
        with self._lock:
            for batch in batches:
                self._count(batch)
            for pulse in pulses:
                self._pulses[pulse.worker] = pulse

    def _count(self, batch: pa.RecordBatch) -> None:
        for row in batch.column("outcome").value_counts().to_pylist():
            self._outcomes[row["values"]] = self._outcomes.get(row["values"], 0) + row["counts"]
        due, end = batch.column("due_ns").to_numpy(), batch.column("end_ns").to_numpy()
        took = (end - due)[end >= 0]
        places = np.searchsorted(np.array(BUCKETS_S) * NS_PER_S, took)
        self._buckets += np.bincount(places, minlength=len(self._buckets))
        self._total_ns += int(took.sum())

    def update(self, state: LiveState, probe_ok: bool | None) -> None:
        """Take over what the live view shows, and whether the canary was answered."""
        with self._lock:
            self._state, self._probe_ok = state, probe_ok
            self._faults = dict.fromkeys({*self._faults, *state.faults}, False) | dict.fromkeys(state.faults, True)

    def ended(self, left: Sequence[str]) -> None:
        """Say that the run is over, and what of it could not be undone."""
        with self._lock:
            self._left, self._probe_ok = len(left), None
            self._faults = dict.fromkeys(self._faults, False)

    def collect(self) -> Iterator[Metric]:
        """Yield every family that has something to say; called for each scrape, in the server's threads."""
        with self._lock:
            said, buckets, total_s = self._said(), self._buckets.cumsum().tolist(), self._total_ns / NS_PER_S
        for family in FAMILIES.values():
            if family.kind == "histogram":
                bounds = [*(str(bound) for bound in BUCKETS_S), "+Inf"]
                rows = list(zip(bounds, buckets, strict=True))
                yield HistogramMetricFamily(family.name, family.says, buckets=rows, sum_value=total_s)
            elif family.name in said:
                kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
                metric = kind(family.name, family.says, labels=family.labels)
                for labels, value in said[family.name]:
                    metric.add_metric(labels, value)
                yield metric

    def _said(self) -> dict[str, Samples]:
        state, over = self._state, self._left is not None
        running = state if state is not None and not over else None
        phase = "ended" if over else state.phase if state else "starting"
        found: dict[str, Samples] = {
            "agentstorm_run_info": [(self._run, 1)],
            "agentstorm_phase_info": [((phase,), 1)],
            "agentstorm_elapsed_seconds": [((), state.elapsed_s if state else 0)],
            "agentstorm_planned_seconds": [((), self._planned_s)],
            "agentstorm_requests_total": [((outcome,), n) for outcome, n in self._outcomes.items()],
            "agentstorm_in_flight_requests": [((), running.in_flight if running else 0)],
            "agentstorm_users": [((), running.users if running else 0)],
            "agentstorm_sent_per_second": [((), running.rate_per_s if running else 0)],
            "agentstorm_fault_active": [((fault,), on) for fault, on in sorted(self._faults.items())],
        }
        each = [((worker,), pulse) for worker, pulse in sorted(self._pulses.items())]
        found |= {
            "agentstorm_generator_sent_total": [(who, pulse.sent) for who, pulse in each],
            "agentstorm_generator_dropped_total": [(who, pulse.dropped) for who, pulse in each],
            "agentstorm_generator_errors_total": [(who, pulse.errors) for who, pulse in each],
            "agentstorm_generator_lag_seconds": [(who, pulse.lag_max_ms / _MS_PER_S) for who, pulse in each],
            "agentstorm_generator_cpu_ratio": [(who, pulse.cpu) for who, pulse in each],
        }
        if self._probe_ok is not None:
            found["agentstorm_probe_up"] = [((), self._probe_ok)]
        if self._left is not None:
            found |= {"agentstorm_healed": [((), self._left == 0)], "agentstorm_left": [((), self._left)]}
        return found


@contextmanager
def serving(metrics: LiveMetrics, address: str, port: int) -> Iterator[int]:
    """Serve `metrics` at ``/metrics`` while the block lasts; yields the port (of 0 a free one was made).

    PlanError: nothing can listen there.
    """
    registry = CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise PlanError(
            f"cannot listen on {address}:{port}: {error.strerror or error}",
            where="--metrics-port",
            hint="give a port that is free, and an address of this host (--metrics-bind); nothing was started",
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
