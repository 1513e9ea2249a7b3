"""Buckets of values: as fine where many values lie as a scan needs them, found in a few nanoseconds a value."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.seeds import generator

if TYPE_CHECKING:
    from harness.analysis.frame import Array

FEWEST, MOST = 64, 4096
"""Buckets of a short and of a long recording."""
ROWS = 2048
"""Rows for which a recording has a bucket more. With fewer buckets more rows are collected, with more the tables made
for them are larger: in a recording of 10^6 rows they cost more than to go through all of it."""
_DROPPED_BITS = 12
FINE = 1 << (31 - _DROPPED_BITS)
"""The upper bits of a value's float32 are a bucket of 1/2048 of an octave (as in HdrHistogram)."""


def how_many(rows: int) -> int:
    """Return how many buckets a recording of so many rows is worth, a power of two."""
    return min(MOST, max(FEWEST, 1 << (rows // ROWS).bit_length()))


def scattered(many: int, some: int) -> Array:
    """Return about `some` of many rows, one at a random place of each stretch: every n-th would be of one sort where
    a load takes turns. Which ones changes no number, only how many rows are collected."""
    begins = np.arange(0, many, max(1, many // some))
    apart = np.diff(begins, append=many)
    return begins + (generator(many, "scattered").random(len(begins)) * apart).astype(np.intp)


def fine_bucket(values: Array) -> Array:
    """Return the fine bucket of every value, of `FINE`; all below zero are in the one of zero."""
    below = len(values) and int(values.min()) < 0
    bits = (np.maximum(values, 0) if below else values).astype(np.float32).view(np.int32)
    bits >>= _DROPPED_BITS
    return bits


def middle(bucket: Array) -> Array:
    """Return the value in the middle of fine buckets."""
    bits = (bucket.astype(np.int32) << _DROPPED_BITS) + (1 << (_DROPPED_BITS - 1))
    return bits.view(np.float32).astype(np.float64)


class Buckets:
    """About as many of the sampled values in each bucket. A larger value is never in a lower bucket.

    The last of them is for rows without a value.
    """

    def __init__(self, many: int) -> None:
        self.nowhere = many - 1
        self._counts = np.zeros(FINE, np.int64)

    def sample(self, values: Array) -> None:
        """Take values into account; all of them before the first is asked for."""
        np.add.at(self._counts, fine_bucket(values), 1)

    @cached_property
    def of_fine(self) -> Array:
        """The bucket of every fine one."""
        there = np.flatnonzero(self._counts)
        low, high = (int(there[0]), int(there[-1]) + 1) if len(there) else (0, 0)
        counts, of_fine = self._counts[low:high], np.zeros(FINE, np.uint16)
        of_fine[low:high] = (counts.cumsum() - counts) * (self.nowhere - 1) // max(1, int(counts.sum()))
        of_fine[high:] = self.nowhere - 1
        return of_fine
