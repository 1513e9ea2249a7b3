"""Exact order statistics of many groups of requests, from a few passes over a recording of any size.

1. Count: every row falls into one of up to 4,096 buckets of its value. The counts of a group tell in which bucket each
   rank lies.
2. Collect: the rows in those buckets are kept; their order gives the exact percentiles. The same pass sums, batch by
   batch in due order, how many lie at or below them, which tells how much each sample is worth (`stats`).
3. Collect again: the order statistics that bound the intervals, whose ranks are known by now.

Memory: counts and the few rows collected, whatever the length of the recording.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from threading import get_ident
from typing import TYPE_CHECKING, Protocol

import numpy as np

from harness.analysis.buckets import Buckets, fine_bucket, how_many, scattered
from harness.analysis.collecting import Reading, Wanted, together
from harness.analysis.frame import ALWAYS, LOWER_BOUNDS, METRICS, NEEDS
from harness.analysis.grouping import Lens
from harness.analysis.sample import Sample, Sums

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from harness.analysis.frame import Array, Frame, Selection
    from harness.analysis.scan import Scan
    from harness.analysis.timeline import Span

FINE = 1024
"""Batches that a long stretch of the recording is cut into; a sample's own are made of these."""
SHORT = 8192
"""In stretches shorter than this every row is one."""
SAMPLED, SAMPLED_ROWS = 8, 1 << 16
"""Row groups, and about how many rows of each, from which the buckets are chosen."""
WAITING = 4
"""Blocks that wait to be counted while the next are looked at."""


class Look(Protocol):
    """What else is to be learnt of the requests of the load, in the pass that counts them."""

    def look(self, frame: Frame) -> None:
        """Take the next of them, in due order."""


@dataclass
class _Counts:
    """What one thread counted: requests by stretch and kind, and by cluster and bucket, and samples' lost ones."""

    by_kind: Array
    by_bucket: dict[Lens, list[Array]] = field(default_factory=dict)
    lost: list[tuple[Sample, Array, Array]] = field(default_factory=list)


class Orders:
    """Ask for samples first, `run` once, then read them.

    `edges` are the moments (ns) at which spans asked for may begin or end.
    """

    def __init__(self, load: Scan, canary: Frame, edges: Iterable[int]) -> None:
        self._load, self._canary = load, canary
        self._edges = np.unique(np.array([*ALWAYS, *edges], np.int64))
        self._kinds, self._canary_kinds = len(load.kinds), len(canary.kinds)
        self._many = how_many(load.rows)
        """Buckets of every metric."""
        self._known: dict[Hashable, Sample] = {}
        self._lenses: dict[tuple[str, tuple[int, ...]], Lens] = {}
        self._active: dict[int, list[Lens]] = {}
        self._buckets: dict[str, Buckets] = {}
        self._counts = np.zeros((len(self._edges) + 1, 2 * self._kinds), np.int64)
        """[stretch, kind]: how many requests of the load; those still in flight when a sample was done behind the
        others."""

    # --- asking ------------------------------------------------------------------------------------------------------

    def ask(
        self,
        metric: str,
        chosen: Selection,
        percents: Iterable[float] = (),
        *,
        extremes: bool = False,
        mean: bool = False,
        done: bool = False,
        bare: bool = False,
        canary: Array | None = None,
    ) -> Sample:
        """Return the sample of a metric over the chosen requests of the load, to be read after `run`.

        With `done` a request also has to be over by the end of its span. With `bare`, values are wanted without
        intervals. `canary` adds kinds of the canary's requests.
        """
        if metric == "service_time" and self._load.punctual:
            metric = "response_time"  # the same, then: looked at once
        flight = np.zeros_like(chosen.kinds) if done else chosen.kinds
        probes = np.zeros(self._canary_kinds, bool) if canary is None else canary
        kinds = np.concatenate([chosen.kinds, flight, probes, np.zeros_like(probes) if done else probes])
        sample = Sample(metric, chosen.spans, kinds, self._many, done=done)
        sample = self._known.setdefault(sample.about, sample)
        sample.percents.update(percents)
        sample.extremes |= extremes
        sample.mean |= mean
        sample.bare &= bare
        return sample

    def counts(self, spans: Iterable[Span], *, done: bool = False) -> Array:
        """Return how many requests of the load of each kind were due in the spans (after `run`).

        With `done`, of those over by the end of their span; only for spans that a sample was asked so for.
        """
        total: Array = self._between(spans).sum(axis=0)
        return total[: self._kinds] if done else total[: self._kinds] + total[self._kinds :]

    def _between(self, spans: Iterable[Span]) -> Array:
        """Return the counts of every stretch between edges that lies in the spans."""
        chosen = np.zeros(len(self._counts), bool)
        for begin, end in spans:
            first, last = (int(np.searchsorted(self._edges, moment, "right")) for moment in (begin, end - 1))
            chosen[first : last + 1] = True
        return self._counts[chosen]

    @property
    def _samples(self) -> list[Sample]:
        return list(self._known.values())

    @cached_property
    def _varying(self) -> list[Sample]:
        """Those whose values have to be looked at; once `run` knows."""
        return [sample for sample in self._samples if not sample.constant]

    # --- reading -----------------------------------------------------------------------------------------------------

    def run(self, looks: Sequence[Look] = ()) -> None:
        """Read the recording and fill in every sample asked for; `looks` are taken on the way."""
        for sample in self._samples:
            sample.constant = self._load.punctual and sample.metric == "lateness" and not sample.mean
        self._buckets = {metric: Buckets(self._many) for metric in dict.fromkeys(s.metric for s in self._varying)}
        for frame in self._load.some(SAMPLED, own=self._needed):
            some = frame.take(scattered(len(frame), SAMPLED_ROWS)) if len(frame) > SAMPLED_ROWS else frame
            for metric, buckets in self._buckets.items():
                values, told = METRICS[metric](some)
                buckets.sample(values if told is None else values[told])
        for segment in range(len(self._edges) + 1):  # before threads share them
            self._lenses_in(segment, canary=False)
            self._lenses_in(segment, canary=True)
        self._count(looks)
        for sample in self._samples:
            if sample.constant:
                inside = self._between(sample.spans).sum(axis=0) * sample.kinds[: 2 * self._kinds]
                sample.all_zero(int(inside.sum()))
            sample.counted()
        parts: list[Span | None] = [None, *reversed(self._load.parts())]  # the last is the longest: it goes first
        self._collect(parts, {s: s.first_buckets() for s in self._varying}, series=True)
        self._collect(parts, {s: s.interval_buckets() for s in self._varying}, series=False)

    @property
    def _needed(self) -> list[str]:
        return [column for metric in self._buckets for column in NEEDS.get(metric, ())]

    def _count(self, looks: Sequence[Look]) -> None:
        """Count all requests, and let others look at them."""
        probes = _Counts(self._counts[:0])
        self._add(probes, self._pieces(None), canary=True)
        found: dict[Lens, list[list[Array]]] = {}
        for counts in (probes, *self._counted(looks)):
            for lens, mine in counts.by_bucket.items():
                found.setdefault(lens, []).append(mine)
            for sample, values, buckets in counts.lost:
                sample.lose(values, buckets)
        for lens, by_thread in found.items():
            lens.hand_out(by_thread)

    def _counted(self, looks: Sequence[Look]) -> Iterable[_Counts]:
        """Count the load's requests by stretch and kind, and return by bucket what each thread counted: block by block,
        in whatever order threads come to them, while others look at them in due order."""
        by_thread, under_way = dict[int, _Counts](), deque[Future[None]]()

        def count(frame: Frame) -> None:
            if (me := get_ident()) not in by_thread:
                by_thread[me] = _Counts(np.zeros_like(self._counts))
            self._add(by_thread[me], self._cut(frame, 0, self._kinds), canary=False)

        for frame in self._load.blocks(own=self._needed):
            under_way.append(self._load.threads.submit(count, frame))
            for look in looks:
                look.look(frame)
            if len(under_way) > WAITING:
                under_way.popleft().result()
        for counted in under_way:
            counted.result()
        for counts in by_thread.values():
            self._counts += counts.by_kind
        return by_thread.values()

    def _add(self, counts: _Counts, pieces: Iterable[tuple[int, Array, Frame]], *, canary: bool) -> None:
        for segment, kind, frame in pieces:
            if not canary:
                counts.by_kind[segment] += np.bincount(kind, minlength=2 * self._kinds)
            for lens in self._lenses_in(segment, canary=canary):
                buckets = self._buckets[lens.metric]
                bucket, values, _ = _placed(lens.metric, frame, buckets.of_fine, buckets.nowhere)
                lens.count(counts.by_bucket, kind, bucket)
                if not canary and lens.metric == LOWER_BOUNDS and frame.unended and frame.lost.any():
                    rows = np.flatnonzero(frame.lost)
                    for sample in lens.samples:
                        mine = rows[sample.kinds.take(kind[rows])]
                        counts.lost.append((sample, values[mine], bucket[mine]))

    def _collect(self, parts: list[Span | None], buckets: dict[Sample, set[int]], *, series: bool) -> None:
        """Read the rows of some buckets of each sample; with `series`, its batches too."""
        missing = {sample: sample.missing(found) for sample, found in buckets.items()}
        if not any(missing.values()) and not (series and any(s.mean for s in self._varying)):
            return
        wanted = {
            metric: Wanted([s for s in self._varying if s.metric == metric], missing, self._many, series=series)
            for metric in self._buckets
        }
        stripes = {metric: wanted[metric].stripe.take(buckets.of_fine) for metric, buckets in self._buckets.items()}
        asked = {sample for sample, mine in missing.items() if mine or series}
        parts_read = self._load.threads.map(lambda part: self._read(part, wanted, stripes, asked, series=series), parts)
        found = list(parts_read)[::-1]  # in due order
        for metric in self._buckets:
            for sample, rows in together([readings[metric] for readings, _ in found]):
                sample.collected(rows, series=series)
                if series and sample.mean:
                    sample.summed([sums[sample] for _, sums in found])

    def _read(
        self,
        part: Span | None,
        wanted: dict[str, Wanted],
        stripes: dict[str, Array],
        asked: set[Sample],
        *,
        series: bool,
    ) -> tuple[dict[str, Reading], dict[Sample, Sums]]:
        """Return what a part has of the samples asked for, by metric, and the sums of those whose mean is."""
        readings = {metric: Reading(mine) for metric, mine in wanted.items()}
        sums = {sample: Sums(sample) for sample in self._varying if series and sample.mean}
        place, whole = np.zeros(len(self._edges) + 1, np.int64), self._counts.sum(axis=1)
        for segment, kind, frame in self._pieces(part):
            fine = _fine(int(place[segment]), len(kind), int(whole[segment])) if series else None
            place[segment] += len(kind)
            for lens in self._lenses_in(segment, canary=part is None):
                if asked.isdisjoint(lens.samples):
                    continue
                stripe, values, told = _placed(lens.metric, frame, stripes[lens.metric], wanted[lens.metric].nowhere)
                readings[lens.metric].read(lens, kind, stripe, values, fine)
                for sample in lens.samples:
                    if sample in sums:
                        sums[sample].add(kind, values, told)
        return readings, sums

    def _pieces(self, part: Span | None) -> Iterator[tuple[int, Array, Frame]]:
        """Yield (stretch, kinds, requests) of a part of the load, or the canary's, each within one stretch."""
        if part is None:
            yield from self._cut(self._canary, 2 * self._kinds, self._canary_kinds)
            return
        for frame in self._load.blocks(*part, own=self._needed, ahead=False):
            yield from self._cut(frame, 0, self._kinds)

    def _cut(self, frame: Frame, offset: int, kinds: int) -> Iterator[tuple[int, Array, Frame]]:
        if not len(frame):
            return
        first, last = (int(np.searchsorted(self._edges, due, "right")) for due in (frame.due[0], frame.due[-1]))
        cuts = [0, *np.searchsorted(frame.due, self._edges[first:last]).tolist(), len(frame)]
        for segment, (begin, end) in enumerate(pairwise(cuts), first):
            if end > begin:
                piece = frame if end - begin == len(frame) else frame.take(slice(begin, end))
                kind = piece.kind + offset if offset else piece.kind
                until = self._done_until(segment)
                if until is not None and (piece.unended or piece.last_end >= until):
                    flying = (piece.end < 0) | (piece.end >= until)
                    kind = kind + kinds * flying
                yield segment, kind, piece

    def _done_until(self, segment: int) -> int | None:
        begin = self._edges[segment - 1] if segment else -1
        ends = [end for s in self._samples if s.done for b, end in s.spans if b <= begin < end]
        return min(ends, default=None)

    def _lenses_in(self, segment: int, *, canary: bool) -> list[Lens]:
        key = 2 * segment + canary
        if key not in self._active:
            samples, found = self._varying, dict[str, list[int]]()
            for number in np.flatnonzero(self._covered[:, segment] & self._sides[:, int(canary)]).tolist():
                found.setdefault(samples[number].metric, []).append(number)
            self._active[key] = [self._lens(metric, tuple(numbers)) for metric, numbers in found.items()]
        return self._active[key]

    @cached_property
    def _covered(self) -> Array:
        """[sample, stretch]: whether requests due then count."""
        begins = np.concatenate([[-(2**62)], self._edges])
        return np.array([sample.covers(begins) for sample in self._varying], bool).reshape(-1, len(begins))

    @cached_property
    def _sides(self) -> Array:
        """[sample, load or canary]: whether requests of it count."""
        cut = 2 * self._kinds
        return np.array([[s.kinds[:cut].any(), s.kinds[cut:].any()] for s in self._varying], bool).reshape(-1, 2)

    def _lens(self, metric: str, numbers: tuple[int, ...]) -> Lens:
        key = metric, numbers
        if key not in self._lenses:
            self._lenses[key] = Lens(metric, [self._varying[i] for i in numbers], self._many)
        return self._lenses[key]


def _fine(before: int, many: int, whole: int) -> Array:
    """Return the fine batch, from 0, of each of the next rows of a stretch of so many, some of which came before."""
    size = 1 if whole < SHORT else whole // FINE
    batch: Array = (before % size + np.arange(many)) // size
    return batch


def _placed(metric: str, frame: Frame, of_fine: Array, nowhere: int) -> tuple[Array, Array, Array | None]:
    """Return where the metric's value of each row lies by a table of fine buckets, the value, and which rows have one
    (None: all)."""
    values, told = METRICS[metric](frame)
    place = of_fine.take(fine_bucket(values))
    if told is not None:
        place[~told] = nowhere
    return place, values, told
