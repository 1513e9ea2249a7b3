"""Numbers as a person would say them."""

# ruff: noqa: RUF001 - typographic dashes are what is tested

from __future__ import annotations

import math

import pytest

from harness.model.findings import Estimate
from harness.report import units


def said(text: str) -> str:
    return text.replace(units.SPACE, " ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.0551, "0.0551"), (0.12345, "0.123"), (3.4, "3.4"), (3.456, "3.46"), (99.96, "100"),
        (999.6, "1,000"), (1234.5, "1,230"), (18_249, "18,200"), (-0.3333, "−0.333"), (math.nan, "–"), (math.inf, "–"),
    ],
)  # fmt: skip
def test_three_significant_digits_and_never_an_exponent(value: float, text: str) -> None:
    assert units.three(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.0, "0 s"), (12e-6, "12 µs"), (0.34, "340 ms"), (0.9996, "1 s"), (3.4, "3.4 s"), (75, "75 s"),
        (120, "2 min"), (290, "4 min 50 s"), (3599.8, "1 h"), (14_400, "4 h"), (7_500, "2 h 5 min"),
    ],
)  # fmt: skip
def test_times_in_the_unit_a_person_would_say(value: float | None, text: str) -> None:
    assert said(units.seconds(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.0, "0 %"), (1.0, "100 %"), (0.27, "27 %"), (0.99999, "99.999 %"), (0.9999999, "99.999 %"),
        (0.000001, "< 0.001 %"), (0.0048, "0.48 %"),
    ],
)  # fmt: skip
def test_almost_all_is_never_said_to_be_all(value: float | None, text: str) -> None:
    assert said(units.share(value)) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (3100, 3900, "3.1 – 3.9 s"), (940, 1110, "940 ms – 1.11 s"), (None, 5000, "up to 5 s"),
        (2400, None, "2.4 s or more"), (None, None, ""), (318, 318, "318 ms"),
    ],
)  # fmt: skip
def test_intervals_say_their_unit_once_and_admit_an_open_side(low: float, high: float, text: str) -> None:
    assert said(units.between(low, high, "ms")) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(100, 130, "100 s – 2 min 10 s"), (3540, 3900, "59 min – 1 h 5 min"), (121, 125, "2 min 1 s – 2 min 5 s"),
     (120, 180, "2 – 3 min")],
)  # fmt: skip
def test_a_unit_is_left_out_only_where_it_is_the_only_one(low: float, high: float, text: str) -> None:
    assert said(units.between(low, high, "s")) == text


def test_what_evidence_supports_is_never_rounded_up() -> None:
    assert [units.supported(share) for share in (0.8985, 0.36840, 1.0, 0.0)] == [0.898, 0.368, 1.0, 0.0]


def test_an_estimate_carries_its_interval() -> None:
    assert said(units.estimate(Estimate(value=0.021, low=0.018, high=0.024, n=900), "share")) == "2.1 % (1.8 – 2.4 %)"
    assert units.estimate(Estimate(value=None, low=None, high=None, n=0), "ms") == units.NONE


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("ms", "3 ms"),
        ("s", "3 s"),
        ("count", "3"),
        ("per_s", "3 /s"),
        ("x", "3 ×"),
        ("share", "300 %"),
        ("MiB", "3 MiB"),
    ],
)
def test_every_unit_of_a_threshold_can_be_said(unit: str, text: str) -> None:
    assert said(units.say(3, unit)) == text
    assert units.say(None, unit) == units.NONE


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0:00"), (65, "1:05"), (-10, "−0:10"), (3720, "1:02:00"), (-0.2, "0:00")]
)
def test_moments_on_the_axis(value: float, text: str) -> None:
    assert units.clock(value) == text


def test_memory_and_counts() -> None:
    assert said(units.mib(187.3)) == "187 MiB"
    assert said(units.mib(32_000)) == "31.2 GiB"
    assert units.mib(None) == units.NONE
    assert [units.plural(n, "flap") for n in (0, 1, 1200)] == ["0 flaps", "1 flap", "1,200 flaps"]
