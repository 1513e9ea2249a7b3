"""What the answers cost: the tokens in the providers' ledgers, times the price table.

Every call that a request led to counts, whatever became of it: providers bill what they worked. A call belongs to the
request it was made for, and with it to its tenant, its agent and the moment it was due. What the canary's calls cost is
told apart; no user asked for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.frame import merged, overlap
from harness.clock import NS_PER_S
from harness.model.cost import CacheSaving, CostFindings, Spend
from harness.model.request import SUCCEEDED

if TYPE_CHECKING:
    from harness.analysis.frame import Array, Frame, Kinds
    from harness.analysis.ledger import Calls
    from harness.analysis.orders import Orders
    from harness.analysis.timeline import Span, Timeline
    from harness.model.load import Load
    from harness.model.prices import Prices


def cost(
    calls: Calls, orders: Orders, kinds: Kinds, canary: Frame, when: Timeline, prices: Prices | None, load: Load
) -> CostFindings | Literal["unsupported"] | None:
    """Return what the measured part cost; None without a price table, "unsupported" where nobody can tell.

    Ledgers that do not know which request a call was for tell neither users' calls from the canary's nor one tenant's
    from another's, so nothing is said.
    """
    if prices is None:
        return None
    if not calls.joined:
        return "unsupported"
    return _Account(calls, orders, kinds, canary, when, prices).findings(load)


class _Account:
    def __init__(
        self, calls: Calls, orders: Orders, kinds: Kinds, canary: Frame, when: Timeline, prices: Prices
    ) -> None:
        self._calls, self._orders, self._kinds, self._when, self._prices = calls, orders, kinds, when, prices
        per_token = np.array(prices.per_token(calls.models)).reshape(-1, 2)
        price_in, price_out = (per_token[:, i].take(calls.model) if len(calls) else np.zeros(0) for i in (0, 1))
        self._paid = calls.tokens_in * price_in + calls.tokens_out * price_out
        self._ours = np.flatnonzero(calls.load_row >= 0)
        rows = calls.load_row[self._ours]
        self._due, self._kind = calls.called.due[rows], calls.called.kind[rows]
        self._canarys = calls.rows_in(canary.numbers("request_id")) >= 0
        self._measured: list[Span] = [(when.zero_ns, when.end_ns)]

    def findings(self, load: Load) -> CostFindings:
        whole = self._spend(self._measured)
        states = {"healthy": overlap(self._measured, self._when.healthy)}
        for fault in self._when.faults:
            name = f"{fault.upstream} {fault.kind}"
            states[name] = merged([*states.get(name, []), *overlap(self._measured, [fault.on(self._when.end_ns)])])
        by_state = {name: self._spend(spans) for name, spans in states.items() if spans}
        return CostFindings(
            currency=self._prices.currency,
            total=whole,
            per_user_hour=whole.spent / hours if (hours := self._user_hours(load, self._measured)) else None,
            per_user_hour_by_state={
                name: spend.spent / hours
                for name, spend in by_state.items()
                if (hours := self._user_hours(load, states[name]))
            },
            by_state=by_state,
            by_tenant=self._by("tenant"),
            by_agent=self._by("agent"),
            by_upstream=self._by_call(self._calls.upstream, self._calls.upstreams),
            by_model=self._by_call(self._calls.model, self._calls.models),
            canary=float(self._paid[self._canarys & self._in_measured(self._calls.received)].sum()),
            cache=self._saved(),
            unpriced={
                model: int((self._calls.model == code).sum())
                for code, model in enumerate(self._calls.models)
                if self._prices.of(model) is None and (self._calls.model == code).any()
            },
        )

    def _user_hours(self, load: Load, spans: list[Span]) -> float:
        """Return the hours of all users together that are planned in `spans`; 0 in an open loop."""
        at = [[(moment - self._when.zero_ns) / NS_PER_S + load.warmup for moment in span] for span in spans]
        return sum((load.users_within(begin, end) or 0.0) * (end - begin) for begin, end in at) / 3600

    def _in_measured(self, moments: Array) -> Array:
        inside: Array = (moments >= self._when.zero_ns) & (moments < self._when.end_ns)
        return inside

    def _inside(self, spans: list[Span]) -> Array:
        inside = np.zeros(len(self._due), bool)
        for begin, end in spans:
            inside |= (self._due >= begin) & (self._due < end)
        return inside

    def _spend(self, spans: list[Span], kinds: Array | None = None, calls: Array | None = None) -> Spend:
        """Return what the requests of some kinds, due in `spans`, cost by some of their calls."""
        counts = self._orders.counts(spans)
        chosen = self._inside(spans)
        if kinds is not None:
            counts = counts * kinds
            chosen = chosen & kinds.take(self._kind)
        if calls is not None:
            chosen = chosen & calls[self._ours]
        rows = self._ours[chosen]
        requests = int(counts[~self._kinds.dropped].sum())
        answers = int(counts[self._kinds.words("outcome").among(SUCCEEDED)].sum())
        spent = float(self._paid[rows].sum())
        return Spend(
            spent=spent,
            requests=requests,
            answers=answers,
            calls=len(rows),
            tokens_in=int(self._calls.tokens_in[rows].sum()),
            tokens_out=int(self._calls.tokens_out[rows].sum()),
            per_1k_requests=1000 * spent / requests if requests else None,
            per_answer=spent / answers if answers else None,
        )

    def _by(self, column: str) -> dict[str, Spend]:
        words = self._kinds.words(column)
        found = {word: self._spend(self._measured, words.among([word])) for word in sorted(words.words) if word}
        return {word: spend for word, spend in found.items() if spend.requests}

    def _by_call(self, codes: Array, words: tuple[str, ...]) -> dict[str, Spend]:
        """Return what calls of each sort cost; per request and per answer of all, whoever gave them."""
        found = {word: self._spend(self._measured, calls=codes == code) for code, word in enumerate(words)}
        return {word: spend for word, spend in sorted(found.items()) if spend.calls}

    def _saved(self) -> CacheSaving | None:
        """Return what cache hits saved: what a call for the same agent cost on average, times the agent's hits.

        A hit spares a call like those that were made; of an agent without any call nobody knows the price.
        """
        counts, hits = self._orders.counts(self._measured), self._kinds.numbers("cache_hits")
        hits = np.where(self._kinds.words("outcome").among(SUCCEEDED), np.maximum(hits, 0), 0) * counts
        if not (self._kinds.numbers("cache_hits") >= 0).any():
            return None
        agents = self._kinds.words("agent")
        inside = self._inside(self._measured)
        agent = agents.codes.take(self._kind[inside])
        paid = np.bincount(agent, self._paid[self._ours[inside]], minlength=len(agents.words))
        made = np.bincount(agent, minlength=len(agents.words))
        each = np.divide(paid, made, out=np.zeros(len(paid)), where=made > 0)
        by_agent = np.bincount(agents.codes, hits, minlength=len(agents.words))
        saved = float((each * by_agent).sum())
        spent = float(paid.sum())
        return CacheSaving(
            saved=saved, share=saved / (saved + spent) if saved + spent else None, hits=int(by_agent[made > 0].sum())
        )
