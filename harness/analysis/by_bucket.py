"""Rows that come in order of time, taken bucket by bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.analysis.frame import Array


def bucket_of(moments: Array, edges: Array) -> Array:
    """Return the bucket of each moment, -1 outside."""
    bucket = np.searchsorted(edges, moments, side="right") - 1
    return np.where((moments >= edges[0]) & (moments < edges[-1]), bucket, -1)


def cuts(moments: Array, edges: Array) -> list[tuple[int, slice]]:
    """Return which of some moments, in order of time, lie in each bucket that any lies in: number and rows."""
    first = np.searchsorted(moments, edges)
    there = np.flatnonzero(first[1:] > first[:-1])
    return [(n, slice(a, b)) for n, a, b in np.column_stack((there, first[there], first[there + 1])).tolist()]


class ByBucket:
    """Rows that come in order of time, handed on a bucket at a time."""

    def __init__(self, edges: Array) -> None:
        self.edges = edges
        self._number = -1
        self._waiting: list[tuple[Array, ...]] = []

    def add(self, due: Array, *columns: Array) -> Iterator[tuple[int, tuple[Array, ...]]]:
        """Take the next rows; yield the buckets that are complete: number and columns."""
        for number, rows in cuts(due, self.edges):
            if number != self._number:
                yield from self.rest()
                self._number = number
            self._waiting.append(tuple(column[rows] for column in columns))

    def rest(self) -> Iterator[tuple[int, tuple[Array, ...]]]:
        """Yield the bucket that was begun last."""
        if self._waiting:
            yield self._number, tuple(np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting = []
