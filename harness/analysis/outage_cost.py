"""What an outage cost those who pay for it: answers while the fault was on held against healthy ones, and extra calls.

Answers are the load's; the canary is ours. Calls are those in the providers' ledgers, joined to requests by id.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.attribution import accounted
from harness.analysis.stats import percentile_ms, ratio_estimate
from harness.model.findings import AnswerTimes, PerAnswer, ResponseShift
from harness.model.request import Outcome

if TYPE_CHECKING:
    from harness.analysis.frame import Array, Frame
    from harness.analysis.ledger import Calls
    from harness.analysis.timeline import Span
    from harness.analysis.windows import Service


class Costs:
    """What answers took in the healthy stretches, and what they take in others. Masks are over rows of the load."""

    def __init__(self, load: Frame, service: Service, calls: Calls, healthy: list[Span]) -> None:
        self._load, self._service, self._calls = load, service, calls
        self._answers = load.outcome.among([Outcome.OK, Outcome.DEGRADED]) & load.answered
        self._healthy = load.done_within(healthy)

    def response_ms(self, during: Array) -> ResponseShift:
        """Return the response times of the answers given in healthy times and to the requests `during` the fault."""
        return ResponseShift(healthy=self._healthy_times, during=self._times(during))

    @cached_property
    def _healthy_times(self) -> AnswerTimes:
        return self._times(self._healthy)

    def _times(self, chosen: Array) -> AnswerTimes:
        times = self._load.times("response_time", chosen & self._answers)
        return AnswerTimes(p50=percentile_ms(times, 50), p95=percentile_ms(times, 95))

    def provider_calls(self, during: Array) -> PerAnswer | None:
        """Return the provider calls made per answer; None when the ledgers cannot tell calls apart by request."""
        return self._per_answer(np.ones(len(self._calls)), during)

    def tokens(self, during: Array) -> PerAnswer | None:
        """Return the tokens spent per answer, calls whose answer nobody heard included; None as above."""
        return self._per_answer(self._calls.tokens, during)

    def _per_answer(self, weights: Array, during: Array) -> PerAnswer | None:
        if not self._calls.joined:
            return None
        ours = self._calls.load_row >= 0
        spent = np.bincount(self._calls.load_row[ours], weights[ours], minlength=len(self._load))

        healthy, met = (
            ratio_estimate(spent[known], self._answers[known])
            for known in (self._healthy & ~self._unaccounted, during & ~self._unaccounted)
        )
        return PerAnswer(healthy=healthy, during=met)

    @cached_property
    def _unaccounted(self) -> Array:
        """Full answers by a provider whose calls no ledger has: they went with a killed provider, and are left out."""
        named, known = accounted(self._load, self._calls)
        unaccounted: Array = named & ~known
        return unaccounted

    def surplus(self, met: Array) -> tuple[int | None, int | None]:
        """Return the calls and tokens that the requests of `Service` that `met` a fault cost beyond healthy ones.

        Held against calls needed, not requests: a warmer cache or fewer workflows are no saving by the fault. None
        without anything healthy to hold it against, or when the ledgers cannot tell calls apart by request.
        """
        healthy, during = self._sums(self._service.healthy), self._sums(met)
        if not self._calls.joined or not healthy[0]:
            return None, None
        calls, tokens = (round(during[i] - healthy[i] * during[0] / healthy[0]) for i in (1, 2))
        return calls, tokens

    def _sums(self, chosen: Array) -> tuple[int, int, int]:
        """Return (provider calls that the chosen requests needed, calls made for them, tokens of those)."""
        needed, made, spent = (int(values[chosen].sum()) for values in self._calls_of_all)
        return needed, made, spent

    @cached_property
    def _calls_of_all(self) -> Array:
        """Of every request in `Service`: the provider calls it needed, those made for it, and their tokens.

        A full answer needed a call per cache miss it shows, and at least one unless the cache gave it alone. What did
        not lead to a full answer was not needed.
        """
        service, calls = self._service, self._calls
        rows = calls.rows_in(service.request_id)
        known, n = rows >= 0, len(service.due)
        made = np.bincount(rows[known], minlength=n)
        needed = np.where(service.full & ~service.from_cache, np.maximum(service.misses, 1), 0)
        return np.stack([needed, made, np.bincount(rows[known], calls.tokens[known], minlength=n)])
