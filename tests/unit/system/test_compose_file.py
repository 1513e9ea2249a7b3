"""What is read of a Compose file."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import PlanError
from harness.system.compose_file import services_in

TAGGED = """
x-base: &base
  restart: "no"
services:
  app:
    <<: *base
    image: !override app:2
    ports: !reset []
    environment: !override
      A: b
      C: !reset null
  db: !override
    image: redis:7
"""


def test_tags_of_composes_own_are_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text(TAGGED)
    assert services_in(tmp_path / "compose.yml") == {
        "app": {"restart": "no", "image": "app:2", "ports": [], "environment": {"A": "b", "C": "null"}},
        "db": {"image": "redis:7"},
    }


@pytest.mark.parametrize("text", ["", "services: []", "services: !reset null", "a: [", "services: {a: 1}"])
def test_what_is_no_compose_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "compose.yml").write_text(text)
    with pytest.raises(PlanError, match="is no Compose file"):
        services_in(tmp_path / "compose.yml")
