"""Whether good answers come back after a fault, and up to which load: planted, then found."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis import analyse
from harness.analysis.goodput import comeback
from harness.model.findings import Estimate, Failover, Interval, PerAnswer
from harness.model.goodput import Flow, Goodput
from harness.report import comeback as words
from tests.recordings import RecordingBuilder, experiment, plan
from tests.unit.analysis.test_outages import outage

SECOND = 10**9


def met(load: float, *, back: float | None, good: float = 1.0, calls: tuple[float, float] | None = None) -> Failover:
    """An outage of 10 s that met `load` per second, was over `back` seconds after its end, and was watched for 60."""
    per_answer = None
    if calls:
        one, other = (Estimate(value=value, low=value, high=value, n=100) for value in calls)
        per_answer = PerAnswer(healthy=one, during=other)
    flow = Flow(offered_per_s=load, good_per_s=load)
    after = Flow(offered_per_s=load, good_per_s=load * good)
    return outage(
        None if back is None else 10 + back,
        effective_ns=0,
        cleared_ns=10 * SECOND,
        observed_s=70.0,
        recovery_after_clearing_s=None if back is None else Interval(low=back, high=back),
        provider_calls_per_answer=per_answer,
        goodput=Goodput(before=flow, during=flow, after=after, watched_s=60.0),
    )


def test_the_load_it_comes_back_from_and_the_one_it_does_not() -> None:
    found = comeback(
        [
            met(41.0, back=None, good=0.2, calls=(1.0, 4.0)),
            met(10.0, back=2.0, calls=(1.0, 1.5)),
            met(10.4, back=3.0, calls=(1.0, 2.5)),
            met(20.0, back=9.0),
            met(39.5, back=8.0, calls=(1.0, 2.0)),
        ]
    )
    assert found is not None
    assert [(level.outages, level.came_back) for level in found.levels] == [(2, 2), (1, 1), (2, 1)]
    assert (found.back_up_to_per_s, found.not_from_per_s) == (20.0, 40.25)
    low, _, high = found.levels
    assert (low.offered_per_s, low.longest_s, low.amplification) == (10.2, 3.0, 2.0)
    assert (high.watched_s, high.amplification) == (60.0, 3.0)
    assert high.good_share == pytest.approx((39.5 + 0.2 * 41) / 80.5)
    assert words.said(found) == (
        "service came back by itself up to 20\u00a0/s, but not at 40.2\u00a0/s, within 60\u00a0s of the fault's end"
    )
    assert len(words.rows(found)) == 3


def test_a_higher_load_that_it_came_back_from_does_not_raise_the_limit() -> None:
    """Between two loads a system may be in either state: what counts is the lowest from which it did not come back."""
    found = comeback([met(10.0, back=1.0), met(20.0, back=None), met(40.0, back=1.0)])
    assert found is not None
    assert (found.back_up_to_per_s, found.not_from_per_s) == (10.0, 20.0)
    found = comeback([met(10.0, back=None)])
    assert found is not None
    assert (found.back_up_to_per_s, found.not_from_per_s) == (None, 10.0)
    assert words.said(found).startswith("service came back not at 10")


def test_nothing_is_said_of_one_load_that_it_came_back_from() -> None:
    one = comeback([met(10.0, back=1.0), met(11.0, back=0.0)])
    assert one is not None
    assert len(one.levels) == 1
    assert (words.said(one), words.rows(one)) == ("", [])
    two = comeback([met(10.0, back=1.0), met(20.0, back=0.5)])
    assert words.said(two) == "service came back by itself at every load tried, up to 20\u00a0/s"
    unwatched = met(10.0, back=1.0).goodput
    assert unwatched is not None
    short = outage(11.0, cleared_ns=10 * SECOND, goodput=unwatched.model_copy(update={"after": None}))
    assert comeback([short]) is None


def test_goodput_is_the_loads_and_in_time(tmp_path: Path) -> None:
    """Ten requests a second; failed while the fault is on; twenty after it, every other one of them too late."""
    builder = RecordingBuilder(
        tmp_path, plan(hold_s=80, slo={"response_time": "1s", "window": "5s"}, experiments=[experiment()])
    )
    builder.phases(baseline=0, fault=20, recovery=40, cooldown=80)
    builder.fault("one", 20.0, 40.0, width_s=0.0)
    for i in range(200):
        builder.request(i / 10, took_s=0.05)
    for i in range(200, 400):
        builder.request(i / 10, took_s=0.05, outcome="failed")
    for i in range(800):
        builder.request(40 + i / 20, took_s=0.05 if i % 2 else 1.5)
    findings = analyse(builder.close(81))[0]
    seen = findings.failovers[0].goodput
    assert seen is not None
    assert seen.before == Flow(offered_per_s=10.0, good_per_s=10.0)
    assert seen.during == Flow(offered_per_s=10.0, good_per_s=0.0)
    assert seen.after == Flow(offered_per_s=20.0, good_per_s=10.0)
    together = findings.outage_kinds[0].comeback
    assert together is not None
    assert (together.back_up_to_per_s, together.not_from_per_s) == (None, 10.0)
    assert together.levels[0].good_share == 0.5
    assert together.levels[0].watched_s == pytest.approx(40.0)


def test_what_came_back_under_another_load_did_not_come_back_under_this_one(tmp_path: Path) -> None:
    builder = RecordingBuilder(
        tmp_path, plan(hold_s=80, slo={"response_time": "1s", "window": "5s"}, experiments=[experiment()])
    )
    builder.phases(baseline=0, fault=20, recovery=40, cooldown=80)
    builder.fault("one", 20.0, 40.0, width_s=0.0)
    builder.event(60.0, "load", "step", step=2)
    for i in range(800):
        builder.request(i / 10, took_s=0.05, outcome="failed" if 200 <= i < 600 else "ok")
    findings = analyse(builder.close(81))[0]
    (level,) = findings.outage_kinds[0].comeback.levels  # type: ignore[union-attr]
    assert not findings.failovers[0].censored
    assert (level.came_back, level.watched_s, level.good_share) == (0, pytest.approx(20.0), 0.0)
