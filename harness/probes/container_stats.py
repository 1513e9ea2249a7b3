"""What the Docker engine's answers about a container mean. Pure: dicts in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIB = 1024 * 1024
_CFS_PERIOD_US = 100_000
"""The kernel's own, which a quota without a period means."""
_NO_LIMIT = 2**31
"""Some engines say so much where they mean none."""


@dataclass(frozen=True)
class Counters:
    """What a container used since it was started, at one moment of the engine's wall clock, seconds."""

    at_s: float
    cpu_s: float
    periods: int
    throttled: int
    """CFS periods in which it wanted to run, and those in which it was held back; 0 without a CPU limit."""
    net: tuple[int, int] | None
    """Bytes received and sent, all interfaces; None without a network of its own."""


def happened(moment: str) -> bool:
    """Tell whether a moment ever was: of what never happened engines say the year 1, where Go's clock begins."""
    return moment >= "0002"


def counters(stats: Mapping[str, Any]) -> Counters | None:
    """Return the counters of a container's stats; None for one that is not running, of which engines send zeros."""
    at, cpu = stats.get("read", ""), stats.get("cpu_stats", {})
    if not happened(at):
        return None
    cfs, networks = cpu.get("throttling_data", {}), stats.get("networks")
    return Counters(
        datetime.fromisoformat(at).timestamp(),
        cpu["cpu_usage"]["total_usage"] / 1e9,
        cfs.get("periods", 0),
        cfs.get("throttled_periods", 0),
        (sum(n["rx_bytes"] for n in networks.values()), sum(n["tx_bytes"] for n in networks.values()))
        if networks
        else None,
    )


def used_since(before: Counters, now: Counters) -> dict[str, float]:
    """Return what was used between two looks: `cpu` (cores), `throttled` (share of periods), `net*` (kB/s).

    What counts backwards was reset (a restart, an interface that went) and is left out, as is everything when no
    time passed.
    """
    seconds = now.at_s - before.at_s
    if seconds <= 0:
        return {}
    found = {}
    if now.cpu_s >= before.cpu_s:
        found["cpu"] = (now.cpu_s - before.cpu_s) / seconds
    periods, throttled = now.periods - before.periods, now.throttled - before.throttled
    if now.periods and periods >= 0 <= throttled:  # periods pass only while it wants to run: an idle one is not held
        found["throttled"] = throttled / periods if periods else 0.0
    if before.net and now.net:
        received, sent = ((now.net[i] - before.net[i]) / seconds / 1e3 for i in (0, 1))
        if received >= 0 <= sent:
            found |= {"net_in": received, "net_out": sent, "net": received + sent}
    return found


def used_now(stats: Mapping[str, Any]) -> dict[str, float]:
    """Return what is in use: `memory_mib` (working set, as kubelet and the docker CLI count it), `anon_mib` (that of it
    which is no file's, where the kernel says so: what leaks) and `pids` (processes and threads)."""
    found: dict[str, float] = {}
    memory = stats.get("memory_stats", {})
    if "usage" in memory:
        # File pages that nobody used lately go at the first need; cgroup v1 has them under another name than v2.
        pages = memory.get("stats", {})
        idle = pages.get("total_inactive_file", pages.get("inactive_file", 0))
        found["memory_mib"] = max(0, memory["usage"] - idle) / _MIB
        if (anonymous := pages.get("total_rss", pages.get("anon"))) is not None:
            found["anon_mib"] = anonymous / _MIB
    if "current" in stats.get("pids_stats", {}):
        found["pids"] = stats["pids_stats"]["current"]
    return found


def _many(cpuset: str) -> int:
    """Return how many processors a list as in ``0-2,7`` names (cpuset(7))."""
    chosen: set[int] = set()
    for part in filter(None, cpuset.split(",")):
        first, _, last = part.partition("-")
        chosen.update(range(int(first), int(last or first) + 1))
    return len(chosen)


def limits(facts: Mapping[str, Any], stats: Mapping[str, Any], cpus: int) -> dict[str, float]:
    """Return `cpu_limit` (cores, by quota and cpuset) and `memory_limit_mib`, those of the machine, which has `cpus`,
    where none was set; and `pids_limit` where there is one."""
    host = facts["HostConfig"]
    quota = host.get("CpuQuota") or 0
    cores = (host.get("NanoCpus") or 0) / 1e9
    if not cores and quota > 0:
        cores = quota / (host.get("CpuPeriod") or _CFS_PERIOD_US)
    may_run_on = float(min(cpus, _many(host.get("CpusetCpus") or "") or cpus))
    found = {"cpu_limit": min(cores or may_run_on, may_run_on)}
    if limit := stats.get("memory_stats", {}).get("limit"):
        found["memory_limit_mib"] = limit / _MIB
    if 0 < (most := host.get("PidsLimit") or 0) < _NO_LIMIT:
        found["pids_limit"] = float(most)
    return found
