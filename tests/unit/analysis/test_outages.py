"""Outages of one kind together, against planted times."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis.failover import _NOTHING
from harness.analysis.outages import flaps, outage_kinds
from harness.model.findings import Failover, Interval

ABOUT: dict[str, Any] = {
    "fault": "one", "kind": "blackhole", "upstream": "bedrock", "experiment": "e", "injecting_ns": 0, "cleared_ns": 1
}  # fmt: skip


def outage(recovered: float | None, **how: Any) -> Failover:
    times = None if recovered is None else Interval(low=recovered - 0.1, high=recovered)
    about = {**ABOUT, **_NOTHING, "bit": True, "impact": True, "recovery_s": times, "censored": recovered is None}
    return Failover(**(about | how))


def test_percentiles_are_those_of_the_outages_and_what_never_came_is_longest() -> None:
    twenty = [outage(float(i)) for i in range(1, 20)] + [outage(None)]
    (kind,) = outage_kinds(twenty, 0.999)
    assert kind.recovery_s is not None
    assert (kind.recovery_s.median, kind.recovery_s.p95, kind.recovery_s.max) == (10.0, 19.0, None)
    assert (kind.recovery_s.n, kind.recovery_s.never, len(kind.recovery_s.ecdf)) == (20, 1, 19)
    (kind,) = outage_kinds([*twenty[:19], outage(20.0)], 0.999)
    assert kind.recovery_s is not None
    assert (kind.recovery_s.p95, kind.recovery_s.max) == (19.0, 20.0)


def test_one_that_never_came_is_not_left_out() -> None:
    (kind,) = outage_kinds([outage(None), outage(None), outage(3.0)], 0.999)
    assert kind.recovery_s is not None
    assert (kind.recovery_s.median, kind.recovery_s.ecdf) == (None, (3.0,))


def test_harmless_outages_have_no_first_harm_and_kinds_are_told_apart() -> None:
    harm = Interval(low=0.1, high=0.2)
    found = outage_kinds(
        [outage(1.0, impact_s=harm), outage(1.0, impact=False), outage(1.0, kind="refuse"), outage(1.0, bit=False)],
        0.999,
    )
    assert [(k.upstream, k.kind, k.outages) for k in found] == [("bedrock", "blackhole", 2), ("bedrock", "refuse", 1)]
    assert found[0].impact_s is not None
    assert (found[0].impact_s.n, found[0].impact_s.max) == (1, 0.2)
    assert found[0].failover_s is None


def test_the_budget_is_a_months() -> None:
    """0.1 % of 30 days is 2,592 s."""
    (kind,) = outage_kinds([outage(1.0, unavailable_s=1000.0), outage(1.0, unavailable_s=296.0)], 0.999)
    assert kind.budget_spent == pytest.approx(0.5)
    (kind,) = outage_kinds([outage(1.0, unavailable_s=1296.0)], 0.99)
    assert kind.budget_spent == pytest.approx(0.05)


def test_who_was_answered_is_shared_out_over_all_requests() -> None:
    outages = [outage(1.0, answers={"ok": 60, "degraded": 10, "failed": 10}), outage(1.0, answers={
        "ok": 0, "degraded": 10, "failed": 10})]  # fmt: skip
    (kind,) = outage_kinds(outages, 0.999)
    assert kind.answered == {"ok": 0.6, "degraded": 0.2, "failed": 0.2}
    assert kind.requests == 100


def test_changes_of_provider_that_nobody_could_see_are_not_none() -> None:
    assert flaps([outage(1.0, flaps=2), outage(1.0, flaps=None), outage(1.0, flaps=1)]) == 3
    assert flaps([outage(1.0, flaps=None)]) is None
