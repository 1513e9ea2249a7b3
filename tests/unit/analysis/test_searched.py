"""A search for capacity is not held against its instrument for what it is there for; a bad instrument still is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.analysis import analyse
from harness.model.findings import Validity
from tests.recordings import RecordingBuilder, plan

LOAD = {"kind": "capacity", "min": "5/s", "max": "50/s", "budget": "60s", "hold": "5s"}
Story = Callable[[RecordingBuilder], object]


def validity(path: Path, story: Story, **load: object) -> Validity:
    builder = RecordingBuilder(path, plan(load={**LOAD, **load}, slo={"good_share": 0.9}))
    builder.phases(steady=0, cooldown=60)
    for i in range(60):
        builder.request(i)
        builder.request(i + 0.5, canary=True)
    story(builder)
    return analyse(builder.close(61))[0].validity


def level(builder: RecordingBuilder, number: int, begin_s: float, end_s: float, *, by_generator: bool = False) -> None:
    about = {"state": "healthy", "level": number, "rate": 10.0 * number}
    builder.event(begin_s, "capacity", "level", **about)
    outcome = "unsettled" if by_generator else "saturated"
    why = "the load generator was at its limit: w0 used 90% of a core (limit 60%)" if by_generator else "too much"
    builder.event(end_s, "capacity", "level_ended", **about, outcome=outcome, why=why, by_generator=by_generator)


def ended(builder: RecordingBuilder, meets: float | None, misses: float | None, reason: str) -> None:
    builder.event(59, "capacity", "state_ended", state="healthy", meets=meets, misses=misses, reason=reason, why="")


def test_dropped_requests_are_the_systems_doing(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.instrument(0, 60)
        level(builder, 1, 0, 20)
        builder.request(19, outcome="dropped")

    found = validity(tmp_path, story)
    assert found.valid, found.reasons
    assert found.instrument["dropped"] == 1


def test_a_level_beyond_the_generator_is_told_and_left_out(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.instrument(0, 40)
        builder.instrument(41, 60, cpu=0.9, lateness_p99_ms=90.0)
        level(builder, 1, 0, 40)
        level(builder, 2, 41, 60, by_generator=True)
        ended(builder, 10.0, None, "max_reached")

    found = validity(tmp_path, story)
    assert found.valid, found.reasons
    assert any("Level 2 of state healthy (20/s) says nothing about the system" in note for note in found.notes)
    assert found.instrument["cpu_sustained"] == 0.25


def test_a_generator_that_was_busy_all_along_is_still_found(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.instrument(0, 60, cpu=0.9)
        level(builder, 1, 0, 40)

    assert any("used 90% of a core" in reason for reason in validity(tmp_path, story).reasons)


def test_a_generator_that_could_make_no_level_is_no_instrument(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.instrument(0, 60)
        level(builder, 1, 41, 60, by_generator=True)
        ended(builder, None, None, "min_misses")

    assert any("could not make even the lowest rate" in reason for reason in validity(tmp_path, story).reasons)


def test_a_search_that_ran_out_of_time_says_so(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.instrument(0, 60)
        ended(builder, 10.0, 20.0, "budget")

    found = validity(tmp_path, story)
    assert "The search in state healthy is not finished: its share of the budget was spent." in found.notes
