"""One load by k6, from the order to its last row. Only for the process between the harness and k6."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from harness import leash, open_files
from harness.clock import NS_PER_MS, NS_PER_S, now_ns, wall_offset
from harness.errors import TrafficFailed
from harness.model.target import Observe
from harness.observe import Observation
from harness.recording.requests import RequestWriter
from harness.traffic import pacer
from harness.traffic.k6_control import Control
from harness.traffic.k6_record import Book, Schedule
from harness.traffic.k6_samples import Samples
from harness.traffic.pulses import p99_ms

if TYPE_CHECKING:
    from collections.abc import Callable

_LIBRARY = Path(__file__).with_name("k6_agentstorm.js")
_MAIN = """\
import * as agentstorm from "file://{library}";
import * as workload from "file://{workload}";
export const options = agentstorm.options(workload);
export function setup() { return agentstorm.setup(workload); }
export function task(word) { agentstorm.task(workload, word); }
export function watch() { agentstorm.watch(); }
"""
_STOP_S = 5.0
_SETTLE_NS = NS_PER_S // 2
"""k6 writes its samples five times a second: what happened before is known by then."""
_STEP_NS = 50 * NS_PER_MS
"""A wall clock that was moved by more than this during a run makes k6's times worthless."""


def _environment() -> dict[str, str]:
    """Return ours without what would change k6's behaviour, and with the zone its times are read in."""
    return {key: value for key, value in os.environ.items() if not key.startswith("K6_")} | {"TZ": "UTC"}


def due(shape: dict[str, Any]) -> Schedule | None:
    """Return when the arrivals of a shape (`k6_scenarios.Shape`, from JSON) are due; None for a closed loop."""
    if not shape["count"]:
        return None
    levels = [pacer.Level(*level) for level in shape["levels"]]
    return Schedule(shape["period_ns"], shape["count"], pacer.ramps(levels) if levels else None)


class Run:
    """k6, started and waiting in its `setup`; then the load."""

    def __init__(self, order: dict[str, Any], folder: Path, announce: Callable[..., None]) -> None:
        self._order, self._announce = order, announce
        self.control = Control()
        self._offset_ns, self.uncertainty_ns = wall_offset()
        self._worker = order["worker"]
        self._writer = RequestWriter(Path(order["requests"]), self._worker)
        observe = Observe.model_validate(order["observe"])
        schedule = due(order["shape"])
        self.book = Book(self._writer, Observation(observe), schedule, self._offset_ns, order["first_id"])
        self._samples = Samples(self.book)
        self._stopping = ""
        self._ended_by_us = False
        self._over_ns = 0
        self._process = self._start(folder)
        self._watched = psutil.Process(self.pid)
        self._watched.cpu_percent()
        self._cores = len(self._watched.cpu_affinity()) if hasattr(self._watched, "cpu_affinity") else os.cpu_count()
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        self.output = self._process.stdout.fileno()

    @property
    def pid(self) -> int:
        """k6's own."""
        return self._process.real_pid

    def _start(self, folder: Path) -> leash.Leashed:
        order = self._order
        script = _MAIN
        for key, value in (("{library}", _LIBRARY), ("{workload}", order["workload"])):
            script = script.replace(key, str(value))
        (folder / "main.js").write_text(script)
        (folder / "config.json").write_text("{}")  # not that of whoever runs us
        (folder / "order.json").write_text(json.dumps({**order["shape"], **order["js"], "control": self.control.url}))
        command = [
            order["k6"], "run", "--quiet", "--no-summary", "--no-thresholds", "--no-usage-report", "--no-color",
            "--config", str(folder / "config.json"), "--address", self.control.api, "--log-format", "json",
            "--env", f"AGENTSTORM_ORDER={folder / 'order.json'}",
            "--out", "json=/dev/stdout",  # as a file, unbuffered; "-" would keep back the last 4 KiB
            str(folder / "main.js"),
        ]  # fmt: skip
        return leash.start(
            command,
            log=Path(order["log"]),
            env=_environment(),
            cwd=folder,
            stdout=subprocess.PIPE,
            room=open_files.ROOM,  # each of its VUs opens connections of its own
        )

    def begin(self, start_ns: int, url: str) -> None:
        """Start the load at monotonic `start_ns` against `url`."""
        end_ns = start_ns + int(self._order["total_s"] * NS_PER_S)
        self.book.vus = int((self.control.about or {}).get("vus", 0))
        self.control.begin(url, *((t - self._offset_ns) / NS_PER_MS for t in (start_ns, end_ns)))

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of what k6 writes."""
        self._samples.feed(chunk)

    def stop(self, reason: str, *, at_once: bool) -> None:
        """Make no new requests; with `at_once`, do not wait for those in flight either."""
        self._stopping = self._stopping or reason
        if not at_once and not self._over_ns:
            try:
                self.control.stop_load()
            except TrafficFailed as error:
                self.book.failed(str(error))
                at_once = True
        self._over_ns = now_ns() + _SETTLE_NS
        if at_once:
            self._end()

    def step(self) -> None:
        """See to what has to be done by the clock: k6 goes on by itself until it is ended."""
        if not self._over_ns or self._ended_by_us or now_ns() < self._over_ns:
            return
        if self.book.quiet or now_ns() > self._over_ns + int(self._order["drain"] * NS_PER_S):
            self._end()

    def _end(self) -> None:
        if not self._ended_by_us:
            self._ended_by_us = True
            self._process.send_signal(signal.SIGTERM)

    def flush(self) -> None:
        """Write what is over to disk and say so, and how k6 fares. TrafficFailed: the wall clock was moved."""
        self.book.settle()
        self._writer.flush()
        self._announce("flushed", batches=self._writer.batches, pulse=self._pulse())
        offset_ns, _ = wall_offset()
        if abs(offset_ns - self._offset_ns) > _STEP_NS:
            moved = (self._offset_ns - offset_ns) / NS_PER_S
            raise TrafficFailed(f"the wall clock was moved by {moved:.3f} s during the run, and k6 knows no other")

    def _pulse(self) -> dict[str, Any]:
        book = self.book
        late, book.lateness_ns = book.lateness_ns, []
        lags, book.lags_ns = book.lags_ns, []
        cpu = rss = 0.0
        with contextlib.suppress(psutil.Error):  # it has just ended
            cpu, rss = self._watched.cpu_percent() / 100, self._watched.memory_info().rss / 2**20
        return {
            "worker": self._worker,
            "trouble": self._writer.trouble,
            "unrecorded": self._writer.unrecorded,
            "t_ns": now_ns(),
            "users": book.users if book.schedule is None else book.vus,
            "in_flight": len(book.out) + len(book.arrived),
            "lags_ms": [lag / NS_PER_MS for lag in lags],
            "lag_max_ms": max(lags, default=0) / NS_PER_MS,
            "lateness_p99_ms": p99_ms(late),
            "cpu": cpu / (self._cores or 1),
            "rss_mib": rss,
            "sent": book.sent,
            "dropped": book.dropped,
            "errors": book.errors,
            "last_error": book.last_error,
        }

    def close(self) -> None:
        """Write the last row and say the last word. k6 has ended, or is ended. TrafficFailed if nobody asked it to."""
        code = leash.stop(self._process, _STOP_S)
        lost = self.book.close()
        self._writer.flush()
        self._announce("flushed", batches=self._writer.batches, pulse=self._pulse())
        self._writer.close()
        self.control.close()
        if code and not self._ended_by_us:
            raise TrafficFailed(f"k6 ended with {f'signal {code - 128}' if code > 128 else f'exit code {code}'}")
        self._announce("ended", batches=self._writer.batches, lost=lost)
