"""Phases, load and faults, read off events; requests cut by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.analysis import analyse
from harness.analysis.frame import Frame
from harness.analysis.soak_series import disturbed
from harness.analysis.timeline import timeline
from harness.report.timeline import timeline as axis
from tests.recordings import RecordingBuilder, experiment, ns, plan


def begun(path: Path) -> RecordingBuilder:
    builder = RecordingBuilder(path, plan(hold_s=60, warmup_s=10, experiments=[experiment()]))
    builder.phases(warmup=-10, baseline=0, fault=20, recovery=40, cooldown=60)
    return builder


def test_phases_faults_and_measured_part(tmp_path: Path) -> None:
    builder = begun(tmp_path)
    builder.fault("one", 20.0, 40.0)
    builder.fault("late", None, None, injecting_s=50.0)
    when = timeline(builder.close(61), ns(61))
    assert (when.zero_ns, when.end_ns, when.measured_s) == (ns(0), ns(60), 60.0)
    assert when.spans("fault") == [(ns(20), ns(40))]
    assert when.healthy == [(ns(0), ns(20))]
    one, late = when.faults
    assert one.effective == (ns(19.999), ns(20.001))
    assert one.cleared == (ns(39.999), ns(40.001))
    assert (one.kind, one.upstream, one.experiment) == ("blackhole", "bedrock", "bedrock-blackhole")
    assert late.effective is None
    assert "unaffected" in late.failed
    assert when.observed_until(one) == ns(50)
    assert when.observed_until(late) == ns(60)


def test_faults_on_at_once_are_one_outage(tmp_path: Path) -> None:
    builder = begun(tmp_path)
    builder.fault("a", 20.0, 40.0)
    builder.fault("b", 25.0, 45.0, upstream="openai")
    builder.fault("c", 50.0, 55.0)
    when = timeline(builder.close(61), ns(61))
    assert [when.observed_until(f) for f in when.faults] == [ns(49.995), ns(49.995), ns(60)]


def test_a_fault_left_out_is_still_one_that_did_not_bite(tmp_path: Path) -> None:
    builder = begun(tmp_path)
    about = {"kind": "refuse", "upstream": "bedrock", "experiment": "x"}
    builder.event(30, "fault", "refuse-bedrock-1", state="failed", evidence="left out: 3 s late", **about)
    builder.event(31, "fault", "blackhole-bedrock-1", state="journalled", **about)
    (fault,) = timeline(builder.close(61), ns(61)).faults
    assert (fault.effective, fault.failed) == (None, "left out: 3 s late")


def test_a_fault_that_was_never_injected_was_never_on(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(hold_s=60, experiments=[experiment()]))
    builder.phases(steady=0, cooldown=60)
    about = {"kind": "refuse", "upstream": "openai", "experiment": "openai-refuse"}
    builder.event(10, "fault", "openai-refuse#0", state="failed", evidence="not injected: p95 was 9 s", **about)
    builder.fault("one", 20.0, 30.0, width_s=0.0)
    builder.event(35, "fault", "openai-refuse#1", state="failed", evidence="left out: 3 s late", **about)
    for second in range(60):
        builder.request(second)
    recording = builder.close(61)
    when, frame = timeline(recording, ns(61)), Frame.of(recording.requests)
    early, one, late = when.faults
    assert [fault.injected for fault in when.faults] == [False, True, False]
    for fault in (early, late):
        begin, end = fault.on(when.end_ns)
        assert begin == end
    assert when.healthy == [(ns(0), one.injecting_ns)], "nothing was broken at 10 s"
    assert when.observed_until(one) == ns(60), "and nothing at 35 s"
    assert not frame.select([("upstream", "openai")], when).any()
    assert frame.select([("phase", "steady"), ("fault", "blackhole")], when).sum() == 10
    assert [span.name for span in axis(recording).faults] == ["bedrock blackhole"]
    findings = analyse(recording)[0]
    assert findings.tenancy is not None
    assert findings.tenancy.under_fault == 10
    assert [f.bit for f in findings.failovers] == [False, True, False]
    assert len(disturbed(when, findings.failovers)) == 1


@pytest.mark.parametrize("killed_after", ["nothing", "warmup", "baseline"])
def test_a_killed_run_has_the_times_it_got_to(tmp_path: Path, killed_after: str) -> None:
    builder = RecordingBuilder(tmp_path, plan(hold_s=60, warmup_s=10))
    if killed_after != "nothing":
        builder.event(-10, "load", "started")
        builder.event(-10, "phase", "warmup")
    if killed_after == "baseline":
        builder.event(0, "phase", "baseline")
    when = timeline(builder.close(), ns(5))
    if killed_after == "nothing":
        assert when.measured_s == 0
    else:
        assert (when.zero_ns, when.end_ns) == (ns(0), ns(5) + 1)


def test_without_a_baseline_faults_are_held_against_all_before_them(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(hold_s=60, warmup_s=10, experiments=[experiment(at="0s")]))
    builder.phases(warmup=-10, baseline=0, fault=0.01, cooldown=60)
    builder.fault("one", 0.01, 20.0, injecting_s=0.005)
    assert timeline(builder.close(61), ns(61)).healthy == [(ns(-10), ns(0.005))]


def test_tags_select_by_due_time(tmp_path: Path) -> None:
    builder = begun(tmp_path)
    builder.fault("one", 20.0, 40.0)
    builder.fault("two", 50.0, 55.0, kind="refuse", upstream="openai", experiment="other")
    for due_s in (-5, 5, 19.9, 20.5, 39.9, 45, 52, 59.9, 60.5):
        builder.request(due_s, 1.0, agent="coordinator" if due_s < 30 else "architect")
    builder.request(30, outcome="dropped", agent="architect")
    recording = builder.close(61)
    when, frame = timeline(recording, ns(61)), Frame.of(recording.requests)

    def due(*tags: tuple[str, str], experiment: str | None = None) -> list[float]:
        chosen = frame.select(tags, when, experiment)
        return sorted(((frame.due[chosen] - ns(0)) / 1e9).tolist())

    assert due() == [5, 19.9, 20.5, 30, 39.9, 45, 52, 59.9], "warm-up and cool-down are not measured"
    assert due(("phase", "warmup")) == [-5]
    assert due(("phase", "fault")) == [20.5, 30, 39.9]
    assert due(("fault", "blackhole"), ("agent", "architect")) == [30, 39.9]
    assert due(("fault", "two")) == due(("upstream", "openai")) == [52]
    assert due(("outcome", "dropped")) == [30]
    assert due(("agent", "nobody")) == []
    assert due(("phase", "fault"), experiment="bedrock-blackhole") == [20.5, 30, 39.9]
    assert due(("phase", "fault"), experiment="other") == []
    assert due(("fault", "blackhole"), experiment="other") == []


def test_times_are_in_due_order_with_lost_as_waited_for(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path)
    builder.request(10, 0.5, late_s=0.1)
    builder.request(5, outcome="lost")
    builder.request(7, 2.0, outcome="timeout")
    builder.request(8, outcome="dropped")
    frame = Frame.of(builder.close(61).requests, ns(40))
    everything = np.ones(len(frame), bool)
    response, service = (frame.times(metric, everything) for metric in ("response_time", "service_time"))
    assert (response.values / 1e9).tolist() == [35.0, 2.0, 0.6]
    assert response.marked.tolist() == [True, False, False]
    assert (service.values / 1e9).tolist() == [2.0, 0.5]
