"""Quantities read as people write them, and written so that they read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from harness.model.units import PerSecond, Seconds, parse_duration, parse_rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("4h", 14400),
        ("250ms", 0.25),
        ("1m30s", 90),
        ("0s", 0),
        ("1.5 s", 1.5),
        ("2min", 120),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["90", "ten s", "", "-1s", "10 parsecs", 90, 1.5, None, True, "s"])
def test_a_duration_without_its_unit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "rate"), [("1000/min", 1000 / 60), ("16.7/s", 16.7), ("50/h", 50 / 3600), ("6/m", 0.1)]
)
def test_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["1000", 1000, "1000 rpm", "/s", None])
def test_a_rate_without_its_time_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        parse_rate(text)


@given(st.floats(1e-6, 1e6))
def test_durations_and_rates_survive_a_file(value: float) -> None:
    for kind in (Seconds, PerSecond):
        adapter: TypeAdapter[float] = TypeAdapter(kind)
        assert adapter.validate_python(adapter.dump_python(value)) == pytest.approx(value, rel=1e-6, abs=1e-12)
