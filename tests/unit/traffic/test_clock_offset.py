"""The offset of another host's clock, from exchanges whose delays are planted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import clock
from harness.clock import NS_PER_S, Reference
from harness.traffic.clock_offset import DRIFT, ClockOffset, Exchange

US = 1000


def exchange(sent: int, out: int, answering: int, back: int, offset: int) -> Exchange:
    """An exchange with planted delays: way out, answering, way back; the other clock is `offset` ahead."""
    received = sent + out + offset
    return Exchange(sent, received, received + answering, sent + out + answering + back)


@given(
    st.lists(st.tuples(*[st.integers(0, 10**9)] * 3), min_size=1, max_size=100),
    st.integers(-(10**15), 10**15),
)
def test_the_truth_is_never_outside_of_what_is_claimed(delays: list[tuple[int, int, int]], offset: int) -> None:
    found = ClockOffset()
    for n, (out, answering, back) in enumerate(delays):
        found.add(exchange(n * NS_PER_S, out, answering, back, offset))
    estimate = found.estimate((len(delays) + 3) * NS_PER_S)
    assert abs(estimate.offset_ns - offset) <= estimate.uncertainty_ns


def test_the_fastest_exchange_counts_and_how_long_the_answer_took_does_not() -> None:
    found = ClockOffset()
    for out, back in ((900 * US, 20 * US), (100 * US, 110 * US), (20 * US, 5_000 * US)):
        found.add(exchange(0, out, NS_PER_S, back, 7_000))
    offset, uncertainty = found.estimate(NS_PER_S)
    assert abs(offset - 7_000) <= 5 * US
    assert uncertainty == pytest.approx(105 * US, rel=0.01)


def test_knowledge_grows_old() -> None:
    found = ClockOffset()
    found.add(exchange(0, 10 * US, 0, 10 * US, 0))
    then = found.estimate(20 * US).uncertainty_ns
    later = found.estimate(20 * US + 100 * NS_PER_S).uncertainty_ns
    assert later - then == pytest.approx(100 * NS_PER_S * DRIFT, rel=0.01)
    found.add(exchange(100 * NS_PER_S, 500 * US, 0, 500 * US, 9))
    assert found.estimate(100 * NS_PER_S).offset_ns == 9, "a slow exchange that is fresh beats a fast one that is old"


def test_nothing_is_known_before_the_first_exchange() -> None:
    with pytest.raises(ValueError, match="empty"):
        ClockOffset().estimate(0)


def test_a_reference_is_slewed_never_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [5 * NS_PER_S]
    monkeypatch.setattr(clock, "own_ns", lambda: own[0])
    reference = Reference(1_000 * NS_PER_S)
    assert reference.now_ns() == 1_005 * NS_PER_S
    reference.steer(1_000 * NS_PER_S - 200 * US)
    seen = []
    for _ in range(30):
        seen.append(reference.now_ns())
        own[0] += NS_PER_S // 10
    assert seen == sorted(seen)
    assert reference.offset_ns == 1_000 * NS_PER_S - 200 * US, "reached after a second, and not overshot after three"
    reference.steer(2_000 * NS_PER_S)
    own[0] += 10 * NS_PER_S
    assert reference.offset_ns == 1_000 * NS_PER_S - 200 * US + 500 * US, "half a millisecond in a second at most"
