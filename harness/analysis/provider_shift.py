"""Who answered, as the providers' own ledgers say: when answers moved to another provider, and when they moved back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, special

from harness.analysis.windows import CHANGE_DRIFT, Windows, allowed, running
from harness.model.request import UNKNOWN

if TYPE_CHECKING:
    from harness.analysis.frame import Array
    from harness.analysis.ledger import Calls
    from harness.analysis.timeline import Span
    from harness.analysis.windows import Felt

NEGLIGIBLE = 0.05
"""An upstream that gave less than this share of the healthy answers is not what the system fails over from."""
FAILED_BACK_SHARE = 0.95
BY_CHANCE = 1e-3
"""Answers by others are no mix of healthy times any more once a run of them this unlikely in it has begun."""
NOT_YET = 0.025
"""The first answers by others of a failover, and the last before the primary is seen again, may be healthy times' own,
up to a run this unlikely in them. That one of `BY_CHANCE` among those is taken for the outage's is about as likely
again: 95 % in all."""
_MOSTLY = 0.5
"""A system that passes request ids on to others does so with more than this share of what they answer."""
MAJORITY_OF, AT_MOST = 5, 25
"""Calls in a row whose majority decides who serves: a half-open breaker's one or two trial calls are no change of
provider. More of them where others answer now and then in healthy times; where `AT_MOST` could be such a mix, nobody
can tell a change of provider from it."""


@dataclass(frozen=True)
class PrimaryShare:
    """The ledgers' ok calls by time received, told apart by whether the primary (the faulted upstream) made them."""

    received: Array
    answered: Array
    request_id: Array
    by_others: Array
    healthy: float
    """The primary's share of ok calls in healthy times."""

    @property
    def others(self) -> float:
        """The share of the others in healthy times."""
        return 1 - self.healthy


def primary_share(calls: Calls, upstream: str, healthy: list[Span]) -> PrimaryShare | None:
    """Return the ok calls seen from `upstream`; None when its ledger shows no healthy answers to speak of."""
    ok = calls.ok
    received, by_others = calls.received[ok], ~calls.by(upstream)[ok]
    before = np.zeros(len(received), bool)
    for begin, end in healthy:
        before |= (received >= begin) & (received < end)
    if not before.any() or (share := 1 - float(by_others[before].mean())) < NEGLIGIBLE:
        return None
    return PrimaryShare(received, calls.answered[ok], calls.request_id[ok], by_others, share)


def _run(others: float, chance: float) -> int:
    """Return how many answers in a row by others are as unlikely as `chance` in healthy times."""
    return 1 if others <= 0 else math.ceil(math.log(chance) / math.log(others))


def _unlikely(by_others: Array, others: float, chance: float = BY_CHANCE) -> Array:
    """Return where runs of answers by others begin that are so unlikely to be the mix of healthy times."""
    run = _run(others, chance)
    if len(by_others) < run:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.convolve(by_others, np.ones(run, int), "valid") == run)


def failed_over(felt: Felt, calls: Calls, share: PrimaryShare, begin: int, end: int) -> tuple[int, int] | None:
    """Return between which moments (ns) the first request after `begin` was answered by another provider.

    The ledger's answer time is exact; a request sent any time since the previous one could have been answered that
    much earlier.

    Where others answer in healthy times, too, theirs are all the answers there are while the primary is gone. So there
    it is requests that are looked at, in the order they were sent, the unanswered as well: the failover begins with a
    run of them that others alone answered and that is unlikely to be the mix of healthy times, anywhere in the outage
    (`BY_CHANCE`). Its first few may still be of that mix, up to as many as are unlikely in it (`NOT_YET`); where those
    had to wait, as many later ones as are unlikely anywhere in the outage were answered first.
    """
    rows = np.flatnonzero((share.answered >= begin) & (share.answered < end) & (share.received >= begin))
    rows = rows[np.argsort(share.answered[rows], kind="stable")]
    answers, moved = rows, share.by_others[rows]
    known = share.request_id[rows[moved]] != UNKNOWN
    if share.others > 0 and known.any() and known.mean() > _MOSTLY:
        answers, moved = _by_request(felt, calls, share, rows, begin, end)
    begins = _unlikely(moved, share.others, BY_CHANCE / max(1, len(moved)))
    if not len(begins):
        return None
    answered = share.answered[answers]
    few, several = (_run(share.others, chance) for chance in (NOT_YET, NOT_YET / max(1, len(moved))))
    high = min(_latest(answered, few)[begins[0]], _latest(answered, several)[begins].min())
    after = answers[begins[0] :][moved[begins[0] :]]
    first = int(after[np.argmin(share.answered[after])])
    low = int(share.answered[first]) - _gap_before(felt, calls, int(share.request_id[first]), begin)
    return low, int(high)


def _latest(answered: Array, count: int) -> Array:
    """Return the latest of `count` moments, from each on; nonsense where there are not so many."""
    latest: Array = ndimage.maximum_filter1d(answered, count, origin=-(count // 2))
    return latest


def _by_request(
    felt: Felt, calls: Calls, share: PrimaryShare, rows: Array, begin: int, end: int
) -> tuple[Array, Array]:
    """Return of every request, in the order they were sent, its first ok call of `rows` (by time answered; nonsense
    where it has none), and whether it has some and others made them all.

    One that was answered in full and that no ledger knows of asked no provider, and says nothing about them.
    """
    request_id, full = felt.asked(begin, end)
    request_id = request_id[~full | np.isin(request_id, calls.request_id)]
    ids, first, at = np.unique(share.request_id[rows], return_index=True, return_inverse=True)
    if not len(ids):
        return np.zeros(0, np.int64), np.zeros(0, bool)
    by_primary = np.zeros(len(ids), bool)
    by_primary[at[~share.by_others[rows]]] = True
    place = np.minimum(np.searchsorted(ids, request_id), len(ids) - 1)
    return rows[first[place]], (ids[place] == request_id) & ~by_primary[place]


def _gap_before(felt: Felt, calls: Calls, request_id: int, begin: int) -> int:
    """Return the ns between a request's start and the one sent before it; 0 when it was in flight at `begin`."""
    sent = [f.start[(f.numbers("request_id") == request_id) & ~f.dropped] for f in (calls.called, felt.canary)]
    start = np.concatenate(sent)
    if not len(start) or start[0] < begin:
        return 0
    earlier = felt.latest_start(begin, int(start[0]))
    return int(start[0]) - (begin if earlier is None else earlier)


def failed_back(share: PrimaryShare, begin: int, end: int, window_ns: int) -> tuple[int, int] | None:
    """Return between which moments (ns) the primary began to serve 95 % of its healthy share for a whole window.

    Where others answer in healthy times, it may be missed by what chance explains (95 %, one-sided binomial test) in
    windows that tell them alone from that mix. The earlier moment lies in their last run that is no such mix, as far
    before its end as that mix may have lasted without showing itself (`NOT_YET`; geometric distribution).
    """
    rows = np.flatnonzero((share.received >= begin) & (share.received < end))
    received, by_others = share.received[rows], share.by_others[rows]
    first = np.arange(np.searchsorted(received, end - window_ns + 1))
    until = np.searchsorted(received, received[first] + window_ns)
    n, sums = until - first, running(by_others)
    mixed = np.where(share.others**n <= BY_CHANCE, allowed(n, share.others), 0)
    most = np.maximum((1 - FAILED_BACK_SHARE * share.healthy) * n + 1e-9, mixed)
    windows = Windows(first, until, sums[until] - sums[first] <= most)
    found = windows.good_from(by_others, share.others + CHANGE_DRIFT * share.healthy)
    if found is None:
        return None
    away = _unlikely(by_others[:found][::-1], share.others)
    low = begin if not len(away) else int(received[found - int(away[0]) - _run(share.others, NOT_YET)])
    return low, int(received[found])


def flaps(share: PrimaryShare, begin: int, end: int) -> int | None:
    """Count how often answers changed between the primary and others between two moments (ns).

    By the majority of so many calls in a row (`MAJORITY_OF`, or more) that the mix of healthy times is unlikely
    (`BY_CHANCE`) to decide it once. None: `AT_MOST` calls would not do.
    """
    by_others = share.by_others[(share.received >= begin) & (share.received < end)]
    sizes = range(MAJORITY_OF, AT_MOST + 1, 2)
    chances = special.bdtrc(np.array(sizes) // 2, sizes, share.others) * max(1, len(by_others))
    size = next((size for size, chance in zip(sizes, chances, strict=True) if chance <= BY_CHANCE), None)
    if size is None:
        return None
    if len(by_others) < size:
        return 0
    away = np.convolve(by_others, np.ones(size, int), "valid") > size // 2
    return int((away[1:] != away[:-1]).sum())
