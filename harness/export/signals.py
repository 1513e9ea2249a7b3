"""What to alert on, whoever does it: one class for each kind of alarm, with the number it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Severity = Literal["page", "ticket"]
"""Somebody has to look now, or in working hours."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Where a number comes from. Everything in words, for people who did not see the run."""

    recording: str
    measured: str
    """What was measured, and the value."""
    interval: str
    """The 95 % interval it lies in; empty where there is none."""
    n: int
    """Observations it rests on."""
    margin: str
    """How the limit follows from it."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Something to alert on. `limit` is in `unit`, a key of `report.units.FORMATS` or a word."""

    name: str
    severity: Severity
    summary: str
    limit: float
    unit: str
    hold_s: int
    """Seconds it must last."""
    evidence: Evidence
    rises: ClassVar[bool] = True
    """Whether too much is bad."""


@dataclass(frozen=True, kw_only=True)
class Burn(Signal):
    """The error budget goes `factor` times faster than it may, over a long and a short window."""

    metric: str
    label: str
    failed: str
    """Regular expression of the label's values that are failures."""
    good: tuple[str, ...]
    """Values seen that are none."""
    factor: float
    long_s: int
    short_s: int


@dataclass(frozen=True, kw_only=True)
class Slow(Signal):
    """More than `share` of a histogram's observations lie above its bucket `le`; `limit` is that bound, seconds."""

    metric: str
    le: str
    share: float
    window_s: int


@dataclass(frozen=True, kw_only=True)
class BreakerOpen(Signal):
    """A breaker is open. `limit` is the gauge's value for that."""

    metric: str
    label: str
    owners: tuple[str, ...]
    others: tuple[float, ...]
    """The gauge's values for all other states."""


@dataclass(frozen=True, kw_only=True)
class CacheLow(Signal):
    """The share of cache lookups that hit is below `limit`."""

    hits: str
    misses: str
    window_s: int
    rises: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class ProviderShift(Signal):
    """The share of calls that go to the primary provider is below `limit`: others have taken over."""

    metric: str
    label: str
    primary: str
    window_s: int
    rises: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class Above(Signal):
    """One process is above `limit`: a gauge or, with `window_s`, the rate at which a counter grows."""

    metric: str
    window_s: int | None = None
    cautious: bool = False
    """Of several recordings the lowest limit counts rather than the quietest: beyond it one was shown to get worse."""


@dataclass(frozen=True, kw_only=True)
class Growing(Signal):
    """One process's gauge goes up by more than `limit` a second, over `window_s`."""

    metric: str
    window_s: int


@dataclass(frozen=True, kw_only=True)
class Silent(Signal):
    """The system shows its metrics no more."""

    metric: str


@dataclass(frozen=True)
class Missing:
    """An alert that could not be made, by name, and what would give the number.

    `noisy`: it would have been on in a healthy run. Then no other recording can make it either.
    """

    name: str
    why: str
    noisy: bool = False


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The metrics a dashboard draws, by what they are; None where the system showed none."""

    requests: tuple[str, str] | None = None
    """Counter and the label of how answers ended."""
    failed: str = ""
    provider_calls: tuple[str, str] | None = None
    latency: str | None = None
    breaker: tuple[str, str] | None = None
    cache: tuple[str, str] | None = None
    """Hits and misses."""
    in_flight: str | None = None
    memory: str | None = None
    cpu: str | None = None


@dataclass(frozen=True, kw_only=True)
class HandOver:
    """Everything an export is made of."""

    target: str
    recordings: tuple[str, ...]
    signals: tuple[Signal, ...]
    missing: tuple[Missing, ...]
    shown: Shown
    selector: str = ""
    """Label matchers that every query gets, as in ``job="agents"``."""
    namespace: str = "CWAgent/Prometheus"
    dimensions: tuple[tuple[str, str], ...] = ()
    """CloudWatch dimensions that every metric has there."""
