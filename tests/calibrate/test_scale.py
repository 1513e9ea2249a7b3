"""Planted percentiles are found exactly in a recording of many row groups, and its report needs little memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import report_scale, synthetic
from harness.analysis import analyse
from harness.model.findings import Group
from harness.recording.reader import Recording


@pytest.mark.slow
def test_every_percentile_of_a_synthetic_recording_is_numpys(tmp_path: Path) -> None:
    synthetic.write(tmp_path / "r", 600_000, seed=3)
    truth = synthetic.Truth.of(600_000)
    recording = Recording.open(tmp_path / "r")
    load = analyse(recording)[0].load
    table = recording.requests
    due, end = (table.column(f"{name}_ns").to_numpy() for name in ("due", "end"))
    names, agents = (np.array(table.column(column).to_pylist()) for column in ("name", "agent"))
    measured = (due >= synthetic.ZERO_NS) & (due < synthetic.ZERO_NS + round(truth.length_s * 1e9))
    last_ns = max([int(end.max()), *(event.t_ns for event in recording.events)])
    response = np.where(end < 0, last_ns, end) - due
    groups: list[tuple[Any, Group]] = [(measured, load)]
    groups += [(measured & (names == word), load.by["name"][word]) for word in np.unique(names)]
    groups += [(measured & (agents == word), load.by["agent"][word]) for word in np.unique(agents)]
    for chosen, group in groups:
        for percent, found in ((50, group.response_ms.p50), (95, group.response_ms.p95), (99, group.response_ms.p99)):
            assert found.n == chosen.sum()
            assert found.value == np.percentile(response[chosen], percent) / 1e6
            assert found.low is not None
            assert found.value is not None
            assert found.low <= found.value
        answered = chosen & (end >= 0)
        assert group.service_ms.p95.value == np.percentile((end - due)[answered], 95) / 1e6


@pytest.mark.slow
def test_the_planted_outages_are_found_and_memory_stays_small() -> None:
    found = report_scale.measure([300_000], repeats=1)
    assert found["report"]["3e5"]["rss_mib"] < 512
    assert found["report"]["3e5"]["to_one_query"] > 0
    assert 8 < found["bytes_per_row"] < 24
