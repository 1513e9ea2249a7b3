"""What counters grew by in healthy times: restarts, copies, and series that begin late included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.analysis.shown import shown
from harness.analysis.timeline import timeline
from harness.model.shown import ShownMetrics
from harness.model.target import Metrics
from tests.recordings import RecordingBuilder, experiment, ns, plan

METRICS: dict[str, Any] = {
    "requests": "answers_total{code}",
    "in_flight": "flying",
    "cpu": "cpu_seconds_total",
    "breaker": "breaker{provider}",
    "latency": "took_seconds",
}


class Page:
    """Writes what the metrics probe sees, twice a second."""

    def __init__(self, path: Path) -> None:
        self.builder = RecordingBuilder(path, plan(experiments=[experiment()], target={"metrics": METRICS}))
        self.builder.phases(warmup=-10, baseline=0, fault=20, recovery=40, cooldown=60)

    def scrape(self, t_s: float, copy: str = "", *, failed: int = 0) -> None:
        self.builder.sample(t_s, "metrics", "scrape_failed", failed, **({"instance": copy} if copy else {}))

    def series(self, metric: str, points: dict[float, float], **labels: str) -> None:
        for t_s, value in points.items():
            self.builder.sample(t_s, "metrics", metric, value, **labels)

    def said(self) -> ShownMetrics:
        recording = self.builder.close(65)
        return shown(recording.samples, recording.plan.target.metrics, timeline(recording, ns(60)))


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tmp_path / "r")


def test_only_the_baseline_counts(page: Page) -> None:
    for t_s in (-5, 5, 15, 25):
        page.scrape(t_s)
    page.series("answers_total", {-5: 1000, 5: 1040, 15: 1070, 25: 5000}, code="200")
    said = page.said()
    assert (said.healthy_s, said.looks, said.looks_failed) == (20, 2, 0)
    assert said.grew["answers_total"] == {"200": 70}
    assert "took_seconds_bucket" not in said.names


def test_a_restart_counts_from_zero_and_a_new_series_began_there(page: Page) -> None:
    for t_s in (-5, 5, 15):
        page.scrape(t_s)
    page.series("answers_total", {-5: 100, 5: 110, 15: 7}, code="200")
    page.series("answers_total", {15: 3}, code="500")
    assert page.said().grew["answers_total"] == {"200": 10 + 7, "500": 3}


def test_copies_add_up_and_the_busiest_is_known(page: Page) -> None:
    for t_s in (-5.0, 5.0, 15.0):
        page.scrape(t_s, "a-1")
        page.scrape(t_s + 0.1, "a-2")
    page.series("cpu_seconds_total", {-5: 50, 5: 52, 15: 54}, instance="a-1")
    page.series("cpu_seconds_total", {-4.9: 90, 5.1: 96, 15.1: 102}, instance="a-2")
    page.series("flying", {-5: 99, 5: 2, 15: 4}, instance="a-1")
    page.series("flying", {-4.9: 1, 5.1: 5, 15.1: 7}, instance="a-2")
    said = page.said()
    assert (said.grew["cpu_seconds_total"], said.busiest["cpu_seconds_total"]) == ({"": 16}, 12)
    assert (said.gauges["flying"].mean, said.gauges["flying"].max, said.gauges["flying"].n) == (6, 7, 2)


def test_a_copy_that_was_first_read_in_the_baseline_grew_only_since_then(page: Page) -> None:
    for t_s in (-5, 5, 15):
        page.scrape(t_s, "a-1")
    for t_s in (10, 15):
        page.scrape(t_s, "a-2")
    page.series("answers_total", {-5: 0, 5: 10, 15: 20}, code="200", instance="a-1")
    page.series("answers_total", {10: 5000, 15: 5004}, code="200", instance="a-2")
    assert page.said().grew["answers_total"] == {"200": 24}


def test_what_is_missing_after_a_look_that_failed_need_not_have_begun_at_zero(page: Page) -> None:
    page.scrape(1, failed=1)
    for t_s in (2, 3, 4):
        page.scrape(t_s)
    page.series("answers_total", {2: 500, 3: 510, 4: 512}, code="200")
    page.series("answers_total", {3: 1, 4: 3}, code="500")
    assert page.said().grew["answers_total"] == {"200": 12, "500": 3}


def test_an_open_breaker_is_a_share_of_the_looks(page: Page) -> None:
    for t_s in (-5, 5, 10, 15, 25):
        page.scrape(t_s, failed=int(t_s == 10))
    page.series("breaker", {-5: 2, 5: 0, 10: 2, 15: 1, 25: 2}, provider="bedrock")
    page.series("breaker", {5: 0, 15: 0, 25: 2}, provider="openai")
    said = page.said()
    assert said.breakers == {"bedrock": pytest.approx(1 / 3), "openai": 0}
    assert said.looks_failed == 1


def test_sums_keep_one_label(page: Page) -> None:
    metrics = Metrics.model_validate(METRICS)
    assert metrics.summed == {
        "answers_total": "code",
        "flying": "",
        "cpu_seconds_total": "",
        "took_seconds_bucket": "le",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests": "answers_total"},
        {"latency": "took_seconds{le}"},
        {"failed_status": "5("},
        {"provider_calls": "a{b,c}"},
    ],
)
def test_a_metric_that_is_named_wrongly_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Metrics.model_validate(wrong)
