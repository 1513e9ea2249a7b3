"""The health page held against what was done: planted lags, lies and alarms are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.analysis import analyse
from harness.analysis.audit_evidence import EVIDENCE
from harness.analysis.audit_seen import Seen
from harness.model.audit import Ask
from harness.report import block_health
from tests.recordings import RecordingBuilder, experiment, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from harness.model.findings import Findings

BAD = 1.0


def seconds(begin: float, end: float, step: float = 1.0) -> tuple[float, ...]:
    """Return the moments from begin up to end, a step apart."""
    return tuple(begin + step * k for k in range(round((end - begin) / step)))


EVERY_SECOND = seconds(0.5, 90.5)


def told(
    path: Path, alarm: Iterable[tuple[float, float]], *, faults: Iterable[tuple[float, float]] = ((20.0, 40.0),),
    more: Callable[[RecordingBuilder], None] = lambda _: None, page: bool = True, load: dict[str, Any] | None = None,
    window: str = "10s", looks: Iterable[float] = EVERY_SECOND,
) -> Findings:  # fmt: skip
    """Read the page at .5 of every second of 90, or at `looks`; it is in alarm within `alarm`."""
    alarm = list(alarm)
    spec: dict[str, Any] = {"at": "20s", "for": "20s", "every": "30s", "repeat": 2}
    builder = RecordingBuilder(
        path, plan(hold_s=90, load=load, slo={"window": window}, experiments=[experiment(**spec)])
    )
    builder.phases(baseline=0, fault=20, recovery=40, cooldown=90)
    for number, (begin, end) in enumerate(faults, 1):
        builder.fault(f"bedrock-blackhole#{number}", begin, end, width_s=0.0)
    for i in range(900):
        builder.request(i / 10, 0.05)
    for at in looks if page else ():
        builder.sample(at, "health", "status", BAD if any(a <= at < b for a, b in alarm) else 0.0)
    more(builder)
    return analyse(builder.close(91))[0]


def test_lags_are_intervals_between_two_looks(tmp_path: Path) -> None:
    found = told(tmp_path, [(22.2, 43.1)]).health
    assert found is not None
    (outage,) = found.outages
    assert outage.noticed_s is not None
    assert (outage.noticed_s.low, outage.noticed_s.high) == pytest.approx((1.5, 2.5))
    assert outage.noticed_s.low <= 2.2 <= outage.noticed_s.high, "the truth"
    assert outage.well_again_s is not None
    assert outage.well_again_s.low <= 3.1 <= outage.well_again_s.high
    assert outage.false_ok_s == pytest.approx(2.0)
    assert (outage.looks, found.false_alarms, found.false_alarm_s) == (20, 0, 0.0)
    assert found.gap_s == pytest.approx(1.0)


def test_an_alarm_that_outlasts_its_outage_is_late_not_false(tmp_path: Path) -> None:
    found = told(tmp_path, [(21, 60), (70, 73), (80, 81)]).health
    assert found is not None
    assert found.false_alarms == 2
    assert found.false_alarm_s == pytest.approx(4.0)


def test_a_page_that_never_notices_lies_all_the_while(tmp_path: Path) -> None:
    findings = told(tmp_path, [], faults=((20.0, 40.0), (50.0, 60.0)))
    assert findings.health is not None
    assert [o.noticed_s for o in findings.health.outages] == [None, None]
    assert findings.health.false_ok_s == pytest.approx(30.0, abs=0.02)
    assert block_health.said(findings).startswith("The health page noticed no outage while it lasted; said that all")


def test_what_it_said_while_two_things_were_broken_at_once_is_counted_once(tmp_path: Path) -> None:
    def other(builder: RecordingBuilder) -> None:
        builder.fault("openai-blackhole#1", 25.0, 45.0, upstream="openai", width_s=0.0)

    found = told(tmp_path, [], more=other).health
    assert found is not None
    assert [o.false_ok_s for o in found.outages] == [pytest.approx(20.0, abs=0.01)] * 2
    assert found.false_ok_s == pytest.approx(25.0, abs=0.01), "from 20 s to 45 s"


def test_one_that_notices_only_after_the_fault_has_not_noticed_it_in_time(tmp_path: Path) -> None:
    found = told(tmp_path, [(41, 45)]).health
    assert found is not None
    (outage,) = found.outages
    assert (outage.noticed_s is not None, outage.noticed_while_on) == (True, False)
    assert found.false_ok_s == pytest.approx(20.0, abs=0.01)


def test_an_alarm_that_began_before_the_fault_went_was_of_it(tmp_path: Path) -> None:
    """The page was well at 40.5 and in alarm at 41.5; the fault went at 40.6. It noticed late, and for good reason."""
    found = told(tmp_path, [(41, 45)], faults=((20.0, 40.6),), window="100ms").health
    assert found is not None
    (outage,) = found.outages
    assert (outage.noticed_s is not None, outage.noticed_while_on) == (True, False)
    assert (found.false_alarms, found.false_alarm_s) == (0, 0.0)


@pytest.mark.parametrize(("alarm", "false"), [(45, 0), (55, 1)])
def test_an_alarm_is_late_or_false_and_never_both(tmp_path: Path, alarm: int, false: int) -> None:
    """Service is good all the while; that it has recovered is known 10 s (the SLO's window) after the fault went."""
    found = told(tmp_path, [(alarm, alarm + 3)]).health
    assert found is not None
    (outage,) = found.outages
    assert (outage.noticed_s is None, found.false_alarms) == (bool(false), false)
    assert not outage.noticed_while_on


def test_an_alarm_while_service_is_not_good_again_is_of_the_fault(tmp_path: Path) -> None:
    def suffers(builder: RecordingBuilder) -> None:
        for i in range(200, 480):
            builder.request(i / 10 + 0.05, outcome="failed", provider="", ledger=False)
        builder.breaker(45, "open", "closed", provider="openai")
        builder.breaker(75, "open", "closed", provider="openai")

    found = told(tmp_path, [(45, 50), (70, 73)], more=suffers).health
    assert found is not None
    assert found.false_alarms == 1
    assert found.false_alarm_s == pytest.approx(3.0), "the one at 70 s"
    assert (found.breakers_opened, found.breaker_false_alarms) == (2, 1)


def test_where_the_load_looks_for_the_limit_no_alarm_is_known_to_be_false(tmp_path: Path) -> None:
    """80 s of alarm may be what 50 users did to it."""
    spike = {"kind": "spike", "users": 50, "ramp": "30s", "hold": "60s"}
    findings = told(tmp_path, [(5, 85)], load=spike, more=lambda b: b.breaker(10, "open", "closed"))
    found = findings.health
    assert found is not None
    assert (found.false_alarms, found.false_alarm_s, found.breaker_false_alarms) == (None, None, None)
    said = block_health.said(findings)
    assert "no alarm counts as false" in said
    assert "breakers opened once" in said
    assert "without cause" not in said
    seen, ask = Seen("spike", plan(load=spike), findings), Ask.model_validate({"kind": "health", "under": "5s"})
    answer = EVIDENCE["health"].look(seen, ask)
    assert answer is not None
    assert (answer.key, answer.whole, answer.facts["alarms"]) == ("health", False, None)
    calm = findings.model_copy(update={"health": found.model_copy(update={"outages": ()})})
    assert EVIDENCE["health"].look(Seen("spike", plan(load=spike), calm), ask) is None


def test_an_outage_during_which_nobody_looked_is_not_one_that_was_missed(tmp_path: Path) -> None:
    findings = told(tmp_path, [], faults=((20.6, 21.4),))
    assert findings.health is not None
    assert [o.looks for o in findings.health.outages] == [0]
    assert block_health.said(findings) == "The health page raised no alarm without cause."
    block = block_health.health(findings)
    assert block is not None
    assert block["rows"] == []


def test_a_page_in_alarm_before_the_fault_notices_at_once_and_was_wrong_before(tmp_path: Path) -> None:
    found = told(tmp_path, [(10, 45)]).health
    assert found is not None
    (outage,) = found.outages
    assert outage.noticed_s is not None
    assert outage.noticed_s.low == 0
    assert found.false_alarms == 1
    assert found.false_alarm_s == pytest.approx(10.0)


def test_breakers_that_open_while_nothing_is_broken_are_told_apart(tmp_path: Path) -> None:
    def breakers(builder: RecordingBuilder) -> None:
        builder.breaker(22, "open", "closed")
        builder.breaker(25, "open", "closed", provider="openai")
        builder.breaker(38, "half_open", "open")
        builder.breaker(75, "open", "closed", provider="openai")

    findings = told(tmp_path, [(22, 41)], more=breakers)
    assert findings.health is not None
    assert (findings.health.breakers_opened, findings.health.breaker_false_alarms) == (3, 1)
    assert "breakers opened 3 times, 1 without cause" in block_health.said(findings)


def test_no_page_is_no_verdict(tmp_path: Path) -> None:
    findings = told(tmp_path, [], page=False)
    assert findings.health is None
    assert block_health.health(findings) is None


def test_time_goes_by_the_looks_own_moments_not_by_how_many_there_were(tmp_path: Path) -> None:
    """A page that takes 5 s over its answers once something is wrong: well until 30 s, then in alarm until 45, and from
    60 to 80 s. Half a gap at either end is as near as one can know."""
    looks = [*seconds(0.5, 20.5), *seconds(25.5, 90, 5.0)]
    found = told(tmp_path, [(30, 45), (60, 80)], looks=looks).health
    assert found is not None
    (outage,) = found.outages
    assert outage.false_ok_s == pytest.approx(10.0, abs=2.5)
    assert found.false_ok_s == outage.false_ok_s
    assert found.false_alarm_s == pytest.approx(20.0, abs=2.5)
    assert (found.gap_s, found.false_alarms) == (1.0, 1)


def test_what_nobody_looked_at_for_long_counts_to_nothing(tmp_path: Path) -> None:
    """No look from 22 to 38 s of an outage from 20 to 40, nor from 60 to 72 s of an alarm from 55 to 75."""
    looks = [*seconds(0.5, 22.5), *seconds(38.5, 60.5), *seconds(72.5, 90.5)]
    found = told(tmp_path, [(55, 75)], looks=looks).health
    assert found is not None
    assert found.false_ok_s == pytest.approx(1.5 + 1.5, abs=0.01)
    assert found.false_alarm_s == pytest.approx(4.5 + 2.5)
    assert found.false_alarms == 1
