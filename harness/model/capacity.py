"""How much a system carries, as findings: levels of load, the capacity at SLO, what saturates first, what to configure.

Rates are requests per second, times milliseconds unless the key says ``_s``. `null` means not measured.
"""

from __future__ import annotations

from typing import Literal

from harness.model.base import Frozen
from harness.model.estimate import Estimate, Percentiles

SloMet = Literal["meets", "misses", "inconclusive"]
"""Of a level: the interval of its share of good requests lies at or above what the SLO asks, below it, across it."""
LimitKind = Literal["cpu", "throttled", "memory", "rate_limit", "pool", "generator", "stand_in"]
NOT_THE_SYSTEMS: tuple[LimitKind, ...] = ("generator", "stand_in")
"""What is the harness's own, and what only stands in for a provider."""


def of_cpu(kind: LimitKind, resource: str) -> bool:
    """Return whether a resource is a CPU, be it the system's or not."""
    return kind == "cpu" or (kind in NOT_THE_SYSTEMS and resource.endswith(" cpu"))


class Little(Frozen):
    """Little's law on one level: requests in flight = throughput x response time; of users, with their think time."""

    in_flight: float
    """Mean number of requests under way (from start to end), weighted by time; of a check of users: users."""
    expected: float
    """Throughput x mean response time (+ think time, of users)."""
    off: float | None
    """(in_flight - expected) / expected; null where nothing was under way."""
    holds: bool
    """Within 5 %."""
    why: str = ""
    """What it is off by, when it does not hold."""


class Level(Frozen):
    """One level of load, over the part of it that is measured: once settled, or all of it when it never settled."""

    level: int
    """Number in its state, from 1, in the order they were run."""
    rate: float | None
    """Requests per second wanted; null in a closed loop."""
    users: int | None
    """Users of a closed loop; null in an open one."""
    begin_s: float
    """The measured part, seconds after t_zero."""
    end_s: float
    settled: bool
    """Whether as much left as came, and the level's own settling time is left out."""
    counts: bool
    """Whether it says anything about the system: not when the generator was at its limit, or no request was due."""
    requests: int
    """Due in the measured part, dropped ones included."""
    dropped: int
    offered: float
    """Requests due per second."""
    achieved: Estimate
    """Requests that came to an end per second: X."""
    in_flight: float
    """N, as `Little.in_flight`."""
    response_mean_ms: Estimate
    """R, of requests that ended in the measured part; from when they were due."""
    response_ms: Percentiles
    good_share: Estimate
    """Requests answered ok or degraded within the SLO's response time, of those due. Lost and dropped ones could have
    been either."""
    slo: SloMet
    why: str
    """Why it does not count, or why it misses, or what leaves it open; one sentence, or empty."""
    little: Little
    little_users: Little | None = None
    """Of users with a known think time."""
    lateness_p99_ms: float | None = None
    used: dict[str, float] = {}
    """Mean share of its limit that each resource was at (name as in `Limit.resource`)."""
    upstream_in_flight: dict[str, float] = {}
    """Mean calls under way at each upstream, by its ledger."""
    rate_limited: dict[str, float] = {}
    """Share of the calls each upstream refused as too many (429), by its ledger."""


class SloCapacity(Frozen):
    """The highest load at which the SLO is met. Lower ends are shown to meet it, upper ends to miss it, each at 97.5 %
    (`analysis.capacity_slo`), so that 95 % hold both."""

    state: Literal["bracketed", "at_least", "below", "undecided"]
    """`at_least`: no level is shown to miss the SLO, capacity is the lower end or more; `below`: none is shown to meet
    it, capacity is less than the upper end; `undecided`: no level is decided. The side nothing is known of is null."""
    rate: Estimate
    """Requests per second; `value` is interpolated between levels, null unless bracketed; `n`: levels that count. In a
    closed loop the ends are those of the throughputs' own intervals; null where a level has too few requests for it."""
    users: Estimate | None
    """X (R + Z) of users who think Z between requests; in a closed loop the users themselves, unless asked for
    another Z (``--think``). Null without a think time."""
    untold: int = 0
    """Levels beyond the only end that is known which tell nothing, because they are undecided or do not count: the
    capacity may lie among them. 0 with one end: it lies beyond the tested range."""

    @property
    def known(self) -> bool:
        """Whether a load is known to be carried, or not even the lowest one that was tried."""
        return self.state == "below" or self.rate.value is not None or self.rate.low is not None


class CurvePoint(Frozen):
    """The curve at one number of requests in flight: throughput, with the band it lies in."""

    in_flight: float
    rate: float
    low: float
    high: float


class Usl(Frozen):
    """Universal Scalability Law, X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1)), fitted to the levels."""

    lambda_: Estimate
    """Throughput of one request at a time, 1/s."""
    sigma: Estimate
    """Contention: the share of the work that cannot go on side by side."""
    kappa: Estimate
    """Coherence: what each pair of requests costs."""
    peak_in_flight: Estimate
    """N* = sqrt((1 - sigma) / kappa). `value` and `high` are null where the levels do not reach past the knee: then
    `low` is all that is known."""
    peak_rate: Estimate
    """X(N*). Null `value` and `high` as of `peak_in_flight`."""
    past_knee: bool
    """Whether levels beyond N* were measured and certainly show that throughput falls, or stays, there. If not, N* is
    "beyond the tested range"."""
    misfit: float
    """How far a level lies from the law at most, as a share."""
    fits: bool
    """No level lies further from it than 10 %, or than chance takes it. A law that does not fit says nothing about a
    knee: do not print N* then."""
    tested_in_flight: tuple[float, float]
    """Lowest and highest N of the levels; nothing is said outside."""
    levels: int
    curve: tuple[CurvePoint, ...]
    """Over the tested range only."""


class Limit(Frozen):
    """A resource, and the load at which it is used up: 80 % of a CPU limit, 90 % of memory, a provider's 429s ..."""

    resource: str
    """``gateway cpu``, ``redis memory``, ``bedrock rate limit``, ``openai pool`` ..."""
    kind: LimitKind
    """`generator`: CPU of what is ours, the load generator and the fault proxies; `stand_in`: what a simulated provider
    (`Target.stand_ins`) uses."""
    of: str
    """What it is a share of, in words: ``its limit``, ``one core``."""
    full_at: float
    """Share at which it is called used up."""
    highest: float
    """Highest share on any level."""
    rate: float
    """Requests per second at which it gets there."""
    extrapolated: bool
    """The rate lies beyond what was tested: a straight line through the levels says so."""
    at_most: bool = False
    """It was full on the lowest level already: it gets there at `rate` or below. Of a CPU `rate` is that level's in
    proportion, as what it uses without load can only have it full earlier."""
    evidence: str
    """What shows it, in a sentence."""

    @property
    def by_load(self) -> bool:
        """Whether load on the system fills it. What is the harness's own, or only stands in for a provider, is none of
        the system's; memory that is full and calls that are refused on the lowest level already are so whatever the
        load (a full cache, a fault)."""
        return self.kind not in NOT_THE_SYSTEMS and not (self.at_most and self.kind in ("memory", "rate_limit"))


class ScalingAdvice(Frozen):
    """What to configure: the capacity times headroom, or where a resource fills up before; per replica, as many as were
    measured."""

    rate: float
    """Requests per second to plan with, of all replicas together: headroom times the capacity (where no level missed
    the SLO, times the highest load that is shown to meet it) or, where that is lower, the rate at which load was first
    seen to fill a resource (`limited_by`)."""
    limited_by: str | None = None
    """`Limit.resource` of what is full at `rate`; null where headroom governs."""
    shown: bool
    """Whether `rate` is itself shown to meet the SLO: it lies within the interval's lower end."""
    users: float | None
    rate_per_replica: float
    """Scale out at this many requests per second and replica."""
    in_flight_per_replica: float | None
    cpu: dict[str, float]
    """Scale out at this share of CPU: what each process or container uses at `rate`, never more than is called full."""


class CapacityState(Frozen):
    """One state of the system: ``healthy``, ``primary_down``, ``cache_cold``, ``one_replica_lost``, or any name."""

    state: str
    levels: tuple[Level, ...]
    """Empty for a state that was to be searched in, and was not: time was up, or what breaks it did not bite."""
    capacity: SloCapacity
    usl: Usl | None
    """Null with fewer than four levels that count."""
    limits: tuple[Limit, ...]
    """What gets used up first comes first; those that are nowhere near are left out."""
    advice: ScalingAdvice | None
    """Null when not even the lowest level is known to meet the SLO."""
    cost_per_1k: float | None = None
    """Cost of 1000 requests in this state (`Findings.cost`, its currency)."""
    cost_per_hour: float | None = None
    """At `advice.rate`."""
    cost_per_user_hour: float | None = None
    notes: tuple[str, ...] = ()
    """What a reader should know: beyond the tested range, levels that do not count, Little's law broken ..."""

    @property
    def fills_first(self) -> Limit | None:
        """What of the system is used up first, by load."""
        return next((limit for limit in self.limits if limit.by_load), None)


class CapacityFindings(Frozen):
    """What a `capacity` or `steps` load showed (`analysis.capacity`)."""

    open_loop: bool
    slo_response_s: float
    slo_good_share: float
    think_s: float | None
    headroom: float
    """Share of the capacity to plan with."""
    replicas: int
    """Copies of the replicated service that were up (one fewer while one is lost)."""
    currency: str | None = None
    states: tuple[CapacityState, ...]
    """All that the load was to search in, and those that steps were in."""
    worst: str | None
    """The state with the lowest capacity: one in which not even the lowest level meets the SLO, if there is one; else
    null where the capacity of any state is not known, because it may be lower still."""

    def state(self, name: str) -> CapacityState | None:
        """Return the findings of one state; None when the load has no such state."""
        return next((s for s in self.states if s.state == name), None)

    @property
    def worst_state(self) -> CapacityState | None:
        """The findings of the worst state."""
        return self.state(self.worst) if self.worst is not None else None

    @property
    def governing(self) -> CapacityState | None:
        """The state to plan on: the worst, unless a resource that fills up leaves less to plan with in another."""
        if self.worst_state is None or self.worst_state.advice is None:
            return self.worst_state
        rates = {state.state: state.advice.rate for state in self.states if state.advice}
        return self.state(min(rates, key=rates.__getitem__))


class Forecast(Frozen):
    """Replicas that carry a forecast load in one state."""

    state: str
    rate: float
    """Requests per second to be carried."""
    replicas: int | None
    """Of the replicated service, the one that may be lost included; null when no number of them carries it."""
    measured: tuple[int, ...]
    """Numbers of replicas that were measured."""
    per_replica: float
    """Requests per second that one replica is planned to carry, headroom taken."""
    basis: Literal["measured", "assumed", "law"]
    """`measured`: so many were run and carried it. `assumed`: other replicas are taken to carry as much each as those
    that were measured. `law`: the scalability law through four or more numbers of replicas says so; beyond the highest
    of them that is an extrapolation too."""
    notes: tuple[str, ...] = ()


class CapacityAnswer(Frozen):
    """What ``agentstorm capacity`` says of one or more recordings."""

    headroom: float
    runs: tuple[CapacityFindings, ...]
    """As the recordings were given, their advice with this headroom."""
    invalid: tuple[str, ...]
    """Why recordings cannot be believed."""
    forecasts: tuple[Forecast, ...]
    """By state; empty without a forecast load."""
    replicas: int | None
    """What the worst state needs; null without a forecast, or when it cannot be carried or told."""
    governs: str | None
    """The state that needs most."""
