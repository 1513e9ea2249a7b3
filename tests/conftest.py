"""Quick tests run first, and every test has its own place for journals: no test sees another's faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Nothing is asserted in seconds: machines are shared.
settings.register_profile("agentstorm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("agentstorm")

pytest_plugins = ["pytester"]  # the tests of our own pytest plugin run pytest

ORDER = ("unit", "test_architecture", "test_content", "test_wheel", "test_benchmarks", "contract", "calibrate", "e2e")
TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-docs", action="store_true", help="measure what docs/ shows of it, and rewrite that")


def _alone(item: pytest.Item) -> bool:
    """Tell whether a test of real components wants the machine to itself: it measures, or compares to the millisecond.
    Contract suites do neither, but for the one that holds two Toxiproxies against each other."""
    real = any(item.get_closest_marker(name) for name in ("real", "slow"))
    return real and ("contract" not in item.path.parts or item.path.name == "test_toxiproxy_same.py")


def _rank(item: pytest.Item) -> int:
    first = item.path.relative_to(TESTS).parts[0].removesuffix(".py")
    return ORDER.index(first) if first in ORDER else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_rank)
    for item in filter(_alone, items):
        item.add_marker("alone")


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal folder of this test's own, for it and all processes it starts."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("AGENTSTORM_STATE", str(folder))
    return folder
