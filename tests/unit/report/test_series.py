"""Series: exact in every bucket, against planted truths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.analysis.scan import scans
from harness.report import seen as users
from harness.report import series
from harness.report.figure_summary import ecdf
from harness.report.seen import Seen, percentiles_by
from harness.report.timeline import Timeline, timeline
from tests.recordings import RecordingBuilder, plan
from tests.unit.report import story

if TYPE_CHECKING:
    from pathlib import Path

    from harness.recording.reader import Recording
    from tests.unit.report.conftest import Reported


def read(recording: Recording) -> Seen:
    return users.seen(scans(recording)[0], timeline(recording), ("agent", "provider"))


def test_percentiles_of_every_bucket_are_numpys() -> None:
    draw = np.random.default_rng(1)
    bucket, values = draw.integers(0, 7, 400), draw.exponential(1, 400)
    bucket[bucket == 3] = 2  # bucket 3 is empty
    found = percentiles_by(bucket, values, 7, (50, 95, 99))
    assert np.isnan(found[:, 3]).all()
    for b in (0, 1, 2, 4, 5, 6):
        assert found[:, b] == pytest.approx(np.percentile(values[bucket == b], (50, 95, 99)))


def test_what_users_saw_second_by_second(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path / "r", plan(hold_s=3))
    builder.phases(steady=0, cooldown=3)
    for due, took, outcome in ((0.1, 0.2, "ok"), (0.2, 0.4, "degraded"), (1.5, 0.5, "failed"), (1.6, 0.1, "dropped")):
        builder.request(due, took, outcome=outcome)
    recording = builder.close(4)
    seen = read(recording).traffic
    assert seen.percentiles[0].tolist() == pytest.approx([0.3, 0.5, np.nan], nan_ok=True)
    assert (seen.answered.tolist(), seen.bad.tolist(), seen.degraded.tolist(), seen.unsent.tolist()) == (
        [2, 1, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0],
    )  # fmt: skip


@pytest.mark.parametrize("ledger", [True, False])
def test_who_answered_by_ledger_or_by_answers(tmp_path: Path, ledger: bool) -> None:
    builder = RecordingBuilder(tmp_path / "r", plan(hold_s=2))
    builder.phases(steady=0, cooldown=2)
    builder.request(0.1, provider="bedrock", ledger=ledger)
    builder.request(0.2, provider="bedrock+cache", hits=3, ledger=ledger)
    builder.request(1.2, provider="openai", ledger=ledger)
    builder.request(1.3, provider="local", outcome="degraded")
    recording = builder.close(3)
    load, _ = scans(recording)
    shares = series.shares(recording, load, timeline(recording), read(recording).answers)
    assert shares.from_ledger is ledger
    assert {n: a.tolist() for n, a in shares.answers.items()} == {
        "bedrock": [2, 0], "openai": [0, 1], "cache": [3, 0], "local": [0, 1],
    }  # fmt: skip


def test_distributions_are_of_the_healthy_phase_and_each_kind_of_fault(told: Reported) -> None:
    found = read(told.recording).distributions
    assert list(found) == ["baseline", "bedrock blackhole", "bedrock refuse"]
    assert found["bedrock blackhole"].max() > 2
    assert np.quantile(found["bedrock refuse"], 0.95) < 1


def test_what_was_never_answered_counts_and_is_never_reached(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path / "r", plan(hold_s=10))
    builder.phases(steady=0, cooldown=10)
    for n in range(10):
        builder.request(n, 0.5, outcome="ok" if n < 4 else "lost")
    found = read(builder.close(11)).distributions["steady"]
    assert found.tolist() == pytest.approx([0.5] * 4 + [np.inf] * 6)
    drawn = ecdf({"baseline": found})
    hover: Any = drawn.hover
    assert max(hover["rows"]["baseline|\u00a0%"]) == pytest.approx(40)
    assert "baseline: half never answered, 95 % never answered" in drawn.wide
    assert ecdf({"baseline": found[4:]}).wide, "nor if nobody was"


def test_of_very_many_too_what_was_never_answered_is_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "EXACT", 1 << 10)
    times = users._Times()
    for _ in range(4):
        times.add(np.concatenate([np.full(600, 0.5), np.full(400, np.inf)]))
    assert np.isfinite(times.found()).mean() == pytest.approx(0.6, abs=0.01)


def test_a_distribution_of_very_many_is_drawn_to_a_thousandth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "EXACT", 1 << 12)
    values = np.random.default_rng(5).lognormal(-2, 0.5, 30_000)
    times = users._Times()
    for part in np.split(values, 10):
        times.add(part)
    found = times.found()
    assert len(found) < 3000
    for share in (0.01, 0.5, 0.99):
        assert np.quantile(found, share) == pytest.approx(np.quantile(values, share), rel=2e-3)


def test_the_axis_counts_from_the_end_of_the_warm_up(told: Reported) -> None:
    axis = told.figures.axis
    assert (axis.begin, axis.end) == pytest.approx((-story.WARMUP, story.HOLD), abs=0.1)
    assert [round(f.begin, 2) for f in axis.faults] == [at for _, at in story.FAULTS]
    assert [p.name for p in axis.phases[:3]] == ["warmup", "baseline", "fault"]
    assert axis.started is not None
    assert axis.started.isoformat().startswith("2026-11-23T10:00:00")


@pytest.mark.parametrize(("hours", "width"), [(0.1, 1.0), (1, 10.0), (4, 30.0), (200, 1200.0)])
def test_no_line_has_more_than_600_points(hours: float, width: float) -> None:
    axis = Timeline(0, 0.0, hours * 3600, (), (), None)
    assert axis.bucket_s == width
    assert len(axis.edges()) <= 602


def test_a_resource_knows_its_limit_at_every_moment(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan())
    builder.phases(steady=0, cooldown=60)
    builder.container("redis", range(-5, 20), cpu_limit=0.5)  # said before the axis begins
    builder.container("redis", range(20, 60), cpu_limit=0.25, throttled=0.3)
    builder.sample(1, "process:gateway", "cpu", 1.0)
    recording = builder.close(61)
    redis, gateway = series.resources(recording, timeline(recording), ("cpu",))
    assert redis.limit is not None
    assert list(redis.limit) == [0.5] * 20 + [0.25] * 40
    assert redis.throttled is not None
    assert list(redis.throttled) == [0.0] * 20 + [0.3] * 40
    assert (gateway.limit, gateway.throttled) == (None, None)
