"""Rules on the system's own state: its health page, its cache, its resources, its prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.advice.case import Advice, Severity, Value, check_id, kind, name
from harness.analysis.resources import CPU_FULL, MEMORY_FULL, THROTTLED
from harness.model.cost import CostFindings
from harness.model.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.advice.case import Case

NOTICED_WITHIN_S = 5.0
"""The audit's failover SLA: who balances by the health page learns no sooner."""
LEAST_CACHE_HITS = 0.2
"""The audit's GAP-010; a plan's own threshold on `cache_hit` says otherwise."""
WITNESSES_AGREE = 0.02
"""Hit rates this near to each other are the same for all that is decided by them."""
RESTARTS = frozenset(("kill", "stop", "restart", "memory"))
"""Faults that a restart is part of."""


def health_false_ok(case: Case) -> Iterator[Advice]:
    """The health page said that all was well while something was gone."""
    found = case.findings.health
    looked = [o for o in found.outages if o.looks] if found else []  # of others it could say nothing
    late = [
        o for o in looked
        if not o.noticed_while_on or (o.noticed_s is not None and o.noticed_s.high > NOTICED_WITHIN_S)
    ]  # fmt: skip
    if found is not None and late:
        worst = max(late, key=lambda o: o.false_ok_s)
        values = {
            "outage": kind(worst.upstream, worst.kind), "false_ok": Value(found.false_ok_s, "s"),
            "late": Value(len(late), "count"), "all": Value(len(looked), "outages"),
            "limit": Value(NOTICED_WITHIN_S, "s"),
        }  # fmt: skip
        excess = worst.false_ok_s / NOTICED_WITHIN_S
        yield Advice("health_false_ok", Severity.HARM, excess, values, ("health",), case.again)


def health_false_alarm(case: Case) -> Iterator[Advice]:
    """The health page was in alarm while nothing was broken."""
    found = case.findings.health
    if found is not None and found.false_alarms:
        values = {"alarms": Value(found.false_alarms, "times"), "lasted": Value(found.false_alarm_s or 0.0, "s")}
        yield Advice("health_false_alarm", Severity.WATCH, found.false_alarms, values, ("health",), case.again)


def breaker_false_alarm(case: Case) -> Iterator[Advice]:
    """A breaker opened while nothing was broken."""
    found = case.findings.health
    if found is not None and found.breaker_false_alarms:
        values = {
            "false": Value(found.breaker_false_alarms, "count"), "all": Value(found.breakers_opened, "times"),
        }  # fmt: skip
        yield Advice("breaker_false_alarm", Severity.WATCH, found.breaker_false_alarms, values, ("health",), case.again)


def cache_low(case: Case) -> Iterator[Advice]:
    """The cache hits less than it should, by the answers' own account; the plan's threshold, else the audit's."""
    measured = case.findings.cache.measured
    if isinstance(measured, str) or measured.hit_rate is None:
        return
    judged = [(i, c) for i, c in enumerate(case.verdicts.checks) if c.threshold.startswith("cache_hit: rate")
              and not c.of_steady_state]  # fmt: skip
    failed = [(i, c) for i, c in judged if c.verdict is Verdict.FAIL]
    if judged and not failed:
        return
    number, check = failed[0] if failed else (-1, None)
    observed, n = measured.hit_rate, measured.n
    if check is not None and check.observed is not None:
        observed, n = check.observed, check.n
    limit = LEAST_CACHE_HITS if check is None else check.limit
    if observed >= limit:
        return
    by = case.findings.cache.by_tenant or case.findings.cache.by_agent
    worst = min(by, key=lambda one: by[one].hit_rate or 0.0, default="")
    values = {
        "hits": Value(observed, "share"), "limit": Value(limit, "share"), "n": Value(n, "lookups"),
        "worst": name(worst or "-"), "worst_hits": Value((by[worst].hit_rate or 0.0) if worst else observed, "share"),
    }  # fmt: skip
    evidence = (check_id(number), "providers") if check else ("providers",)
    excess = limit / max(observed, 0.001)
    yield Advice("cache_low", Severity.WATCH, excess, values, evidence, case.again)


def cache_disagree(case: Case) -> Iterator[Advice]:
    """The witnesses of the cache tell different stories."""
    found = case.findings.cache
    witnesses = (found.answers, found.metrics, found.ledger)
    rates = [one.hit_rate for one in witnesses if not isinstance(one, str) and one.hit_rate is not None]
    if len(rates) > 1 and max(rates) - min(rates) > WITNESSES_AGREE:
        values = {
            "low": Value(min(rates), "share"), "high": Value(max(rates), "share"),
            "limit": Value(WITNESSES_AGREE, "points"),
        }  # fmt: skip
        excess = (max(rates) - min(rates)) / WITNESSES_AGREE
        yield Advice("cache_disagree", Severity.WATCH, excess, values, ("providers",), case.again)


def saturated(case: Case) -> Iterator[Advice]:
    """A container was at a limit of its own: the one that is furthest beyond."""
    rate, found = case.findings.load.rate_per_s or 0.0, []
    for owner, used in case.findings.resources.items():
        shares = {
            "cpu": (used.cpu_of_limit.p95 if used.cpu_of_limit else 0.0, CPU_FULL),
            "throttled": (used.throttled.p95 if used.throttled else 0.0, THROTTLED),
            "memory": (used.memory_of_limit.max if used.memory_of_limit else 0.0, MEMORY_FULL),
        }
        found += [(share / limit, owner, what, share, limit) for what, (share, limit) in shares.items()
                  if what in used.saturated]  # fmt: skip
    if found:
        excess, owner, what, share, limit = max(found)
        values = {
            "owner": name(owner), "share": Value(share, "share"), "limit": Value(limit, "share"),
            "rate": Value(rate, "rate"),
        }  # fmt: skip
        yield Advice(f"saturated_{what}", Severity.HARM, excess, values, ("resources",), case.again)


def restarted(case: Case) -> Iterator[Advice]:
    """A process was started anew, and no fault explains it."""
    meant = {o.upstream for o in case.findings.failovers if o.kind in RESTARTS}
    for owner, used in case.findings.resources.items():
        if used.restarts and owner not in meant and not owner.startswith(tuple(f"{part}-" for part in meant)):
            values = {"owner": name(owner), "restarts": Value(used.restarts, "times")}
            yield Advice("restarted", Severity.HARM, used.restarts, values, ("resources",), case.again)


def unpriced(case: Case) -> Iterator[Advice]:
    """Calls of models without a price are counted as free."""
    found = case.findings.cost
    if isinstance(found, CostFindings) and found.unpriced:
        values = {
            "models": name(", ".join(sorted(found.unpriced))), "calls": Value(sum(found.unpriced.values()), "calls"),
        }  # fmt: skip
        command = "agentstorm report DIR"
        yield Advice("unpriced", Severity.KNOW, 1, values, ("cost",), command)
