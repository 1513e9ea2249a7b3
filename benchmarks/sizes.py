"""How much each benchmark does: `FULL` is what ``RESULTS.md`` is made of, `QUICK` takes under five minutes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Counts and lengths of everything."""

    turns: int
    """Times every generator of the throughput benchmark has its turn."""
    window_s: float
    """Seconds of each turn that are looked at."""
    flush_repeats: int
    flush_s: float
    bias_repeats: int
    bias_s: float
    """Length of each load whose percentiles are compared, seconds."""
    stall_repeats: int
    arrivals_minutes: int
    engines_s: float
    """Length of the runs of both engines, seconds."""
    soak_events: int
    """Requests of the soak whose client is never there."""
    soak_http: int
    """Requests of the soak over HTTP."""
    soak_warm_up: float
    """Share of its requests before memory is looked at."""
    soak_http_warm_up: float
    """The same over HTTP. Connections, parsers and what the process of the run shows take 10 MiB over the first million
    requests, and hardly anything after."""
    soak_real_time_s: float
    """Least seconds of the soak that goes beside these two."""
    report_rows: tuple[int, ...]
    """Requests of the recordings that are reported on."""
    fault_proxy_requests: int
    """Requests with and without the HTTP fault proxy, each."""
    first_requests: int
    """Runs whose first request is waited for."""


QUICK = Sizes(
    turns=3, window_s=1.5, flush_repeats=1, flush_s=5, bias_repeats=2, bias_s=6, stall_repeats=1,
    arrivals_minutes=1, engines_s=30, soak_events=800_000, soak_http=60_000, soak_warm_up=0.6, soak_http_warm_up=0.6,
    soak_real_time_s=0, report_rows=(10**6, 10**7), fault_proxy_requests=1000, first_requests=2,
)  # fmt: skip
FULL = Sizes(
    turns=15, window_s=5, flush_repeats=3, flush_s=20, bias_repeats=3, bias_s=60, stall_repeats=3,
    arrivals_minutes=3, engines_s=300, soak_events=10_000_000, soak_http=4_000_000, soak_warm_up=0.25,
    soak_http_warm_up=0.4, soak_real_time_s=1200, report_rows=(10**6, 10**7, 10**8), fault_proxy_requests=10_000,
    first_requests=3,
)  # fmt: skip
