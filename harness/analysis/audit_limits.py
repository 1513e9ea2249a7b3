"""What a recording's capacity and soak findings show of an audit. Either may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.analysis.audit_seen import FAIL, OPEN, PASS, answer
from harness.model.capacity import of_cpu

if TYPE_CHECKING:
    from harness.analysis.audit_seen import Seen
    from harness.model.audit import Answer, Ask
    from harness.model.capacity import Limit

HEALTHY = "healthy"
NEARLY = 0.99
_CAPACITY = {
    "bracketed": "capacity", "at_least": "capacity_open", "below": "capacity_below", "undecided": "capacity_undecided",
}  # fmt: skip


def _states(seen: Seen) -> list[Any]:
    return list(getattr(seen.findings.capacity, "states", ()))


def capacity(seen: Seen, _: Ask) -> Answer | None:
    """How much the system carries at its SLO; passes when both sides of the healthy state's capacity are known."""
    states = _states(seen)
    if not states:
        return None
    state = next((s for s in states if s.state == HEALTHY), states[0])
    found, users = state.capacity, state.capacity.users
    facts: dict[str, Any] = {
        "state": state.state, "rate": found.rate.value, "rate_low": found.rate.low, "rate_high": found.rate.high,
        "users_low": None if users is None else users.low, "levels": len(state.levels), "states": len(states),
        "first": None if state.fills_first is None else state.fills_first.resource,
    }  # fmt: skip
    return answer(PASS if found.state == "bracketed" else OPEN, _CAPACITY[found.state], len(state.levels), facts)


def scaling(seen: Seen, _: Ask) -> Answer | None:
    """The thresholds to configure; whether anything scales by them is not seen from outside."""
    found = getattr(seen.findings.capacity, "governing", None)
    if found is None or found.advice is None:
        return None
    name, share = max(found.advice.cpu.items(), key=lambda item: item[1], default=("", 0.0))
    facts: dict[str, Any] = {"rate": found.advice.rate_per_replica, "who": name.removesuffix(" cpu"), "cpu": share,
                             "state": found.state}  # fmt: skip
    return answer(OPEN, "scaling_cpu" if name else "scaling", len(found.levels), facts)


def pool(seen: Seen, _: Ask) -> Answer | None:
    """Whether a pool of connections was seen to be used up by the highest load tried.

    A pool shows in the calls under way at a provider, by its ledger: without one nobody can tell, and neither where a
    full CPU or refused calls would hold their number as well (`analysis.capacity_limits.pool`).
    """
    states = _states(seen)
    if not states:
        return None
    pools = [limit for state in states for limit in state.limits if limit.kind == "pool"]
    levels = [level for state in states for level in state.levels if level.counts]
    most = max((level.in_flight for level in levels), default=None)
    facts: dict[str, Any] = {"in_flight": most, "levels": len(levels)}
    if pools:
        facts |= {"resource": pools[0].resource, "rate": pools[0].rate}
        return answer(FAIL, "pool", len(levels), facts)
    if not any(calls for level in levels for calls in level.upstream_in_flight.values()):
        return answer(OPEN, "pool_unseen", len(levels), facts)
    full = (limit for state in states for limit in state.limits if _hides_pool(limit) and not limit.extrapolated)
    if first := next(full, None):
        return answer(OPEN, "pool_hidden", len(levels), facts | {"resource": first.resource, "rate": first.rate})
    knee = any(state.capacity.state == "bracketed" for state in states)
    return answer(PASS if knee else OPEN, "pool_none" if knee else "pool_open", len(levels), facts)


def _hides_pool(limit: Limit) -> bool:
    """Return whether it holds the calls under way at a provider as an exhausted pool does."""
    return limit.kind == "rate_limit" or of_cpu(limit.kind, limit.resource)


def soak(seen: Seen, ask: Ask) -> Answer | None:
    """Whether anything leaked or drifted over the length asked for."""
    found: Any = seen.findings.soak
    if found is None:
        return None
    full = found.length_s >= (ask.hold or 0) * NEARLY and seen.plan.scale >= 1
    moved = [s for s in found.series if not s.instrument and s.verdict in ("leak", "drift") and s.worse is not False]
    facts: dict[str, Any] = {"seconds": found.length_s, "whole": ask.hold, "tested": found.tested, "why": found.why}
    if moved:
        facts |= {"who": moved[0].owner.partition(":")[2], "what": moved[0].what}  # of the service itself: no owner
        return answer(FAIL, "soak_moved", found.tested, facts, whole=full)
    flat = found.verdict in ("flat", "saturating")
    verdict = PASS if flat and full else OPEN
    done = answer(verdict, "soak_flat" if flat else "soak_open", found.tested, facts, whole=full)
    return done if full else done.model_copy(update={"notes": ("short",)})
