"""A system that runs already: nothing is started, nothing is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from harness.errors import FaultFailed, SystemFailed
from harness.web import get

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.model.plan import Plan
    from harness.system.base import Died, Journal

_TIMEOUT_S = 5.0


class External:
    """`system.base.System` for ``kind: external``. It cannot be watched: the canary and the answers tell."""

    offers: ClassVar[frozenset[str]] = frozenset({"http"})

    def __init__(
        self,
        plan: Plan,
        *,
        run_id: int,
        logs: Path,
        journal: Journal,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._url = plan.target.url.rstrip("/") + (plan.target.health or "/")
        self._status: int | None = None

    def reserve(self) -> dict[str, str]:
        """Return nothing: no service is ours."""
        return {}

    def carrier(self, check: Callable[[], None] = lambda: None) -> None:
        """Return nothing: the system is there already, whatever it is made of."""

    def up(self, upstreams: Mapping[str, str], check: Callable[[], None] = lambda: None) -> None:
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

    def control(self, service: str) -> NoReturn:
        """FaultFailed: no service is ours to break."""
        raise FaultFailed(f"{service} is not ours to break: the system was running before us")

    def containers(self) -> dict[str, str]:
        """Return nothing: we know no container of it."""
        return {}

    def processes(self) -> dict[str, int]:
        """Return nothing: we know no process of it."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return where it was found and what it said."""
        return {"kind": "external", "url": self._url, "status": self._status}
