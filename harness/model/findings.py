"""Findings: what a recording says, as numbers with their uncertainty. `findings.json`, schema 1.

Times are milliseconds unless the key says ``_s``. `null` means not measured; ``"unsupported"`` that the system
does not show it.
"""

from __future__ import annotations

from typing import Literal

from harness.model.base import Frozen
from harness.model.capacity import CapacityFindings
from harness.model.cost import CostFindings
from harness.model.estimate import Estimate, Percentiles
from harness.model.goodput import Comeback, Goodput
from harness.model.soak import SoakFindings
from harness.model.tenancy import Tenancy

__all__ = ["Estimate", "Percentiles"]  # beside what is defined here: other findings are made of them too


class Interval(Frozen):
    """A time known to lie between `low` and `high` seconds (limited by the probe's resolution)."""

    low: float
    high: float


class Validity(Frozen):
    """Whether the run may be judged at all; an invalid run can never pass."""

    valid: bool
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader should know that does not invalidate the run (truncation, unsupported observers)."""
    instrument: dict[str, float | int | None] = {}
    """lateness_p99_ms, lag_p99_ms, cpu_p95 (share of one core), dropped, lost, ledger_coverage (and its two counts,
    ledger_found of ledger_named: full answers that name a provider), ..."""


class Group(Frozen):
    """Counts, rate and times of one group of requests."""

    requests: int
    ok: int
    degraded: int
    failed: int
    timeout: int
    lost: int
    dropped: int
    rate_per_s: float | None
    response_ms: Percentiles
    service_ms: Percentiles
    failed_share: Estimate
    """(failed + timeout) / answered, Wilson interval; lost requests could have failed."""

    @property
    def answered(self) -> int:
        """How many came to an end, good or bad."""
        return self.ok + self.degraded + self.failed + self.timeout


class Rates(Frozen):
    """Exact percentiles of a rate, 1/s: the median and the slow side."""

    p50: Estimate
    p5: Estimate
    p1: Estimate


class StreamGroup(Frozen):
    """How the streams of one group flowed (`analysis.streams` has the definitions)."""

    streams: int
    complete: int
    """Answered ok or degraded, which a stream without its end marker is not (`Observe.stream_end`)."""
    complete_share: Estimate
    """Wilson interval; lost streams could have been either."""
    tokens: int
    tokens_per_event: float | None
    """Tokens as the answers count them, per token event of the streams that show both; null where none does."""
    at_once: int
    """Streams of several tokens that all arrived in one piece: something on the way holds them back."""
    ttft_ms: Percentiles
    inter_token_ms: Percentiles
    tokens_per_s: Rates


class Streams(StreamGroup):
    """The streams of the measured part, whole and by group."""

    by: dict[Literal["phase", "agent", "provider", "name"], dict[str, StreamGroup]]


class LoadFindings(Group):
    """The measured part of the run (warm-up and cool-down left out), whole and by group."""

    by: dict[Literal["phase", "agent", "team", "tenant", "provider", "name"], dict[str, Group]]
    """A request belongs to the phase it was due in: one that a fault met under way, to the phase before that fault."""
    streams: Streams | None = None
    """null when no answer was seen to be a stream."""


class AnswerTimes(Frozen):
    """Exact percentiles of the response times of answers (ok or degraded), milliseconds."""

    p50: Estimate
    p95: Estimate


class ResponseShift(Frozen):
    """How fast the load was answered: in healthy times, and of the requests due while a fault was on."""

    healthy: AnswerTimes
    during: AnswerTimes


class PerAnswer(Frozen):
    """What was spent per answer (ok or degraded), on requests that got none included: in healthy times, and for the
    requests due while a fault was on. `n` counts answers."""

    healthy: Estimate
    during: Estimate


class Failover(Frozen):
    """One fault injected into an upstream or a service, from effective to failed back. Times are seconds after
    `effective` (t0) unless said otherwise. Null is also what does not apply: only providers fail over and back."""

    fault: str
    kind: str
    upstream: str
    """The upstream or service it was on."""
    experiment: str
    injecting_ns: int
    effective_ns: int | None
    cleared_ns: int | None
    effective_s: Interval | None
    impact_s: Interval | None
    """null with `impact` false: no harm seen."""
    detection_s: Interval | None
    breaker_seen: bool = False
    """Whether this upstream's breaker was read while the fault was on. If not, nobody could have seen it open."""
    failover_s: Interval | None
    recovery_s: Interval | None
    recovery_after_clearing_s: Interval | None = None
    """From when the clearing began (a service is started again, a proxy lets through) to recovery; null when service
    was good again before."""
    failback_s: Interval | None
    """From `cleared` on. Null, as `failover_s`, where another provider's ledger was lost in the meantime."""
    impact: bool
    censored: bool
    """True when service was not good again before the observation ended: no recovery time exists."""
    failback_censored: bool
    """True when the provider was not seen to serve its share again for a whole window before the observation ended."""
    failback_beyond_s: float = 0.0
    """Of such an outage: failing back took longer than this, for so long (less the window) it was watched."""
    observed_s: float
    """Seconds from t0 to the end of the observation (next fault or end of load)."""
    flaps: int | None
    """Changes between the provider and others from failover to failback. Null where nobody could tell: no ledger
    shows who answered, or several providers do in healthy times."""
    failed_requests: int
    slow_requests: int
    in_flight: int
    """Requests in flight at t0: their own class."""
    in_flight_failed: int = 0
    """How many of those then failed, timed out or were lost."""
    answers: dict[Literal["ok", "degraded", "failed"], int]
    """Requests due while the fault was on, by how they were answered."""
    unavailable_s: float
    """Seconds in which the SLO was missed; where `censored`, as `worst_stall_s`, only those that were seen."""
    worst_stall_s: float
    response_ms: ResponseShift | None = None
    provider_calls_per_answer: PerAnswer | None = None
    """By the ledgers, as `tokens_per_answer`; null when no ledger tells calls apart by request. Shows what a cache
    outage costs, which `extra_provider_calls` does not: every miss needs a call."""
    tokens_per_answer: PerAnswer | None = None
    extra_provider_calls: int | None
    """Calls made beyond those that full answers needed; null, as `extra_tokens`, when a ledger was lost meanwhile."""
    extra_tokens: int | None
    goodput: Goodput | None = None
    resolution_s: float
    """Mean gap between the observations times rest on."""
    bit: bool
    """The probe socket saw the fault."""


class Spread(Frozen):
    """How one time of several outages is distributed, seconds: the later ends of their intervals. A percentile is null
    when as many of them never came (`never`) as to reach it."""

    median: float | None
    p95: float | None
    max: float | None
    n: int
    never: int
    ecdf: tuple[float, ...]
    """The times that came, ascending: k of them lie at or below the k-th."""


class OutageKind(Frozen):
    """All outages of one kind on one upstream or service that bit."""

    upstream: str
    kind: str
    outages: int
    impact_s: Spread | None
    """Of the outages that did harm."""
    detection_s: Spread | None
    failover_s: Spread | None
    recovery_s: Spread | None
    failback_s: Spread | None
    answered: dict[Literal["ok", "degraded", "failed"], float] | None
    """Shares of the requests due meanwhile; ok and degraded together are the functionality kept."""
    requests: int
    unavailable_s: float
    """Of all of them together."""
    budget_spent: float
    """Share of the error budget of 30 days at `availability` that they spent together: unavailable seconds by allowed
    ones."""
    availability: float
    comeback: Comeback | None = None
    """null when none of them was watched for long enough after its end."""


class HealthOutage(Frozen):
    """What the health page said of one fault. Times are intervals between two looks, seconds."""

    fault: str
    kind: str
    upstream: str
    noticed_s: Interval | None
    """From effective to the first look that did not find all well; null if none did before service had recovered. 0
    where it was in alarm before."""
    noticed_while_on: bool
    well_again_s: Interval | None
    """From cleared to the first look that found all well again."""
    false_ok_s: float
    """Seconds it said that all was well while the fault was on. Between two looks that differ it changed half way;
    where none came for 10 s, nobody knows, and no time counts."""
    looks: int
    """Times it was read while the fault was on."""


class HealthFindings(Frozen):
    """The system's own word for its health, held against the injected truth."""

    looks: int
    gap_s: float
    """Usual seconds between two looks: no lag is known more finely."""
    outages: tuple[HealthOutage, ...]
    false_ok_s: float
    """Seconds it said that all was well while anything was broken, counted once however many faults were on."""
    false_alarms: int | None
    """Times it began to be in alarm while nothing was broken and service had recovered from what had been. null, as
    `false_alarm_s` and `breaker_false_alarms`, under a load that is made to find out where the system gives in."""
    false_alarm_s: float | None
    """How long it was; counted as `HealthOutage.false_ok_s` is."""
    breakers_opened: int
    breaker_false_alarms: int | None
    """Breakers that opened meanwhile."""


class Claim(Frozen):
    """What n outages of one kind on one upstream or service support: at least `share` of them recover under `limit_s`,
    at `confidence` (Clopper-Pearson)."""

    upstream: str
    kind: str
    recovered: int
    outages: int
    limit_s: float
    confidence: float
    share: float
    next_share: float | None
    more_needed: int | None
    """Further recoveries in a row that would support `next_share`."""


class CacheWitness(Frozen):
    """One witness of the cache's hit rate; `n` counts lookups."""

    hit_rate: float | None
    hits: int
    n: int


class CacheFindings(Frozen):
    """Hit rate by three witnesses, and by group as the answers claim."""

    answers: CacheWitness | Literal["unsupported"]
    metrics: CacheWitness | Literal["unsupported"]
    ledger: CacheWitness | Literal["unsupported"]
    measured: CacheWitness | Literal["unsupported"] = "unsupported"
    """The answers of the measured part alone: what is judged. The witnesses speak of the whole load, warm-up included,
    so that they can be held against each other."""
    by_tenant: dict[str, CacheWitness]
    """As `by_agent`, of the measured part."""
    by_agent: dict[str, CacheWitness]
    by_phase: dict[str, CacheWitness]


class Usage(Frozen):
    """One resource series: mean, p95 and max over the measured part."""

    mean: float
    p95: float
    max: float


class Resources(Frozen):
    """What one process or container used, and how much of what it may; what was not measured (of a process: whatever
    only containers have) is null."""

    cpu: Usage | None
    """Cores."""
    memory_mib: Usage | None
    """Resident (process) or working set, without pages that would go first (container)."""
    net: Usage | None
    """kB/s in and out."""
    net_in: Usage | None = None
    net_out: Usage | None = None
    pids: Usage | None = None
    cpu_of_limit: Usage | None = None
    memory_of_limit: Usage | None = None
    """Shares of the limits."""
    throttled: Usage | None = None
    """Share of the scheduler's periods in which it was held back by its CPU limit."""
    cpu_limit: float | None = None
    """Cores; the machine's where none was set. As all limits: when the measured part began."""
    memory_limit_mib: float | None = None
    limits_changed: tuple[Literal["cpu", "memory"], ...] = ()
    """Limits that were others later: shares are of what was in force at each moment."""
    restarts: int | None = None
    """Times it was started anew, from the first look to the end of the measured part."""
    saturated: tuple[Literal["cpu", "throttled", "memory"], ...] = ()
    """Which limits it was at (`analysis.resources` says from where on)."""


class Attribution(Frozen):
    """Providers named by the answers, held against the ledgers, request by request."""

    compared: int
    agree: int
    examples: tuple[str, ...]
    """The first few disagreements, for the engineer."""


class SteadyCheck(Frozen):
    """One condition of a steady state; an open side of the interval, or nothing observed, is null."""

    threshold: str
    state: Literal["steady", "sick", "unknown"]
    observed: float | None
    low: float | None
    high: float | None
    n: int
    holds: bool


class SteadyLook(Frozen):
    """Whether an experiment's system was well `before` its first fault, or `after` its last."""

    experiment: str
    when: Literal["before", "after"]
    state: Literal["steady", "sick", "unknown"]
    checks: tuple[SteadyCheck, ...]


class Findings(Frozen):
    """Everything a recording says."""

    schema_version: Literal[1] = 1
    validity: Validity
    load: LoadFindings
    failovers: tuple[Failover, ...]
    outage_kinds: tuple[OutageKind, ...] = ()
    claims: tuple[Claim, ...]
    health: HealthFindings | None = None
    """null when no health page was read."""
    cache: CacheFindings
    attribution: Attribution | Literal["unsupported"]
    tenancy: Tenancy | None = None
    resources: dict[str, Resources]
    steady_state: tuple[SteadyLook, ...] = ()
    cost: CostFindings | Literal["unsupported"] | None = None
    """null without a price table; unsupported where ledgers do not tell whose calls they were."""
    capacity: CapacityFindings | None = None
    """null without levels of load (`capacity`, `steps`)."""
    soak: SoakFindings | None = None
    """null where the load was too short to say anything (`analysis.soak`)."""
