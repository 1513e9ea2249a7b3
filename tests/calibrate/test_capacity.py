"""Capacity against systems whose capacity, knee, think time, pool and bottleneck are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.analysis import analyse
from harness.analysis.capacity import in_requests
from harness.analysis.capacity_rows import measured
from harness.analysis.capacity_slo import bracket
from harness.analysis.usl import Points, fit, joined_points
from harness.model.plan import Slo
from tests.calibrate import levels
from tests.searches import Search, System, record

if TYPE_CHECKING:
    from pathlib import Path

    from harness.model.capacity import CapacityState, Limit
    from harness.model.estimate import Estimate

RUNS = 100
ENOUGH = 93
"""Of 100 runs, with intervals of nominally 95 %."""
USERS = (1, 2, 3, 4, 6, 8, 10, 13, 17, 22)


def within(estimate: Estimate, truth: float) -> bool:
    low, high = estimate.low, estimate.high
    return (low is None or low <= truth) and (high is None or truth <= high)


# --- intervals -------------------------------------------------------------------------------------------------------


def test_capacity_and_knee_of_a_known_law_lie_in_their_intervals() -> None:
    system, slo = levels.Usl(lambda_=5.0, sigma=0.05, kappa=0.02), Slo(response_time="1500ms", good_share=0.99)
    capacity = system.capacity(slo.response_time, slo.good_share)
    held = {"capacity": 0, "in requests": 0, "N*": 0, "X(N*)": 0, "lambda": 0, "sigma": 0, "kappa": 0}
    widths, in_rates, past = [], [], 0
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        run = [system.level(random, users, 120.0, slo, number) for number, users in enumerate(USERS, 1)]
        found = bracket([m.trial for m in run], 1 - slo.good_share)
        law = fit(joined_points([m.points for m in run]), np.random.default_rng(10_000 + seed))
        assert law is not None
        assert found.low is not None
        assert found.high is not None
        held["capacity"] += found.low <= capacity <= found.high
        rates = in_requests(found, [m.level for m in run])
        assert rates.low is not None
        assert rates.high is not None
        held["in requests"] += within(rates, system.rate(capacity))
        in_rates.append(rates.high / rates.low)
        held["N*"] += within(law.peak_in_flight, system.peak)
        held["X(N*)"] += within(law.peak_rate, system.rate(system.peak))
        held["lambda"] += within(law.lambda_, system.lambda_)
        held["sigma"] += within(law.sigma, system.sigma)
        held["kappa"] += within(law.kappa, system.kappa)
        past += law.past_knee and law.fits
        widths.append(found.high / found.low)
    assert min(held.values()) >= ENOUGH, held
    assert past >= ENOUGH
    assert np.median(widths) <= 3  # an interval that holds everything would hold the truth as well
    assert np.median(in_rates) <= 2


def test_capacity_of_a_queue_with_arrivals_by_chance_lies_in_its_interval() -> None:
    """Near its capacity a queue of this kind changes slowly: the hard case for levels of some minutes."""
    system, slo = levels.OneServer(serves=20.0), Slo(response_time="1s", good_share=0.99)
    capacity = system.capacity(slo.response_time, slo.good_share)
    held, widths = 0, []
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        run = [system.level(random, rate, 150.0, slo) for rate in (8, 12, 14, 15, 16, 17, 19.5)]
        found = bracket([m.trial for m in run], 1 - slo.good_share)
        low, high = found.low or 0.0, found.high or np.inf
        held += low <= capacity <= high
        widths.append(high / max(low, 1.0))
    assert held >= ENOUGH
    assert np.median(widths) <= 2


def test_a_law_measured_past_its_knee_is_found_and_one_that_is_not_says_so() -> None:
    """A few per cent of noise, as a run has it."""
    truth = levels.Usl(lambda_=5.0, sigma=0.02, kappa=0.001)
    for highest, past in ((64, True), (16, False)):
        n = np.array([x for x in (1, 2, 4, 8, 12, 16, 24, 32, 48, 64) if x <= highest], float)
        held, told = 0, 0
        for seed in range(RUNS):
            random = np.random.default_rng(seed)
            rates = np.array([truth.rate(x) for x in n]) * (1 + 0.04 * random.standard_normal(len(n)))
            law = fit(Points(n, rates, np.full(len(n), 100_000)), np.random.default_rng(10_000 + seed))
            assert law is not None
            held += within(law.peak_in_flight, truth.peak)
            told += law.past_knee
            assert law.peak_in_flight.value is None or law.peak_in_flight.value <= highest
            assert law.peak_in_flight.high is None or law.peak_in_flight.high <= highest
            assert {point.in_flight <= highest * 1.0001 for point in law.curve} == {True}
        assert held >= ENOUGH
        assert told >= ENOUGH if past else told <= RUNS - 97


# --- Little's law ----------------------------------------------------------------------------------------------------

SLO = Slo(response_time="2s")


def closed_loop(think_s: float, users: int = 20, lasts_s: float = 120.0) -> tuple[np.ndarray, np.ndarray]:
    """Return when requests were due and over: users that think a constant time, answers after 0.5 s."""
    each = 0.5 + think_s
    due = np.concatenate([np.arange(first, lasts_s, each) for first in np.linspace(0, each, users, endpoint=False)])
    due.sort()
    return due, due + 0.5


@pytest.mark.parametrize(("said_s", "holds"), [(4.5, True), (4.4, True), (6.0, False), (3.0, False)])
def test_littles_law_finds_a_wrong_think_time(said_s: float, holds: bool) -> None:
    due, end = closed_loop(4.5)
    level = measured(levels.stretch(1, 10, 110, users=20), levels.frame(due, end), SLO, 0, said_s).level
    assert level.little.holds
    assert level.little_users is not None
    assert level.little_users.holds is holds
    assert ("wrong think time: users waited 4.5 s" in level.little_users.why) is not holds


def test_littles_law_finds_a_level_that_has_not_settled() -> None:
    due = np.arange(0, 60, 0.05)  # 20/s come, 12/s leave
    end = np.maximum(due + 0.2, np.arange(1, len(due) + 1) / 12)
    level = measured(levels.stretch(1, 10, 60, rate=20), levels.frame(due, end), SLO, 0, None).level
    assert not level.settled
    assert not level.little.holds
    assert level.little.why.startswith("unsettled")
    assert level.achieved.value == pytest.approx(12, rel=0.02)
    assert level.slo == "misses"


def test_littles_law_finds_a_generator_that_sends_late_and_the_level_does_not_count() -> None:
    due = np.arange(0, 60, 0.05)
    level = measured(levels.stretch(1, 10, 60, rate=20), levels.frame(due, due + 0.3, late=0.2), SLO, 0, None).level
    assert level.little.why.startswith("generator-bound")
    assert not level.counts
    assert level.slo == "inconclusive"
    assert level.why == "the generator sent requests 200 ms late (p99; limit 50 ms)"


def test_a_settled_level_is_measured_as_it_was_planted() -> None:
    due = np.arange(0, 60, 0.05)
    level = measured(levels.stretch(1, 10, 60, rate=20), levels.frame(due, due + 0.3), SLO, 0, None).level
    assert level.settled
    assert level.counts
    assert level.little.holds
    assert level.offered == pytest.approx(20)
    assert level.in_flight == pytest.approx(6, rel=0.01)
    assert level.response_mean_ms.value == pytest.approx(300)
    assert level.achieved.value == pytest.approx(20, rel=0.01)
    assert level.slo == "meets"


# --- what fills up ---------------------------------------------------------------------------------------------------


def state(path: Path, system: System, rates: tuple[float, ...] = (4, 8, 16, 22, 30)) -> CapacityState:
    findings, _ = analyse(record(path, Search(rates=rates, system=system), hold_s=30, settle_s=5, gap_s=15))
    assert findings.capacity is not None
    return findings.capacity.states[0]


def kinds(found: CapacityState) -> dict[str, Limit]:
    return {limit.kind: limit for limit in found.limits}


def test_an_exhausted_pool_is_found(tmp_path: Path) -> None:
    found = kinds(state(tmp_path, System(connections=8, work_s=0.3)))["pool"]
    assert (found.resource, found.of, found.extrapolated) == ("bedrock pool", "8 connections", False)
    assert found.rate == pytest.approx(8 / 0.3, rel=0.15)
    assert "stay at 8" in found.evidence


def test_no_pool_is_found_where_there_is_none_and_the_cpu_is_what_fills_up(tmp_path: Path) -> None:
    found = state(tmp_path, System(connections=400, cpu_per_request=0.03), (4, 8, 16, 24, 30))
    assert "pool" not in kinds(found)
    first = found.limits[0]
    assert (first.resource, first.extrapolated) == ("gateway cpu", False)
    assert first.rate == pytest.approx(0.8 / 0.03, rel=0.1)


def test_a_full_cpu_is_not_called_a_pool(tmp_path: Path) -> None:
    """A gateway at its limit holds the calls under way constant as well."""
    found = state(tmp_path, System(connections=8, work_s=0.3, cpu_per_request=0.035))
    assert set(kinds(found)) == {"cpu"}


def test_what_would_fill_up_is_labelled_as_extrapolated(tmp_path: Path) -> None:
    first = state(tmp_path, System(connections=400, cpu_per_request=0.02), (4, 8, 12, 16, 20)).limits[0]
    assert (first.resource, first.extrapolated) == ("gateway cpu", True)
    assert first.rate == pytest.approx(40, rel=0.1)
    assert "straight line" in first.evidence


def test_a_providers_rate_limit_is_a_resource(tmp_path: Path) -> None:
    found = kinds(state(tmp_path, System(connections=400, refuses_from=20.0)))
    assert found["rate_limit"].resource == "bedrock rate limit"
    assert 15 <= found["rate_limit"].rate <= 22
    assert "pool" not in found
