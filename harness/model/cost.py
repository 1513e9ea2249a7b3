"""What a run cost, as findings."""

from __future__ import annotations

from harness.model.base import Frozen


class Spend(Frozen):
    """What some requests cost, in the currency of the price table: the ledgers' tokens times their prices."""

    spent: float
    requests: int
    """Those sent."""
    answers: int
    """Those answered (ok or degraded)."""
    calls: int
    """Provider calls they led to, whatever became of them."""
    tokens_in: int
    tokens_out: int
    per_1k_requests: float | None
    per_answer: float | None


class CacheSaving(Frozen):
    """What cache hits spared: the mean cost of a call for the same agent, times its hits."""

    saved: float
    share: float | None
    """Of what would have been spent without a cache."""
    hits: int


class CostFindings(Frozen):
    """What the measured part of the load cost (`analysis.cost`)."""

    currency: str
    total: Spend
    per_user_hour: float | None
    """null in an open loop, which has no number of users."""
    per_user_hour_by_state: dict[str, float]
    """By the users that were planned while the state lasted."""
    by_state: dict[str, Spend]
    """``healthy``, and each kind of outage (``bedrock blackhole``) while it was on."""
    by_tenant: dict[str, Spend]
    by_agent: dict[str, Spend]
    by_upstream: dict[str, Spend]
    """As `by_model`, per request and answer of all, whoever gave them."""
    by_model: dict[str, Spend]
    canary: float
    """What the probe's own calls cost; not in the total."""
    cache: CacheSaving | None
    """null when answers do not show cache hits."""
    unpriced: dict[str, int]
    """Models without a price -> calls, which are counted as free."""
