"""What a target may say of its system."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harness.model.target import Service


def test_numbers_in_an_environment_are_texts() -> None:
    env = {"AGENTS_CPUS": 0.25, "COPIES": 3, "PROFILE": "happyos"}
    service = Service.model_validate({"command": ["x"], "env": env})
    assert service.env == {"AGENTS_CPUS": "0.25", "COPIES": "3", "PROFILE": "happyos"}
    with pytest.raises(ValidationError, match="string"):
        Service.model_validate({"command": ["x"], "env": {"DEBUG": True}})  # "true", "True" or "1": who knows
