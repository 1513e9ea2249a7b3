"""Who answered, as the providers' own ledgers say: when answers moved to another provider, and when they moved back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.windows import Windows, running

if TYPE_CHECKING:
    from harness.analysis.frame import Array
    from harness.analysis.ledger import Calls
    from harness.analysis.timeline import Span
    from harness.analysis.windows import Felt

NEGLIGIBLE = 0.05
"""An upstream that gave less than this share of the healthy answers is not what the system fails over from."""
FAILED_BACK_SHARE = 0.95
BY_CHANCE = 1e-3
"""Answers by others count as the failover once a run of them this unlikely in healthy times has begun."""
MAJORITY_OF = 5
"""Calls in a row that decide who serves: a half-open breaker's one or two trial calls are no change of provider."""


@dataclass(frozen=True)
class PrimaryShare:
    """The ledgers' ok calls by time received, told apart by whether the primary (the faulted upstream) made them."""

    received: Array
    answered: Array
    request_id: Array
    upstream: Array
    by_others: Array
    healthy: float
    """The primary's share of ok calls in healthy times."""


def primary_share(calls: Calls, upstream: str, healthy: list[Span]) -> PrimaryShare | None:
    """Return the ok calls seen from `upstream`; None when its ledger shows no healthy answers to speak of."""
    ok = calls.ok
    received, by_others = calls.received[ok], ~calls.by(upstream)[ok]
    before = np.zeros(len(received), bool)
    for begin, end in healthy:
        before |= (received >= begin) & (received < end)
    if not before.any() or (share := 1 - float(by_others[before].mean())) < NEGLIGIBLE:
        return None
    return PrimaryShare(received, calls.answered[ok], calls.request_id[ok], calls.upstream[ok], by_others, share)


def failed_over(felt: Felt, calls: Calls, share: PrimaryShare, begin: int, end: int) -> tuple[int, int] | None:
    """Return between which moments (ns) the first request after `begin` was answered by another provider.

    The ledger's answer time is exact; a request sent any time since the previous one could have been answered that
    much earlier. Where others answer now and then in healthy times, a run of their answers has to begin that is
    unlikely (`BY_CHANCE`) to be more of the same; usually they never do, and the first answer is enough.
    """
    rows = np.flatnonzero((share.answered >= begin) & (share.answered < end))
    rows = rows[np.argsort(share.answered[rows], kind="stable")]
    elsewhere = share.by_others[rows] & (share.received[rows] >= begin)
    others = 1 - share.healthy
    run = 1 if others <= 0 else math.ceil(math.log(BY_CHANCE) / math.log(others))
    if len(elsewhere) < run:
        return None
    begins = np.flatnonzero(np.convolve(elsewhere, np.ones(run, int), "valid") == run)
    if not len(begins):
        return None
    row = rows[begins[0]]
    answered = int(share.answered[row])
    return answered - _gap_before(felt, calls, int(share.request_id[row]), begin), answered


def _gap_before(felt: Felt, calls: Calls, request_id: int, begin: int) -> int:
    """Return the ns between a request's start and the one sent before it; 0 when it was in flight at `begin`."""
    sent = [f.start[(f.numbers("request_id") == request_id) & ~f.dropped] for f in (calls.called, felt.canary)]
    start = np.concatenate(sent)
    if not len(start) or start[0] < begin:
        return 0
    earlier = felt.latest_start(begin, int(start[0]))
    return int(start[0]) - (begin if earlier is None else earlier)


def failed_back(share: PrimaryShare, begin: int, end: int, window_ns: int) -> tuple[int, int] | None:
    """Return between which moments (ns) the primary began to serve 95 % of its healthy share for a whole window."""
    rows = np.flatnonzero((share.received >= begin) & (share.received < end))
    received, by_others = share.received[rows], share.by_others[rows]
    first = np.arange(np.searchsorted(received, end - window_ns + 1))
    until = np.searchsorted(received, received[first] + window_ns)
    others = running(by_others)
    served = 1 - (others[until] - others[first]) / np.maximum(1, until - first)
    found = Windows(first, until, served >= FAILED_BACK_SHARE * share.healthy - 1e-9).good_from(by_others)
    if found is None:
        return None
    return int(received[found - 1]) if found else begin, int(received[found])


def flaps(share: PrimaryShare, begin: int, end: int) -> int:
    """Count the changes of provider between two moments (ns), by the majority of `MAJORITY_OF` calls in a row."""
    inside = share.upstream[(share.received >= begin) & (share.received < end)]
    if len(inside) < MAJORITY_OF:
        return 0
    window = np.ones(MAJORITY_OF, int)
    serving = np.argmax([np.convolve(inside == code, window, "valid") for code in np.unique(inside)], axis=0)
    return int((serving[1:] != serving[:-1]).sum())
