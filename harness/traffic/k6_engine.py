"""The k6 engine, harness side: the same plan, made by another program, recorded in the same rows.

k6 (an external binary, `harness.programs.K6`) runs under a process of ours (`k6_main`) that turns what it says into
`requests/k6-0.arrows` and announces how many batches it has flushed; exactly so many are read from that stream.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from harness.clock import NS_PER_S
from harness.errors import PlanError, TrafficFailed
from harness.generator_process import end_now
from harness.model.request import first_request_id
from harness.programs import K6, Program
from harness.recording import layout
from harness.seeds import python_random
from harness.traffic.base import Progress, Pulse
from harness.traffic.k6_refusal import last_error, refusal
from harness.traffic.k6_scenarios import check, shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.generator_process import GeneratorProcess
    from harness.model.plan import Plan

_MAIN = Path(__file__).with_name("k6_main.py")
WORKER = "k6-0"
_PREPARE_S = 120.0
"""Thousands of VUs take their time."""
_END_S = 10.0
_STREAM = 1
"""Number of this worker's stream of request ids; 0 is the canary's."""
LONGEST_S = 60.0
"""How long a request may take when the workload does not export a `timeout` of its own: k6's default. So many VUs are
preallocated that a stall of this length holds up no arrival: rate times longest."""
_SEEDS = 2**52
"""k6 takes seeds that JavaScript can count to; iterations are added to it."""


class K6Engine:
    """k6 under a process of ours (`base.Engine`)."""

    def __init__(self, plan: Plan, recording: Path, run_id: int) -> None:
        self._plan, self._run_id = plan, run_id
        self._requests = recording / layout.REQUESTS / f"{WORKER}.arrows"
        self._log = recording / layout.LOGS / "k6.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._program: Program | None = None
        self._inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader: pa.RecordBatchReader | None = None
        self._read = 0
        self._ended = False
        self._failed = self.asked = ""
        self._ready: dict[str, Any] = {}

    def _order(self, program: Program) -> dict[str, Any]:
        plan, load = self._plan, self._plan.scenario.load
        check(plan)
        made = shape(load, plan.seed)
        return {
            "k6": str(program.path),
            "workload": str(plan.workload_path),
            "requests": str(self._requests),
            "log": str(self._log),
            "worker": WORKER,
            "observe": plan.target.observe.model_dump(mode="json", by_alias=True, exclude_none=True),
            "total_s": load.total_s,
            "drain": load.drain,
            "first_id": first_request_id(_STREAM),
            "shape": asdict(made),
            # What only the script needs.
            "js": {
                "seed": python_random(plan.seed, "k6").randrange(_SEEDS),
                "run_id": f"{self._run_id:016x}",
                "first_id": first_request_id(_STREAM),
                "allow_hosts": [host.strip("[]").lower() for host in plan.target.allow_hosts],
                "longest_s": LONGEST_S,
                "watch": f"{round(max(1.0, load.total_s) * 1000)}ms",
            },
        }

    def prepare(self, early: GeneratorProcess | None = None) -> None:  # noqa: ARG002 - of the other engine
        """Start k6 and have it check the workload. MissingComponent: no k6 that will do. No request is made."""
        self._program = K6.require()
        order = self._order(self._program)
        self._requests.parent.mkdir(parents=True, exist_ok=True)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if not self._plan.workload_path.is_file():
            raise PlanError(
                "no such file", where=str(self._plan.workload_path), hint="a k6 script, beside the scenario"
            )
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                # -P: the folder of the script is no place to import from.
                [sys.executable, "-P", str(_MAIN)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        self._tell("prepare", **order)
        try:
            first = self._inbox.get(timeout=_PREPARE_S)
        except queue.Empty:
            self.kill()
            raise PlanError(
                f"k6 was not ready after {_PREPARE_S:.0f} s",
                where=str(self._plan.workload_path),
                hint="move work out of the file's top level, or let a shorter `timeout` need fewer VUs",
            ) from None
        if first is None or first["say"] != "ready":
            self.kill()
            raise refusal(self._log, self._plan.workload_path) or TrafficFailed(self._last_words(first))
        self._ready = first

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(ValueError, OSError):  # closed by kill()
            for line in process.stdout:
                self._inbox.put(json.loads(line))
        self._inbox.put(None)

    def _tell(self, do: str, **data: Any) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(OSError, ValueError):  # it has died: `batches` says so
            self._process.stdin.write(json.dumps({"do": do, **data}).encode() + b"\n")
            self._process.stdin.flush()

    def gather(self, say: Callable[[str], None], check: Callable[[], None]) -> None:
        """Do nothing: k6 has no workers on other hosts."""

    def begin(self, start_ns: int, url: str) -> None:
        """Start the load at monotonic time `start_ns` against the base URL `url`."""
        self._tell("begin", start_ns=start_ns, url=url.rstrip("/"))

    def change(self, number: int, at_ns: int, rate: float, seconds: float) -> None:  # noqa: ARG002 - it cannot
        """Refuse: k6 cannot, and `k6_scenarios` has such plans refused before they are run."""
        raise TrafficFailed(f"k6 cannot be told another rate (level {number}: {rate:g}/s)")

    def batches(self) -> Progress:
        """Return what was flushed since the last call. TrafficFailed once k6 has died on its own."""
        flushed, pulses, gone = self._read, [], False
        while True:
            try:
                said = self._inbox.get_nowait()
            except queue.Empty:
                break
            if said is None:
                gone = True
                continue
            flushed = max(flushed, said.get("batches", 0))
            self._ended = self._ended or said["say"] == "ended"
            if said["say"] == "failed":
                self._failed = said["what"]
            if said["say"] == "asked":
                self.asked = f"{WORKER} was asked to stop ({said['reason']})"
            if "pulse" in said:
                pulses.append(Pulse(**said["pulse"]))
        progress = Progress([self._next_batch() for _ in range(flushed - self._read)], pulses)
        if gone and not self._ended:
            if not progress.batches and not pulses:
                raise TrafficFailed(self._last_words(None))
            self._inbox.put(None)  # first what it managed to say
        return progress

    def _next_batch(self) -> pa.RecordBatch:
        if self._reader is None:  # the stream has its header from the first batch on
            self._reader = pa.ipc.open_stream(pa.OSFile(str(self._requests), "rb"))
        self._read += 1
        return self._reader.read_next_batch()

    @property
    def finished(self) -> bool:
        """Whether the load is over and every row has been handed out by `batches`."""
        return self._ended

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """Make no new requests; wait for those in flight up to the load's `drain`, or not at all."""
        self._tell("stop", reason=reason, at_once=at_once)

    def kill(self) -> None:
        """End k6 now. What was flushed stays readable."""
        process = self._process
        if process is None:
            return
        if self._ended:  # it is leaving by itself
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
        end_now(process)  # k6 is on its leash, and goes with it

    def describe(self) -> dict[str, Any]:
        """Return what belongs in the manifest: version, process id, VUs, how well k6's clock is known."""
        about, program = self._ready.get("about", {}), self._program
        return {
            "kind": "k6",
            "versions": {"k6": program.version if program else ""},
            "path": str(program.path) if program else "",
            "how": program.how if program else "",
            "workers": [{"name": WORKER, **{k: self._ready.get(k) for k in ("pid", "nice", "scheduler")}}],
            "vus": about.get("vus"),
            "longest_request_s": about.get("timeout_s"),
            "clock_uncertainty_us": self._ready.get("uncertainty_ns", 0) * 1e6 / NS_PER_S,
            "workload": str(self._plan.workload_path),
        }

    def _last_words(self, said: dict[str, Any] | None) -> str:
        what = self._failed or (said or {}).get("what", "") or "its keeper was killed"
        tail = last_error(self._log)
        return (
            f"the load generator died: {what}{f': {tail.splitlines()[0]}' if tail else ''}\n"
            f"  what it had flushed is kept; see {self._log}"
        )
