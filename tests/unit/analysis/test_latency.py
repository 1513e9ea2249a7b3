"""Counts, rates and times of the load, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.analysis import analyse
from harness.analysis.audit_seen import below
from harness.judge import judge
from harness.model.audit import AuditVerdict
from harness.report import words
from tests.recordings import RecordingBuilder, plan


def test_groups_by_hand(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(hold_s=10, warmup_s=5))
    builder.phases(warmup=-5, steady=0, cooldown=10)
    builder.request(-1, 9.0)
    for i, outcome in enumerate(["ok", "ok", "ok", "degraded", "failed", "timeout", "lost", "dropped"]):
        builder.request(i, 0.1 * (i + 1), outcome=outcome, agent="a" if i < 4 else "b", tenant="")
    builder.request(10.5, 9.0)
    findings, _ = analyse(builder.close(50))
    load = findings.load
    counts = (load.requests, load.ok, load.degraded, load.failed, load.timeout, load.lost, load.dropped)
    assert counts == (8, 3, 1, 1, 1, 1, 1)
    assert load.rate_per_s == pytest.approx(0.7)
    assert load.failed_share.value == pytest.approx(2 / 6)
    assert load.service_ms.p50.value == pytest.approx(350)
    # The lost one, due at 6 s, had been waited for until the run ended at 50 s.
    assert load.response_ms.p50.n == 7
    assert load.response_ms.p50.value == pytest.approx(400)
    assert load.response_ms.p99.value == pytest.approx(np.percentile([100, 200, 300, 400, 500, 600, 44_000], 99))
    assert {name: group.requests for name, group in load.by["agent"].items()} == {"a": 4, "b": 4}
    assert load.by["tenant"] == {}, "an empty word is no group"
    assert {name: group.requests for name, group in load.by["phase"].items()} == {"steady": 8}
    assert load.by["phase"]["steady"].rate_per_s == pytest.approx(0.7)
    assert load.by["provider"]["bedrock"].requests == 6


def test_phase_rates_are_per_second_of_the_phase(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(hold_s=60))
    builder.phases(baseline=0, fault=20, recovery=30, cooldown=60)
    for i in range(300):
        builder.request(i * 0.2)
    load = analyse(builder.close(61))[0].load
    assert {name: round(g.rate_per_s or 0, 6) for name, g in load.by["phase"].items()} == {
        "baseline": 5.0, "fault": 5.0, "recovery": 5.0,
    }  # fmt: skip
    assert load.rate_per_s == pytest.approx(5.0)


def test_requests_that_were_never_answered_could_have_failed(tmp_path: Path) -> None:
    """2 % hang to the end: who looks at what was answered only sees no failure, and would pass a limit of 1 %."""
    builder = RecordingBuilder(tmp_path, plan(hold_s=60, thresholds={"request_failed": ["rate<0.01"]}))
    builder.phases(steady=0, cooldown=60)
    builder.instrument(0, 60)
    for i in range(1020):
        builder.request(i / 17, outcome="lost" if i % 51 == 50 else "ok")
    recording = builder.close(61)
    findings, measure = analyse(recording)
    (check,) = judge(recording.plan, findings, measure).checks
    load = findings.load
    assert (load.lost, load.failed_share.value, load.failed_share.n) == (20, 0.0, 1000)
    assert load.failed_share.high == check.high == pytest.approx(0.03, abs=0.001)
    assert check.verdict == "inconclusive"
    assert below(load.failed_share, 0.01) is AuditVerdict.INCONCLUSIVE
    assert words.users(load).endswith("none failed, 20 were never answered.")
