"""Windows of service and the change point inside them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.windows import Service, Windows, slow_allowed, tail


def windows(harmed: list[int], size: int, allowed: int) -> Windows:
    """Return windows of `size` observations that meet when at most `allowed` are harmed."""
    first = np.arange(max(0, len(harmed) - size + 1))
    meets = np.array([sum(harmed[i : i + size]) <= allowed for i in first], bool)
    return Windows(first, first + size, meets)


def test_the_tail_of_an_outage_ends_at_the_change_point() -> None:
    assert tail(np.array([], bool)) == 0
    assert tail(np.array([0, 0, 0, 0], bool)) == 0
    assert tail(np.array([1, 1, 1, 0, 0, 0], bool)) == 3
    assert tail(np.array([1, 0, 1, 0, 1, 0, 0, 0], bool)) == 5, "every other one harmed is still the outage"
    assert tail(np.array([0, 0, 0, 0, 0, 1, 0, 0], bool)) == 0, "one slow request far into good service is no tail"
    mixed = np.array([1, 1, 1] + 10 * [0, 1, 0], bool)
    assert (tail(mixed), tail(mixed, 0.5)) == (32, 3), "where a third of good service is harmed, more of it has to be"


def test_recovery_begins_behind_the_tail_not_where_the_window_first_tolerates_it() -> None:
    harmed = [1] * 30 + [0] * 40
    found = windows(harmed, size=20, allowed=2)
    assert int(found.first[found.meets][0]) == 28
    assert found.good_from(np.array(harmed, bool)) == 30


def test_a_window_behind_the_tail_must_meet_too() -> None:
    harmed = [1] * 10 + [0] * 15 + [1] * 9 + [0] * 30
    assert windows(harmed, size=20, allowed=2).good_from(np.array(harmed, bool)) == 34


def test_no_good_window_is_none() -> None:
    assert windows([1] * 50, 20, 2).good_from(np.ones(50, bool)) is None
    assert windows([0] * 5, 20, 2).good_from(np.zeros(5, bool)) is None, "shorter than one window"


@given(st.integers(0, 60), st.integers(40, 80), st.integers(1, 3))
def test_a_clean_cut_is_found_exactly(bad: int, good: int, allowed: int) -> None:
    harmed = [1] * bad + [0] * good
    assert windows(harmed, 40, allowed).good_from(np.array(harmed, bool)) == bad


@given(st.lists(st.booleans(), min_size=1, max_size=120), st.integers(1, 30), st.integers(0, 5))
def test_what_is_found_meets_and_begins_unharmed(harmed: list[bool], size: int, allowed: int) -> None:
    flags, allowed = [int(h) for h in harmed], min(allowed, size // 5)
    found = windows(flags, size, allowed).good_from(np.array(harmed, bool))
    if found is not None:
        assert sum(flags[found : found + size]) <= allowed
        assert not harmed[found]


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 0.2), st.floats(0, 0.05)), min_size=1))
def test_a_stretch_meets_as_the_binomial_says_also_where_it_is_not_asked(told: list[tuple[int, float, float]]) -> None:
    """Where no more are slow than p95's share, they are always allowed; nothing is worked out for these."""
    sizes = np.array([n for n, _, _ in told])
    slow = np.array([round(n * share) for n, share, _ in told])
    bad = np.array([round(n * share) for n, _, share in told])
    until = np.cumsum(sizes)
    flags = [
        np.concatenate([np.arange(n) < k for n, k in zip(sizes, some, strict=True)]) for some in (slow, bad)
    ]  # fmt: skip
    service = Service(np.arange(until[-1]), ~flags[1], flags[0], np.zeros(until[-1], bool), 0.97, 1)
    expected = (sizes - bad >= 0.97 * sizes - 1e-9) & (slow <= slow_allowed(sizes))
    assert service.meets(until - sizes, until).tolist() == expected.tolist()
