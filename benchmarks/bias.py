"""Our percentiles against the log of the server that answered the same requests.

The server (real-time priority where it may have it) writes down when it received and answered each request, under the
number that the request carries. Our response time of a request holds the server's, plus the wire, plus what the
instrument adds; at 1000 requests/min that includes how late it sent the request. `bias_ms` is the difference of the
percentiles of the two, over the very same requests, at p50, p95 and p99, for three loads: 1000 requests/min, 100 users,
and the ramp of a spike from 0 to 500 users. Of the repeats it is the median. Under `streams` it is that of the time to
the first token, where 50 users read streams: the server writes down when it wrote that.

The percentiles are Harrell and Davis' (Biometrika 69, 1982: means of the order statistics about each). Of a thousand
requests, the one at p95 and the next may be 2 ms apart, and the plain percentile jumps as far when a single request of
another rank comes late: what is then told is the gap, not the bias.

`bias_bare_ms` is that of a client at 1000/min which does nothing but sleep until a request is due, send it and stop its
watch: what the processes' wake-ups and the wire cost on this machine, of which a generator can save little.
"""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from scipy.stats.mstats import hdquantiles

from benchmarks import generators, plans
from benchmarks.serving import serving
from harness.clock import NS_PER_MS, NS_PER_S, now_ns, sleep
from harness.model.request import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from benchmarks.serving import Server

_QUANTILES = (0.5, 0.95, 0.99)


def measure(folder: Path, *, repeats: int, seconds: float) -> dict[str, Any]:
    """`bias_ms`, `bias_bare_ms`, and under `bias` each repeat, also of the service time (end - start); each load takes
    `seconds`."""
    loads: dict[str, dict[str, Any]] = {
        "rate": {"kind": "rate", "rate": "1000/min", "hold": f"{seconds}s"},
        "users100": {"kind": "users", "users": 100, "spawn": "50/s", "hold": f"{seconds}s"},
        "spike": {"kind": "spike", "users": 500, "ramp": f"{seconds}s", "hold": "0.1s"},
    }
    with serving(realtime=True) as server:
        seen: dict[str, list[Any]] = {name: [] for name in (*loads, "streams")}
        bare = []
        for repeat in range(repeats):
            bare.append(_bare(server, seconds))
            for name, load in loads.items():
                seen[name].append(_bias(load, seconds, server, folder / f"{name}-{repeat}"))
            seen["streams"].append(_first_token(seconds, server, folder / f"streams-{repeat}"))
    return {
        "bias_ms": {name: np.median([b["ms"] for b in runs], axis=0).tolist() for name, runs in seen.items()},
        "bias_bare_ms": np.median(bare, axis=0).tolist(),
        "bias": seen,
    }


def between(ours_ms: Any, truth_ms: Any) -> list[float]:
    """By how much the percentiles of the one exceed those of the other, at p50, p95 and p99."""
    ours, truth = (hdquantiles(np.asarray(times), _QUANTILES) for times in (ours_ms, truth_ms))
    found: list[float] = (ours - truth).tolist()
    return found


def _bias(load: dict[str, Any], seconds: float, server: Server, folder: Path) -> dict[str, Any]:
    rows, truth_ms = _answered("think.py", load, seconds, server, folder)
    response, service = (
        between((rows.end_ns - begin_ns) / NS_PER_MS, truth_ms) for begin_ns in (rows.due_ns, rows.start_ns)
    )
    return {"ms": response, "service_ms": service, "requests": len(rows)}


def _first_token(seconds: float, server: Server, folder: Path) -> dict[str, Any]:
    load = {"kind": "users", "users": 50, "spawn": "50/s", "hold": f"{seconds}s"}
    rows, truth_ms = _answered("streams.py", load, seconds, server, folder)
    return {"ms": between((rows.first_token_ns - rows.start_ns) / NS_PER_MS, truth_ms), "requests": len(rows)}


def _answered(
    workload: str, load: dict[str, Any], seconds: float, server: Server, folder: Path
) -> tuple[pd.DataFrame, Any]:
    """The requests of a load that were begun within `seconds`, and the server's own times of them, ms."""
    server.ask("/log/on")
    start_ns = plans.run(plans.plan(generators.WORKLOADS / workload, load), server.url, folder)
    rows = plans.rows(folder)
    rows = rows[rows.start_ns < start_ns + seconds * NS_PER_S]
    if set(rows.outcome) != {Outcome.OK.value}:
        raise RuntimeError(f"not every request was answered: {rows.outcome.value_counts().to_dict()}")
    return rows, server.times_ms().loc[rows.request_id]


_CONNECTIONS = 8
"""More than are ever busy at 17 requests/s that take 50 ms."""


def _bare(server: Server, seconds: float) -> list[float]:
    server.ask("/log/on")
    begin_ns, every_ns, random = now_ns() + NS_PER_S // 10, 60 * NS_PER_S // 1000, np.random.default_rng(1)
    delays_ms = random.lognormal(np.log(50), 0.5, int(seconds * NS_PER_S) // every_ns)

    def ask(connection: int) -> list[tuple[int, float]]:
        client, times = http.client.HTTPConnection(urlsplit(server.url).netloc), []
        for number in range(connection, len(delays_ms), _CONNECTIONS):
            due_ns = begin_ns + number * every_ns
            sleep(max(0, due_ns - now_ns()) / NS_PER_S)
            trace = f"00-{1:016x}{number:016x}-{1:016x}-01"
            client.request("POST", f"/ms/{delays_ms[number]:.3f}", headers={"traceparent": trace})
            client.getresponse().read()
            times.append((number, (now_ns() - due_ns) / NS_PER_MS))
        client.close()
        return times

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        numbers, times = zip(*chain.from_iterable(pool.map(ask, range(_CONNECTIONS))), strict=True)
    return between(times, server.times_ms().loc[list(numbers)])
