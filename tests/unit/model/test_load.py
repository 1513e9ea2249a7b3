"""How many users a load has, planned."""

from __future__ import annotations

from typing import Any

import pytest

from tests.recordings import plan

STEPS = [{"users": 20, "hold": "60s"}, {"users": 100, "ramp": "10s", "hold": "50s"}, {"users": 0, "hold": "30s"}]


@pytest.mark.parametrize(
    ("load", "mean", "within", "users"),
    [
        ({"kind": "users", "users": 100, "spawn": "10/s", "hold": "100s"}, 95.0, (0, 10), 50.0),
        ({"kind": "users", "users": 100, "spawn": "10/s", "warmup": "5s", "hold": "100s"}, 98.75, (10, 99), 100.0),
        ({"kind": "users", "users": 100, "spawn": "0.1/s", "hold": "600s"}, 30.0, (300, 600), 45.0),
        ({"kind": "spike", "users": 100, "ramp": "60s", "hold": "60s", "warmup": "9s"}, 75.0, (39, 69), 75.0),
        ({"kind": "steps", "steps": STEPS, "warmup": "10s"}, 6800 / 150, (65, 85), (5 * 20 + 10 * 60 + 5 * 100) / 20),
        ({"kind": "steps", "steps": [{"rate": "5/s", "hold": "60s"}]}, None, (0, 60), None),
        ({"kind": "rate", "rate": "5/s", "hold": "60s"}, None, (0, 60), None),
    ],
)
def test_users_on_average(
    load: dict[str, Any], mean: float | None, within: tuple[float, float], users: float | None
) -> None:
    """The mean is that of the measured part; stretches count from the start of the load."""
    found = plan(load=load).scenario.load
    assert found.mean_users == (None if mean is None else pytest.approx(mean))
    assert found.users_within(*within) == (None if users is None else pytest.approx(users))
    assert found.users_within(5, 5) is None
