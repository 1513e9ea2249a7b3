"""How rows are told apart by bucket for many overlapping samples at once, a few nanoseconds a row.

A request belongs to many samples: all, its phase, its agent, its provider ... Kinds that belong to the same samples
are one **atom**; samples are looked at in clusters that need few atoms, so that a row is looked up once a cluster,
not once a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from harness.recording.ordered import distinct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.analysis.frame import Array
    from harness.analysis.sample import Sample

ATOMS = 512
"""Most atoms of a cluster: with more its tables would not stay in the processor's cache."""
FEW = 1024
SUMS = 1 << 18
"""Most counts by fine batch and level that are held at a time."""
_ONE = np.int32(1)
"""Of the counts' own type: numpy's `ufunc.at` takes 3 ns a row where nothing has to be cast, and 70 to 160 where a
plain 1 meets an array of int32."""


class _Cluster:
    def __init__(self, samples: list[Sample], atom: Array, buckets: int) -> None:
        self.samples = samples
        self.atom = atom.astype(np.intp)
        """Of each kind."""
        self.first = self.atom * buckets
        """Where the buckets of each kind begin."""
        self.atoms = int(atom.max()) + 1 if len(atom) else 1
        of_atom = np.zeros(self.atoms, np.intp)
        of_atom[atom] = np.arange(len(atom))
        self.inside = np.array([sample.kinds[of_atom] for sample in samples])
        """[sample, atom]."""
        atoms, self.members = np.nonzero(self.inside.T)
        """The samples of every atom, one atom after the other."""
        self.members_from = np.searchsorted(atoms, np.arange(self.atoms))


class Lens:
    """The samples of one metric that are looked at together in a stretch."""

    def __init__(self, metric: str, samples: list[Sample], buckets: int) -> None:
        self.metric, self.samples, self._buckets = metric, samples, buckets
        self.clusters: list[_Cluster] = []
        mine: list[Sample] = []
        atom = np.zeros(len(samples[0].kinds), np.int64)
        for sample in samples:
            finer = _numbered(2 * atom + sample.kinds)
            if mine and finer.max() >= ATOMS:
                self.clusters.append(_Cluster(mine, atom, buckets))
                mine, finer = [], _numbered(sample.kinds.astype(np.int64))
            mine, atom = [*mine, sample], finer
        self.clusters.append(_Cluster(mine, atom, buckets))
        self.making = Lock()
        """Held while tables for this lens are made: those for others may be made at the same time."""

    def count(self, counts: dict[Lens, list[Array]], kind: Array, bucket: Array) -> None:
        """Count rows by kind and bucket into what `hand_out` takes."""
        mine = counts.get(self)
        if mine is None:
            mine = counts[self] = [np.zeros(cluster.atoms * self._buckets, np.int32) for cluster in self.clusters]
        for cluster, found in zip(self.clusters, mine, strict=True):
            at = cluster.first.take(kind)
            at += bucket
            np.add.at(found, at, _ONE)

    def hand_out(self, counts: list[Array]) -> None:
        """Add what was counted to the samples."""
        for cluster, found in zip(self.clusters, counts, strict=True):
            by_sample = sparse.csr_array(cluster.inside, dtype=np.int32) @ found.reshape(cluster.atoms, self._buckets)
            for sample, mine in zip(cluster.samples, by_sample, strict=True):
                sample.counts += mine


def _numbered(codes: Array) -> Array:
    """Return small codes numbered anew without gaps, in their order."""
    there = np.zeros(int(codes.max(initial=0)) + 1, bool)
    there[codes] = True
    return (np.cumsum(there) - 1)[codes]


@dataclass(frozen=True)
class Collected:
    """What a reading found for one sample: the values in ranges of buckets, with the batch of each and how many rows
    had it, and how many rows of every batch lie up to and in each level (between cuts)."""

    ranges: list[tuple[int, int, Array, Array, Array]]
    so_far: Array
    """[level, batch]."""
    cuts: Array

    def below(self, bucket: int) -> Array:
        """Return how many rows of each batch lie in lower buckets; a cut has to be there."""
        hits: Array = self.so_far[int(np.searchsorted(self.cuts, bucket))].copy()
        return hits

    def sizes(self) -> Array:
        """Return how many rows each batch has."""
        sizes: Array = self.so_far[-1]
        return sizes


class _Table:
    """Of one cluster: what a row's atom and stripe mean. Its cells lie between the cuts of all samples of an atom."""

    def __init__(self, cluster: _Cluster, wanted: Wanted) -> None:
        self.first = cluster.atom * wanted.stripes
        """Where the stripes of each kind begin."""
        cut = np.zeros((len(cluster.samples), wanted.stripes), bool)
        for mine, sample in zip(cut, cluster.samples, strict=True):
            mine[wanted.stripe_of(wanted.cuts[sample])] = True
        marks = (sparse.csr_array(cluster.inside.T, dtype=np.int32) @ cut.astype(np.int32)) > 0
        marks[:, [0, -1]] = True
        first = np.flatnonzero(marks)
        self.cells = len(first)
        number = np.arange(self.cells, dtype=np.uint16 if self.cells < 1 << 16 else np.int32)
        self.cell: Array = np.repeat(number, np.diff(first, append=marks.size))
        """The cell of each atom and stripe."""
        self.samples = np.array([wanted.number[sample] for sample in cluster.samples])
        levels = wanted.levels[self.samples]
        self.level_0 = np.cumsum(levels) - levels
        """The first column of each sample; a column is a level of a sample."""
        self.columns = int(levels.sum())
        self.owner = np.repeat(np.arange(len(levels)), levels)
        atom, first = np.divmod(first, wanted.stripes)
        many = np.where(first < wanted.stripes - 1, cluster.inside.sum(axis=0)[atom], 0)
        cell = np.repeat(np.arange(self.cells), many)
        place = np.arange(len(cell)) - (np.cumsum(many) - many)[cell]
        whose = cluster.members[cluster.members_from[atom[cell]] + place]
        column = self.level_0[whose] + np.cumsum(cut, axis=1)[whose, first[cell]]
        # As small as can be: they are looked up at random, and so have to stay in the processor's cache.
        small = np.uint16 if self.columns < 1 << 16 else np.int32
        self.column = np.full((max(1, int(many.max())), self.cells), self.columns, small)
        """The columns of a cell, one for each of the samples it belongs to; the last one is nobody's."""
        self.column[place, cell] = column
        kept = wanted.kept[wanted.first[self.samples][whose] + column - self.level_0[whose]]
        self.many_kept = np.bincount(cell[kept], minlength=self.cells)
        """How many of the cell's columns are collected; `kept_from` and `kept_list` say which."""
        self.any_kept = self.many_kept > 0
        self.kept_from = np.cumsum(self.many_kept) - self.many_kept
        self.kept_list = column[kept]

    @cached_property
    def member(self) -> sparse.csr_array:
        """[column, cell]: 1 where the cell belongs to the column."""
        place, cell = np.nonzero(self.column < self.columns)
        ones = np.ones(len(cell), np.int32)
        return sparse.csr_array((ones, (self.column[place, cell], cell)), (self.columns, self.cells))


class Wanted:
    """What one pass collects of the samples of a metric: the rows in `ranges` of buckets.

    Buckets between which no sample has a cut are one **stripe**: there are fewer of these, so that the tables they are
    looked up in stay in the processor's cache. The last one is for rows without a value, as with buckets.
    """

    def __init__(self, samples: list[Sample], ranges: dict[Sample, list[tuple[int, int]]], buckets: int) -> None:
        self.samples, self.ranges = samples, ranges
        self.number = {sample: number for number, sample in enumerate(samples)}
        self.cuts = {
            s: np.array(sorted({cut for low, high in ranges[s] for cut in (low, high + 1)}), np.intp) for s in samples
        }
        self._edges = np.unique(np.concatenate([[0, buckets - 1], *self.cuts.values()])).astype(np.intp)
        """The first bucket of each stripe."""
        self.stripes = len(self._edges)
        self.nowhere = self.stripes - 1
        self.stripe = self.stripe_of(np.arange(buckets)).astype(np.uint16)
        """The stripe of each bucket."""
        self.near = np.zeros(self.stripes, bool)
        """Which stripes any sample collects rows of."""
        for first, last in {found for sample in samples for found in ranges[sample]}:
            self.near[self.stripe[first] : self.stripe[last] + 1] = True
        self.levels = np.array([len(self.cuts[s]) + 1 for s in samples], np.intp)
        """How many levels, between cuts, each sample has."""
        self.first = np.cumsum(self.levels) - self.levels
        """The number of its first one among all."""
        self.kept = np.zeros(int(self.levels.sum()), bool)
        """Which levels are collected."""
        self.dtype = np.uint16 if len(self.kept) < 1 << 16 else np.int32
        """Of the numbers of levels: small ones are sorted by their digits, which is linear."""
        places: list[Array] = [np.zeros((2, 0), np.intp)]
        for sample, first in zip(samples, self.first, strict=True):
            low, high = np.array(ranges[sample], np.intp).reshape(-1, 2).T
            places.append(first + np.searchsorted(self.cuts[sample], (low, high + 1)) + 1)
            for begin, end in places[-1].T.tolist():
                self.kept[begin:end] = True
        self.places = np.concatenate(places, axis=1).astype(self.dtype)
        """[from or until, range]: the levels of all samples' ranges, one sample after the other."""
        self._tables: dict[Lens, list[_Table]] = {}

    def stripe_of(self, buckets: Array) -> Array:
        """Return the stripe that each bucket lies in."""
        found: Array = np.searchsorted(self._edges, buckets, "right") - 1
        return found

    def tables(self, lens: Lens) -> list[_Table]:
        """Return the tables of a lens' clusters, made once for all parts."""
        with lens.making:
            if lens not in self._tables:
                self._tables[lens] = [_Table(cluster, self) for cluster in lens.clusters]
            return self._tables[lens]


class Reading:
    """One pass over a part that collects what is `wanted`; with `series` it counts batches as well."""

    def __init__(self, wanted: Wanted, *, series: bool) -> None:
        self._wanted = wanted
        samples, self._levels = wanted.samples, wanted.levels
        self._batches = np.array([len(s) // s.batch + 1 if series else 0 for s in samples])
        self._first = np.concatenate([[0], np.cumsum(self._batches * self._levels)])
        self._counts = np.zeros(int(self._first[-1]), np.int32)
        self._place = np.zeros(len(samples), np.int64)
        self._size = np.array([s.batch for s in samples])
        self._rows: list[tuple[Array, ...]] = []

    def read(self, lens: Lens, kind: Array, stripe: Array, values: Array, fine: Array | None) -> None:
        """Take the next rows in due order; `fine` is the fine batch of each, from 0, with `series`."""
        if fine is None:
            near = np.flatnonzero(self._wanted.near.take(stripe))
            kind, stripe, values = kind.take(near), stripe.take(near), values.take(near)
        for table in self._wanted.tables(lens):
            at = table.first.take(kind)
            at += stripe
            cell = table.cell.take(at)
            batch = None if fine is None else self._count(table, cell, fine)
            rows = np.flatnonzero(table.any_kept.take(cell))
            if not len(rows):
                continue
            cell = cell.take(rows)
            many = table.many_kept.take(cell)
            ends = np.cumsum(many)
            chosen = np.repeat(rows, many)
            column = table.kept_list.take(
                np.repeat(table.kept_from.take(cell) - (ends - many), many) + np.arange(ends[-1])
            )
            if batch is None or fine is None:
                place = np.zeros(len(chosen), np.int16)
            else:
                place = batch[fine[chosen], table.owner.take(column)]
            self._keep(table, column, place, values.take(chosen))

    def _keep(self, table: _Table, column: Array, batch: Array, values: Array) -> None:
        weights = np.ones(len(values), np.int32)
        if len(values) > FEW and values.min() == values.max():  # as lateness in a closed loop: told once, with a number
            first, which = distinct([column, batch])
            weights = np.bincount(which).astype(np.int32)
            column, batch, values = column[first], batch[first], values[first]
        owner = table.owner.take(column)
        level = self._wanted.first[table.samples].take(owner) + column - table.level_0.take(owner)
        self._rows.append((level.astype(self._wanted.dtype), batch.astype(np.int16), values, weights))

    def _count(self, table: _Table, cell: Array, fine: Array) -> Array:
        """Count rows by batch and column; return the batch of every sample that each fine batch belongs to.

        A fine batch belongs, whole, to the batch that its first row is in.
        """
        most = max(1, SUMS // (table.columns + 1))
        ends = np.searchsorted(fine, np.arange(0, int(fine[-1]) + 1 + most, most)).tolist()
        parts = [
            self._count_some(table, cell[begin:end], fine[begin:end] - number * most)
            for number, (begin, end) in enumerate(pairwise(ends))
            if end > begin
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _count_some(self, table: _Table, cell: Array, fine: Array) -> Array:
        many = int(fine[-1]) + 1
        if many * table.cells < len(cell):
            counted = np.bincount(fine * table.cells + cell, minlength=many * table.cells)
            by_column = np.asarray(table.member @ counted.reshape(many, table.cells).T.astype(np.int32)).T
        else:
            width = table.columns + 1
            sums = np.zeros(many * width, np.int32)
            row, cell, at = fine * width, cell.astype(np.intp), np.empty(len(cell), np.intp)
            for column in table.column:
                np.add(row, column.take(cell), out=at)
                np.add.at(sums, at, _ONE)
            by_column = sums.reshape(many, width)[:, :-1]
        sizes = np.add.reduceat(by_column, table.level_0, axis=1)
        mine = table.samples
        before = self._place[mine] + np.cumsum(sizes, axis=0) - sizes
        batch: Array = before // self._size[mine]
        self._place[mine] += sizes.sum(axis=0)
        level = np.arange(table.columns) - table.level_0[table.owner]
        at = batch[:, table.owner]
        at += self._first[mine][table.owner] + level * self._batches[mine][table.owner]
        np.add.at(self._counts, at.ravel(), by_column.ravel())
        return batch

    def collected(self) -> Iterator[tuple[Sample, Collected]]:
        """Yield what was found, sample by sample."""
        kinds = (self._wanted.dtype, np.int16, np.int64, np.int32)
        level, batch, values, weights = (
            np.concatenate([np.zeros(0, kind), *(rows[i] for rows in self._rows)]) for i, kind in enumerate(kinds)
        )
        self._rows.clear()
        order = np.argsort(level, kind="stable").astype(np.int32)
        level, batch, values, weights = level[order], batch[order], values[order], weights[order]
        bounds = iter(np.searchsorted(level, self._wanted.places).T.tolist())
        for number, sample in enumerate(self._wanted.samples):
            ranges = []
            for low, high in self._wanted.ranges[sample]:
                rows = slice(*next(bounds))
                ranges.append((low, high, values[rows], batch[rows], weights[rows]))
            counts = self._counts[self._first[number] : self._first[number + 1]]
            used = -(-int(self._place[number]) // int(self._size[number]))
            by_level = counts.reshape(self._levels[number], self._batches[number])[:, :used]
            so_far = np.cumsum(by_level, axis=0, dtype=np.int32)
            yield sample, Collected(ranges, so_far, self._wanted.cuts[sample])
