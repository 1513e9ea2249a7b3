"""Rules on what happened when something broke: too slow to recover, breakers, and what outages cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.advice.case import Advice, Severity, Value, kind, name, outage_id
from harness.analysis.outages import alike, never_back, per_answer, told_apart
from harness.analysis.stats import more_successes
from harness.model.cost import CostFindings
from harness.report import units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.advice.case import Case
    from harness.model.findings import Claim, Failover

HANGS = frozenset(
    ("blackhole", "slow", "slow_first_token", "stream_stall", "bandwidth", "sliced", "jitter", "slow_close", "brownout",
     "pause")
)  # fmt: skip
"""Kinds in which a caller waits for nothing: only a time-out of its own ends that."""
AMPLIFIED = 1.5
"""Provider calls per answer, by the healthy ones: from here on retries are load of their own (SRE book, ch. 22)."""
MOST_DEGRADED = 0.3
"""The audit claims that 70-80 % of the functionality is kept without a model."""
MOST_BUDGET = 0.05
"""Share of a month's error budget that one outage may spend: twenty such outages a month would break the promise."""
DEARER = 1.25
"""Price of a request meanwhile, by the healthy one."""
SLA_KINDS = ("refuse", "reset", "blackhole")
"""What chaos/failover_sla.yaml does to bedrock, 29 times each."""
WANTED_CLAIM = 0.9
"""Share of outages an SLA is worth talking about from."""


def _kinds(case: Case) -> Iterator[tuple[str, str, list[Failover]]]:
    for (upstream, what), outages in alike(case.findings.failovers).items():
        if bit := [outage for outage in outages if outage.bit]:
            yield upstream, what, bit


def _provider(case: Case, upstream: str, bit: Sequence[Failover]) -> bool:
    """Tell whether this is something answers move away from and back to."""
    known = case.plan.target.upstreams.get(upstream)
    moved = any(o.failover_s or o.failback_s or o.failback_censored for o in bit)
    return moved or (known is not None and known.ledger is not None)


def _claim(case: Case, upstream: str, what: str) -> Claim | None:
    return next((c for c in case.findings.claims if (c.upstream, c.kind) == (upstream, what)), None)


def _at(upstream: str, what: str) -> tuple[str, ...]:
    return outage_id(upstream, what), "failover"


def never_recovered(case: Case) -> Iterator[Advice]:
    """Service was not good again as long as it was watched."""
    for upstream, what, bit in _kinds(case):
        never = [o for o in bit if o.censored]
        if never:
            values = {
                "outage": kind(upstream, what), "never": Value(len(never), "count"), "all": Value(len(bit), "outages"),
                "watched": Value(max(o.observed_s for o in never), "s"),
            }  # fmt: skip
            yield Advice("never_recovered", Severity.STOP, len(never), values, _at(upstream, what), case.again)


def slow_recovery(case: Case) -> Iterator[Advice]:
    """Recovery above the SLA: a time-out where callers hang, the next provider where they are refused."""
    for upstream, what, bit in _kinds(case):
        said = _claim(case, upstream, what)
        times = [o.recovery_s.high for o in bit if o.recovery_s]
        if said is None or not times or max(times) <= said.limit_s:
            continue
        worst, limit = max(times), said.limit_s
        values = {
            "outage": kind(upstream, what), "upstream": name(upstream), "worst": Value(worst, "s"),
            "limit": Value(limit, "s"), "late": Value(sum(t > limit for t in times), "count"),
            "all": Value(len(bit), "outages"), "stall": Value(max(o.worst_stall_s for o in bit), "s"),
        }  # fmt: skip
        rule = "recovery_part"
        if _provider(case, upstream, bit):
            left = _left_for_a_call(bit, limit)
            rule = "recovery_hang" if what in HANGS and left > 0 else "recovery_error"
            values |= {"timeout": Value(left, "s")} if rule == "recovery_hang" else {}
        yield Advice(rule, Severity.STOP, worst / limit, values, _at(upstream, what), case.again)


def _left_for_a_call(bit: Sequence[Failover], limit: float) -> float:
    """Return within how many seconds a call must be given up for service to be good again in time.

    What comes after the breaker has opened is the rest: measured where both moments are known, else one healthy answer
    (p95) by the next provider.
    """
    rests = [o.recovery_s.high - o.detection_s.low for o in bit if o.recovery_s and o.detection_s]
    answers = [(o.response_ms.healthy.p95.value or 0.0) / 1e3 for o in bit if o.response_ms]
    return limit - max([*rests, *answers, 0.0])


def breaker_silent(case: Case) -> Iterator[Advice]:
    """A breaker that could be watched stayed closed while users were harmed."""
    for upstream, what, bit in _kinds(case):
        quiet = [o for o in bit if o.impact and o.breaker_seen and o.detection_s is None]
        if _provider(case, upstream, bit) and len(quiet) == len(bit):
            values = {
                "outage": kind(upstream, what), "upstream": name(upstream), "all": Value(len(bit), "outages"),
                "stall": Value(max(o.worst_stall_s for o in bit), "s"),
                "harmed": Value(sum(o.failed_requests + o.slow_requests for o in bit), "requests"),
            }  # fmt: skip
            yield Advice("breaker_silent", Severity.HARM, len(bit), values, _at(upstream, what), case.again)


def flapping(case: Case) -> Iterator[Advice]:
    """Answers went back to the provider and away again."""
    return _times(case, "flapping", "flaps", lambda outage: outage.flaps or 0)


def no_failback(case: Case) -> Iterator[Advice]:
    """The provider was well again and stayed without work."""
    return _times(case, "no_failback", "never", lambda outage: int(never_back(outage)))


def _times(case: Case, rule: str, what_for: str, times: Callable[[Failover], int]) -> Iterator[Advice]:
    """Yield advice on each kind of outage in which something was seen that should not be, however often."""
    for upstream, what, bit in _kinds(case):
        if seen := sum(map(times, bit)):
            values = {
                "outage": kind(upstream, what), "upstream": name(upstream), what_for: Value(seen, "count"),
                "all": Value(len(bit), "outages"),
            }  # fmt: skip
            yield Advice(rule, Severity.WATCH, seen, values, _at(upstream, what), case.again)


def retries(case: Case) -> Iterator[Advice]:
    """An answer took more calls than in healthy times, by more than chance explains."""
    for upstream, what, bit in _kinds(case):
        calls = per_answer(bit, lambda o: o.provider_calls_per_answer) if _provider(case, upstream, bit) else None
        if calls is None or not calls.healthy.value or not calls.during.value:
            continue
        ratio = calls.during.value / calls.healthy.value
        if ratio >= AMPLIFIED and told_apart(calls.healthy, calls.during):
            values = {
                "outage": kind(upstream, what), "during": Value(calls.during.value, "number"),
                "healthy": Value(calls.healthy.value, "number"), "ratio": Value(ratio, "x"),
                "limit": Value(AMPLIFIED, "x"),
            }  # fmt: skip
            yield Advice("retries", Severity.WATCH, ratio, values, _at(upstream, what), case.again)


def unanswered(case: Case) -> Iterator[Advice]:
    """More requests failed during outages of a kind than the SLO lets fail."""
    allowed = 1 - case.plan.scenario.slo.good_share
    for together in case.findings.outage_kinds:
        failed = together.answered["failed"] if together.answered else 0.0
        if failed > allowed:
            values = {
                "outage": kind(together.upstream, together.kind), "failed": Value(failed, "share"),
                "requests": Value(together.requests, "requests"), "limit": Value(allowed, "share"),
            }  # fmt: skip
            at = _at(together.upstream, together.kind)
            yield Advice("unanswered", Severity.HARM, failed / max(allowed, 1e-6), values, at, case.again)


def degraded(case: Case) -> Iterator[Advice]:
    """More answers came from the system's own rules than the audit's claim allows."""
    for together in case.findings.outage_kinds:
        part = together.answered["degraded"] if together.answered else 0.0
        if part > MOST_DEGRADED:
            values = {
                "outage": kind(together.upstream, together.kind), "degraded": Value(part, "share"),
                "requests": Value(together.requests, "requests"), "limit": Value(MOST_DEGRADED, "share"),
            }  # fmt: skip
            at = _at(together.upstream, together.kind)
            yield Advice("degraded", Severity.HARM, part / MOST_DEGRADED, values, at, case.again)


def budget(case: Case) -> Iterator[Advice]:
    """One outage spends a good part of what a month may be unavailable."""
    for together in case.findings.outage_kinds:
        each = together.budget_spent / together.outages
        if each > MOST_BUDGET:
            values = {
                "outage": kind(together.upstream, together.kind), "spent": Value(each, "share"),
                "availability": Value(together.availability, "share"), "limit": Value(MOST_BUDGET, "share"),
                "unavailable": Value(together.unavailable_s / together.outages, "s"),
            }  # fmt: skip
            at = _at(together.upstream, together.kind)
            yield Advice("budget", Severity.WATCH, each / MOST_BUDGET, values, at, case.again)


def price(case: Case) -> Iterator[Advice]:
    """Requests are dearer while something is broken."""
    cost = case.findings.cost
    healthy = cost.by_state.get("healthy") if isinstance(cost, CostFindings) else None
    if not isinstance(cost, CostFindings) or healthy is None or not healthy.per_1k_requests:
        return
    for state, spend in cost.by_state.items():
        ratio = (spend.per_1k_requests or 0.0) / healthy.per_1k_requests
        if state != "healthy" and ratio >= DEARER:
            upstream, _, what = state.rpartition(" ")
            values = {
                "outage": kind(upstream, what), "ratio": Value(ratio, "x"), "limit": Value(DEARER, "x"),
                "during": Value(spend.per_1k_requests or 0.0, cost.currency),
                "healthy": Value(healthy.per_1k_requests, cost.currency),
            }  # fmt: skip
            yield Advice("price", Severity.WATCH, ratio / DEARER, values, ("cost",), case.again)


def claim(case: Case) -> Iterator[Advice]:
    """Every outage was recovered from in time, but there were too few to promise anything."""
    for said in case.findings.claims:
        if said.recovered == said.outages and said.share < WANTED_CLAIM and said.more_needed and said.next_share:
            values = {
                "outage": kind(said.upstream, said.kind), "all": Value(said.outages, "count"),
                "share": Value(units.supported(said.share), "share"), "confidence": Value(said.confidence, "share"),
                "more": Value(_more(said), "count"), "wanted": Value(WANTED_CLAIM, "share"),
            }  # fmt: skip
            repeated = said.upstream == "bedrock" and said.kind in SLA_KINDS
            command = case.command("rate", "failover-sla") if repeated else case.again
            yield Advice("claim", Severity.KNOW, WANTED_CLAIM / max(said.share, 0.01), values,
                         _at(said.upstream, said.kind), command)  # fmt: skip


def _more(said: Claim) -> int:
    return more_successes(said.recovered, said.outages, WANTED_CLAIM, said.confidence) or 0
