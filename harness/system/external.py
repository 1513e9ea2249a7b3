"""A system that runs already: nothing is started, nothing is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import SystemFailed
from harness.web import get

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.model.target import Target
    from harness.system.base import Died, Journal

_TIMEOUT_S = 5.0


class External:
    """`system.base.System` for ``kind: external``. It cannot be watched: the canary and the answers tell."""

    def __init__(self, target: Target, *, directory: Path, logs: Path, journal: Journal) -> None:  # noqa: ARG002
        self._url = target.url.rstrip("/") + (target.health or "/")
        self._status: int | None = None

    def reserve(self) -> dict[str, str]:
        """Return nothing: no service is ours."""
        return {}

    def up(self, upstreams: Mapping[str, str]) -> None:  # noqa: ARG002
        """Check that the system answers HTTP at its health page, else at its URL; any status will do, because a
        system that says it is unwell may be measured too."""
        try:
            self._status, _ = get(self._url, _TIMEOUT_S)
        except OSError as error:
            raise SystemFailed(
                f"{self._url} does not answer: {error}\n  the target says 'kind: external': start the system yourself "
                "first, or correct 'url' and 'health' in the target"
            ) from error

    def watch(self) -> list[Died]:
        """Return nothing: we hold no process of it."""
        return []

    def down(self) -> None:
        """Leave it as it is."""

    def processes(self) -> dict[str, int]:
        """Return nothing: we know no process of it."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return where it was found and what it said."""
        return {"kind": "external", "url": self._url, "status": self._status}
