"""Values of checks are said as the report's tables say them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.evidence import Case, evidence_for
from harness.model.estimate import Estimate
from harness.model.threshold import parse_threshold
from harness.report import units
from harness.wording import quantity
from tests.unit.advice.builders import capacity


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.99972, "share", "99.972 %"),
        (0.9999, "share", "99.99 %"),
        (0.05, "share", "5 %"),
        (1.0, "share", "100 %"),
        (10_240.0, "ms", "10.2 s"),
        (999.7, "ms", "1 s"),
        (150.0, "s", "2 min 30 s"),
        (1500.0, "x", "1,500x"),
        (1500.0, "per_s", "1,500/s"),
        (0.25, "MiB/h", "0.25 MiB/h"),
        (3.0, "count", "3"),
        (2.5, "count", "2.5"),
    ],
)
def test_a_value_is_said_as_in_the_table(value: float, unit: str, said: str) -> None:
    assert quantity(value, unit) == said
    if unit in ("share", "ms", "s"):
        assert said == units.say(value, unit).replace(units.SPACE, " ")


def test_thousands_of_users_are_no_power_of_ten() -> None:
    found = capacity()
    state = found.states[0]
    many = Estimate(value=1500, low=1400, high=1600, n=5)
    state = state.model_copy(update={"capacity": state.capacity.model_copy(update={"users": many})})
    measure: Any = None
    case = Case(
        parse_threshold("capacity", "users>1200"), measure, (), capacity=found.model_copy(update={"states": (state,)})
    )
    assert evidence_for(case).said == "the system carries 1,500 users within its SLO in state healthy; limit 1,200"
