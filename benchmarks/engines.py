"""Whether Locust and k6 say the same of one plan: a run of each, held against each other as a user would.

Both runs (`agentstorm run --engine locust|k6`, 1000 requests/min) last as long and go side by side, so that what
disturbs one disturbs the other, to a server of its own each, which takes a log-normal time (median 50 ms) to answer.
`engines` is what ``agentstorm compare LOCUST --with K6 --agree`` says of p50, p95 and p99: they agree within their
intervals, or differ by less than 1 %, which is five times finer than the usual tolerance.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import generators, machine
from benchmarks.serving import serving

if TYPE_CHECKING:
    from collections.abc import Sequence

ENGINES = ("locust", "k6")
METRICS = ("response_time.p50", "response_time.p95", "response_time.p99")
TOLERANCE = "1%"
_TIMEOUT_S = 120


def measure(folder: Path, *, seconds: float) -> dict[str, Any]:
    """`engines`: the verdict, and of each percentile both values (ms), the ratio (k6's to Locust's) with its 95 %
    interval, and whether they agree; None where there is no k6."""
    if machine.program("k6") is None:
        return {"engines": None}
    with ThreadPoolExecutor() as pool:  # at 17 requests/s they do not get in each other's way
        runs = list(pool.map(lambda engine: _run(folder / engine, engine, seconds), ENGINES))
    asked = [word for metric in METRICS for word in ("--metric", metric)]
    options = ["--agree", "--json", "--tolerance", TOLERANCE, *asked]
    found = json.loads(_agentstorm(folder, seconds, "compare", str(runs[0]), "--with", str(runs[1]), *options))
    return {"engines": {"verdict": found["verdict"], "why": found["why"], **_figures(found["changes"])}}


def _figures(changes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        change["metric"].removeprefix("response_time."): {
            "locust": change["base"][0],
            "k6": change["candidate"][0],
            "ratio": change["ratio"],
            "agree": change["agree"],
        }
        for change in changes
    }


def _run(folder: Path, engine: str, seconds: float) -> Path:
    folder.mkdir(parents=True)
    load = {"kind": "rate", "rate": "1000/min", "hold": f"{seconds}s"}
    scenario, target = folder / "engines.yaml", folder / "target.yaml"
    # JSON is YAML.
    workload = str(generators.WORKLOADS / "think.py")
    scenario.write_text(json.dumps({"scenario": "engines", "workload": workload, "load": load}))
    with serving(realtime=True) as server:
        target.write_text(json.dumps({"target": "bench", "system": {"kind": "external"}, "url": server.url}))
        recording = folder / "recording"
        options = ["--target", str(target), "--engine", engine, "--out", str(recording)]
        _agentstorm(folder, seconds, "run", str(scenario), *options)
    return recording


def _agentstorm(folder: Path, seconds: float, *arguments: str) -> str:
    """Return what the command line says; a run or comparison without a verdict has none to say."""
    done = subprocess.run(
        [Path(sys.executable).with_name("agentstorm"), *arguments],
        capture_output=True,
        text=True,
        timeout=seconds + _TIMEOUT_S,
        check=False,
        env={**os.environ, "AGENTSTORM_STATE": str(folder / "state")},
    )
    if done.returncode not in (0, 75, 99):
        raise RuntimeError(f"agentstorm {arguments[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
