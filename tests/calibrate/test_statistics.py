"""Our numbers against planted truths: coverage of intervals, and every time of scripted outages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import norm

from harness.analysis import analyse
from harness.analysis.provider_shift import PrimaryShare, failed_back, flaps
from harness.analysis.stats import Share as Hits
from harness.analysis.stats import Times, mean_ms, percentile_ms, share_estimate, wilson
from harness.clock import NS_PER_MS, NS_PER_S
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


def mixed(random: np.random.Generator, healthy: float, back_s: float) -> PrimaryShare:
    """A minute of 20 calls a second: others answer all until `back_s`, then the primary its share, by chance."""
    received = np.arange(1200) * NS_PER_S // 20
    by_others = (received < back_s * NS_PER_S) | (random.random(1200) >= healthy)
    return PrimaryShare(received, received, np.arange(1200), by_others, healthy)


@pytest.mark.parametrize(("healthy", "flapped"), [(1.0, 1), (0.9, 1), (0.8, None), (0.6, None)])
def test_failing_back_to_a_healthy_mix_is_found_in_time(healthy: float, flapped: int | None) -> None:
    """Each of 200 mixes comes back after 5 s, not where a 10 s window that is all tail ends. That is the one change."""
    random, late = generator(8, f"mix-{healthy}"), []
    for _ in range(200):
        share = mixed(random, healthy, 5.0)
        found = failed_back(share, 0, 60 * NS_PER_S, 10 * NS_PER_S)
        assert found is not None
        late.append(sum(found) / 2 / NS_PER_S - 5)
        assert flaps(share, 0, 60 * NS_PER_S) == flapped
    assert abs(np.median(late)) <= 0.3, np.median(late)
    assert np.mean(np.abs(late) <= 1.0) >= 0.9, np.sort(late)[-20:]


@pytest.mark.parametrize("healthy", [0.1, 0.3, 0.5, 0.8, 1.0])
def test_failback_intervals_cover_as_often_as_they_say(healthy: float) -> None:
    """95 % of 1500. Where the primary has a small share, it may have been back for many calls before one shows it."""
    random, covered, before = generator(10, f"failback-{healthy}"), [], []
    for _ in range(1500):
        back_s = float(random.uniform(5, 15))
        found = failed_back(mixed(random, healthy, back_s), 0, 60 * NS_PER_S, 10 * NS_PER_S)
        assert found is not None
        low, high = (moment / NS_PER_S for moment in found)
        covered.append(low <= back_s <= high)
        before.append(back_s - low)
    assert np.mean(covered) >= 0.95, np.mean(covered)
    calls = 1 if healthy == 1 else np.log(0.025) / np.log(1 - healthy)
    assert np.median(before) <= (calls + 1) / 20, "no wider than it has to be"


@pytest.mark.parametrize(
    ("healthy", "comes_back", "flapped"), [(1.0, 2, 4), (0.9, 0, 0), (0.9, 2, 4), (0.6, 0, None), (0.6, 2, None)]
)
def test_flaps_of_a_healthy_mix_are_those_planted(
    tmp_path: Path, healthy: float, comes_back: int, flapped: int | None
) -> None:
    """The primary is back 5 s after clearing; before it stays it is there for 3 s and gone for 3 s, some times."""
    random, truth = generator(9, f"flaps-{healthy}-{comes_back}"), 5.0 + 6.0 * comes_back
    builder = RecordingBuilder(tmp_path, plan(hold_s=90, experiments=[experiment()]))
    builder.phases(baseline=0, fault=20, recovery=40, cooldown=90)
    builder.fault("one", 20.0, 40.0)
    for i in range(1800):
        after = i / 20 - 40
        away = -20 <= after < 5 or (5 <= after < truth and (after - 5) % 6 >= 3)
        primary = not away and random.random() < healthy
        builder.request(i / 20, 0.05, provider="bedrock" if primary else "openai")
    (found,) = analyse(builder.close(91))[0].failovers
    assert found.failback_s is not None
    assert (found.failback_s.low + found.failback_s.high) / 2 == pytest.approx(truth, abs=1.0)
    assert found.flaps == flapped


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
