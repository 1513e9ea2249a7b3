"""The pieces of a comparison against what can be worked out by hand or by scipy."""

from __future__ import annotations

import math
from itertools import combinations, product
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness.analysis.compare import compare
from harness.analysis.noise import noise_floor
from harness.analysis.quantities import QUANTITIES, Figure, figures, tolerances
from harness.analysis.two_samples import (
    Matched,
    Pair,
    _mann_whitney_quantile,
    _signed_rank_quantile,
    hodges_lehmann,
    holm,
    pseudo_median,
    runs_needed,
)
from harness.analysis.within_run import Series, within_run
from harness.model.cost import CostFindings, Spend
from harness.model.findings import Estimate
from harness.model.verdict import Verdict
from harness.seeds import generator

if TYPE_CHECKING:
    from harness.model.comparison import Change


def runs(name: str, *values: float, n: int = 1000) -> list[dict[str, Figure]]:
    return [{name: Figure(value, n)} for value in values]


def test_welch_is_scipys() -> None:
    a, b = np.array([1.0, 1.4, 0.8, 1.1]), np.array([1.5, 1.2, 1.9, 1.7, 1.6])
    told = scipy_stats.ttest_ind(b, a, equal_var=False)
    found = Pair(a, b).contrast()
    assert found.other_than_none == pytest.approx(told.pvalue)
    assert found.interval() == pytest.approx(tuple(told.confidence_interval()))
    assert found.above(0.1) == pytest.approx(
        scipy_stats.ttest_ind(b - 0.1, a, equal_var=False, alternative="greater").pvalue
    )


def test_matched_runs_are_compared_as_scipy_does() -> None:
    a, b = np.array([1.0, 1.4, 0.8, 1.1]), np.array([1.5, 1.7, 1.4, 1.6])
    told = scipy_stats.ttest_rel(b, a)
    found = Matched(a, b).contrast()
    assert found.other_than_none == pytest.approx(told.pvalue)
    assert found.interval() == pytest.approx(tuple(told.confidence_interval()))
    assert found.above(0.1) == pytest.approx(scipy_stats.ttest_rel(b - 0.1, a, alternative="greater").pvalue)
    assert Matched(a, b).contrast(floor=1.0).error == 1.0, "what counts must vary is not undone by chance"


@pytest.mark.parametrize("n", [3, 5, 6, 9])
def test_signed_ranks_by_counting(n: int) -> None:
    sums = [sum(r for r, up in enumerate(signs, 1) if up) for signs in product((False, True), repeat=n)]
    rare = [w for w in range(n * (n + 1) // 2 + 1) if np.mean([s <= w for s in sums]) <= 0.025]
    assert _signed_rank_quantile(n) == (max(rare) if rare else None)


def test_pseudo_median_by_hand() -> None:
    assert pseudo_median(np.array([1.0, 2.0, 6.0])) == (2.75, None, None)
    assert pseudo_median(np.arange(1.0, 7.0)) == (3.5, 1.0, 6.0)


def test_a_match_of_several_runs_counts_as_their_mean() -> None:
    """Ratios on logarithms: the geometric mean of a seed's runs. One run more on either side, and none of its own."""
    base = runs("cost", 1, 1.21, 2, 2.42, 4, 4.84, 8, 9.68, 16, 19.36)
    candidate = runs("cost", 1.21, 2.42, 4.84, 9.68, 19.36)
    (change,) = compare(base, candidate, {}, matches=5)
    assert change.ratio.value == pytest.approx(1.1)
    assert change.ratio.low == pytest.approx(1.1)
    assert change.verdict is Verdict.FAIL
    one = Matched.of(np.arange(6.0), np.array([1.0, 2.5, 6.0]), 3)
    assert one.runs == (2, 1)
    differences = np.array([0.5, 0.0, 1.5])
    assert one.contrast().error == pytest.approx(differences.std(ddof=1) / math.sqrt(3))
    assert one.spread == pytest.approx(differences.std(ddof=1) / math.sqrt(1.5)), "of a single run"


def test_what_only_some_of_matched_runs_have_is_compared_as_if_they_were_not() -> None:
    base, candidate = (runs("cost", *values) for values in ((1, 2, 3, 4, 5), (1.1, 2.2, 3.3, 4.4, 5.5)))
    (together,) = compare(base, candidate, {}, matches=5)
    assert together.verdict is Verdict.FAIL
    assert together.ratio.low == pytest.approx(1.1)
    (apart,) = compare(base, candidate, {})
    assert apart.verdict is Verdict.INCONCLUSIVE
    (lacking,) = compare(base, [*candidate[:4], {}], {}, matches=5)
    assert lacking == compare(base, candidate[:4], {})[0]


def test_one_run_is_taken_to_spread_as_the_others_do() -> None:
    a, b = np.array([1.0, 1.4, 0.8, 1.1]), np.array([1.5])
    found = Pair(a, b).contrast()
    assert found.freedom == 3
    assert found.error == pytest.approx(a.std(ddof=1) * math.sqrt(1 / 4 + 1))


@pytest.mark.parametrize("sizes", [(2, 3), (4, 4), (5, 6)])
def test_mann_whitney_by_counting(sizes: tuple[int, int]) -> None:
    n, m = sizes
    sums = [sum(chosen) - n * (n + 1) // 2 for chosen in combinations(range(1, n + m + 1), n)]
    rare = [u for u in range(n * m + 1) if np.mean([s <= u for s in sums]) <= 0.025]
    assert _mann_whitney_quantile(n, m) == (max(rare) if rare else None)


def test_the_normal_approximation_is_close_where_it_takes_over() -> None:
    exact, around = _mann_whitney_quantile(50, 50), _mann_whitney_quantile(50, 51)
    assert exact is not None
    assert around is not None
    assert abs(exact * 51 / 50 - around) <= 3


def test_hodges_lehmann_and_holm_by_hand() -> None:
    assert hodges_lehmann(np.array([1.0, 2.0, 3.0]), np.array([11.0, 13.0, 12.0])) == (10.0, None, None)
    value, low, high = hodges_lehmann(np.arange(5.0), np.arange(5.0) + 10)
    assert (value, low, high) == (10.0, 7.0, 13.0)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_runs_needed_falls_with_the_margin_and_ends() -> None:
    few, many = (runs_needed(0.03, 20, [margin], 1) for margin in (0.1, 0.03))
    assert few is not None
    assert many is not None
    assert 5 <= few < many
    assert runs_needed(0.5, 20, [0.01], 1) is None
    assert runs_needed(0.0, 8, [0.01], 1) == 5
    matched = runs_needed(0.03, 20, [0.05], 1, matched=True)
    assert matched is not None
    assert matched > (runs_needed(0.03, 20, [0.05], 1) or 0), "half the degrees of freedom"


def test_direction_and_scale_are_the_quantitys_own() -> None:
    (throughput,) = compare(runs("throughput", 100, 101, 99, 100, 100), runs("throughput", 80, 81, 79, 80, 80), {})
    assert throughput.ratio.value == pytest.approx(0.8, rel=0.001)
    assert (throughput.verdict, throughput.changed) == (Verdict.FAIL, "worse")
    (hits,) = compare(runs("cache_hit", 0.3, 0.31, 0.29, 0.3, 0.3), runs("cache_hit", 0.4, 0.41, 0.39, 0.4, 0.4), {})
    assert hits.ratio.value == pytest.approx(0.1)
    assert (hits.verdict, hits.changed) == (Verdict.PASS, "better")
    assert hits.ratio.low is not None
    assert hits.ratio.high is not None
    assert hits.ratio.low < 0.1 < hits.ratio.high


def test_what_only_one_side_has_is_inconclusive() -> None:
    (change,) = compare(runs("cost", 1, 2, 3), [{}, {}, {}], {})
    assert (change.verdict, change.ratio.value) == (Verdict.INCONCLUSIVE, None)
    assert "no candidate run has it" in change.why


def test_fewer_than_five_runs_never_pass_and_more_can() -> None:
    for number, verdict in ((4, Verdict.INCONCLUSIVE), (5, Verdict.PASS)):
        values = [100.0, 100.1, 99.9, 100.2, 99.8][:number]
        (change,) = compare(runs("response_time.p50", *values), runs("response_time.p50", *values), {})
        assert change.verdict is verdict


def test_equal_to_the_last_digit_is_no_division_by_zero() -> None:
    (change,) = compare(runs("response_time.p50", *[100] * 5), runs("response_time.p50", *[100] * 5), {})
    assert (change.verdict, change.changed, change.ratio.low) == (Verdict.PASS, None, 1.0)
    (change,) = compare(runs("response_time.p50", *[100] * 5), runs("response_time.p50", *[120] * 5), {})
    assert (change.verdict, change.changed) == (Verdict.FAIL, "worse")


def test_splits_of_the_noise_floor_are_all_there_are() -> None:
    values = runs("response_time.p50", 100, 110, 100, 110)
    (floor,) = noise_floor(values, {}, generator(1, "x"))
    assert floor.splits == 3
    assert floor.floor == pytest.approx(0.1)
    assert floor.verdict is Verdict.FAIL
    assert noise_floor(values, {"response_time.p50": 0.11}, generator(1, "x"))[0].verdict is Verdict.PASS
    (odd,) = noise_floor(runs("response_time.p50", 1, 2, 3, 4, 5), {}, generator(1, "x"))
    assert odd.splits == 10
    (many,) = noise_floor(runs("response_time.p50", *range(1, 31)), {}, generator(1, "x"))
    assert many.splits == 2000


def test_of_matched_runs_one_of_each_two_is_in_either_half() -> None:
    twins = runs("response_time.p50", 100, 101, 200, 202, 400, 404)
    (floor,) = noise_floor(twins, {}, generator(1, "x"), matched=True)
    assert floor.splits == 4
    assert floor.floor == pytest.approx(0.01)
    assert floor.verdict is Verdict.PASS
    assert noise_floor(twins, {}, generator(1, "x"))[0].verdict is Verdict.FAIL
    (many,) = noise_floor(runs("response_time.p50", *range(1, 41)), {}, generator(1, "x"), matched=True)
    assert many.splits == 2000


def test_a_metric_that_was_asked_for_and_not_measured_does_not_pass_unseen() -> None:
    sides = [run | {"failed": Figure(0.0, 1000)} for run in runs("response_time.p50", *[100.0] * 5)]
    asked = ("response_time.p50", "cost")
    both = {change.metric: change for change in compare(sides, sides, {}, asked)}
    assert (list(both), both["response_time.p50"].verdict) == ([*asked], Verdict.PASS)
    assert (both["cost"].verdict, both["cost"].why) == (Verdict.INCONCLUSIVE, "cannot be compared: no run has it")
    floors = {floor.metric: floor for floor in noise_floor(sides, {}, generator(1, "x"), asked)}
    assert (list(floors), floors["cost"].floor) == ([*asked], None)
    assert (floors["cost"].verdict, floors["cost"].why) == (
        Verdict.INCONCLUSIVE, "has no noise floor: none of the 5 runs have it"
    )  # fmt: skip
    (some,) = noise_floor([sides[0] | {"cost": Figure(1.0)}, *sides[1:]], {}, generator(1, "x"), ("cost",))
    assert "1 of the 5 runs" in some.why
    assert {change.metric for change in compare(sides, sides, {})} == {"response_time.p50", "failed"}, (
        "what nobody asked for"
    )


def test_one_run_against_one_tells_what_it_cannot() -> None:
    def alone(figures: dict[str, Figure], *asked: str, n: int = 2000) -> dict[str, tuple[str | None, str]]:
        no = np.zeros(n, bool)
        same = Series(np.linspace(1e8, 2e8, n), ~no, no, no)
        changes = within_run(same, same, (figures, figures), {}, generator(1, "x"), metrics=asked)
        return {change.metric: (change.agree, change.why) for change in changes}

    measured = {"response_time.p50": Figure(150.0, 2000), "throughput": Figure(20.0, 2000)}
    assert set(alone(measured)) == {"response_time.p50"}
    told = alone(measured, "response_time.p50", "throughput", "cost")
    assert {name: agree for name, (agree, _) in told.items()} == {
        "response_time.p50": "agree", "throughput": "unclear", "cost": "unclear",
    }  # fmt: skip
    assert "neither run has it" in told["cost"][1]
    assert "do not show how much it varies" in told["throughput"][1]
    assert alone(measured, "response_time.p50", n=10)["response_time.p50"] == (
        "unclear", "cannot be compared: too few requests",
    )  # fmt: skip


def test_a_tolerance_without_a_name_is_no_leave_to_fail() -> None:
    """Whoever lets answers take 10 % longer has not said that one request in twenty may fail."""
    allowed = tolerances(("10%",))
    assert allowed == {name: 0.1 for name, quantity in QUANTITIES.items() if quantity.scale == "ratio"}
    well, ill = runs("failed", *[0.0] * 5), runs("failed", *[0.05] * 5)
    for asked, verdict in ((allowed, Verdict.FAIL), (tolerances(("failed=10%",)), Verdict.PASS)):
        (change,) = compare(well, ill, asked)
        assert (change.verdict, change.tolerance) == (verdict, asked.get("failed", 0.005))


def test_calls_without_a_price_leave_no_cost_to_compare() -> None:
    def costing(spent: float, **unpriced: int) -> dict[str, Figure]:
        whole = Spend(spent=spent, requests=1000, answers=1000, calls=1000, tokens_in=1, tokens_out=1,
                      per_1k_requests=spent, per_answer=spent / 1000)  # fmt: skip
        cost = CostFindings(currency="USD", total=whole, per_user_hour=None, per_user_hour_by_state={}, by_state={},
                            by_tenant={}, by_agent={}, by_upstream={}, by_model={}, canary=0.0, cache=None,
                            unpriced=unpriced)  # fmt: skip
        findings = findings_of(1000, 0, 0)
        findings.cost = cost
        return figures(findings)

    assert costing(2.0)["cost"].value == 2.0
    dear, free = [costing(2.0)] * 5, [costing(1.5, newer=300)] * 5
    assert [change.verdict for change in compare(dear, free, {}, ("cost",))] == [Verdict.INCONCLUSIVE]
    assert [change.verdict for change in compare(dear, dear, {}, ("cost",))] == [Verdict.PASS]


def test_tolerances_are_read() -> None:
    assert tolerances(("failed=1%", "7 %"))["failed"] == 0.01
    assert tolerances(("failed=1%", "0.07"))["cost"] == 0.07
    for text, says in (
        ("x", "no tolerance"), ("0", "no tolerance"), ("nan%", "no tolerance"), ("fail=1%", "did you mean 'failed'"),
        ("100%", "below 100 %"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            tolerances((text,))


def lossy(lost: int, *failed: int, n: int = 2000) -> list[dict[str, Figure]]:
    """Runs of which so many of `n` answered requests failed, and `lost` more were never heard of again."""
    return [figures(findings_of(n, count, lost)) for count in failed]


def findings_of(n: int, failed: int, lost: int) -> Any:
    nothing = Estimate(value=None, low=None, high=None, n=0)
    response = SimpleNamespace(p50=nothing, p95=nothing, p99=nothing)
    load = SimpleNamespace(
        requests=n + lost, ok=n - failed, degraded=0, failed=failed, timeout=0, answered=n, lost=lost, dropped=0,
        rate_per_s=None, response_ms=response, service_ms=response,
    )  # fmt: skip
    return SimpleNamespace(load=load, cache=SimpleNamespace(measured="unsupported"), failovers=[], cost="unsupported")


def told(base: list[dict[str, Figure]], candidate: list[dict[str, Figure]]) -> Change:
    (change,) = compare(base, candidate, {"failed": 0.005}, ["failed"])
    return change


def test_lost_requests_can_have_been_anything() -> None:
    """Whatever becomes of them, what would be found then lies within what is said now."""
    n, lost, base_failed, candidate_failed = 2000, 20, (10, 12, 9, 11, 10), (14, 15, 13, 16, 14)
    change = told(lossy(lost, *base_failed), lossy(lost, *candidate_failed))
    assert change.ratio.low is not None
    assert change.ratio.high is not None
    for base_share in (0, lost // 2, lost):
        for candidate_share in (0, lost // 2, lost):
            known = told(
                lossy(0, *(f + base_share for f in base_failed), n=n + lost),
                lossy(0, *(f + candidate_share for f in candidate_failed), n=n + lost),
            )
            assert known.ratio.value is not None
            assert change.ratio.low <= known.ratio.value <= change.ratio.high


def test_neither_side_is_flattered_by_what_it_lost() -> None:
    well, ill = (10, 11, 9, 10, 10), (60, 61, 59, 60, 60)
    for lost, verdict in ((0, Verdict.PASS), (40, Verdict.INCONCLUSIVE)):
        assert told(lossy(0, *well), lossy(lost, *well)).verdict is verdict, "a candidate that loses requests"
        assert told(lossy(lost, *well), lossy(0, *well)).verdict is Verdict.PASS, "a baseline that did"
    for lost, verdict in ((0, Verdict.FAIL), (60, Verdict.INCONCLUSIVE)):
        assert told(lossy(lost, *well), lossy(0, *ill)).verdict is verdict
        assert told(lossy(0, *well), lossy(lost, *ill)).verdict is Verdict.FAIL
    assert "what became of the lost requests would tell" in told(lossy(0, *well), lossy(40, *well)).why
    assert told(lossy(60, *well), lossy(0, *ill)).changed is None, "all of it may be in what was lost"


def test_one_run_against_one_knows_of_the_lost_ones_too() -> None:
    def series(failed: int, lost: int) -> Series:
        failures = np.arange(2000 + lost) % 100 < failed
        answered = np.arange(2000 + lost) < 2000
        return Series(np.full(2000 + lost, 1e8), answered, failures & answered, np.zeros(2000 + lost, bool))

    sides = [figures(findings_of(2000, 20, lost)) for lost in (0, 100)]
    (change,) = within_run(
        series(1, 0), series(1, 100), (sides[0], sides[1]), {}, generator(1, "x"), metrics=["failed"]
    )
    (whole,) = within_run(series(1, 0), series(1, 0), (sides[0], sides[0]), {}, generator(1, "x"), metrics=["failed"])
    assert whole.ratio.high is not None
    assert change.ratio.high is not None
    assert change.ratio.high - whole.ratio.high == pytest.approx(120 / 2100 - 0.01, abs=0.002)
