"""Rows that come in order of time are handed on bucket by bucket, wherever they are cut."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from harness.analysis.by_bucket import ByBucket, bucket_of


@given(moments=st.lists(st.integers(-5, 60), max_size=40).map(sorted), cuts=st.lists(st.integers(0, 40), max_size=4))
@example(moments=[-1, 3, 4, 12, 45, 45, 55], cuts=[2, 5])
def test_a_bucket_holds_the_rows_within_its_edges_whatever_the_blocks(moments: list[int], cuts: list[int]) -> None:
    edges, due = np.array([0, 10, 20, 40, 41, 50]), np.array(moments, np.int64)
    rows, found = ByBucket(edges), list[tuple[int, list[int]]]()
    for part in np.split(np.arange(len(due)), sorted(cuts)):
        found += [(number, at.tolist()) for number, (at,) in rows.add(due[part], part)]
    found += [(number, at.tolist()) for number, (at,) in rows.rest()]
    bucket = bucket_of(due, edges)
    there = range(len(edges) - 1)
    assert found == [(n, np.flatnonzero(bucket == n).tolist()) for n in there if (bucket == n).any()]
