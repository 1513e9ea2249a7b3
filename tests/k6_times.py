"""What k6's arrivals are due at, as the recording has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.clock import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Collection


def expect_even(due_ns: Collection[Any], period_ns: int, count: int) -> None:
    """Fail unless `count` arrivals were due `period_ns` apart, which those may fall short of that began sooner.

    When k6 began is known from how soon its first arrivals were dispatched, on a busy machine to some tenths of a
    millisecond; a later one that was dispatched sooner still was due then.
    """
    due = np.sort(np.asarray(due_ns, np.int64))
    assert len(due) == count
    # From the latest beginning that arrivals show, which is the one that was taken for the true one.
    begins = due - np.arange(count) * period_ns
    early = begins.max() - begins
    assert early.max() <= NS_PER_MS / 4, early[early > 0]
    assert np.count_nonzero(early) <= count / 10, early[early > 0]
