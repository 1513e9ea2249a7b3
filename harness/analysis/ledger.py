"""The providers' own account of their calls, as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.analysis.frame import numbers, words
from harness.memory import give_back
from harness.model.request import UNKNOWN
from harness.recording.columns import values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from harness.analysis.frame import Array
    from harness.analysis.scan import Scan
    from harness.model.event import Event


class Calls:
    """Ledger rows by the time the provider received them. Times are ns; `answered` is -1 where it never answered.

    `called` are the load's requests that a ledger knows of, and `load_row` says which of them a call was made for;
    -1 where it is none.
    """

    def __init__(self, read: Callable[[], pa.Table], load: Scan) -> None:
        """`read` returns the rows: of a long ledger they take 60 bytes each, and are let go of as soon as possible."""
        ledger = read()
        order = np.argsort(numbers(ledger, "t_ns"), kind="stable")
        self.received, self.answered = numbers(ledger, "t_ns")[order], numbers(ledger, "answered_ns")[order]
        self.request_id = numbers(ledger, "request_id")[order]
        self.tokens_in, self.tokens_out = (
            np.maximum(numbers(ledger, n)[order], 0) for n in ("tokens_in", "tokens_out")
        )
        self.stream = values(ledger.column("stream"))[order].astype(bool)
        upstream = words(ledger, "upstream")
        self.upstream, self.upstreams = upstream.codes[order], upstream.words
        model = words(ledger, "model")
        self.model, self.models = model.codes[order], model.words
        tenant = words(ledger, "tenant")
        self.tenant, self.tenants = tenant.codes[order].astype(np.min_scalar_type(len(tenant.words))), tenant.words
        status = words(ledger, "status")
        self.ok, self.rejected = (status.among([word])[order] for word in ("ok", "rejected"))
        del ledger, order, upstream, model, tenant, status
        give_back()
        ids = np.sort(self.request_id[self.request_id != UNKNOWN])
        # Not `np.unique`: it hashes first, which takes a hundred times as long where most ids occur once or twice.
        self.called = load.holding(ids[np.diff(ids, prepend=UNKNOWN) != 0])
        self.load_row = self.rows_in(self.called.numbers("request_id"))

    def __len__(self) -> int:
        return len(self.received)

    @property
    def tokens(self) -> Array:
        """Tokens in and out of every call."""
        return self.tokens_in.astype(np.int64) + self.tokens_out

    @property
    def joined(self) -> bool:
        """Whether the system passed request ids on, so that calls can be told apart by request."""
        return bool((self.request_id != UNKNOWN).any())

    def rows_in(self, request_ids: Array) -> Array:
        """Return, for every call, where its request stands in `request_ids`; -1 where it does not."""
        if not len(request_ids):
            return np.full(len(self), -1)
        order = np.argsort(request_ids, kind="stable")
        ordered = request_ids[order]
        place = np.minimum(np.searchsorted(ordered, self.request_id), len(order) - 1)
        return np.where(ordered[place] == self.request_id, order[place], -1)

    def by(self, upstream: str) -> Array:
        """Tell which calls one upstream received."""
        code = self.upstreams.index(upstream) if upstream in self.upstreams else -1
        made: Array = self.upstream == code
        return made


class Loss(NamedTuple):
    """A ledger that is not whole. Times are ns."""

    upstream: str
    since_ns: int
    found_ns: int
    """It was found between these. That its provider restarted, or kept too few rows, is found at a moment: what it had
    received since the look before may be missing."""
    unread: bool
    """It could no longer be read: all is missing that it received from `since_ns` on."""

    @property
    def why(self) -> str:
        """What became of it, in words."""
        return "it could not be read to the end" if self.unread else "the provider restarted, or kept too few rows"


def losses(events: Iterable[Event]) -> list[Loss]:
    """Return the ledgers found not whole."""
    return [
        Loss(
            str(event.data.get("upstream")),
            int(event.data.get("since_ns", event.t_ns)),
            event.t_ns,
            event.subject == "unread",
        )
        for event in events
        if event.kind == "probe" and event.source == "ledger" and event.subject in ("gap", "restarted", "unread")
    ]
