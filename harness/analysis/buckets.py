"""Buckets of values: as fine where many values lie as a scan needs them, found in a few nanoseconds a value."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from harness.analysis.frame import Array

BUCKETS = 4096
NOWHERE = BUCKETS - 1
"""The bucket of rows without a value."""
_DROPPED_BITS = 12
FINE = 1 << (31 - _DROPPED_BITS)
"""The upper bits of a value's float32 are a bucket of 1/2048 of an octave (as in HdrHistogram)."""


def fine(values: Array) -> Array:
    """Return the fine bucket of every value, of `FINE`; all below zero are in the one of zero."""
    bits = np.maximum(values, 0).astype(np.float32).view(np.int32)
    bits >>= _DROPPED_BITS
    return bits


def middle(bucket: Array) -> Array:
    """Return the value in the middle of fine buckets."""
    bits = (bucket.astype(np.int32) << _DROPPED_BITS) + (1 << (_DROPPED_BITS - 1))
    return bits.view(np.float32).astype(np.float64)


class Buckets:
    """About as many of the sampled values in each bucket. A larger value is never in a lower bucket."""

    def __init__(self) -> None:
        self._counts = np.zeros(FINE, np.int64)

    def sample(self, values: Array) -> None:
        """Take values into account; all of them before the first is asked for."""
        self._counts += np.bincount(fine(values), minlength=FINE)

    @cached_property
    def _bucket(self) -> Array:
        below = np.cumsum(self._counts) - self._counts
        return (below * (NOWHERE - 1) // max(1, int(self._counts.sum()))).astype(np.intp)

    def of(self, values: Array) -> Array:
        """Return the bucket of every value; all below zero are in the one of zero."""
        return self._bucket.take(fine(values))
