"""The kinds of evidence a row of an audit can ask for: name -> what looks for it, and the limits it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis import audit_limits, audit_load, audit_outages
from harness.model.base import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.analysis.audit_seen import Seen
    from harness.model.audit import Answer, Ask, Audit


@dataclass(frozen=True)
class Evidence:
    """How a recording answers; None when it says nothing of the matter."""

    look: Callable[[Seen, Ask], Answer | None]
    needs: tuple[str, ...] = ()
    """Limits that the row has to give."""
    takes: tuple[str, ...] = ()
    """Limits that it may give."""


EVIDENCE: Mapping[str, Evidence] = {
    "agents": Evidence(audit_load.agents, ("of",), ("count",)),
    "availability": Evidence(audit_outages.availability, ("above",)),
    "baselines": Evidence(audit_load.baselines),
    "breakers": Evidence(audit_outages.breakers, ("share",)),
    "cache": Evidence(audit_load.cache, ("above",)),
    "capacity": Evidence(audit_limits.capacity),
    "carries": Evidence(audit_load.carries, ("hold", "under", "below"), ("users", "rate", "ramp")),
    "chaos": Evidence(audit_outages.chaos),
    "cost": Evidence(audit_load.cost),
    "disaster": Evidence(audit_outages.disaster, ("under",)),
    "failover": Evidence(audit_outages.failover, ("under", "share")),
    "functionality": Evidence(audit_outages.functionality, ("above",)),
    "health": Evidence(audit_outages.health, ("under",)),
    "health_there": Evidence(audit_outages.health_there),
    "latency": Evidence(audit_load.latency, ("under",)),
    "metrics": Evidence(audit_load.metrics),
    "pool": Evidence(audit_limits.pool),
    "providers": Evidence(audit_load.providers, ("of",)),
    "restart": Evidence(audit_outages.restart, ("below",)),
    "scaling": Evidence(audit_limits.scaling),
    "soak": Evidence(audit_limits.soak, ("hold",)),
    "tenants": Evidence(audit_load.tenants, ("below",)),
    "trace": Evidence(audit_load.trace, ("above",)),
}
TOGETHER = "together"
"""Asks for other rows of the audit (`of`: their ids), from all recordings: passes when all of them do."""


def misfit(audit: Audit) -> tuple[str, str] | None:
    """Return the first row that asks for what there is not, and why; None when all can be answered."""
    ids = {row.id: row for row in audit.rows}
    for row in audit.rows:
        said = None if row.asks is None else _misfit(row.asks, {i for i, r in ids.items() if r.asks and i != row.id})
        if said:
            return row.id, said
    return None


def _misfit(ask: Ask, others: set[str]) -> str:
    given = {name for name in type(ask).model_fields if name != "kind" and getattr(ask, name) is not None}
    if ask.kind == TOGETHER:
        unknown = sorted(set((ask.of or "").split()) - others)
        if given != {"of"} or unknown or not (ask.of or "").split():
            return "kind 'together' takes 'of': the ids of rows that ask for something" + (
                f"; there is no such row {unknown[0]!r}" if unknown else ""
            )
        return ""
    known = (*EVIDENCE, TOGETHER)
    if ask.kind not in EVIDENCE:
        return f"kind {ask.kind!r} is unknown; {nearest(ask.kind, known)}known: {', '.join(known)}"
    return _unlike(ask, EVIDENCE[ask.kind], given)


def _unlike(ask: Ask, kind: Evidence, given: set[str]) -> str:
    missing, odd = sorted(set(kind.needs) - given), sorted(given - {*kind.needs, *kind.takes})
    if missing:
        return f"kind {ask.kind!r} needs {missing[0]!r}"
    if odd:
        return f"kind {ask.kind!r} takes no {odd[0]!r}; it takes: {', '.join((*kind.needs, *kind.takes)) or 'nothing'}"
    if ask.kind == "carries" and (ask.users is None) == (ask.rate is None):
        return "kind 'carries' needs either 'users' or 'rate'"
    return ""
