"""Use of processes and containers, held against their limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import analyse
from harness.model.findings import Resources, Usage
from tests.recordings import RecordingBuilder, plan

Story = Callable[[RecordingBuilder], object]


def resources(path: Path, story: Story) -> dict[str, Resources]:
    """Return the findings of a run measured from 0 to 60 s, after a warm-up of 5 s."""
    builder = RecordingBuilder(path, plan(hold_s=60, warmup_s=5))
    builder.phases(warmup=-5, steady=0, cooldown=60)
    builder.request(1)
    story(builder)
    return analyse(builder.close(61))[0].resources


def test_a_container_has_every_figure_and_its_limits(tmp_path: Path) -> None:
    found = resources(tmp_path, lambda b: b.container("redis", range(-6, 60), restarts=2))

    def flat(value: float) -> Usage:
        return Usage(mean=value, p95=value, max=value)

    assert found == {
        "redis": Resources(
            cpu=flat(0.25), memory_mib=flat(64), net=flat(30), net_in=flat(10), net_out=flat(20), pids=flat(8),
            cpu_of_limit=flat(0.5), memory_of_limit=flat(0.25), throttled=flat(0),
            cpu_limit=0.5, memory_limit_mib=256, restarts=2,
        )
    }  # fmt: skip


def test_a_process_has_no_limits(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        for second in range(60):
            builder.sample(second, "process:gateway", "cpu", 0.5)

    used = Usage(mean=0.5, p95=0.5, max=0.5)
    assert resources(tmp_path, story) == {"gateway": Resources(cpu=used, memory_mib=None, net=None)}


def test_only_the_measured_part_counts(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.container("redis", range(-5, 0), cpu=0.5)
        builder.container("redis", range(60))
        builder.container("redis", range(60, 65), cpu=0.5, restarts=1)
        builder.container("gone", range(-5, 0))

    found = resources(tmp_path, story)
    assert set(found) == {"redis"}
    assert found["redis"].cpu == Usage(mean=0.25, p95=0.25, max=0.25)
    assert found["redis"].restarts == 0


def test_limits_are_those_at_the_beginning_and_a_change_is_told(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.container("first", range(-5, 20), cpu_limit=1.0)
        builder.container("first", range(20, 60), cpu_limit=0.25)  # says its memory limit again: no other, no change
        builder.container("late", range(10, 60), cpu_limit=2.0)
        builder.container("warm", range(-5, -3), cpu_limit=4.0)
        builder.container("warm", range(-3, 60), cpu_limit=3.0)

    found = resources(tmp_path, story)
    assert {name: used.cpu_limit for name, used in found.items()} == {"first": 1.0, "late": 2.0, "warm": 3.0}
    assert {name: used.limits_changed for name, used in found.items()} == {"first": ("cpu",), "late": (), "warm": ()}


@pytest.mark.parametrize(
    ("use", "saturated"),
    [
        ({"cpu": 0.39}, ()),
        ({"cpu": 0.4}, ("cpu",)),
        ({"throttled": 0.09}, ()),
        ({"throttled": 0.1}, ("throttled",)),
        ({"memory_mib": 229}, ()),
        ({"memory_mib": 231}, ("memory",)),
        ({"cpu": 0.5, "throttled": 0.6, "memory_mib": 255}, ("cpu", "throttled", "memory")),
    ],
)
def test_who_is_at_a_limit(tmp_path: Path, use: dict[str, Any], saturated: tuple[str, ...]) -> None:
    found = resources(tmp_path, lambda b: b.container("agents-1", range(60), **use))
    assert found["agents-1"].saturated == saturated


def test_a_short_peak_of_cpu_is_no_limit_and_one_of_memory_is(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.container("agents-1", range(58))
        builder.container("agents-1", range(58, 60), cpu=0.5, throttled=1.0, memory_mib=250)

    assert resources(tmp_path, story)["agents-1"].saturated == ("memory",)


def test_one_that_was_only_seen_restarting_is_told_of(tmp_path: Path) -> None:
    found = resources(tmp_path, lambda b: b.sample(30, "container:agents-1", "restarts", 7))
    assert found == {"agents-1": Resources(cpu=None, memory_mib=None, net=None, restarts=7)}
