"""From `agentstorm run` to the first request.

The smoke scenario on ``targets/local.yaml``, as a user types it: simulators, agents, proxies and generator have to come
up first. The clock starts before the process does and stops when the first request of the load leaves the generator
(`start_ns` of the recording: the same clock; the target's server has it a fraction of a millisecond later). One run
comes first that is not counted, so that files and byte code are warm. `first_request_s` is the median of the others.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.compute as pc

from harness.clock import NS_PER_S, now_ns
from harness.recording.reader import Recording

_RUN = [str(Path(sys.executable).with_name("agentstorm")), "run", "smoke", "--target", "local", "--scale", "0.1"]
_TIMEOUT_S = 120


def measure(folder: Path, *, repeats: int) -> dict[str, Any]:
    """`first_request_s`, and under `first_request` each run."""
    seconds = [_seconds(folder / str(number)) for number in range(repeats + 1)][1:]
    return {"first_request_s": median(seconds), "first_request": seconds}


def _seconds(folder: Path) -> float:
    begin_ns = now_ns()
    done = subprocess.run(
        [*_RUN, "--out", str(folder)],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        env={**os.environ, "AGENTSTORM_STATE": str(folder.with_suffix(".state"))},
    )
    starts = Recording.open(folder).requests["start_ns"] if folder.exists() else []
    if not len(starts):
        raise RuntimeError(f"no request was made:\n{done.stdout}{done.stderr}")
    return float((pc.min(starts).as_py() - begin_ns) / NS_PER_S)
