"""What the exports are made of, in these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli_export import _source
from harness.export.derive import hand_over
from harness.export.signals import HandOver
from harness.export.source import Source
from tests.unit.export.planted import planted


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="session")
def source(recording: Path) -> Source:
    return _source(recording, 1.5)


@pytest.fixture
def found(source: Source) -> HandOver:
    return hand_over([source])
