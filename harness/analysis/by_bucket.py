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


class ByBucket:
    """Rows that come in order of time, handed on a bucket at a time."""

    def __init__(self, edges: Array) -> None:
        self.edges = edges
        self._number = -1
        self._waiting: list[tuple[Array, ...]] = []

    def add(self, due: Array, *columns: Array) -> Iterator[tuple[int, tuple[Array, ...]]]:
        """Take the next rows; yield the buckets that are complete: number and columns."""
        bucket = bucket_of(due, self.edges)
        cuts = np.flatnonzero(np.diff(bucket)) + 1
        for begin, end in zip([0, *cuts], [*cuts, len(bucket)], strict=True):
            if end == begin or bucket[begin] < 0:
                continue
            if bucket[begin] != self._number:
                yield from self.rest()
                self._number = int(bucket[begin])
            self._waiting.append(tuple(column[begin:end] for column in columns))

    def rest(self) -> Iterator[tuple[int, tuple[Array, ...]]]:
        """Yield the bucket that was begun last."""
        if self._waiting:
            yield self._number, tuple(np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting = []
