"""Filling in ``${...}`` in a target's commands, environment and addresses. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.errors import PlanError
from harness.model.base import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PLACE = re.compile(r"\$\{(?P<name>[^${}]*)\}")


def names_in(text: str) -> list[str]:
    """Return the names that ``${...}`` places in `text` ask for."""
    return [match["name"] for match in _PLACE.finditer(text)]


def check(text: str, known: Iterable[str], *, where: str = "") -> None:
    """Raise PlanError when `text` asks for a name that is not in `known`, or holds a ``${`` that never closes."""
    known = tuple(known)
    for name in names_in(text):
        if name not in known:
            raise PlanError(
                f"{text!r}: unknown name ${{{name}}}",
                where=where,
                hint=nearest(name, known) + "known: " + (", ".join(f"${{{k}}}" for k in known) or "none"),
            )
    if "${" in _PLACE.sub("", text):
        raise PlanError(f"{text!r}: '${{' without a name and '}}'", where=where, hint="as in ${services.NAME}")


def fill(text: str, values: Mapping[str, str], *, where: str = "") -> str:
    """Return `text` with every ``${name}`` replaced by its value; PlanError as in `check`."""
    check(text, values, where=where)
    return _PLACE.sub(lambda match: values[match["name"]], text)


def addresses(
    services: Mapping[str, str], upstreams: Mapping[str, str] | None = None, direct: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the values of ``${services.NAME}``, ``${upstreams.NAME}`` and ``${direct.NAME}`` (an upstream past its
    fault proxy) for these ``host:port`` addresses."""
    kinds = {"services": services, "upstreams": upstreams or {}, "direct": direct or {}}
    return {f"{kind}.{name}": at for kind, found in kinds.items() for name, at in found.items()}
