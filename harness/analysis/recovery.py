"""When service was good again: the first window of W that meets its SLO, after the first that did not.

Read stretch by stretch, no further than the answer needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.clock import NS_PER_S

if TYPE_CHECKING:
    from harness.analysis.windows import Felt, Service

ROWS = 1 << 16
"""About as many requests are held at a time, and those of two windows more."""
EARLY = 8
"""The first look at an outage is at a stretch so many times shorter."""


@dataclass(frozen=True)
class Good:
    """Service was good from a request due at `due_ns` on; the one before it was due at `before_ns` (None: there was
    none). `proof_ns`: the first from then on that the cache did not answer alone."""

    before_ns: int | None
    due_ns: int
    proof_ns: int


class Search:
    """The search in one observation, t0 to `until`, of a fault that may have been on up to `off` (ns)."""

    def __init__(self, felt: Felt, t0: int, off: int, until: int, observed: int) -> None:
        self._felt, self._t0, self._off, self._until = felt, t0, off, until
        self._window = felt.window_ns
        self._most = max(self._window, round((until - t0) * ROWS / max(1, observed)), NS_PER_S)
        self._least = max(self._most // EARLY, NS_PER_S)
        """The first stretch is as long, as outages begin to hurt at once and most are over soon; each later one twice
        as long as that before it, up to `most`."""
        self._last = until - self._window + 1
        """Windows begin before this."""

    def broken(self) -> tuple[int, int, int | None] | None:
        """Return where the first window begins that did not meet the SLO while the fault was on; None if all did.

        As (due time, how many requests due at the same moment come before it, due time of the one before it).
        """
        at, before, length = self._t0, None, self._least
        while at < min(self._last, self._off):
            end = min(at + length, self._last)
            part = self._felt.stretch(at, min(self._until, end + self._window))
            windows = part.windows(at, end + self._window - 1)
            found = np.flatnonzero(~windows.meets & (part.due[windows.first] < self._off))
            if len(found):
                return self._place(part, int(windows.first[found[0]]), before)
            rows = part.rows(at, end)
            before = int(part.due[rows.stop - 1]) if rows.stop > rows.start else before
            at, length = end, min(2 * length, self._most)
        return None

    def good(self, since: tuple[int, int, int | None]) -> Good | None:
        """Return from when on service was good again, after a window as `broken` tells it; None if never."""
        (at, skip, before), length, cut = since, self._least, False
        while True:
            end = at + length
            final = end + self._window >= self._last
            part = self._felt.stretch(at, min(self._until, end + 2 * self._window))
            windows = part.windows(at, min(end + self._window, self._last) + self._window - 1).since(skip)
            stop = None if final else part.rows(at, end).stop
            found, onward = windows.good_before(part.harmed, stop, cut=cut)
            if found is not None:
                before = int(part.due[found - 1]) if found else before
                return Good(before, int(part.due[found]), self._proof(part, found))
            if final:
                return None
            row, cut = max(onward.at, stop or 0), onward.cut
            if row >= len(part.due):  # nobody asked for longer than a window
                before = int(part.due[-1]) if len(part.due) else before
                at, skip = min(self._until, end + 2 * self._window), 0
            else:
                at, skip, before = self._place(part, row, before)
            length = min(2 * length, self._most)

    @staticmethod
    def _place(part: Service, row: int, before: int | None) -> tuple[int, int, int | None]:
        due = int(part.due[row])
        return due, row - int(np.searchsorted(part.due, due)), int(part.due[row - 1]) if row else before

    def _proof(self, part: Service, found: int) -> int:
        """A cache hit is unharmed whatever the providers do: the first request that had to call one is the proof."""
        due, row, end = int(part.due[found]), found, int(part.due[-1]) + 1
        while True:
            asked = np.flatnonzero(~part.from_cache[row:])
            if len(asked):
                return int(part.due[row + asked[0]])
            if end >= self._until:
                return due
            part, row = self._felt.stretch(end, min(self._until, end + self._most)), 0
            end += self._most
