"""A recording whose metrics are planted: what the system shows is known to the last request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.recordings import METRICS, RecordingBuilder, plan

NAMES = {
    **METRICS,
    "requests": "http_requests_total{status_code}",
    "provider_calls": "llm_requests_total{provider}",
    "latency": "llm_request_duration_seconds",
    "in_flight": "llm_active_requests",
    "memory": "process_resident_memory_bytes",
    "cpu": "process_cpu_seconds_total",
    "service": "agents",
}
BASELINE_S = 600
PER_S = {"http_requests_total": {"200": 19.99, "500": 0.01}, "llm_requests_total": {"bedrock": 14.25, "openai": 0.75}}
BELOW = {"0.1": 0.2, "0.5": 0.9, "1.0": 0.97, "2.0": 0.995, "5.0": 0.9995, "10.0": 1.0, "+Inf": 1.0}
"""Share of the calls that took no longer."""
CALLS_PER_S = 15
CPU_CORES, CPU_LIMIT = 0.2, 1.0
MEMORY_MIB, MEMORY_LIMIT_MIB = 120, 512
LOOKUPS, HITS = 3000, 1200


def planted(path: Path, *, metrics: dict[str, Any] | None = None, name: str = "planted", scale: float = 1.0) -> Path:
    """Write a healthy run of ten minutes; `scale` multiplies what its counters grow by."""
    metrics = NAMES if metrics is None else metrics
    builder = RecordingBuilder(
        path / name, plan(hold_s=BASELINE_S, warmup_s=10, slo={"response_time": "3s"}, target={"metrics": metrics})
    )
    builder.phases(warmup=-10, steady=0, cooldown=BASELINE_S)
    for number in range(LOOKUPS):
        builder.request(number * BASELINE_S / LOOKUPS, 0.3, hits=int(number % 5 < 2))
    for tick in range(-20, 2 * BASELINE_S + 10):
        look(builder, tick / 2, scale)
    builder.container("agents-1", range(BASELINE_S), cpu=CPU_CORES, cpu_limit=CPU_LIMIT, memory_mib=MEMORY_MIB,
                      memory_limit_mib=MEMORY_LIMIT_MIB)  # fmt: skip
    builder.instrument(-10, BASELINE_S)
    return builder.close(BASELINE_S + 5).path


def look(builder: RecordingBuilder, t_s: float, scale: float) -> None:
    """Write what the metrics probe sees at `t_s`, of one copy."""
    since = (t_s + 1000) * scale  # the system was up before the run
    counts = {"http_requests_total", "llm_requests_total", "llm_request_duration_seconds_bucket"}

    def said(metric: str, value: float, **labels: str) -> None:
        whole = round(value + 1e-6) if metric in counts else value
        builder.sample(t_s, "metrics", metric, whole, instance="agents-1", **labels)

    said("scrape_failed", 0)
    for metric, label in (("http_requests_total", "status_code"), ("llm_requests_total", "provider")):
        for value, per_s in PER_S[metric].items():
            said(metric, per_s * since, **{label: value})
    for le, share in BELOW.items():
        said("llm_request_duration_seconds_bucket", CALLS_PER_S * share * since, le=le)
    for provider in ("bedrock", "openai"):
        said("llm_circuit_state", 0, provider=provider)
    said("llm_cache_hits_total", 2 * since)
    said("llm_cache_misses_total", 3 * since)
    said("llm_active_requests", 4)
    said("process_resident_memory_bytes", MEMORY_MIB * 2**20)
    said("process_cpu_seconds_total", CPU_CORES * since)
