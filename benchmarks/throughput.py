"""What a request costs the generator, beside bare Locust, k6 and wrk on the same server.

Every generator is one process with 50 users that ask without a pause; the server counts what it has answered. Over a
window that begins when the load is steady, the CPU time of the process divided by the requests answered is the cost,
read from outside and alike for all: start-up is in none of them, and nothing is added to any of them. The generators
take turns (A B C, then C B A, ...), and what is compared is the ratio within a turn, so that a machine that is
slower for a while is slower for all. The figure is the median of the ratios.

Not in it: what the process of the run needs to read along.

`throughput_ratio` = CPU per request of bare ``FastHttpUser`` / ours with everything recorded: 1 is as fast, more is
faster.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import generators
from benchmarks.serving import serving
from harness.clock import NS_PER_S, now_ns, sleep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.generators import Start
    from benchmarks.serving import Server

_UP_S = 60.0


@dataclass(frozen=True)
class Cost:
    """What one generator used in one window."""

    cpu_us: float
    """CPU time per request, microseconds."""
    per_s: float
    """Requests answered per second."""


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process so far, ns: the clock that Linux's clock_getcpuclockid(3) names."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def _steady(server: Server, folder: Path, warm_s: float) -> None:
    before, deadline = server.answered(), now_ns() + _UP_S * NS_PER_S
    while server.answered() - before < generators.USERS:
        if now_ns() > deadline:
            said = "\n".join(path.read_text(errors="replace")[-2000:] for path in folder.rglob("*log"))
            raise RuntimeError(f"no load within {_UP_S:.0f} s; the generator said:\n{said}")
        sleep(0.05)
    sleep(warm_s)


def cost(start: Start, server: Server, folder: Path, *, window_s: float, warm_s: float) -> Cost:
    """What a generator uses over `window_s` seconds, `warm_s` after its users' first answers."""
    with start(server.url, folder) as pids:
        _steady(server, folder, warm_s)
        begin_ns, count, cpu = now_ns(), server.answered(), sum(map(cpu_ns, pids))
        sleep(window_s)
        elapsed_ns, count, cpu = now_ns() - begin_ns, server.answered() - count, sum(map(cpu_ns, pids)) - cpu
    return Cost(cpu / count / 1e3, count * NS_PER_S / elapsed_ns)


def turns(
    starts: Mapping[str, Start], folder: Path, *, repeats: int, window_s: float, warm_s: float
) -> Iterator[dict[str, Cost]]:
    """The costs of all generators, turn by turn."""
    with serving() as server:
        for turn in range(repeats):
            order = list(starts)[:: 1 if turn % 2 == 0 else -1]
            yield {
                name: cost(starts[name], server, folder / f"{turn}" / name, window_s=window_s, warm_s=warm_s)
                for name in order
            }


def ratios(taken: list[dict[str, Cost]], ours: str, other: str) -> dict[str, Any]:
    """The other's CPU per request over ours, and our requests per second over its: median, and the turns' range."""
    cpu = sorted(turn[other].cpu_us / turn[ours].cpu_us for turn in taken)
    speed = [turn[ours].per_s / turn[other].per_s for turn in taken]
    return {"cpu": median(cpu), "low": cpu[0], "high": cpu[-1], "requests": median(speed), "turns": len(taken)}


def measure(folder: Path, *, repeats: int, window_s: float, warm_s: float = 1.0) -> dict[str, Any]:
    """`throughput_ratio`, and under `throughput` the ratio against each generator found and what each costs.

    `two_workers` is our requests per second with two workers over those with one, while all share the machine's cores.
    """
    starts = generators.found()
    taken = list(turns(starts, folder, repeats=repeats, window_s=window_s, warm_s=warm_s))
    against = {name: ratios(taken, "agentstorm", name) for name in starts if name != "agentstorm"}
    costs = {name: _middle([turn[name] for turn in taken]) for name in starts}
    return {
        "throughput_ratio": against["FastHttpUser"]["cpu"],
        "throughput": {"against": against, "costs": costs},
        "two_workers": 1 / against[generators.TWO_WORKERS]["requests"] if generators.TWO_WORKERS in against else None,
    }


def _middle(costs: list[Cost]) -> dict[str, float]:
    return {"cpu_us": median(c.cpu_us for c in costs), "per_s": median(c.per_s for c in costs)}
