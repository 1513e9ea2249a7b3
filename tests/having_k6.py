"""A k6 for the tests that need one."""

from __future__ import annotations

import pytest

from harness.errors import MissingComponent
from harness.programs import K6


def k6_or_skip() -> None:
    """See that there is a k6, building it where that was never done (some minutes); skip where none can be had."""
    try:
        K6.ensure()
    except MissingComponent as error:
        pytest.skip(f"no k6: {error}")
