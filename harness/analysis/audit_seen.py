"""A recording as evidence for an audit, and how its numbers become verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.stats import at_least, at_most, ratio_estimate, wilson
from harness.model.audit import Answer, AuditVerdict
from harness.model.findings import Estimate
from harness.model.load import EVERYDAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.model.audit import Fact
    from harness.model.findings import Failover, Findings, Group
    from harness.model.plan import Plan

PASS, FAIL, OPEN = AuditVerdict.PASS, AuditVerdict.FAIL, AuditVerdict.INCONCLUSIVE
HEALTHY_PHASES = ("baseline", "steady")
NO_PROVIDER = frozenset({"", "cache", "local"})
"""What an answer names that came from no provider."""


@dataclass(frozen=True)
class Seen:
    """One recording: what it is called, what was planned, what was found."""

    name: str
    plan: Plan
    findings: Findings

    @property
    def outages(self) -> list[Failover]:
        """Faults that were seen to bite."""
        return [f for f in self.findings.failovers if f.bit]

    @property
    def calm(self) -> bool:
        """Whether nothing was broken on purpose."""
        return not self.plan.faults

    @property
    def healthy(self) -> Group | None:
        """An everyday load while nothing was broken; None when there was no such time."""
        load = self.findings.load
        if self.plan.scenario.load.kind not in EVERYDAY:
            return None
        if self.calm:
            return load if load.requests else None
        return next((load.by["phase"][p] for p in HEALTHY_PHASES if p in load.by.get("phase", {})), None)

    @property
    def seconds(self) -> float:
        """How long the measured part really lasted."""
        load = self.findings.load
        sent = load.requests - load.dropped
        return sent / load.rate_per_s if load.rate_per_s else 0.0

    @property
    def providers(self) -> frozenset[str]:
        """The providers behind the system: those that keep a ledger or that answers name."""
        kept = {name for name, upstream in self.plan.target.upstreams.items() if upstream.ledger}
        named = {n for word in self.findings.load.by.get("provider", {}) for n in word.split("+")} - NO_PROVIDER
        return frozenset(kept | (named & set(self.plan.target.upstreams)))

    def of_providers(self) -> list[Failover]:
        """Return the outages of providers."""
        return [f for f in self.outages if f.upstream in self.providers]

    def without_llm(self) -> list[Failover]:
        """Return one outage for each time that no provider was left: a fault of every one of them was on at once."""
        mine, found = self.of_providers(), []
        for first in mine:
            begin, end = first.effective_ns or first.injecting_ns, first.cleared_ns
            together = [f for f in mine if _overlap(f, begin, end)]
            last = max(together, key=lambda f: f.effective_ns or f.injecting_ns)
            if last is first and {f.upstream for f in together} >= self.providers:
                found.append(first)
        return found


def _overlap(fault: Failover, begin: int, end: int | None) -> bool:
    start = fault.effective_ns or fault.injecting_ns
    return (end is None or start < end) and (fault.cleared_ns is None or fault.cleared_ns > begin)


# --- verdicts --------------------------------------------------------------------------------------------------------


def below(estimate: Estimate, limit: float) -> AuditVerdict:
    """Return whether a value lies below a limit: its whole interval has to, or none of it may."""
    if estimate.value is None:
        return OPEN
    if estimate.high is not None and estimate.high < limit:
        return PASS
    return FAIL if estimate.low is not None and estimate.low >= limit else OPEN


def above(low: float, high: float, limit: float) -> AuditVerdict:
    """Return whether a share lies above a limit."""
    return PASS if low > limit else FAIL if high <= limit else OPEN


def share_above(hits: int, n: int, limit: float) -> tuple[AuditVerdict, dict[str, Fact]]:
    """Return whether a share of requests lies above a limit (Wilson), and its facts."""
    low, high = wilson(hits, n)
    facts: dict[str, Fact] = {"share": hits / n if n else None, "low": low, "high": high, "limit": limit, "n": n}
    return (above(low, high, limit) if n else OPEN), facts


def pooled(hits: Sequence[int], totals: Sequence[int]) -> Estimate:
    """Return the share of requests of several outages together.

    Requests of one outage fare alike, so outages are what counts: Wilson's interval, widened to Student's over outages
    (`stats.ratio_estimate`). One outage bounds nothing.
    """
    n, hit = sum(totals), sum(hits)
    low, high = wilson(hit, n)
    over = ratio_estimate(np.array(hits, float), np.array(totals, float))
    if over.low is None or over.high is None:
        low, high = 0.0, 1.0
    else:
        low, high = min(low, over.low), min(1.0, max(high, over.high))
    return Estimate(value=hit / n if n else None, low=low, high=high, n=n)


def supported(good: int, n: int, share: float) -> AuditVerdict:
    """Return whether n outages support that at least a share of such outages are good (Clopper-Pearson, 95 %)."""
    if not n:
        return OPEN
    return PASS if at_least(good, n) >= share else FAIL if at_most(good, n) < share else OPEN


RANK = {FAIL: 0, OPEN: 1, PASS: 2}


def worst(verdicts: Iterable[AuditVerdict]) -> AuditVerdict:
    """Return fail before inconclusive before pass; inconclusive for none."""
    return min(verdicts, key=lambda v: RANK[v], default=OPEN)


def named(patterns: str, names: Iterable[str]) -> list[str]:
    """Return the names that one of the patterns (separated by spaces) means."""
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns.split())]


def answer(verdict: AuditVerdict, key: str, n: int, facts: Mapping[str, Fact], *, whole: bool = True) -> Answer:
    """Return an answer."""
    return Answer(verdict=verdict, key=key, facts=dict(facts), n=n, whole=whole)
