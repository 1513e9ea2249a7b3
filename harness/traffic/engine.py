"""The Locust engine, harness side: no Locust in this process (gevent patches whatever imports it).

The subprocess announces how many batches it has flushed; exactly so many are read from the stream it writes, so the
reader never meets a half-written one and the live view is the recording.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from harness.errors import PlanError, TrafficFailed, WorkloadFailed
from harness.recording import layout
from harness.traffic import arrivals
from harness.traffic.base import Progress, Pulse

if TYPE_CHECKING:
    from pydantic import BaseModel

    from harness.model.plan import Plan

_MAIN = Path(__file__).with_name("locust_main.py")
WORKER = "locust-0"
_PREPARE_S = 30.0
_END_S = 5.0
_STREAM = 1
"""Number of this worker's stream of request ids; 0 is the canary's."""


def _numbers(model: BaseModel) -> dict[str, Any]:
    return {k: [_numbers(v) for v in value] if isinstance(value, tuple) else value for k, value in model}


class LocustEngine:
    """Locust in a subprocess (`base.Engine`)."""

    def __init__(self, plan: Plan, recording: Path, run_id: int) -> None:
        self._plan, self._run_id = plan, run_id
        self._requests = recording / layout.REQUESTS / f"{WORKER}.arrows"
        self._log = recording / layout.LOGS / "locust.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader: pa.RecordBatchReader | None = None
        self._read = 0
        self._ended = False
        self._ready: dict[str, Any] = {}
        self._broken = ""

    def _order(self) -> dict[str, Any]:
        plan, load = self._plan, self._plan.scenario.load
        return {
            "workload": str(plan.workload_path),
            "requests": str(self._requests),
            "worker": WORKER,
            "stream": _STREAM,
            "seed": plan.seed,
            "run_id": self._run_id,
            "observe": plan.target.observe.model_dump(mode="json", by_alias=True, exclude_none=True),
            # As numbers: how durations and rates are written in files is not the generator's business.
            "load": {**_numbers(load), "total_s": load.total_s, "open_loop": load.open_loop, **self._replayed()},
        }

    def _replayed(self) -> dict[str, Any]:
        replayed, load = self._plan.replayed, self._plan.scenario.load
        if replayed is None or load.kind != "replay":
            return {}
        if arrivals.digest(replayed.path) != replayed.sha256:
            raise PlanError("has changed since the plan was made", where=str(replayed.path), hint="start again")
        return {"due_ns": arrivals.read(replayed.path, load.column)[: replayed.arrivals].tolist()}

    def prepare(self) -> None:
        """Start the subprocess and have it check the workload. PlanError names the line; no request is made."""
        self._requests.parent.mkdir(parents=True, exist_ok=True)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            # -P: the folder of the script is no place to import from.
            [sys.executable, "-P", str(_MAIN), str(self._log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        self._tell("prepare", **self._order())
        try:
            first = self._inbox.get(timeout=_PREPARE_S)
        except queue.Empty:
            self.kill()
            raise PlanError(
                f"importing it took more than {_PREPARE_S:.0f} s",
                where=str(self._plan.workload_path),
                hint="move work out of the file's top level, into on_start or a test_start listener",
            ) from None
        if first is None:
            raise self._died()
        if first["say"] == "refused":
            self.kill()
            raise PlanError(first["what"], where=first["where"], hint=first["hint"])
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

    def begin(self, start_ns: int, url: str) -> None:
        """Start the load at monotonic time `start_ns` against the base URL `url`."""
        self._tell("begin", start_ns=start_ns, url=url.rstrip("/"))

    def batches(self) -> Progress:
        """Return what was flushed since the last call.

        TrafficFailed once the process has died on its own. WorkloadFailed: the workload raises and makes no load.
        """
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
            if said["say"] == "broken":
                self._broken = said["what"]
            if "pulse" in said:
                pulses.append(Pulse(**said["pulse"]))
        progress = Progress([self._next_batch() for _ in range(flushed - self._read)], pulses)
        if self._broken and (self._ended or gone) and not progress.batches and not pulses:
            raise WorkloadFailed(f"{self._plan.workload_path}: {self._broken}; the traceback is in {self._log}")
        if gone and not self._ended:
            if not progress.batches and not pulses:
                raise self._died()
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
        return self._ended and not self._broken  # `batches` has that to say

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """Make no new requests; wait for those in flight up to the load's `drain`, or not at all."""
        self._tell("stop", reason=reason, at_once=at_once)

    def kill(self) -> None:
        """End the process now. What it had flushed stays readable."""
        process = self._process
        if process is None:
            return
        if self._ended:  # it is leaving by itself
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def describe(self) -> dict[str, Any]:
        """Return what belongs in the manifest: versions, process id, priority, worker names."""
        return {
            "kind": "locust",
            "versions": {name: version(name) for name in ("locust", "gevent", "geventhttpclient")},
            "workers": [{"name": WORKER, "pid": self._ready.get("pid"), "nice": self._ready.get("nice")}],
            "user_classes": self._ready.get("user_classes", []),
            "workload": str(self._plan.workload_path),
        }

    def _died(self) -> TrafficFailed:
        code = self._process.wait(_END_S) if self._process is not None else None
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        tail = ""
        with contextlib.suppress(OSError):
            lines = self._log.read_text(errors="replace").splitlines()
            tail = next((line for line in reversed(lines) if line.strip()), "")
        return TrafficFailed(
            f"the load generator died ({how}){f': {tail}' if tail else ''}\n"
            f"  what it had flushed is kept; see {self._log}"
        )
