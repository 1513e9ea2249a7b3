"""What several contract suites need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.faults.toxiproxy import Toxiproxy
from harness.faults.toxiproxy_server import ToxiproxyServer


@pytest.fixture
def api(server: ToxiproxyServer) -> Iterator[Toxiproxy]:
    """The API of the suite's own `server`; whatever proxies a test makes are gone after it."""
    api = Toxiproxy(server.address)
    yield api
    for name in api.names():
        api.delete(name)
