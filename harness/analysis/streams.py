"""How streams flowed: time to first token, the gaps between tokens, tokens per second, and whether they ended.

Time to first token is first token - start, as clients feel it (vLLM's benchmark_serving and NVIDIA GenAI-Perf call it
TTFT, and measure it so); a request that its schedule wanted earlier than it could be sent shows that in its response
time. Inter-token latency is every gap between successive tokens of a stream (vLLM's ITL; not its mean per stream, which
is TPOT and hides stalls). Tokens per second of a stream are its tokens after the first over the time from the first to
the last. A token is an event that shows text (`Observe.token`): where an event carries several tokens of the model,
`tokens_per_event` says how many.

Streams cut before their end count as far as they went: their tokens came when they came. For one that timed out or was
lost the next token was still waited for: that wait is a gap too, as a lower bound, and counts in its tokens per second.
A request that got no answer at all is a stream that never began, where its name is one of streams (`frame.unheard`).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis.frame import numbers, unheard, within_groups
from harness.analysis.stats import Gaps, Share, Times, percentile_ms, percentiles_ms, share_estimate
from harness.clock import NS_PER_S
from harness.model.findings import Rates, StreamGroup, Streams
from harness.model.request import SUCCEEDED, Outcome
from harness.recording.layout import TOKEN_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

    from harness.analysis.frame import Array, Frame
    from harness.analysis.timeline import Timeline

COLUMNS: tuple[Literal["agent", "provider", "name"], ...] = ("agent", "provider", "name")


class Tokens:
    """Streams as samples. The table of token times is read when gaps are first asked for.

    `load` holds the requests that were streams, or would have been (`Scan.streams`); others among them do not matter.
    """

    def __init__(self, load: Frame, table: Callable[[], pa.Table] = TOKEN_SCHEMA.empty_table) -> None:
        self.load, self._table = load, table
        self.first, self.last = load.numbers("first_token_ns"), load.numbers("last_token_ns")
        told = load.numbers("stream_tokens")
        sent, streams = (np.bincount(kind, minlength=len(load.kinds)) for kind in (load.kind, load.kind[told >= 0]))
        self.count = np.where((told < 0) & unheard(load.kinds, sent, streams).take(load.kind), 0, told)
        self.streams = (self.count >= 0) & (load.answered | load.lost)
        self._waited = load.lost | load.ended_as([Outcome.TIMEOUT])
        self._until = np.where(load.lost, load.last_ns, load.end)
        self._stalled = self._waited & (self.count > 0) & (self.last >= 0)
        """Tokens had come, and the next one was still waited for at the end."""

    def sample(self, metric: str, mask: Array) -> Times:
        """Return the sample of a metric of `SAMPLES` over the rows of `mask`, in due order."""
        return SAMPLES[metric](self, mask & self.streams)

    def _in_due_order(self, mask: Array) -> Array:
        rows = np.flatnonzero(mask)
        return rows[np.argsort(self.load.due[rows], kind="stable")]

    def ttft(self, mask: Array) -> Times:
        """Return times to first token, ns. A stream that timed out or was lost before it counts with the time waited,
        as a lower bound; one that failed before it is no wait for a token."""
        waiting = self._waited & (self.count == 0)
        rows = self._in_due_order(mask & ((self.first >= 0) | waiting))
        unanswered = waiting[rows]
        came = np.where(unanswered, self._until[rows], self.first[rows])
        return Times(came - self.load.start[rows], unanswered)

    def gaps(self, mask: Array) -> Gaps:
        """Return the gaps between the tokens of each stream, ns. Of one that timed out or was lost, what came after its
        last token is one more, as a lower bound."""
        begin, size = self._runs
        rows = self._in_due_order(mask & ((size > 1) | self._stalled))
        between = np.maximum(size[rows] - 1, 0)
        sizes = between + self._stalled[rows]
        # For each gap the place of its first token: where its stream begins, and how far into the stream it is.
        within = within_groups(sizes)
        at, open_end = np.repeat(begin[rows], sizes) + within, within == np.repeat(between, sizes)
        values = np.zeros(len(at), np.int64)
        values[~open_end] = self._times[at[~open_end] + 1] - self._times[at[~open_end]]
        stalled = rows[self._stalled[rows]]
        values[open_end] = np.maximum(0, self._until[stalled] - self.last[stalled])
        return Gaps(values, open_end, sizes=sizes)

    def rates(self, mask: Array) -> Times:
        """Return tokens per second of each stream of several tokens that did not come all at once; of one whose next
        token was still waited for at the end, until then."""
        until = np.where(self._stalled, self._until, self.last)
        rows = self._in_due_order(mask & ((self.count > 1) | self._stalled) & (self.first >= 0) & (until > self.first))
        rates = (self.count[rows] - 1) / (until[rows] - self.first[rows]) * NS_PER_S
        return Times(rates, np.zeros(len(rows), bool), unit=1.0)

    def complete(self, mask: Array) -> Share:
        """Return how many streams were answered ok or degraded; lost ones could have been either."""
        chosen, load = mask & self.streams, self.load
        lost = int((chosen & load.lost).sum())
        good = int((chosen & load.ended_as(SUCCEEDED)).sum())
        return Share(good, int(chosen.sum()) - lost, lost)

    @cached_property
    def _read(self) -> tuple[Array, Array]:
        table = self._table()
        return numbers(table, "request_id"), numbers(table, "t_ns")

    @property
    def _times(self) -> Array:
        return self._read[1]

    @cached_property
    def _runs(self) -> tuple[Array, Array]:
        """Where in the token table each request's tokens begin, and how many they are."""
        ids = self._read[0]
        begin, size = np.zeros((2, len(self.load)), np.int64)
        if len(ids):
            starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
            lengths = np.diff(np.concatenate((starts, [len(ids)])))
            rows = np.flatnonzero(self.count > 0)
            requests = self.load.numbers("request_id")[rows]
            order = np.argsort(requests)
            place = np.searchsorted(requests, ids[starts], sorter=order)
            # A killed run may hold tokens whose request was not written any more.
            known = place < len(rows)
            known[known] = requests[order[place[known]]] == ids[starts][known]
            found = rows[order[place[known]]]
            begin[found], size[found] = starts[known], lengths[known]
        return begin, size


SAMPLES: Mapping[str, Callable[[Tokens, Array], Times]] = {
    "time_to_first_token": Tokens.ttft,
    "inter_token_latency": Tokens.gaps,
    "tokens_per_second": Tokens.rates,
}


def _group(tokens: Tokens, chosen: Array) -> StreamGroup:
    load = tokens.load
    chosen = chosen & tokens.streams
    complete = tokens.complete(chosen)
    several = chosen & (tokens.count > 1) & (tokens.first >= 0)
    told = load.numbers("tokens_out")
    both = chosen & (tokens.count > 0) & (told > 0)
    rates = tokens.rates(chosen)
    return StreamGroup(
        streams=int(chosen.sum()),
        complete=complete.hits,
        complete_share=share_estimate(complete),
        tokens=int(tokens.count[chosen].sum()),
        tokens_per_event=float(told[both].sum() / tokens.count[both].sum()) if both.any() else None,
        at_once=int((several & (tokens.last == tokens.first)).sum()),
        ttft_ms=percentiles_ms(tokens.ttft(chosen)),
        inter_token_ms=percentiles_ms(tokens.gaps(chosen)),
        tokens_per_s=Rates(p50=percentile_ms(rates, 50), p5=percentile_ms(rates, 5), p1=percentile_ms(rates, 1)),
    )


def stream_findings(tokens: Tokens, when: Timeline) -> Streams | None:
    """Return the streams of the measured part: whole, by phase, agent, provider and name; None when there were none."""
    measured = tokens.load.measured(when) & tokens.streams
    if not measured.any():
        return None
    by = {"phase": dict(_phases(tokens, measured, when))}
    for column in COLUMNS:
        words = tokens.load.words(column)
        here = sorted({words.words[code] for code in np.unique(words.codes[measured])} - {""})
        by[column] = {word: _group(tokens, measured & words.among([word])) for word in here}
    return Streams(**dict(_group(tokens, measured)), by=by)


def _phases(tokens: Tokens, measured: Array, when: Timeline) -> Iterator[tuple[str, StreamGroup]]:
    for phase in dict.fromkeys(name for name, _ in when.phases):
        chosen = measured & tokens.load.within(when.spans(phase))
        if chosen.any():
            yield phase, _group(tokens, chosen)
