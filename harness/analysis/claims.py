"""What the outages seen so far support: "at least p of outages of this kind recover in time" (`methods.md`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.dependence import CONFIDENCE
from harness.analysis.outages import alike
from harness.analysis.stats import CLAIM_SHARES, at_least, more_successes
from harness.model.findings import Claim
from harness.model.threshold import parse_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.model.findings import Failover
    from harness.model.plan import Plan

LIMIT_S = 5.0
"""The audit's failover SLA; a plan's `failover_claim` says otherwise."""


def claims(plan: Plan, failovers: Iterable[Failover]) -> tuple[Claim, ...]:
    """Return one claim per kind of fault and what it was on, for the limit and confidence the plan claims (else 5 s at
    0.95)."""
    found = []
    for (upstream, kind), outages in alike(failover for failover in failovers if failover.bit).items():
        limit, confidence = _claimed(plan, upstream, kind)
        recovered, n = sum(recovered_within(outage, limit) for outage in outages), len(outages)
        share = at_least(recovered, n, confidence)
        following = next((s for s in CLAIM_SHARES if s > share), None)
        found.append(
            Claim(
                upstream=upstream,
                kind=kind,
                recovered=recovered,
                outages=n,
                limit_s=limit,
                confidence=confidence,
                share=share,
                next_share=following,
                more_needed=None if following is None else more_successes(recovered, n, following, confidence),
            )
        )
    return tuple(found)


def recovered_within(outage: Failover, limit_s: float) -> bool:
    """Tell whether an outage is known to have recovered in time: the whole interval lies under the limit."""
    return outage.recovery_s is not None and outage.recovery_s.high < limit_s


def _claimed(plan: Plan, upstream: str, kind: str) -> tuple[float, float]:
    """Return (limit seconds, confidence) of the first claim in the plan that is about these faults."""
    experiments = [e for e in plan.experiments if any((f.on, f.kind) == (upstream, kind) for f in e.faults)]
    for thresholds in (*(e.thresholds for e in experiments), plan.scenario.thresholds):
        for threshold in parse_all(thresholds):
            tags = dict(threshold.tags)
            meant = tags.get("fault", kind) == kind and tags.get("upstream", upstream) == upstream
            if threshold.metric == "failover_claim" and meant and threshold.confidence is not None:
                return threshold.limit, threshold.confidence
    return LIMIT_S, CONFIDENCE
