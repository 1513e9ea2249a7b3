"""What an outage cost those who pay for it: answers while the fault was on held against healthy ones, and extra calls.

Answers are the load's; the canary is ours. Calls are those in the providers' ledgers, joined to requests by id.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.attribution import accounted
from harness.analysis.cache import by_kind
from harness.analysis.frame import Selection
from harness.analysis.stats import percentile_ms, ratio_estimate
from harness.analysis.windows import from_cache
from harness.model.findings import AnswerTimes, Estimate, PerAnswer, ResponseShift
from harness.model.request import SUCCEEDED, Outcome

if TYPE_CHECKING:
    from harness.analysis.frame import Array, Frame, Kinds
    from harness.analysis.ledger import Calls
    from harness.analysis.orders import Orders
    from harness.analysis.sample import Sample
    from harness.analysis.timeline import Span


def answers(kinds: Kinds) -> Array:
    """Tell which kinds of requests were answered."""
    return kinds.words("outcome").among(SUCCEEDED)


def ask_times(orders: Orders, kinds: Kinds, spans: list[Span], *, done: bool = False) -> Sample:
    """Ask for the response times of the answers to requests due in the spans."""
    return orders.ask("response_time", Selection(spans, answers(kinds)), (50, 95), done=done)


@dataclass(frozen=True)
class Chosen:
    """Some requests: how many of each kind the load has, and which of those that ledgers know, and of the canary."""

    load: Array
    called: Array
    canary: Array


class Costs:
    """What answers took in the healthy stretches, and what they take in others."""

    def __init__(self, orders: Orders, kinds: Kinds, canary: Frame, healthy: list[Span]) -> None:
        self._orders, self._kinds, self._canary, self._healthy = orders, kinds, canary, healthy
        self._healthy_times = ask_times(orders, kinds, healthy, done=True)

    def hold(self, calls: Calls) -> None:
        """Take the ledgers, and count what healthy requests cost; the scan has run."""
        self._calls = calls
        before = Chosen(
            self._orders.counts(self._healthy, done=True),
            calls.called.done_within(self._healthy),
            self._canary.done_within(self._healthy),
        )
        self._healthy_sums = self._sums(before)
        weights = (np.ones(len(calls)), calls.tokens) if calls.joined else ()
        self._spent = [_Spent(self._kinds, calls, of_call) for of_call in weights]
        self._spent_healthy = [spent.per_answer(before.load, before.called) for spent in self._spent]

    def response_ms(self, during: Sample) -> ResponseShift:
        """Return the response times of the answers given in healthy times and to the requests `during` the fault."""
        healthy, now = (
            AnswerTimes(p50=percentile_ms(times, 50), p95=percentile_ms(times, 95))
            for times in (self._healthy_times, during)
        )
        return ResponseShift(healthy=healthy, during=now)

    def provider_calls(self, during: Span) -> PerAnswer | None:
        """Return the provider calls made per answer; None when the ledgers cannot tell calls apart by request."""
        return self._per_answer(_CALLS, during)

    def tokens(self, during: Span) -> PerAnswer | None:
        """Return the tokens spent per answer, calls whose answer nobody heard included; None as above."""
        return self._per_answer(_TOKENS, during)

    def _per_answer(self, which: int, during: Span) -> PerAnswer | None:
        if not self._spent:
            return None
        met = self._spent[which].per_answer(self._orders.counts([during]), self._calls.called.within([during]))
        return PerAnswer(healthy=self._spent_healthy[which], during=met)

    def surplus(self, met: Chosen) -> tuple[int | None, int | None]:
        """Return the calls and tokens that the requests that `met` a fault cost beyond healthy ones.

        Held against calls needed, not requests: a warmer cache or fewer workflows are no saving by the fault. None
        without anything healthy to hold it against, or when the ledgers cannot tell calls apart by request.
        """
        healthy, during = self._healthy_sums, self._sums(met)
        if not self._calls.joined or not healthy[0]:
            return None, None
        calls, tokens = (round(during[i] - healthy[i] * during[0] / healthy[0]) for i in (1, 2))
        return calls, tokens

    def _sums(self, chosen: Chosen) -> tuple[int, int, int]:
        """Return (provider calls that the chosen requests needed, calls made for them, tokens of those)."""
        calls = self._calls
        probes = by_kind(self._canary, chosen.canary)
        needed = int((chosen.load * needs(self._kinds)).sum()) + int((probes * needs(self._canary.kinds)).sum())
        made = np.zeros(len(calls), bool)
        for rows, these in ((calls.load_row, chosen.called), (self._canary_row, chosen.canary)):
            known = np.flatnonzero(rows >= 0)
            made[known] |= these[rows[known]]
        return needed, int(made.sum()), int(calls.tokens[made].sum())

    @cached_property
    def _canary_row(self) -> Array:
        return self._calls.rows_in(self._canary.numbers("request_id"))


_CALLS, _TOKENS = 0, 1


class _Spent:
    """What the calls of the load's requests cost, each by its weight, per answer."""

    def __init__(self, kinds: Kinds, calls: Calls, weights: Array) -> None:
        self._called, self._answer = calls.called, answers(kinds)
        ours = calls.load_row >= 0
        spent = np.bincount(calls.load_row[ours], weights[ours], minlength=len(calls.called))
        self._spent = spent.astype(np.uint32)  # kept for all outages, and of a long ledger in half the memory
        # Full answers by a provider whose calls no ledger has went with a killed provider, and are left out.
        self._named, known = accounted(kinds, calls)
        self._left_out = self._named.take(calls.called.kind) & ~known

    def per_answer(self, load: Array, called: Array) -> Estimate:
        """Return it for some requests: how many of each kind the load has, and which of those that ledgers know."""
        rows = np.flatnonzero(called & ~self._left_out)
        quiet = (load - by_kind(self._called, called)) * ~self._named
        return ratio_estimate(
            np.concatenate([self._spent[rows], (0.0, 0.0)]),
            np.concatenate([self._answer.take(self._called.kind[rows]), (0, 1)]),
            np.concatenate([np.ones(len(rows), np.int64), [quiet[~self._answer].sum(), quiet[self._answer].sum()]]),
        )


def needs(kinds: Kinds) -> Array:
    """Return the provider calls that a request of each kind needed.

    A full answer needed a call per cache miss it shows, and at least one unless the cache gave it alone. What did not
    lead to a full answer was not needed.
    """
    misses = np.maximum(kinds.numbers("cache_lookups") - kinds.numbers("cache_hits"), 0)
    full = kinds.words("outcome").among([Outcome.OK])
    needed: Array = np.where(full & ~from_cache(kinds), np.maximum(misses, 1), 0)
    return needed
