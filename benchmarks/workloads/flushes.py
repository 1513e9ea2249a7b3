"""`ask.py` in our own generator, with a stopwatch around each flush of the recorder.

Every flush that wrote rows is a line of the file ``BENCH_FLUSHES``: rows, ns it held the loop, and of these the ns it
had a core.
"""

from __future__ import annotations

import os
from time import thread_time_ns

from benchmarks.workloads.ask import Asker
from harness.clock import now_ns
from harness.recording.requests import RequestWriter

__all__ = ["Asker"]

_flush = RequestWriter.flush
_lines = open(os.environ["BENCH_FLUSHES"], "a", buffering=1)  # noqa: PTH123, SIM115 - open as long as the process


def _timed(writer: RequestWriter) -> int:
    begin_ns, cpu_ns = now_ns(), thread_time_ns()
    rows = _flush(writer)
    held_ns, cpu_ns = now_ns() - begin_ns, thread_time_ns() - cpu_ns
    if rows:
        _lines.write(f"{rows} {held_ns} {cpu_ns}\n")
    return rows


RequestWriter.flush = _timed  # type: ignore[assignment, method-assign] # that is what is measured
