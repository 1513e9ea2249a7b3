"""Comparisons against planted truths: how often they cry wolf, what they find, and how often intervals cover.

Runs are simulated with a jitter of 3 % from run to run and autocorrelated requests. Matched runs share what most of
their jitter comes from (the questions of their seed); what is left of it differs within a match, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from harness.analysis.compare import compare
from harness.analysis.noise import noise_floor
from harness.analysis.quantities import Figure
from harness.analysis.two_samples import Matched, Pair, hodges_lehmann
from harness.analysis.within_run import Series, within_run
from harness.model.verdict import Verdict
from harness.seeds import generator

Array = np.ndarray[Any, np.dtype[Any]]
Run = dict[str, Figure]
PAIRS, REQUESTS, JITTER, PHI, SIGMA, MEDIAN_MS = 200, 2000, 0.03, 0.6, 0.3, 300.0
OWN = 0.008
"""Of matched runs: the jitter that each has of its own."""
METRICS = ("response_time.p50", "response_time.p95", "response_time.p99", "failed")


def requests(
    random: np.random.Generator, runs: int, n: int = REQUESTS, phi: float = PHI, jitter: float | Array = JITTER
) -> Array:
    """Response times of runs, ms, one run a row: log-normal, AR(1), each run faster or slower as a whole, by chance or
    as given."""
    shocks = random.standard_normal((runs, n + 100)) * np.sqrt(1 - phi**2)
    series = lfilter([1.0], [1.0, -phi], shocks, axis=1)[:, 100:]
    whole = jitter[:, None] if isinstance(jitter, np.ndarray) else jitter * random.standard_normal((runs, 1))
    times: Array = MEDIAN_MS * np.exp(SIGMA * series + whole)
    return times


def runs(
    random: np.random.Generator,
    number: int,
    slower: float = 1.0,
    failing: float = 0.002,
    jitter: float | Array = JITTER,
) -> list[Run]:
    times = requests(random, number, jitter=jitter) * slower
    percentiles = np.percentile(times, [50, 95, 99], axis=1)
    failed = random.binomial(REQUESTS, failing, number) / REQUESTS
    return [
        {name: Figure(float(value), REQUESTS) for name, value in zip(METRICS, values, strict=True)}
        for values in zip(*percentiles, failed, strict=True)
    ]


def matches(
    random: np.random.Generator, number: int, slower: float = 1.0, shared: float = JITTER
) -> tuple[list[Run], list[Run]]:
    """Runs of two sides, of which the first belongs to the first, and so on."""
    questions = shared * random.standard_normal(number)
    own = OWN * random.standard_normal((2, number))
    return runs(random, number, jitter=questions + own[0]), runs(random, number, slower, jitter=questions + own[1])


def verdicts(
    base: list[Run], candidate: list[Run], metrics: tuple[str, ...] = METRICS, *, matched: bool = False
) -> tuple[bool, bool, bool]:
    """Return whether a comparison fails, passes, and calls anything changed."""
    changes = compare(base, candidate, {}, metrics, matches=len(base) if matched else 0)
    found = {change.verdict for change in changes}
    return Verdict.FAIL in found, found == {Verdict.PASS}, any(c.changed for c in changes)


@pytest.mark.parametrize("number", [3, 5, 10])
def test_equal_systems_raise_no_alarm(number: int) -> None:
    random = generator(1, f"aa-{number}")
    found = [verdicts(runs(random, number), runs(random, number)) for _ in range(PAIRS)]
    failed, _, changed = np.mean(found, axis=0)
    assert failed <= 0.05
    assert changed <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / PAIRS) * (number < 5)


@pytest.mark.parametrize("shared", [0.0, JITTER])
@pytest.mark.parametrize("number", [3, 5, 10])
def test_equal_systems_raise_no_alarm_where_runs_are_matched(number: int, shared: float) -> None:
    random = generator(11, f"aa-{number}-{shared}")
    found = [verdicts(*matches(random, number, shared=shared), matched=True) for _ in range(PAIRS)]
    failed, _, changed = np.mean(found, axis=0)
    assert failed <= 0.05
    assert changed <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / PAIRS)


def test_matching_finds_with_five_runs_what_is_lost_without() -> None:
    """Ten per cent slower, in a jitter that leaves most fives against fives inconclusive if taken one by one."""
    random = generator(12, "matched")
    metrics = ("response_time.p50", "response_time.p95")
    sides = [matches(random, 5, slower=1.1) for _ in range(PAIRS)]
    assert np.mean([verdicts(*both, metrics, matched=True)[0] for both in sides]) >= 0.75
    assert np.mean([verdicts(*both, metrics)[0] for both in sides]) <= 0.45
    equal = [matches(random, 5) for _ in range(PAIRS)]
    assert np.mean([verdicts(*both, metrics, matched=True)[1] for both in equal]) >= 0.7
    assert np.mean([verdicts(*both, metrics)[1] for both in equal]) <= 0.45


def test_ten_per_cent_slower_is_found_with_the_matched_runs_it_asks_for() -> None:
    random = generator(13, "matched-power")
    metrics = ("response_time.p50", "response_time.p95")
    found, asked = [], []
    for _ in range(PAIRS):
        pilot = compare(*matches(random, 5), {}, metrics, matches=5)
        needed = max(change.runs_needed or 100 for change in pilot)
        asked.append(needed)
        found.append(verdicts(*matches(random, needed, slower=1.1), metrics, matched=True)[0])
    assert np.mean(found) >= 0.9
    assert 5 <= np.median(asked) <= 20


def test_pooled_requests_would_raise_many() -> None:
    """Why the run is the unit: the same pairs, one run of each side, judged by their requests alone."""
    random = generator(1, "pooled")
    alarms = 0
    for one, other in zip(requests(random, PAIRS), requests(random, PAIRS), strict=True):
        (change,) = within(random, one, other, ("response_time.p50",))
        alarms += not change.ratio.low <= 1 <= change.ratio.high
        assert change.verdict is Verdict.INCONCLUSIVE, "so it never passes, and never fails"
    assert alarms / PAIRS > 0.15


def test_ten_per_cent_slower_is_found_with_the_runs_it_asks_for() -> None:
    """Each pair plans with a pilot of its own: five runs against five, as a first gate makes."""
    random = generator(2, "power")
    metrics = ("response_time.p50", "response_time.p95")
    found, asked = [], []
    for _ in range(PAIRS):
        pilot = compare(runs(random, 5), runs(random, 5), {}, metrics)
        needed = max(change.runs_needed or 100 for change in pilot)
        asked.append(needed)
        found.append(verdicts(runs(random, needed), runs(random, needed, slower=1.1), metrics)[0])
    assert np.mean(found) >= 0.9
    assert 5 <= np.median(asked) <= 40


def test_equal_systems_pass_with_the_runs_it_asks_for() -> None:
    random = generator(3, "passing")
    metrics = ("response_time.p50", "failed")
    found = []
    for _ in range(PAIRS):
        needed = max(c.runs_needed or 100 for c in compare(runs(random, 5), runs(random, 5), {}, metrics))
        found.append(verdicts(runs(random, needed), runs(random, needed), metrics)[1])
    assert np.mean(found) >= 0.9


def test_twice_the_tolerance_never_passes() -> None:
    random = generator(4, "slower")
    found = [verdicts(runs(random, 5), runs(random, 5, slower=1.1)) for _ in range(PAIRS)]
    assert np.mean(found, axis=0)[1] <= 0.025
    assert np.mean(found, axis=0)[2] >= 0.8, "that something is worse is seen with five runs already"


def test_more_failures_are_found_and_none_at_all_prove_little() -> None:
    random = generator(5, "failures")
    found = [verdicts(runs(random, 5), runs(random, 5, failing=0.03), ("failed",))[0] for _ in range(PAIRS)]
    assert np.mean(found) >= 0.9
    few = [{"failed": Figure(0.0, 20)} for _ in range(5)]
    (change,) = compare(few, few, {}, ("failed",))
    assert change.verdict is Verdict.INCONCLUSIVE, "none of a hundred requests is not none of all"
    many = [{"failed": Figure(0.0, 1000)} for _ in range(5)]
    assert compare(many, many, {}, ("failed",))[0].verdict is Verdict.PASS


@pytest.mark.parametrize("number", [(5, 5), (3, 6), (1, 8)])
def test_intervals_of_ratios_cover(number: tuple[int, int]) -> None:
    random = generator(6, f"ratio-{number}")
    covered, shifts = [], []
    for _ in range(400):
        base, candidate = (runs(random, n, slower) for n, slower in zip(number, (1.0, 1.07), strict=True))
        (change,) = compare(base, candidate, {}, ("response_time.p95",))
        assert change.ratio.low is not None
        assert change.ratio.high is not None
        covered.append(change.ratio.low <= 1.07 <= change.ratio.high)
        a, b = (np.array([run["response_time.p95"].value for run in side]) for side in (base, candidate))
        _, low, high = hodges_lehmann(np.log(a), np.log(b))
        shifts.append(low is None or (high is not None and low <= np.log(1.07) <= high))
    assert np.mean(covered) >= 0.917
    assert np.mean(shifts) >= 0.917


@pytest.mark.parametrize("number", [4, 8])
def test_intervals_of_matched_ratios_cover(number: int) -> None:
    random = generator(14, f"matched-{number}")
    covered, shifts = [], []
    for _ in range(400):
        base, candidate = matches(random, number, slower=1.07)
        (change,) = compare(base, candidate, {}, ("response_time.p95",), matches=number)
        assert change.ratio.low is not None
        assert change.ratio.high is not None
        covered.append(change.ratio.low <= 1.07 <= change.ratio.high)
        one, other = (np.log([run["response_time.p95"].value for run in side]) for side in (base, candidate))
        _, low, high = Matched(one, other).shift()
        shifts.append(low is None or (high is not None and low <= np.log(1.07) <= high))
    assert np.mean(covered) >= 0.917
    assert np.mean(shifts) >= 0.917


def test_what_is_called_detectable_is_detected() -> None:
    random = generator(7, "detectable")
    spread = 0.03
    change = np.mean([Pair(*random.normal(0, spread, (2, 8))).contrast().detectable for _ in range(400)])
    found = [Pair(random.normal(0, spread, 8), random.normal(change, spread, 8)).contrast() for _ in range(400)]
    assert np.mean([c.other_than_none <= 0.05 for c in found]) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("number", [4, 6, 10])
def test_the_noise_floor_is_the_noise(number: int) -> None:
    """Of new halves of the same system, 95 % lie below the floor (with few runs it is itself uncertain)."""
    random = generator(8, f"floor-{number}")
    below = []
    for _ in range(PAIRS):
        (floor,) = noise_floor(runs(random, number), {}, random, ("response_time.p50",))
        one, other = (
            np.mean([np.log(r["response_time.p50"].value) for r in runs(random, number // 2)]) for _ in range(2)
        )
        assert floor.floor is not None
        below.append(abs(other - one) <= np.log1p(floor.floor))
    assert np.mean(below) >= {4: 0.7, 6: 0.8, 10: 0.9}[number]


@pytest.mark.parametrize("number", [4, 10])
def test_the_noise_floor_of_matched_runs_is_theirs(number: int) -> None:
    random = generator(15, f"matched-floor-{number}")
    below, needed = [], []
    for _ in range(PAIRS):
        twins = [run for both in zip(*matches(random, number), strict=True) for run in both]
        (floor,) = noise_floor(twins, {}, random, ("response_time.p50",), matched=True)
        one, other = (np.mean([np.log(r["response_time.p50"].value) for r in side]) for side in matches(random, number))
        assert floor.floor is not None
        below.append(abs(other - one) <= np.log1p(floor.floor))
        needed.append(floor.runs_needed or 100)
    assert np.mean(below) >= {4: 0.8, 10: 0.9}[number]
    assert np.median(needed) <= 10


# --- one run against one ---------------------------------------------------------------------------------------------


def series(times_ms: Array, failed: Array | None = None) -> Series:
    everything = np.ones(len(times_ms), bool)
    bad = np.zeros(len(times_ms), bool) if failed is None else failed
    return Series((times_ms * 1e6).astype(np.int64), everything, bad, np.zeros(len(times_ms), bool))


def within(random: np.random.Generator, one: Array, other: Array, metrics: tuple[str, ...]) -> Any:
    percentiles = [dict(zip(METRICS, np.percentile(times, [50, 95, 99]), strict=False)) for times in (one, other)]
    figures = [{name: Figure(float(value), len(one)) for name, value in side.items()} for side in percentiles]
    return within_run(series(one), series(other), (figures[0], figures[1]), {}, random, metrics)


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.9])
def test_block_bootstrap_covers_within_a_run(phi: float) -> None:
    random = generator(9, f"within-{phi}")
    names = METRICS[:3]
    covered = []
    trials = PAIRS // 2
    base, candidate = (requests(random, trials, 3000, phi, jitter=0.0) for _ in range(2))
    for one, other in zip(base, candidate * 1.05, strict=True):
        changes = within(random, one, other, names)
        covered.append([c.ratio.low <= 1.05 <= c.ratio.high for c in changes])
    assert (np.mean(covered, axis=0) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / trials)).all(), np.mean(covered, axis=0)


def test_agreement_says_what_lies_apart() -> None:
    random = generator(10, "agreement")
    one, other = requests(random, 2, 5000, jitter=0.0)
    assert {c.agree for c in within(random, one, other, METRICS[:2])} == {"agree"}
    assert {c.agree for c in within(random, one, other * 1.2, METRICS[:2])} == {"differ"}
