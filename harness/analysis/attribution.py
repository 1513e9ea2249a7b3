"""Providers named by the answers, held against the providers' own ledgers, request by request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.model.findings import Attribution
from harness.model.request import Outcome

if TYPE_CHECKING:
    from harness.analysis.frame import Array, Frame
    from harness.analysis.ledger import Calls
    from harness.analysis.timeline import Timeline

NO_LEDGER = frozenset({"", "cache", "local"})
"""Names that need no provider call."""
EXAMPLES = 5
MOST_NAMES = 62
"""As many as an integer has bits: whoever has more does not show a provider but, say, a request id."""


def attribution(load: Frame, calls: Calls, when: Timeline) -> Attribution | Literal["unsupported"]:
    """Compare the set of providers each successful answer names with those whose ledgers have an ok row of it.

    An upstream that answered while a fault was on it may be left out of the answer: the fault sat between the two, so
    the system may never have seen that answer. Unsupported without names, with more than `MOST_NAMES`, without
    ledgers, or when the system does not pass request ids on.
    """
    provider, everybody = load.words("provider"), everybody_named(load, calls)
    if not calls.joined or not any(provider.words) or len(everybody) > MOST_NAMES:
        return "unsupported"
    names = [_named(word) for word in provider.words]
    bit = {name: 1 << i for i, name in enumerate(everybody)}
    named = np.array([sum(bit[n] for n in name) for name in names], np.int64)
    rows = np.flatnonzero(load.outcome.among([Outcome.OK, Outcome.DEGRADED]) & ~provider.among([""]))
    said = named[provider.codes[rows]]
    answered = _answered_by(len(load), calls, bit)[rows]
    excused = _faulted(load, rows, when, bit)
    differ = np.flatnonzero(((said & ~answered) | (answered & ~said & ~excused)) != 0)
    examples = tuple(
        f"request {load.numbers('request_id')[rows[i]]}: the answer names "
        f"{provider.words[provider.codes[rows[i]]]!r}, the ledgers have answers by {_names(int(answered[i]), bit)}"
        for i in differ[:EXAMPLES]
    )
    return Attribution(compared=len(rows), agree=len(rows) - len(differ), examples=examples)


def accounted(load: Frame, calls: Calls) -> tuple[Array, Array]:
    """Tell which full answers name a provider, and which of those at least one ok ledger row belongs to."""
    provider = load.words("provider")
    named = load.outcome.among([Outcome.OK]) & provider.among([word for word in provider.words if _named(word)])
    known = np.zeros(len(load), bool)
    known[calls.load_row[calls.ok & (calls.load_row >= 0)]] = True
    return named, named & known


def everybody_named(load: Frame, calls: Calls) -> list[str]:
    """Return every provider that an answer names or that kept a ledger, in order."""
    return sorted({*calls.upstreams, *(name for word in load.words("provider").words for name in _named(word))})


def _named(word: str) -> frozenset[str]:
    return frozenset(word.split("+")) - NO_LEDGER


def _names(bits: int, bit: dict[str, int]) -> str:
    return "+".join(name for name, mask in bit.items() if bits & mask) or "nobody"


def _answered_by(requests: int, calls: Calls, bit: dict[str, int]) -> Array:
    """Return, for every request of the load, the upstreams with an ok row of it, as bits."""
    answered = np.zeros(requests, np.int64)
    for upstream in calls.upstreams:
        answered[calls.load_row[calls.ok & (calls.load_row >= 0) & calls.by(upstream)]] |= bit[upstream]
    return answered


def _faulted(load: Frame, rows: Array, when: Timeline, bit: dict[str, int]) -> Array:
    """Return, for every request, the upstreams a fault was on while it lasted, as bits."""
    faulted = np.zeros(len(rows), np.int64)
    for fault in when.faults:
        _, off = fault.on(when.end_ns)
        overlaps = (load.end[rows] >= fault.injecting_ns) & (load.start[rows] < off)
        faulted[overlaps] |= bit.get(fault.upstream, 0)
    return faulted
