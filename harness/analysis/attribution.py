"""Providers named by the answers, held against the providers' own ledgers, request by request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.model.findings import Attribution
from harness.model.request import SUCCEEDED, Outcome

if TYPE_CHECKING:
    from harness.analysis.frame import Array, Frame, Kinds
    from harness.analysis.ledger import Calls
    from harness.analysis.scan import Scan
    from harness.analysis.timeline import Timeline

NO_LEDGER = frozenset({"", "cache", "local"})
"""Names that need no provider call."""
EXAMPLES = 5
MOST_NAMES = 62
"""As many as an integer has bits: whoever has more does not show a provider but, say, a request id."""


def attribution(load: Scan, counts: Array, calls: Calls, when: Timeline) -> Attribution | Literal["unsupported"]:
    """Compare the set of providers each successful answer names with those whose ledgers have an ok row of it.

    `counts` says how many requests of each kind the load has. An upstream that answered while a fault was on it may be
    left out of the answer: the fault sat between the two, so the system may never have seen that answer. Unsupported
    without names, with more than `MOST_NAMES`, without ledgers, or when the system does not pass request ids on.
    """
    provider, everybody = load.kinds.words("provider"), everybody_named(load.kinds, calls)
    if not calls.joined or not any(provider.words) or len(everybody) > MOST_NAMES:
        return "unsupported"
    bit = {name: 1 << i for i, name in enumerate(everybody)}
    kinds = _Named(load.kinds, bit)
    differ = _differ(calls.called, kinds, calls, when, bit)
    # Whoever no ledger knows of was answered by nobody: right for those who name nobody.
    naming = kinds.compared & (kinds.said != 0)
    unheard = int(counts[naming].sum()) - int(naming.take(calls.called.kind).sum())
    compared = int(counts[kinds.compared].sum())
    wrong = int(differ.sum()) + unheard
    return Attribution(
        compared=compared, agree=compared - wrong, examples=_examples(load, kinds, calls, when, wrong, bit)
    )


class _Named:
    """What answers of each kind say: whether they are compared, and whom they name, as bits."""

    def __init__(self, kinds: Kinds, bit: dict[str, int]) -> None:
        provider = kinds.words("provider")
        self.compared = kinds.words("outcome").among(SUCCEEDED) & ~provider.among([""])
        named = np.array([sum(bit[n] for n in _named(word)) for word in provider.words] or [0], np.int64)
        self.said = named.take(provider.codes)


def _differ(frame: Frame, kinds: _Named, calls: Calls, when: Timeline, bit: dict[str, int]) -> Array:
    """Tell which requests name others than the ledgers do."""
    said = kinds.said.take(frame.kind)
    answered = _answered_by(frame, calls, bit)
    excused = _faulted(frame, when, bit)
    differ: Array = kinds.compared.take(frame.kind) & (((said & ~answered) | (answered & ~said & ~excused)) != 0)
    return differ


def _examples(
    load: Scan, kinds: _Named, calls: Calls, when: Timeline, wrong: int, bit: dict[str, int]
) -> tuple[str, ...]:
    """Return the first few of the requests that name others, by due time."""
    provider = load.kinds.words("provider")
    found: list[str] = []
    for frame in load.blocks(own=("request_id",)) if wrong else ():
        rows = np.flatnonzero(_differ(frame, kinds, calls, when, bit))[: EXAMPLES - len(found)]
        chosen = frame.take(rows)
        found += [
            f"request {request}: the answer names {provider.words[provider.codes[kind]]!r}, "
            f"the ledgers have answers by {_names(int(by), bit)}"
            for request, kind, by in zip(
                chosen.numbers("request_id"), chosen.kind, _answered_by(chosen, calls, bit), strict=True
            )
        ]
        if len(found) == min(EXAMPLES, wrong):
            break
    return tuple(found)


def accounted(kinds: Kinds, calls: Calls) -> tuple[Array, Array]:
    """Tell which kinds of full answers name a provider, and which of the requests in `calls.called` are of them and
    have at least one ok ledger row."""
    provider = kinds.words("provider")
    named = kinds.words("outcome").among([Outcome.OK]) & provider.among([w for w in provider.words if _named(w)])
    known = np.zeros(len(calls.called), bool)
    known[calls.load_row[calls.ok & (calls.load_row >= 0)]] = True
    return named, named.take(calls.called.kind) & known


def everybody_named(kinds: Kinds, calls: Calls) -> list[str]:
    """Return every provider that an answer names or that kept a ledger, in order."""
    return sorted({*calls.upstreams, *(name for word in kinds.words("provider").words for name in _named(word))})


def _named(word: str) -> frozenset[str]:
    return frozenset(word.split("+")) - NO_LEDGER


def _names(bits: int, bit: dict[str, int]) -> str:
    return "+".join(name for name, mask in bit.items() if bits & mask) or "nobody"


def _answered_by(frame: Frame, calls: Calls, bit: dict[str, int]) -> Array:
    """Return, for every request, the upstreams with an ok row of it, as bits."""
    answered = np.zeros(len(frame), np.int64)
    rows = calls.load_row if frame is calls.called else calls.rows_in(frame.numbers("request_id"))
    for upstream in calls.upstreams:
        answered[rows[calls.ok & (rows >= 0) & calls.by(upstream)]] |= bit[upstream]
    return answered


def _faulted(frame: Frame, when: Timeline, bit: dict[str, int]) -> Array:
    """Return, for every request, the upstreams a fault was on while it lasted, as bits."""
    faulted = np.zeros(len(frame), np.int64)
    for fault in when.injected:
        _, off = fault.on(when.end_ns)
        overlaps = (frame.end >= fault.injecting_ns) & (frame.start < off)
        faulted[overlaps] |= bit.get(fault.upstream, 0)
    return faulted
