"""Finding one's way on the page: what sections a finished body has, and which of several places is on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterable

_SECTION = re.compile(r'<section id="([^"]+)"[^>]*>\s*<h2>(.*?)</h2>', re.DOTALL)
_ID = re.compile(r'\sid="([^"]+)"')


def contents(body: str) -> list[tuple[str, Markup]]:
    """Return (id, heading) of every section of `body`, in order: whatever blocks a report has, they are found."""
    # The headings come from the body, which is escaped already.
    return [(found, Markup(heading)) for found, heading in _SECTION.findall(body)]  # noqa: S704


def first_of(places: Iterable[str], body: str) -> str:
    """Return the first of the ids `places` that is in `body`; empty when none is."""
    there = set(_ID.findall(body))
    return next((place for place in places if place in there), "")
