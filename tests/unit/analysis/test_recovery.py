"""The search for the recovery reads stretch by stretch: how long these are must not matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.analysis import recovery
from harness.analysis.recovery import Search
from harness.analysis.windows import Felt, Service, tail

if TYPE_CHECKING:
    from collections.abc import Sequence

SECOND = 10**9
WINDOW = 4 * SECOND
GOOD_SHARE = 0.7

row = st.fixed_dictionaries(
    {
        "gap": st.sampled_from([0, SECOND // 3, SECOND, 3 * SECOND // 2, 2 * SECOND, 3 * SECOND, 7 * SECOND]),
        "good": st.sampled_from([True, True, False]),
        "slow": st.booleans(),
        "cached": st.booleans(),
    }
)


@dataclass
class Series:
    """What `Search` asks of `Felt`, of requests given row by row."""

    rows: Sequence[dict[str, Any]]
    window_ns: int = WINDOW

    def __post_init__(self) -> None:
        self.due = np.cumsum([r["gap"] for r in self.rows])
        self.good, self.slow, self.cached = (np.array([r[k] for r in self.rows]) for k in ("good", "slow", "cached"))

    def stretch(self, begin_ns: int, end_ns: int) -> Service:
        mine = slice(*np.searchsorted(self.due, (begin_ns, end_ns)))
        of = (self.due[mine], self.good[mine], self.slow[mine], self.cached[mine])
        return Service(*of, good_share=GOOD_SHARE, window_ns=self.window_ns)


def found(series: Series, off: int, until: int) -> tuple[int, int | None, int, int] | None:
    """Return (where the first window that does not meet begins, before, due, proof) as `Search` finds it."""
    search = Search(cast("Felt", series), 0, off, until, len(series.rows))
    broken = search.broken()
    good = None if broken is None else search.good(broken)
    return None if broken is None or good is None else (broken[0], good.before_ns, good.due_ns, good.proof_ns)


def truth(series: Series, off: int, until: int) -> tuple[int, int | None, int, int] | None:
    """Return the same, window by window over all requests at once."""
    whole = series.stretch(0, until)
    due, windows = whole.due.tolist(), whole.windows(0, until)
    meets, ends, many = windows.meets.tolist(), windows.until.tolist(), len(windows.meets)
    broken = next((i for i in range(many) if not meets[i] and due[i] < off), None)
    at = many if broken is None else broken
    while at < many:
        if not meets[at]:
            at += 1
            continue
        behind = at + tail(whole.harmed[at : ends[at]])
        if behind < many and meets[behind]:
            asked = [due[i] for i in range(behind, len(due)) if not whole.from_cache[i]]
            before = due[behind - 1] if behind else None
            return due[broken or 0], before, due[behind], asked[0] if asked else due[behind]
        at = max(behind, at + 1)
    return None


TAIL = [(0, 0), (0, 1), (0, 0), (3, 0), (3, 1), (3, 0), (0, 0), (2, 1), (6, 0), (0, 0)]
"""(half seconds since the one before, slow): the tail of a window in one stretch ends behind the last window of it."""


@example(
    rows=[{"gap": gap * SECOND // 2, "good": True, "slow": bool(slow), "cached": False} for gap, slow in TAIL],
    of_all=1,
    early=8,
    off=1.0,
    until=1.0,
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(row, min_size=1, max_size=70),
    of_all=st.sampled_from([1, 3, 8, 1000]),
    early=st.sampled_from([1, 2, 8]),
    off=st.sampled_from([0.3, 1.0]),
    until=st.sampled_from([0.8, 1.0]),
)
def test_the_recovery_found_does_not_depend_on_how_much_is_read_at_a_time(
    monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], of_all: int, early: int, off: float, until: float
) -> None:
    monkeypatch.setattr(recovery, "ROWS", of_all)
    monkeypatch.setattr(recovery, "EARLY", early)
    monkeypatch.setattr(recovery, "NS_PER_S", 1)
    series = Series(rows)
    end = int(series.due[-1] * until) + 1
    assert found(series, int(end * off), end) == truth(series, int(end * off), end)
