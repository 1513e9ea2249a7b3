"""Our tables with Locust's names, against those that Locust itself writes of the same requests."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.errors import RecordingError
from harness.report.locust_csv import write_csv
from tests.recordings import ZERO_NS, RecordingBuilder, ns, plan

if TYPE_CHECKING:
    from harness.recording.reader import Recording

KINDS = ("stats", "stats_history", "failures", "exceptions")
NAMES = ("meetmind/architect", 'agentsvea/kö, "å"', "feliciasfi/banking")
ZERO = datetime.fromisoformat("2026-11-23T10:00:00+00:00").timestamp()


@dataclass(frozen=True)
class Written:
    recording: Recording
    ours: dict[str, list[list[str]]]
    locusts: dict[str, list[list[str]]]


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Half a minute of requests that end within a second or ten, one in forty badly; some are lost or never sent."""
    folder, draw = tmp_path_factory.mktemp("csv"), np.random.default_rng(5)
    builder = RecordingBuilder(folder / "run", plan(load={"kind": "users", "users": 30, "hold": "30s"}))
    builder.phases(warmup=-2, steady=0, cooldown=30)
    told = []
    for number, due in enumerate(np.arange(-2, 30, 0.04)):
        took = float(draw.lognormal(-1.2, 1.0))
        bad = number % 40 == 7
        error = ("HTTP 503" if number % 80 == 7 else "no answer in time") if bad else ""
        team, agent = NAMES[number % 3].split("/")
        builder.request(float(due), took, team=team, agent=agent, outcome="failed" if bad else "ok", error=error)
        end = ns(float(due) + took)
        told.append((end, NAMES[number % 3], (end - ns(float(due))) / 1e6, 512, error))
    builder.request(29.99, outcome="lost")
    builder.request(29.98, outcome="dropped")
    recording = builder.close(40)
    write_csv(recording, "ours")

    rows = [[ZERO + (end - ZERO_NS) / 1e9, *rest] for end, *rest in sorted(told)]
    script = Path(__file__).with_name("locust_own_csv.py")
    subprocess.run(
        [sys.executable, str(script), str(folder / "locust")],
        input=json.dumps([ZERO - 2, rows]), text=True, check=True, timeout=120,
    )  # fmt: skip
    return Written(
        recording,
        {kind: rows_of(recording.path / "locust" / f"ours_{kind}.csv") for kind in KINDS},
        {kind: rows_of(folder / f"locust_{kind}.csv") for kind in KINDS},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_columns_and_rows_are_locusts(kind: str, written: Written) -> None:
    ours, theirs = written.ours[kind], written.locusts[kind]
    assert ours[0] == theirs[0]
    assert len(ours) == len(theirs)
    if kind != "exceptions":
        assert len(ours) > 2


def _bucket(ms: float) -> float:
    """Half of what Locust rounds a time to, and half a millisecond of our own (`locust.stats.bucket_response_time`)."""
    return 0.5 + (0.5 if ms < 100 else 5 if ms < 1000 else 50 if ms < 10000 else 500)


def test_names_and_counts_are_the_same_and_times_lie_within_locusts_rounding(written: Written) -> None:
    head = written.ours["stats"][0]
    exact = ("Request Count", "Failure Count")
    close = ("Average Response Time", "Min Response Time", "Max Response Time", "Average Content Size", "Requests/s",
             "Failures/s")  # fmt: skip
    rounded = ("Median Response Time", *head[11:])
    assert written.ours["stats"][-1][1] == "Aggregated"
    for ours, theirs in zip(written.ours["stats"][1:], written.locusts["stats"][1:], strict=True):
        mine, own = dict(zip(head, ours, strict=True)), dict(zip(head, theirs, strict=True))
        assert mine["Name"] == own["Name"]
        assert [mine[c] for c in exact] == [own[c] for c in exact]
        for column in close:
            assert float(mine[column]) == pytest.approx(float(own[column]), rel=1e-6), column
        for column in rounded:
            assert abs(float(mine[column]) - float(own[column])) <= _bucket(float(mine[column])), (column, mine["Name"])


def test_history_runs_second_by_second_with_the_same_totals(written: Written) -> None:
    head = written.ours["stats_history"][0]
    for ours, theirs in zip(written.ours["stats_history"][1:], written.locusts["stats_history"][1:], strict=True):
        mine, own = dict(zip(head, ours, strict=True)), dict(zip(head, theirs, strict=True))
        for column in ("Timestamp", "Name", "Requests/s", "Failures/s", "Total Request Count", "Total Failure Count"):
            assert mine[column] == own[column], (column, mine["Timestamp"])
        assert mine["User Count"] == "30"  # Locust knows how many there are, this script of it has none
        assert float(mine["Total Average Response Time"]) == pytest.approx(float(own["Total Average Response Time"]))
        assert abs(float(mine["95%"]) - float(own["95%"])) <= _bucket(float(mine["95%"]))


def test_failures_are_told_by_name_and_error(written: Written) -> None:
    # Locust has them in the order in which they came.
    assert written.ours["failures"][1:] == sorted(written.locusts["failures"][1:])


def test_the_planted_percentile_comes_out(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path / "run", plan(hold_s=10))
    builder.phases(steady=0, cooldown=10)
    for n in range(100):
        builder.request(n / 10, (n + 1) / 1000)
    recording = builder.close(11)
    write_csv(recording, "x")
    head, _, total = rows_of(recording.path / "locust" / "x_stats.csv")
    found = dict(zip(head, total, strict=True))
    assert (found["Request Count"], found["50%"], found["95%"], found["99%"], found["100%"]) == (
        "100", "51", "96", "100", "100",
    )  # fmt: skip
    assert float(found["Average Response Time"]) == pytest.approx(50.5)


def test_a_run_without_requests_and_a_name_that_is_a_path(tmp_path: Path) -> None:
    recording = RecordingBuilder(tmp_path / "run").close(1)
    write_csv(recording, "x")
    assert rows_of(recording.path / "locust" / "x_stats.csv")[1][:4] == ["", "Aggregated", "0", "0"]
    assert len(rows_of(recording.path / "locust" / "x_stats_history.csv")) == 1
    for name in ("a/b", "", "a\\b"):
        with pytest.raises(RecordingError, match="name without folders"):
            write_csv(recording, name)
