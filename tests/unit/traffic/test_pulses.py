"""What all workers come to, for the live view."""

from __future__ import annotations

from harness.clock import NS_PER_S
from harness.traffic import Pulse, Pulses


def pulse(worker: str, second: float, sent: int, users: int = 5, in_flight: int = 2) -> Pulse:
    return Pulse(
        worker=worker, t_ns=int(second * NS_PER_S), users=users, in_flight=in_flight, lags_ms=(), lag_max_ms=0,
        lateness_p99_ms=0, cpu=0, rss_mib=0, sent=sent, dropped=0, errors=0,
    )  # fmt: skip


def test_workers_are_summed_each_at_its_latest() -> None:
    pulses = Pulses(3)
    assert (pulses.users, pulses.in_flight, pulses.rate_per_s) == (0, 0, 0)
    pulses.add(pulse("a", 0, 0))
    assert pulses.rate_per_s == 0
    for second in range(1, 6):
        pulses.add(pulse("a", second, 10 * second, users=7))
        pulses.add(pulse("b", second + 0.4, 30 * second))
    assert (pulses.users, pulses.in_flight) == (12, 4)
    assert pulses.rate_per_s == 40
