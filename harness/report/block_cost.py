"""What the block on cost says: what users cost, healthy and while something is broken, and what the cache saves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.model.cost import CostFindings
from harness.report import units, words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.model.cost import Spend
    from harness.model.findings import Findings

COLUMNS = ("requests", "calls", "tokens in", "tokens out", "spent", "per 1,000 requests", "per answer")
PER_USER = "per user and hour"
"""One more column, of the whole run and of its states: nobody counts the users of a tenant or a model."""
FOLDED = (("tenant", "by_tenant"), ("agent", "by_agent"), ("provider", "by_upstream"), ("model", "by_model"))
HEALTHY = "healthy"


def money(amount: float | None, currency: str) -> str:
    """Return an amount with three significant digits: ``0.0132 USD``."""
    return units.NONE if amount is None else f"{units.three(amount)}{units.SPACE}{currency}"


def said(findings: Findings) -> str:
    """Return what the run cost, in a sentence or two; empty where that is not known."""
    found = findings.cost
    if not isinstance(found, CostFindings) or not found.total.requests:
        return ""
    each = f"1,000 requests cost {money(found.total.per_1k_requests, found.currency)}"
    if found.per_user_hour is not None:
        each += f", a user {money(found.per_user_hour, found.currency)} an hour"
    parts = [each, *_outages(found)]
    if found.cache and found.cache.share:
        parts.append(f"the cache saves about {units.share(found.cache.share)}")
    if found.unpriced:
        parts.append(f"calls of {', '.join(sorted(found.unpriced))} have no price and are counted as free")
    return words.sentence("; ".join(parts))


def _outages(found: CostFindings) -> Iterable[str]:
    healthy = found.by_state.get(HEALTHY)
    if healthy is None or not healthy.per_1k_requests:
        return
    for name, spend in found.by_state.items():
        if name != HEALTHY and spend.per_1k_requests is not None:
            factor = spend.per_1k_requests / healthy.per_1k_requests
            yield f"{units.three(factor)} times the healthy price under {name}"


def cost(findings: Findings) -> dict[str, Any] | None:
    """Return the block; None without a price table."""
    found = findings.cost
    if found is None:
        return None
    if not isinstance(found, CostFindings):
        return {"answer": "Not known: no ledger tells which request a provider call was made for.", "rows": []}
    rows = [("whole run", "", found.total, found.per_user_hour)]
    rows += [("state", name, spend, found.per_user_hour_by_state.get(name)) for name, spend in found.by_state.items()]
    folded = [(kind, name, spend) for kind, key in FOLDED for name, spend in getattr(found, key).items()]
    saved = found.cache
    return {
        "answer": said(findings) or "Nothing was asked, so nothing was spent.",
        "columns": (*COLUMNS, PER_USER),
        "rows": [
            (kind, name, [*_cells(spend, found.currency), _amount(per_user, found.currency)])
            for kind, name, spend, per_user in rows
        ],
        "folded_columns": COLUMNS,
        "folded": [(kind, name, _cells(spend, found.currency)) for kind, name, spend in folded],
        "notes": [
            note
            for note in (
                f"The canary's own calls cost {money(found.canary, found.currency)} more." if found.canary else "",
                f"What the cache saves is its {saved.hits:,} hits at what a call for the same agent cost on average: "
                f"{money(saved.saved, found.currency)}."
                if saved
                else "",
            )
            if note
        ],
    }


def _cells(spend: Spend, currency: str) -> list[tuple[str, float]]:
    """Return what each column says, and what it is sorted by."""
    counts = (spend.requests, spend.calls, spend.tokens_in, spend.tokens_out)
    amounts = (spend.spent, spend.per_1k_requests, spend.per_answer)
    return [(units.count(n), float(n)) for n in counts] + [_amount(a, currency) for a in amounts]


def _amount(amount: float | None, currency: str) -> tuple[str, float]:
    return money(amount, currency), amount or 0.0
