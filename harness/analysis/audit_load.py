"""What a recording's load shows of an audit: times, failures, the cache, agents, providers, cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.analysis.audit_seen import (
    FAIL,
    NO_PROVIDER,
    OPEN,
    PASS,
    answer,
    below,
    named,
    share_above,
    worst,
)
from harness.analysis.stats import wilson
from harness.model.cost import CostFindings
from harness.model.findings import CacheWitness

if TYPE_CHECKING:
    from harness.analysis.audit_seen import Seen
    from harness.model.audit import Answer, Ask
    from harness.model.findings import Group

AGREE = 0.02
"""Two witnesses of the cache's hit rate agree within so many points (0.02: two)."""
NEARLY = 0.99
"""A rate that was offered to within 1 % was offered, and a length that was held to within 1 % was held."""


def latency(seen: Seen, ask: Ask) -> Answer | None:
    """p95 of the response time while nothing was broken, of all and of every agent and provider."""
    group, limit = seen.healthy, (ask.under or 0) * 1000
    if group is None or not group.answered:
        return None
    facts: dict[str, Any] = _estimate("p95", group) | {"limit": limit}
    verdict, n = below(group.response_ms.p95, limit), group.response_ms.p95.n
    parts = {
        (column, name): part
        for column in ("agent", "provider")
        for name, part in seen.findings.load.by.get(column, {}).items()
        if part.answered and name not in NO_PROVIDER
    }
    decided = {key: below(part.response_ms.p95, limit) for key, part in parts.items()}
    every = worst([verdict, *decided.values()])
    # Parts hold the outages, too: what is good enough even so is good enough, what is not may be the outages' doing.
    if not parts or (not seen.calm and every is not PASS):
        return answer(verdict, "latency_whole", n, facts, whole=False)
    (_, name), slowest = max(parts.items(), key=lambda p: p[1].response_ms.p95.value or 0)
    facts |= {"who": name, "parts": len(parts)} | _estimate("worst", slowest)
    facts["over"] = sum(one is FAIL for one in decided.values())
    facts["undecided"] = sum(one is OPEN for one in decided.values())
    return answer(every, "latency" if seen.calm else "latency_outages", n, facts)


def _estimate(name: str, group: Group) -> dict[str, Any]:
    found = group.response_ms.p95
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_n": found.n}


def cache(seen: Seen, ask: Ask) -> Answer | None:
    """The share of lookups that hit in the measured part, as answers show it.

    They are believed where those of the whole load agree with what the providers received: no ledger is cut to a part.
    """
    found = seen.findings.cache
    told, whole, ledger = found.measured, found.answers, found.ledger
    if not isinstance(told, CacheWitness) or not told.n:
        return None
    verdict, facts = share_above(told.hits, told.n, ask.above or 0)
    tenants = {name: one.hit_rate for name, one in found.by_tenant.items() if one.hit_rate is not None}
    agents = {name: one.hit_rate for name, one in found.by_agent.items() if one.hit_rate is not None}
    for word, rates in (("tenant", tenants), ("agent", agents)):
        name = min(rates, key=lambda key: rates[key], default=None)
        facts |= {word: name, f"{word}_share": None if name is None else rates[name]}
    key = "cache"
    both = [one.hit_rate for one in (whole, ledger) if isinstance(one, CacheWitness) and one.hit_rate is not None]
    if len(both) == 2:
        facts["whole"], facts["ledger"] = both
        key = "cache_ledger"
        if abs(both[0] - both[1]) > AGREE:
            verdict, key = OPEN, "cache_disputed"
    return answer(verdict, key, told.n, facts)


def carries(seen: Seen, ask: Ask) -> Answer | None:
    """Whether so much load was made for so long, and how users fared under it. Only a load of that kind speaks."""
    load, group = seen.plan.scenario.load, seen.findings.load
    ramp = load.ramp if load.kind == "spike" else None
    if seen.plan.faults or load.kind not in ("users", "rate", "spike") or not group.answered:
        return None
    if load.open_loop != (ask.rate is not None) or (ramp is None) != (ask.ramp is None):
        return None
    wanted = ask.rate if ask.rate is not None else float(ask.users or 0)
    most, whole_s = load.peak or 0.0, (ask.hold or 0) + (ask.ramp or 0)
    if ask.rate is not None:
        most = min(most, group.rate_per_s or 0)
    made = most
    if load.kind == "users":  # those that are yet to start make no load
        made = load.mean_users or 0.0
    steep = ramp is None or ramp <= (ask.ramp or 0) * 1.01
    full = made >= wanted * NEARLY and seen.seconds >= whole_s * NEARLY and seen.plan.scale >= 1 and steep
    verdicts = [below(group.failed_share, ask.below or 0), below(group.response_ms.p95, (ask.under or 0) * 1000)]
    verdict = worst(verdicts)
    beyond = most > wanted * 1.01 and verdict is FAIL  # under more than was asked: refutes nothing
    if beyond or (not full and verdict is PASS):
        verdict = OPEN
    failed = group.failed_share
    facts: dict[str, Any] = _estimate("p95", group) | {
        "limit": (ask.under or 0) * 1000, "failed": failed.value, "failed_low": failed.low, "failed_high": failed.high,
        "allowed": ask.below, "made": made, "seconds": seen.seconds, "wanted": wanted, "whole": whole_s,
        "ramp": ramp,
    }  # fmt: skip
    key = "carries_rate" if load.open_loop else "carries_spike" if ramp is not None else "carries_users"
    notes = ("beyond",) if beyond else () if full else ("short",)
    found = answer(verdict, key, group.answered, facts, whole=full and not beyond)
    return found.model_copy(update={"notes": notes})


def cost(seen: Seen, _: Ask) -> Answer | None:
    """What a user costs an hour; passes when it is known and every model has a price."""
    found = seen.findings.cost
    if not isinstance(found, CostFindings) or not found.total.requests:
        return None
    outages = {k: v for k, v in found.per_user_hour_by_state.items() if k != "healthy"}
    state = max(outages, key=lambda key: outages[key], default=None)
    facts: dict[str, Any] = {
        "currency": found.currency, "hour": found.per_user_hour, "per_1k": found.total.per_1k_requests,
        "state": state, "state_hour": None if state is None else outages[state],
        "healthy": found.per_user_hour_by_state.get("healthy"), "unpriced": ", ".join(sorted(found.unpriced)),
        "n": found.total.requests,
    }  # fmt: skip
    if found.per_user_hour is None:
        return answer(OPEN, "cost_rate", found.total.requests, facts, whole=False)
    key = "cost_unpriced" if found.unpriced else "cost" if state is None else "cost_outage"
    return answer(OPEN if found.unpriced else PASS, key, found.total.requests, facts)


def agents(seen: Seen, ask: Ask) -> Answer | None:
    """Whether agents of these names gave full answers (of a model, or cached) under load."""
    by = seen.findings.load.by.get("agent", {})
    asked = named(ask.of or "*", by)
    if "*" in (ask.of or "*"):  # a workflow is no agent, unless it is what is asked about
        asked = [name for name in asked if not name.endswith(".workflow") or "workflow" in (ask.of or "")]
    groups = {name: by[name] for name in asked if by[name].answered}
    if not groups:
        return None
    full = [name for name, group in groups.items() if group.ok]
    ok, ended = (sum(counts) for counts in zip(*((g.ok, g.answered) for g in groups.values()), strict=True))
    wanted = ask.count or len(groups)
    verdict = PASS if len(full) >= wanted else FAIL if len(groups) >= wanted else OPEN
    facts = {"full": len(full), "count": wanted, "ok": ok, "n": ended, "share": ok / ended}
    return answer(verdict, "agents", ended, facts)


def providers(seen: Seen, ask: Ask) -> Answer | None:
    """Whether each of these providers answered requests."""
    by = seen.findings.load.by.get("provider", {})
    if not by:
        return None
    wanted = (ask.of or "").split()
    counts = {w: sum(g.ok + g.degraded for word, g in by.items() if w in word.split("+")) for w in wanted}
    silent = [name for name, n in counts.items() if not n]
    facts = {"who": ", ".join(f"{name} {n:,}" for name, n in counts.items()), "silent": ", ".join(silent)}
    # A provider behind another in line is not asked while that one is well: no answers prove nothing.
    key = "providers" if not silent else "providers_calm" if seen.calm else "providers_silent"
    return answer(OPEN if silent else PASS, key, sum(counts.values()), facts)


def metrics(seen: Seen, _: Ask) -> Answer | None:
    """Whether the cache metrics of the system say what the providers' ledgers do."""
    own, truth = seen.findings.cache.metrics, seen.findings.cache.ledger
    if not isinstance(own, CacheWitness) or own.hit_rate is None:
        return None
    if not isinstance(truth, CacheWitness) or truth.hit_rate is None:
        return answer(OPEN, "metrics_alone", own.n, {"own": own.hit_rate, "n": own.n})
    agree = abs(own.hit_rate - truth.hit_rate) <= AGREE
    facts = {"own": own.hit_rate, "ledger": truth.hit_rate, "n": own.n}
    return answer(PASS if agree else FAIL, "metrics", own.n, facts)


def trace(seen: Seen, ask: Ask) -> Answer | None:
    """Whether full answers by a provider can be followed to it by the trace id their request carried."""
    instrument = seen.findings.validity.instrument
    found, named = (instrument.get(f"ledger_{key}") for key in ("found", "named"))
    if found is None or not named:
        return None
    verdict, facts = share_above(int(found), int(named), ask.above or 0)
    return answer(verdict, "trace", int(named), facts)


def tenants(seen: Seen, ask: Ask) -> Answer | None:
    """Whether every provider call carried the tenant of its request: one that did not is one too many."""
    found = seen.findings.tenancy
    if found is None or not found.compared:
        return None
    wrong = found.compared - found.agree
    high = wilson(wrong, found.compared)[1]
    verdict = FAIL if wrong else PASS if high < (ask.below or 0) else OPEN
    facts = {"wrong": wrong, "n": found.compared, "faulted": found.under_fault, "most": high, "limit": ask.below}
    return answer(verdict, "tenants", found.compared, facts)


def baselines(seen: Seen, _: Ask) -> Answer | None:
    """What alarms and dashboards can be set from; whether they are is not seen from outside."""
    group = seen.healthy
    if group is None or not group.answered:
        return None
    facts: dict[str, Any] = _estimate("p95", group) | {"failed": group.failed_share.value}
    return answer(OPEN, "baselines", group.answered, facts)
