"""What the generator knows about its own health. Only for the Locust subprocess."""

from __future__ import annotations

import gc
import resource
from typing import TYPE_CHECKING, Any

import gevent
import psutil

from harness.clock import NS_PER_MS, NS_PER_S, now_ns
from harness.traffic.pulses import p99_ms

if TYPE_CHECKING:
    from harness.traffic.locust_load import AnyLoad
    from harness.traffic.locust_record import Recorder

_TICK_S = 0.05
_SHORTEST_S = 0.2
"""A share of CPU over less than this says nothing: the previous one is repeated."""


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Collections:
    """How long collecting garbage holds up the loop."""

    def __init__(self) -> None:
        self._began_ns = self._longest_ns = 0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began_ns = now_ns()
        else:
            self._longest_ns = max(self._longest_ns, now_ns() - self._began_ns)

    def longest_ms(self) -> float:
        """Return the longest since this was last asked."""
        longest_ns, self._longest_ns = self._longest_ns, 0
        return longest_ns / NS_PER_MS


class PulseMaker:
    """Watches the loop from a greenlet, which is late exactly when every other greenlet would be."""

    def __init__(self) -> None:
        self._lags: list[int] = []
        self._cpu, self._at, self._share = _cpu_s(), now_ns(), 0.0
        self._process = psutil.Process()
        self._collections = Collections()
        self._watch = gevent.spawn(self._tick)

    def _tick(self) -> None:
        while True:
            due = now_ns() + int(_TICK_S * NS_PER_S)
            gevent.sleep(_TICK_S)
            self._lags.append(max(0, now_ns() - due))

    def pulse(self, load: AnyLoad, recorder: Recorder, told_ns: int) -> dict[str, Any]:
        """Return the fields of `base.Pulse` for the time since the last call; what was over by `told_ns` was told."""
        lags, self._lags = self._lags, []
        late, recorder.lateness_ns = recorder.lateness_ns, []
        cpu, now = _cpu_s(), now_ns()
        if (elapsed_s := (now - self._at) / NS_PER_S) >= _SHORTEST_S:
            self._share = (cpu - self._cpu) / elapsed_s
            self._cpu, self._at = cpu, now
        return {
            "t_ns": told_ns,
            "users": load.users,
            "in_flight": load.in_flight,
            "lags_ms": [lag / NS_PER_MS for lag in lags],
            "lag_max_ms": max(lags, default=0) / NS_PER_MS,
            "lateness_p99_ms": p99_ms(late),
            "cpu": self._share,
            "gc_max_ms": self._collections.longest_ms(),
            "rss_mib": self._process.memory_info().rss / 2**20,
            "sent": recorder.sent,
            "dropped": recorder.dropped,
            "misread": recorder.misread,
            "errors": load.errors,
            "last_error": load.last_error,
        }
