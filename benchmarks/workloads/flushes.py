"""`ask.py` in our own generator, with a stopwatch around each flush of the recorder.

Every flush is a line of the file ``BENCH_FLUSHES``: rows that were written meanwhile; ns for which it held the loop at
one stretch (the longest), ns for which it did altogether; ns of the longest stretch by the wall clock, and in how many
stretches the kernel took the core away. A flush is written in pieces, between which the load goes on.

Of a stretch in which the core was taken away, only the time with a core counts: from a generator that uses all of one
in real time (`harness.traffic.privileges`), Linux keeps 50 ms of every second (sched_rt_runtime_us, sched(7)).
"""

from __future__ import annotations

import os
import resource
from time import thread_time_ns
from typing import TYPE_CHECKING

from benchmarks.workloads.ask import Asker
from harness.clock import now_ns
from harness.recording.buffers import go_on
from harness.recording.requests import RequestWriter

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Asker"]

_set_aside, _write = RequestWriter.set_aside, RequestWriter.write
_lines = open(os.environ["BENCH_FLUSHES"], "a", buffering=1)  # noqa: PTH123, SIM115 - open as long as the process


def _taken_away() -> int:
    """How often the kernel gave our core to somebody else."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


class _Stopwatch:
    """How long each stretch took."""

    def __init__(self) -> None:
        self.held_ns: list[int] = []
        self.longest_ns = 0
        self.taken_away = 0
        self._begin()

    def _begin(self) -> None:
        self._before, self._cpu_ns, self._began_ns = _taken_away(), thread_time_ns(), now_ns()

    def stop(self) -> None:
        held_ns, cpu_ns = now_ns() - self._began_ns, thread_time_ns() - self._cpu_ns
        taken_away = _taken_away() > self._before
        self.held_ns.append(cpu_ns if taken_away else held_ns)
        self.longest_ns = max(self.longest_ns, held_ns)
        self.taken_away += taken_away

    def pause(self, give_way: Callable[[], None]) -> None:
        self.stop()
        give_way()
        self._begin()


def _set_aside_timed(writer: RequestWriter) -> int:
    """A stretch of its own: it may have to write."""
    before, watch = writer.written, _Stopwatch()
    until = _set_aside(writer)
    watch.stop()
    _note(writer.written - before, watch)
    return until


def _write_timed(writer: RequestWriter, until: int, give_way: Callable[[], None] = go_on) -> None:
    before, watch = writer.written, _Stopwatch()
    _write(writer, until, give_way if give_way is go_on else lambda: watch.pause(give_way))
    watch.stop()
    _note(writer.written - before, watch)


def _note(rows: int, watch: _Stopwatch) -> None:
    _lines.write(f"{rows} {max(watch.held_ns)} {sum(watch.held_ns)} {watch.longest_ns} {watch.taken_away}\n")


RequestWriter.set_aside = _set_aside_timed  # type: ignore[assignment, method-assign] # that is what is measured
RequestWriter.write = _write_timed  # type: ignore[assignment, method-assign]
