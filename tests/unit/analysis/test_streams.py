"""Streams planted with known times: what is said of them, and how sure it is."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from harness.analysis import analyse
from harness.analysis.dependence import cluster_size
from harness.analysis.frame import Frame
from harness.analysis.measure import OfFrame
from harness.analysis.stats import Gaps, Share, percentile_ms, rank_interval
from harness.analysis.timeline import Timeline
from harness.judge import judge
from harness.model.verdict import Verdict
from harness.recording import layout
from tests.recordings import RecordingBuilder, plan


def builder(path: Path, **thresholds: list[str]) -> RecordingBuilder:
    made = RecordingBuilder(path, plan(thresholds=thresholds))
    made.phases(steady=0, cooldown=60)
    made.instrument(0, 60)
    return made


def test_times_of_streams_are_those_planted(tmp_path: Path) -> None:
    made = builder(tmp_path / "run")
    for n in range(100):  # first token after 100 to 199 ms, then 10 gaps of 20 ms and one of 120
        first = 0.1 + n / 1000
        came = [first + 0.02 * k + 0.1 * (k > 5) for k in range(12)]
        made.request(n / 2, came[-1] + 0.01, agent="architect" if n % 2 else "coordinator", stream=came, tokens=(1, 24))
    made.request(51, 0.3)  # no stream
    found = analyse(made.close(61))[0].load.streams
    assert found
    assert (found.streams, found.complete, found.tokens, found.at_once) == (100, 100, 1200, 0)
    assert found.tokens_per_event == 2
    assert found.ttft_ms.p50.value == pytest.approx(149.5)
    assert found.ttft_ms.p95.value == pytest.approx(100 + 99 * 0.95)
    assert [p.value for p in (found.inter_token_ms.p50, found.inter_token_ms.p99)] == pytest.approx([20, 120])
    assert found.inter_token_ms.p50.n == 1100
    assert found.tokens_per_s.p5.value == pytest.approx(11 / 0.32)
    assert {name: group.streams for name, group in found.by["agent"].items()} == {"architect": 50, "coordinator": 50}
    assert found.by["phase"]["steady"].streams == 100
    assert found.by["agent"]["architect"].ttft_ms.p50.value == pytest.approx(150)


def test_without_streams_nothing_is_said(tmp_path: Path) -> None:
    made = builder(tmp_path / "run", time_to_first_token=["p(50)<1s"], inter_token_latency=["p(50)<1s"])
    made.request(1, 0.3)
    recording = made.close(61)
    findings, measure = analyse(recording)
    assert findings.load.streams is None
    assert not (recording.path / layout.TOKENS).exists()
    assert {c.verdict for c in judge(recording.plan, findings, measure).checks} == {Verdict.INCONCLUSIVE}


def test_streams_that_did_not_end_well(tmp_path: Path) -> None:
    made = builder(tmp_path / "run", stream_complete=["rate>0.9", "rate>0.3", "count>=11"])
    for n in range(10):
        made.request(n, 0.5, stream=[0.1, 0.2, 0.3])
    made.request(11, 0.4, stream=[0.1, 0.15], outcome="failed")  # cut: its tokens came when they came
    made.request(12, 0.2, stream=[], outcome="failed")  # an error instead of a first token: no wait for one
    made.request(13, 30, stream=[], outcome="timeout")  # waited 30 s for a first token that did not come
    made.request(14, 0, stream=[0.1, 0.2], outcome="lost")
    made.request(15, 0.3, stream=[0.2, 0.2, 0.2])  # all at once
    made.request(16, 30, stream=[0.1, 0.12], outcome="timeout")  # waited 29.88 s for a third token
    recording = made.close(61)
    findings, measure = analyse(recording)
    checks = judge(recording.plan, findings, measure).checks
    assert [(c.observed, c.n) for c in checks] == [(11 / 15, 15), (11 / 15, 15), (11, 15)]
    found = findings.load.streams
    assert found
    assert (found.streams, found.complete, found.at_once) == (16, 11, 1)
    assert found.complete_share.n == 15
    assert found.ttft_ms.p50.n == 15
    assert found.ttft_ms.p99.value == pytest.approx(30_000, rel=0.15)
    assert found.ttft_ms.p99.high is None
    assert found.inter_token_ms.p50.n == 20 + 1 + 2 + 2 + 2, "for the lost and the late, their last wait too"
    assert found.tokens_per_s.p50.n == 13


def test_a_stream_that_stalls_for_good_is_a_gap_as_long_as_it_was_waited_for(tmp_path: Path) -> None:
    limits = {"inter_token_latency": ["max<1s", "p(99)<1s", "avg<1s"], "tokens_per_second": ["min>10"]}
    made = builder(tmp_path / "run", **limits)
    for n in range(100):
        stalls, came = n % 10 < 3, (0.1 + 0.02 * np.arange(10)).tolist()
        made.request(n / 4, 30 if stalls else 0.3, stream=came, outcome="timeout" if stalls else "ok")
    recording = made.close(61)
    findings, measure = analyse(recording)
    gaps, found = measure.times("inter_token_latency", ()), findings.load.streams
    assert (len(gaps), gaps.lost) == (930, 30)
    assert [gaps.at(rank) / gaps.unit for rank in (899, 900, 929)] == pytest.approx([20, 29_720, 29_720])
    assert found
    assert found.inter_token_ms.p50.value == pytest.approx(20)
    assert found.inter_token_ms.p99.value == pytest.approx(29_720)
    assert found.inter_token_ms.p99.high is None
    assert found.tokens_per_s.p5.value == pytest.approx(9 / 29.9)
    said = {c.threshold: c.verdict for c in judge(recording.plan, findings, measure).checks}
    assert said["inter_token_latency: max<1s"] is said["tokens_per_second: min>10"] is Verdict.FAIL
    assert Verdict.PASS not in said.values()


def test_a_request_without_any_answer_waits_for_a_stream_where_its_name_is_one_of_streams(tmp_path: Path) -> None:
    made = builder(tmp_path / "run", stream_complete=["rate>0.99"], time_to_first_token=["p(95)<1s"])
    for n in range(100):
        for agent, stream in (("streams", [0.1, 0.2]), ("whole", None)):
            made.request(n / 4, 0.3, agent=agent, stream=stream)
            made.request(n / 4, 30, agent=agent, outcome="timeout")
    made.request(26, 0.3, agent="whole", stream=[0.1])  # one of a hundred
    made.request(30, 1, agent="streams", outcome="failed")  # refused: no wait for a token
    made.request(31, 0, agent="streams", outcome="lost")
    recording = made.close(61)
    findings, measure = analyse(recording)
    found = findings.load.streams
    assert found
    assert {name: group.streams for name, group in found.by["agent"].items()} == {"streams": 201, "whole": 1}
    assert (found.complete, found.complete_share.n, found.tokens) == (101, 201, 201)
    assert found.ttft_ms.p95.value == pytest.approx(30_000)
    assert found.ttft_ms.p95.high is None
    assert {c.verdict for c in judge(recording.plan, findings, measure).checks} == {Verdict.FAIL}
    live = OfFrame(Frame.of(recording.requests), Timeline(0, 2**62, ()))
    assert live.share("stream_complete", ()) == Share(101, 201, 1), "as while the load is on"


def test_thresholds_on_streams_are_judged(tmp_path: Path) -> None:
    made = builder(
        tmp_path / "run",
        time_to_first_token=["p(50)<200ms", "p(50)<90ms"],
        inter_token_latency=["p(90)<60ms", "max<40ms", "avg<60ms"],
        tokens_per_second=["p(10)>15", "med>30", "min>15"],
    )
    draw = np.random.default_rng(1)
    for n in range(300):
        gaps = 0.05 + draw.uniform(-0.005, 0.005, 9)
        came = 0.1 + draw.uniform(-0.005, 0.005) + np.concatenate(([0], np.cumsum(gaps)))
        made.request(n / 6, 1, stream=came.tolist())
    recording = made.close(61)
    checks = judge(recording.plan, *analyse(recording)).checks
    said = {c.threshold: c.verdict.value for c in checks}
    assert said == {
        "time_to_first_token: p(50)<200ms": "pass",
        "time_to_first_token: p(50)<90ms": "fail",
        "inter_token_latency: p(90)<60ms": "pass",
        "inter_token_latency: max<40ms": "fail",
        "inter_token_latency: avg<60ms": "pass",
        "tokens_per_second: p(10)>15": "pass",
        "tokens_per_second: med>30": "fail",
        "tokens_per_second: min>15": "pass",
    }
    whys = " ".join(c.why for c in checks if c.unit == "per_s")
    assert "a stream brought tokens at" in whys
    assert "(the slowest)" in whys


def test_a_killed_run_may_hold_tokens_whose_request_was_never_written(tmp_path: Path) -> None:
    made = builder(tmp_path / "run")
    made.request(1, 0.5, stream=[0.1, 0.2])
    made._tokens.add(999, array("q", [1, 2, 3]))
    made.request(2, 0.5, stream=[0.1, 0.3])
    found = analyse(made.close(parquet=False))[0].load.streams
    assert found
    assert found.inter_token_ms.p50.n == 2


# --- clusters


def test_gaps_that_agree_within_a_stream_are_worth_their_streams() -> None:
    draw = np.random.default_rng(7)
    sizes = np.full(400, 50)
    alike = np.repeat(draw.normal(50e6, 5e6, 400), 50)
    independent = draw.normal(50e6, 5e6, 400 * 50)
    for percent, least in ((50, 250), (95, 200)):
        value = np.percentile(alike, percent)
        assert least <= cluster_size(alike <= value, sizes) <= 600
        value = np.percentile(independent, percent)
        assert cluster_size(independent <= value, sizes) > 12_000
    assert cluster_size(alike[:50] <= 50e6, sizes[:1]) == 1


@pytest.mark.parametrize("percent", [50, 95])
def test_intervals_of_gaps_cover_the_truth(percent: float) -> None:
    """400 samples of 120 streams of 1 to 60 gaps, which have half of their variance in common.

    About 95 % of the intervals hold the true percentile; of those that take gaps for independent, half.
    """
    draw, truth = np.random.default_rng(11), 10 + float(special.ndtri(percent / 100))
    hits = naive = 0
    for _ in range(400):
        sizes = draw.integers(1, 60, 120)
        own = np.repeat(draw.normal(0, np.sqrt(0.5), 120), sizes)
        values = np.asarray((10 + own + draw.normal(0, np.sqrt(0.5), int(sizes.sum()))) * 1e6)
        seen = percentile_ms(Gaps(values, np.zeros(len(values), bool), sizes=sizes), percent)
        assert seen.low is not None
        assert seen.high is not None
        hits += seen.low <= truth <= seen.high
        low, high = rank_interval(len(values), percent / 100)
        assert low
        assert high
        naive += np.sort(values)[low - 1] <= truth * 1e6 <= np.sort(values)[high - 1]
    assert 0.91 <= hits / 400 <= 0.98
    assert naive / 400 < 0.65
