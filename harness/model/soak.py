"""Did anything drift? What a long steady load did to the system, the instrument and the service, as findings.

Slopes are per hour, in the series' own unit.
"""

from __future__ import annotations

from typing import Literal

from harness.model.base import Frozen

SoakWhat = Literal[
    "memory", "fds", "threads", "connections",
    "response_p50", "response_p95", "failed", "cache_hit", "provider_calls",
]  # fmt: skip
SoakVerdict = Literal["leak", "drift", "flat", "saturating", "inconclusive"]
"""`leak`: a resource grows; `drift`: a figure of the service (or a resource downwards) moves; both by more than the
practical threshold, certainly, and the whole run's false alarms kept to 5 % (Holm). `flat`: it certainly moves by less.
`saturating`: it grew and levelled off (a warm-up). `inconclusive`: this length cannot tell."""

WHAT: dict[SoakWhat, str] = {
    "memory": "memory", "fds": "open files", "threads": "threads", "connections": "connections",
    "response_p50": "median response time", "response_p95": "p95 response time", "failed": "share of failed requests",
    "cache_hit": "cache hit rate", "provider_calls": "provider calls per answer",
}  # fmt: skip


class Slope(Frozen):
    """A slope per hour with its 95 % interval, autocorrelation counted; an open side is null."""

    value: float
    low: float | None
    high: float | None


class TimeTo(Frozen):
    """Hours until a limit is reached if the growth goes on; `high` is null where it may never be."""

    value: float
    low: float
    high: float | None


class SoakSeries(Frozen):
    """One series of the run: what it did, how sure that is, and what this length could not have seen."""

    owner: str
    """``process:agents``, ``container:agents``, or ``service`` (what the users got)."""
    instrument: bool
    """Whether it is no part of the system: the harness itself, or what stands in for a provider."""
    what: SoakWhat
    unit: Literal["MiB", "count", "ms", "share", "calls"]
    metric: str
    """The recorded series: ``anon_mib``, ``memory_mib``, ``pids``, ..."""
    verdict: SoakVerdict
    why: str
    """A sentence without a full stop."""
    worse: bool | None
    """Of a leak or a drift: whether it is to the bad side."""
    level: float | None
    """On the trend line, at the end."""
    slope: Slope | None
    """null with too few windows."""
    threshold: float
    """Practical threshold per hour, positive: slower growth is not worth a sleepless night."""
    detectable: float | None
    """Slope per hour that a run like this would have called a leak or a drift in 8 of 10 cases: limit of detection."""
    needed_s: float | None
    """Of an inconclusive one: about how long a run has to be to tell; null where no length can be named."""
    limit: float | None = None
    """What it must not reach (container limit, machine memory, open-files limit of a single process), in its unit."""
    limit_is: str = ""
    to_limit_h: TimeTo | None = None
    """Only of a leak with a limit."""
    p: float | None = None
    """That a slope within the threshold looks like this, before Holm's correction."""
    n: int
    """Windows of the series, its warm-up included."""
    independent: float | None
    """How many independent windows those behind the warm-up, on which the slope rests, are worth; null without one."""
    window_s: float
    warmup_dropped_s: float = 0.0
    """From the start of the measured part: what was still warming up."""
    restarts: int = 0
    """Times the process was started anew: the slope is that of the longest stretch between."""
    points: tuple[tuple[float, float], ...] = ()
    """(seconds from the start of the measured part, value) of each window; of memory the lowest in it."""
    line: tuple[tuple[float, float, float, float], ...] = ()
    """(seconds, trend, low, high) where the trend begins and ends; empty without a slope."""

    @property
    def name(self) -> str:
        """Which series it is: ``memory of agents``, ``p95 response time``."""
        return WHAT[self.what] + ("" if self.owner == "service" else f" of {self.owner.partition(':')[2]}")

    @property
    def title(self) -> str:
        """`name`, and whether it is none of the system's."""
        return f"{self.name} (not the system's)" if self.instrument else self.name


class SoakFindings(Frozen):
    """Whether anything drifted in the measured part of the load."""

    length_s: float
    scale: float
    """Of the plan; below 1 durations were shortened, and nothing is claimed about the full length."""
    verdict: SoakVerdict
    """The worst of the system and the service: leak, bad drift, inconclusive, then flat (saturating counts as flat)."""
    why: str
    tested: int
    """Series that were held against their thresholds together (Holm)."""
    left_out_s: float
    """Seconds of faults and recovery, left out of the service's series."""
    series: tuple[SoakSeries, ...]
    """Worst first; the instrument's last."""


class SoakChange(Frozen):
    """One series of a run against the same of an earlier run."""

    owner: str
    what: SoakWhat
    unit: Literal["MiB", "count", "ms", "share", "calls"]
    name: str
    level_before: float | None
    level_now: float | None
    slope_before: Slope
    slope_now: Slope
    difference: Slope
    """Of the slopes, now less before. What differs from run to run without a cause is not in its interval."""
    steeper: bool
    """Whether it certainly moves faster to the bad side than before, by more than the practical threshold."""


class SoakReport(Frozen):
    """What ``agentstorm soak --json`` says, schema 1."""

    schema_version: Literal[1] = 1
    recording: str
    verdict: str
    """Of the run: ``pass``, ``fail``, ``inconclusive``, ``invalid``."""
    exit_code: int
    why: str
    soak: SoakFindings | None
    against: str | None = None
    """The recording it was held against; null where there was none."""
    against_note: str = ""
    """Why there was none, or what differs besides."""
    changes: tuple[SoakChange, ...] = ()
