"""What the passes after the first collect of each sample: the rows of a few buckets, and counts batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from harness.analysis.frame import within_groups
from harness.recording.ordered import distinct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.analysis.frame import Array
    from harness.analysis.grouping import Cluster, Lens
    from harness.analysis.sample import Sample

FEW = 1024
"""Rows that are kept one by one, even if they are all of one value."""
SUMS = 1 << 18
"""Most counts by fine batch and level that are held at a time."""
COUNTED = 1 << 18
"""About as many numbers of columns, of rows that are counted, are held at a time."""


@dataclass(frozen=True)
class Collected:
    """What was found for one sample: the values in some buckets, with the batch of each and how many rows had it (None:
    one each), and how many rows of every batch lie below each of them."""

    rows: dict[int, tuple[Array, Array, Array | None]]
    """By bucket: values, batches, weights."""
    below: dict[int | None, Array]
    """By bucket: of every batch. None: all rows."""
    whole: Array
    """Which batches are: what is left over at the end of a part is none."""


class _Levels:
    """Of one cluster: what a row counts towards. The levels of a sample are separated by its buckets, and are its
    **columns**; places of an atom between which nobody asks for one are one **cell**."""

    def __init__(self, cluster: Cluster, wanted: Wanted, mine: Array, kept: Array) -> None:
        """`mine`: the numbers of the cluster's samples; `kept`: which places somebody asks for."""
        begins = kept.copy()
        begins[1:] |= kept[:-1]  # so that what is collected is told by the cell, too
        begins[:: wanted.stripes] = begins[wanted.nowhere :: wanted.stripes] = True
        self.begins = np.flatnonzero(begins)
        """The first place of each cell."""
        self.cells = len(self.begins)
        number = np.arange(self.cells, dtype=np.uint16 if self.cells < 1 << 16 else np.int32)
        self.cell: Array = np.repeat(number, np.diff(self.begins, append=len(kept)))
        """The cell of each place."""
        levels = wanted.levels[mine]
        self.first = levels.cumsum() - levels
        """The first column of each sample."""
        self.columns = int(levels.sum())
        self.owner = np.repeat(np.arange(len(levels)), levels)
        self.level = np.arange(self.columns) - self.first[self.owner]
        atom, stripe = np.divmod(self.begins, wanted.stripes)
        level_of = np.cumsum(wanted.cut[mine], axis=1)
        level_of += self.first[:, None]
        cell, whose = np.nonzero(cluster.inside.T[atom] & (stripe < wanted.nowhere)[:, None])
        column = level_of.ravel().take(whose * wanted.stripes + stripe[cell])
        many = np.bincount(cell, minlength=self.cells)
        place = within_groups(many)
        small = np.uint16 if self.columns < 1 << 16 else np.int32
        self.column = np.full((self.cells, max(1, int(many.max()))), self.columns, small)
        """The columns of a cell, one for each of the samples it belongs to; the last one is nobody's."""
        self.column[cell, place] = column

    @cached_property
    def member(self) -> sparse.csr_array:
        """[column, cell]: 1 where the cell belongs to the column."""
        cell, place = np.nonzero(self.column < self.columns)
        ones = np.ones(len(cell), np.int32)
        return sparse.csr_array((ones, (self.column[cell, place], cell)), (self.columns, self.cells))


class _Table:
    """Of one cluster: which rows are collected, and for which (sample, bucket). Rows are looked up by their **place**,
    which is a stripe of an atom, or by its cell where they are counted as well (`levels`)."""

    def __init__(self, cluster: Cluster, wanted: Wanted) -> None:
        self.first = cluster.atom * wanted.stripes
        """Where the places of each kind begin."""
        self.samples = np.array([wanted.number[sample] for sample in cluster.samples])
        own = np.full(len(wanted.samples), -1, np.int32)
        own[self.samples] = np.arange(len(self.samples))
        self.column_of = own[wanted.owner]
        """Of each (sample, bucket): which of the cluster's samples it is of."""
        mine = np.flatnonzero(self.column_of >= 0)
        many = cluster.many_atoms[self.column_of[mine]]
        which = np.repeat(mine, many)
        atom = cluster.atoms_of[cluster.atoms_from[self.column_of[which]] + within_groups(many)]
        place = atom * wanted.stripes + wanted.stripe_of_bucket[which]
        there = np.zeros(cluster.atoms * wanted.stripes, bool)
        there[place] = True
        kept = np.flatnonzero(there)
        # As small as can be: it is looked up at random, and so has to stay in the processor's cache.
        slot: Array = np.zeros(len(there), np.uint16 if len(kept) < (1 << 16) - 1 else np.int32)
        slot[kept] = np.arange(1, len(kept) + 1)
        of_which = slot.take(place)
        self.many = np.bincount(of_which, minlength=len(kept) + 1)
        """How many (sample, bucket) collect the rows of a slot; `begins` and `which` say which."""
        self.begins = self.many.cumsum() - self.many
        self.which = which[np.argsort(of_which, kind="stable")]
        self.levels = _Levels(cluster, wanted, self.samples, there) if wanted.series else None
        self.slot = slot if self.levels is None else slot.take(self.levels.begins)
        """The slot of every place, or of every cell: its number among those that are collected, from 1 on; or 0."""


class Wanted:
    """What one pass collects of the samples of a metric: the rows in some `buckets` of each; with `series` it counts
    batches as well.

    Buckets between which nobody asks for one are one **stripe**: there are fewer of these, so that the tables they are
    looked up in stay in the processor's cache. The last one is for rows without a value, as with buckets.
    """

    def __init__(self, samples: list[Sample], buckets: dict[Sample, list[int]], many: int, *, series: bool) -> None:
        self.samples, self.series = samples, series
        self.buckets = [buckets[sample] for sample in samples]
        """Of each sample, in order."""
        self.number = {sample: number for number, sample in enumerate(samples)}
        self.levels = np.array([len(mine) + 1 for mine in self.buckets], np.intp)
        """How many levels each sample has, which its buckets separate."""
        self.owner = np.repeat(np.arange(len(samples)), self.levels - 1)
        """The number of the sample of each (sample, bucket), one sample after the other."""
        asked = np.array([bucket for mine in self.buckets for bucket in mine], np.intp)
        edges = np.unique(np.concatenate([[0, many - 1], asked, asked + 1]))
        """The first bucket of each stripe."""
        self.stripes, self.nowhere = len(edges), len(edges) - 1
        self.stripe = (np.searchsorted(edges, np.arange(many), "right") - 1).astype(np.uint16)
        """The stripe of each bucket."""
        self.stripe_of_bucket = self.stripe[asked].astype(np.intp)
        """Of each (sample, bucket)."""
        self.near = np.zeros(self.stripes, bool)
        """Which stripes any sample collects rows of."""
        self.near[self.stripe_of_bucket] = True
        self.cut = np.zeros((len(samples), self.stripes), bool)
        """[sample, stripe]: where it has another level than before."""
        self.cut[self.owner, self.stripe_of_bucket] = True
        self.dtype = np.uint16 if len(asked) < 1 << 16 else np.int32
        """Of the numbers of (sample, bucket): small ones are sorted by their digits, which is linear."""
        self._tables: dict[Lens, list[_Table]] = {}

    def tables(self, lens: Lens) -> list[_Table]:
        """Return the tables of a lens' clusters, made once for all parts."""
        with lens.making:
            if lens not in self._tables:
                self._tables[lens] = [_Table(cluster, self) for cluster in lens.clusters]
            return self._tables[lens]


class Reading:
    """One pass over a part that collects what is `wanted`."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._batches = np.array([len(s) // s.batch + 1 if wanted.series else 0 for s in wanted.samples])
        self._first = np.concatenate([[0], np.cumsum(self._batches * wanted.levels)])
        self._counts = np.zeros(int(self._first[-1]), np.int32)
        self._place = np.zeros(len(wanted.samples), np.int64)
        self._size = np.array([s.batch for s in wanted.samples])
        self.rows: list[tuple[Array, Array, Array, Array | None]] = []
        """Rows that are kept: for which (sample, bucket), values, batches, and how many rows had them (None: one)."""

    def read(self, lens: Lens, kind: Array, stripe: Array, values: Array, fine: Array | None) -> None:
        """Take the next rows in due order; `fine` is the fine batch of each, from 0, with `series`."""
        if fine is None:
            near = np.flatnonzero(self.wanted.near.take(stripe))
            kind, stripe, values = kind.take(near), stripe.take(near), values.take(near)
        for table in self.wanted.tables(lens):
            at = table.first.take(kind)
            at += stripe
            batch = None
            if fine is not None and table.levels is not None:
                at = table.levels.cell.take(at)
                batch = self._count(table.samples, table.levels, at, fine)
            slot = table.slot.take(at)
            rows = np.flatnonzero(slot > 0)
            if not len(rows):
                continue
            slot = slot.take(rows)
            many = table.many.take(slot)
            ends = np.cumsum(many)
            chosen = np.repeat(rows, many)
            which = table.which.take(np.repeat(table.begins.take(slot) - (ends - many), many) + np.arange(ends[-1]))
            if batch is None or fine is None:
                batches = np.zeros(len(chosen), np.int16)
            else:
                batches = batch[fine[chosen], table.column_of.take(which)]
            self._store(which, batches, values.take(chosen))

    def _store(self, which: Array, batch: Array, values: Array) -> None:
        weights = None
        if len(values) > FEW and values.min() == values.max():  # as lateness in a closed loop: told once, with a number
            first, same = distinct([which, batch])
            weights = np.bincount(same).astype(np.int32)
            which, batch, values = which[first], batch[first], values[first]
        self.rows.append((which.astype(self.wanted.dtype), values, batch.astype(np.int16), weights))

    def _count(self, mine: Array, levels: _Levels, cell: Array, fine: Array) -> Array:
        """Count rows by batch and column; return the batch of every sample that each fine batch belongs to.

        A fine batch belongs, whole, to the batch that its first row is in.
        """
        most, batches = SUMS // (levels.columns + 1), int(fine[-1]) + 1
        by_cell = batches * levels.cells < len(cell)
        if not by_cell:
            most = min(most, COUNTED * batches // (len(cell) * levels.column.shape[1]))
        most = max(1, most)
        ends = np.searchsorted(fine, np.arange(0, batches + most, most)).tolist()
        parts = [
            self._count_some(mine, levels, cell[begin:end], fine[begin:end] - number * most, by_cell=by_cell)
            for number, (begin, end) in enumerate(pairwise(ends))
            if end > begin
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _count_some(self, mine: Array, levels: _Levels, cell: Array, fine: Array, *, by_cell: bool) -> Array:
        many = int(fine[-1]) + 1
        if by_cell:
            counted = np.bincount(fine * levels.cells + cell, minlength=many * levels.cells)
            by_column = np.asarray(levels.member @ counted.reshape(many, levels.cells).T.astype(np.int32)).T
        else:
            width = levels.columns + 1
            at = levels.column.take(cell, axis=0) + (fine * width)[:, None]
            by_column = np.bincount(at.ravel(), minlength=many * width).astype(np.int32).reshape(many, width)[:, :-1]
        sizes = np.add.reduceat(by_column, levels.first, axis=1)
        before = self._place[mine] + np.cumsum(sizes, axis=0) - sizes
        batch: Array = before // self._size[mine]
        self._place[mine] += sizes.sum(axis=0)
        at = batch.take(levels.owner, axis=1)
        at += self._first[mine][levels.owner] + levels.level * self._batches[mine][levels.owner]
        np.add.at(self._counts, at.ravel(), by_column.ravel())
        return batch

    def used(self) -> Array:
        """Return how many batches each sample has; the last of them may not be whole."""
        used: Array = -(-self._place // self._size)
        return used

    def by_level(self, number: int) -> tuple[Array, Array]:
        """Return how many rows of a sample lie in each level of every batch, and which of these are whole."""
        whole, rest = divmod(int(self._place[number]), int(self._size[number]))
        counts = self._counts[self._first[number] : self._first[number + 1]]
        counts = counts.reshape(self.wanted.levels[number], self._batches[number])
        return counts[:, : whole + (rest > 0)], np.arange(whole + (rest > 0)) < whole


def together(readings: list[Reading]) -> Iterator[tuple[Sample, Collected]]:
    """Yield what readings of the parts, in due order, found of each sample."""
    wanted = readings[0].wanted
    used = np.array([reading.used() for reading in readings])
    empty = np.zeros(0, wanted.dtype), np.zeros(0, np.int64), np.zeros(0, np.int16), None
    pieces: list[tuple[Array, Array, Array, Array | None]] = [empty]
    for reading, before in zip(readings, used.cumsum(axis=0) - used, strict=True):
        first = before[wanted.owner].astype(np.int16)
        pieces += [(which, values, batch + first.take(which), many) for which, values, batch, many in reading.rows]
        reading.rows.clear()
    which, values, batches = (np.concatenate([piece[i] for piece in pieces]) for i in range(3))
    weights = None
    if any(many is not None for *_, many in pieces):
        weights = np.concatenate([np.ones(len(w), np.int32) if many is None else many for w, *_, many in pieces])
    pieces.clear()
    order = np.argsort(which, kind="stable")
    which, values, batches = which[order], values[order], batches[order]
    weights = None if weights is None else weights[order]
    bounds = iter(pairwise(np.searchsorted(which, np.arange(len(wanted.owner) + 1)).tolist()))
    for number, (sample, buckets) in enumerate(zip(wanted.samples, wanted.buckets, strict=True)):
        rows = {}
        for bucket, (begin, end) in zip(buckets, bounds, strict=False):
            many = None if weights is None else weights[begin:end]
            rows[bucket] = values[begin:end], batches[begin:end], many
        found = [reading.by_level(number) for reading in readings]
        below = np.concatenate([counts for counts, _ in found], axis=1)
        for level in range(1, len(below)):  # numpy's own running sum takes longer along rows than this
            below[level] += below[level - 1]
        whole = np.concatenate([whole for _, whole in found])
        yield sample, Collected(rows, dict(zip([*buckets, None], below, strict=True)), whole)
