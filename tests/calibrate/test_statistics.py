"""Our numbers against planted truths: coverage of intervals, and every time of scripted outages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import norm

from harness.analysis import analyse
from harness.analysis.stats import Share as Hits
from harness.analysis.stats import Times, mean_ms, percentile_ms, share_estimate, wilson
from harness.clock import NS_PER_MS
from harness.model.findings import Estimate, Failover, Interval
from harness.seeds import generator
from tests.recordings import Outage, RecordingBuilder, Script, experiment, plan, storm

Array = np.ndarray[Any, np.dtype[Any]]
SIGMA, MEDIAN_MS = 0.5, 300.0


def log_normal(random: np.random.Generator, n: int, phi: float) -> Times:
    """Response times with median 300 ms whose logarithm is AR(1) with coefficient `phi`."""
    shocks = random.standard_normal(n + 500) * np.sqrt(1 - phi**2)
    series = lfilter([1.0], [1.0, -phi], shocks)[500:]
    return Times((np.exp(SIGMA * series) * MEDIAN_MS * NS_PER_MS).astype(np.int64), np.zeros(n, bool))


def holds(estimate: Estimate, truth: float) -> bool:
    low = -np.inf if estimate.low is None else estimate.low
    return bool(low <= truth <= (np.inf if estimate.high is None else estimate.high))


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("percent", [50, 95, 99])
def test_percentile_intervals_cover_as_often_as_they_say(phi: float, percent: float) -> None:
    """95 % nominal; of 400 trials, three standard errors below is 91.7 %."""
    random = generator(1, f"coverage-{phi}-{percent}")
    truth = MEDIAN_MS * np.exp(SIGMA * norm.ppf(percent / 100))
    covered = [holds(percentile_ms(log_normal(random, 3000, phi), percent), truth) for _ in range(400)]
    assert np.mean(covered) >= 0.917, np.mean(covered)


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_mean_intervals_cover_as_often_as_they_say(phi: float) -> None:
    random = generator(2, f"mean-{phi}")
    truth = MEDIAN_MS * np.exp(SIGMA**2 / 2)
    covered = [holds(mean_ms(log_normal(random, 3000, phi)), truth) for _ in range(400)]
    assert np.mean(covered) >= 0.917, np.mean(covered)


def test_independent_data_are_not_paid_for_dearly() -> None:
    """Looking for autocorrelation must not widen intervals of independent data by much."""
    random = generator(3, "width")
    widths = []
    for _ in range(100):
        times = log_normal(random, 3000, 0.0)
        found = percentile_ms(times, 95)
        low, high = (np.sort(times.values)[rank - 1] / NS_PER_MS for rank in (2827, 2874))  # binomial(3000, 0.95)
        assert found.high is not None
        assert found.low is not None
        widths.append((found.high - found.low) / (high - low))
    assert np.mean(widths) <= 1.1, np.mean(widths)


def test_wilson_covers() -> None:
    random = generator(4, "wilson")
    for truth in (0.01, 0.2, 0.5):
        found = [wilson(int(k), 1000) for k in random.binomial(1000, truth, 2000)]
        assert np.mean([low <= truth <= high for low, high in found]) >= 0.93


def test_a_share_with_unknowns_always_covers_the_share_had_they_been_known() -> None:
    for failed in range(11):
        found = share_estimate(Hits(20, 190, unknown=10))
        assert holds(found, (20 + failed) / 200)


# --- scripted outages ------------------------------------------------------------------------------------------------

DENSE: dict[str, Any] = {"rate": 200.0, "wiggle": 0.0}
WITHIN_S = 0.010
SCRIPTS = {
    "hangs": Script(outages=2, every=40, **DENSE),
    "fails until the breaker opens": Script(outages=2, every=40, hanging_outcome="failed", **DENSE),
    "flaps": Script(outages=2, every=60, flaps=2, **DENSE),
    "sparse": Script(outages=3, every=40, wiggle=0.0),
}  # fmt: skip


def close(interval: Interval | None, truth: float, within: float) -> bool:
    """Tell whether the truth lies in the interval (but for the fault's own width), and its middle near the truth."""
    assert interval is not None
    inside = interval.low - 0.002 <= truth <= interval.high + 0.002
    return inside and abs((interval.low + interval.high) / 2 - truth) <= within


def planted(path: Path, script: Script) -> list[tuple[Failover, Outage]]:
    found = analyse(storm(path, script))[0].failovers
    return [(failover, script.truth(k)) for k, failover in enumerate(found)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_planted_times_are_found(tmp_path: Path, name: str) -> None:
    script = SCRIPTS[name]
    outages = planted(tmp_path, script)
    assert len(outages) == script.outages
    for found, truth in outages:
        # Where load is sparse, an interval is as wide as the gap between two requests that had to call a provider.
        within = WITHIN_S if script.rate >= 200 else 0.040
        assert found.bit
        assert not found.censored
        assert close(found.detection_s, truth.detection, WITHIN_S)
        assert close(found.recovery_s, truth.recovery, within), (found.recovery_s, truth.recovery)
        assert close(found.failover_s, truth.failover, within), (found.failover_s, truth.failover)
        assert close(found.failback_s, truth.failback, within), (found.failback_s, truth.failback)
        assert found.flaps == truth.flaps
        failing = script.hanging_outcome == "failed"
        assert found.impact is failing
        if failing:
            assert close(found.impact_s, 0.0, within)
            # Three of four load requests call a provider.
            assert found.failed_requests == pytest.approx(script.rate * script.detection * 0.75, abs=2)
            assert found.unavailable_s == 3.0, "2.4 s of harm reach into three of the seconds after t0"


def test_refusals_that_users_do_not_feel(tmp_path: Path) -> None:
    """0.2 s of answers 50 ms slower break no window: recovered within the resolution, though all answers moved."""
    script = Script(outages=2, hang=0.05, detection=0.2, failback=1.0, kind="refuse", **DENSE)
    for found, truth in planted(tmp_path, script):
        assert found.recovery_s is not None
        assert (found.recovery_s.low, found.recovery_s.high) == (0.0, found.resolution_s)
        assert close(found.failover_s, truth.failover, WITHIN_S)
        assert close(found.failback_s, truth.failback, WITHIN_S)


def test_never_failing_back_and_never_recovering_are_answers(tmp_path: Path) -> None:
    for found, _ in planted(tmp_path / "a", Script(outages=1, failback=100.0, **DENSE)):
        assert (found.failback_s, found.failback_censored, found.censored) == (None, True, False)
    for found, _ in planted(tmp_path / "b", Script(outages=1, detection=100.0, hanging_outcome="failed", **DENSE)):
        assert (found.recovery_s, found.censored) == (None, True)
        assert found.failover_s is None
        assert found.worst_stall_s < 0.1, "the cache still answers"


def test_the_observation_ends_at_the_next_fault(tmp_path: Path) -> None:
    """Good service from 3 s before the next fault on is no window of 10 s: censored, whatever came after."""
    script = Script(outages=2, every=30, lasts=20, detection=27.0, hanging_outcome="failed", **DENSE)
    first, second = (found for found, _ in planted(tmp_path, script))
    assert first.censored
    assert second.censored
    assert first.observed_s == pytest.approx(30, abs=0.01)


def test_attribution_and_cache_are_exact(tmp_path: Path) -> None:
    """10,000 requests with planted lies and hits: every one is counted."""
    random = generator(6, "attribution")
    builder = RecordingBuilder(tmp_path, plan(hold_s=1000, experiments=[experiment()]))
    builder.phases(steady=0, cooldown=1000)
    lies = hits = 0
    for i in range(10_000):
        hit, lie = random.random() < 0.3, random.random() < 0.01
        request_id = builder.request(i / 10, provider="cache" if hit else "bedrock", hits=int(hit), ledger=not lie)
        if lie and hit:
            builder.call("openai", i / 10, i / 10 + 0.1, request_id)  # said the cache, and asked a provider
        lies += lie
        hits += hit
    findings, _ = analyse(builder.close(1001))
    assert not isinstance(findings.attribution, str)
    assert (findings.attribution.compared, findings.attribution.agree) == (10_000, 10_000 - lies)
    assert not isinstance(findings.cache.answers, str)
    assert (findings.cache.answers.hits, findings.cache.answers.n) == (hits, 10_000)
