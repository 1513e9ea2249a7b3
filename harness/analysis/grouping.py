"""How rows are told apart by bucket for many overlapping samples at once, a few nanoseconds a row.

A request belongs to many samples: all, its phase, its agent, its provider ... Kinds that belong to the same samples
are one **atom**; samples are looked at in clusters that need few atoms, so that a row is looked up once a cluster,
not once a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from harness.analysis.buckets import BUCKETS, NOWHERE
from harness.recording.ordered import distinct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.analysis.frame import Array
    from harness.analysis.sample import Sample

ATOMS = 512
"""Most atoms of a cluster: with more its tables would not stay in the processor's cache."""
SHORT = 1 << 22
"""In recordings of fewer rows to make a table costs more than to look things up in two: a quarter of the atoms."""
FEW = 1024
SUMS = 1 << 18
"""Most counts by fine batch and level that are held at a time."""
_ONE = np.int32(1)
"""Of the counts' own type: numpy's `ufunc.at` takes 2 ns a row where nothing has to be cast, and 70 to 160 where a
plain 1 meets an array of int32."""


class _Cluster:
    def __init__(self, samples: list[Sample], atom: Array) -> None:
        self.samples = samples
        self.first = atom.astype(np.intp) * BUCKETS
        """Where the buckets of each kind begin."""
        self.atoms = int(atom.max()) + 1 if len(atom) else 1
        of_atom = np.zeros(self.atoms, np.intp)
        of_atom[atom] = np.arange(len(atom))
        self.inside = np.array([sample.kinds[of_atom] for sample in samples])
        """[sample, atom]."""


class Lens:
    """The samples of one metric that are looked at together in a stretch."""

    def __init__(self, metric: str, samples: list[Sample], rows: int) -> None:
        self.metric, self.samples = metric, samples
        most = ATOMS if rows >= SHORT else max(1, ATOMS // 4)
        self.clusters: list[_Cluster] = []
        mine: list[Sample] = []
        atom = np.zeros(len(samples[0].kinds), np.int64)
        for sample in samples:
            finer = np.unique(2 * atom + sample.kinds, return_inverse=True)[1]
            if mine and finer.max() >= most:
                self.clusters.append(_Cluster(mine, atom))
                mine, finer = [], np.unique(sample.kinds, return_inverse=True)[1]
            mine, atom = [*mine, sample], finer
        self.clusters.append(_Cluster(mine, atom))

    def count(self, counts: dict[Lens, list[Array]], kind: Array, bucket: Array) -> None:
        """Count rows by kind and bucket into what `hand_out` takes."""
        mine = counts.get(self)
        if mine is None:
            mine = counts[self] = [np.zeros(cluster.atoms * BUCKETS, np.int32) for cluster in self.clusters]
        for cluster, found in zip(self.clusters, mine, strict=True):
            np.add.at(found, cluster.first.take(kind) + bucket, _ONE)

    def hand_out(self, counts: list[Array]) -> None:
        """Add what was counted to the samples."""
        for cluster, found in zip(self.clusters, counts, strict=True):
            by_atom = found.reshape(cluster.atoms, BUCKETS)
            for sample, inside in zip(cluster.samples, cluster.inside, strict=True):
                sample.counts += by_atom[inside].sum(axis=0)


@dataclass(frozen=True)
class Collected:
    """What a reading found for one sample: the values in ranges of buckets, with the batch of each and how many rows
    had it, and how many rows of every batch lie in which level (between which cuts)."""

    ranges: list[tuple[int, int, Array, Array, Array]]
    levels: Array
    """[batch, level]."""
    cuts: Array

    def below(self, bucket: int) -> Array:
        """Return how many rows of each batch lie in lower buckets; a cut has to be there."""
        hits: Array = self.levels[:, : int(np.searchsorted(self.cuts, bucket)) + 1].sum(axis=1)
        return hits

    def sizes(self) -> Array:
        """Return how many rows each batch has."""
        sizes: Array = self.levels.sum(axis=1)
        return sizes


class _Table:
    """Of one cluster: what a row's atom and bucket mean. Its cells lie between the cuts of all samples of an atom."""

    def __init__(self, cluster: _Cluster, reading: Reading) -> None:
        marks = np.zeros((cluster.atoms, BUCKETS), bool)
        marks[:, [0, NOWHERE]] = True
        for sample, inside in zip(cluster.samples, cluster.inside, strict=True):
            cuts = reading.cuts[sample]
            marks[np.ix_(inside, cuts[cuts < BUCKETS])] = True
        atom, first = np.nonzero(marks)
        self.cells = len(atom)
        # As small as can be: it is looked up at random, and so has to stay in the processor's cache.
        self.cell = (np.cumsum(marks.ravel()) - 1).astype(np.uint16 if self.cells < 1 << 16 else np.int32)
        self.samples = np.array([reading.number[sample] for sample in cluster.samples])
        levels = reading.levels[self.samples]
        self.level_0 = np.cumsum(levels) - levels
        """The first column of each sample; a column is a level of a sample."""
        self.columns = int(levels.sum())
        self.owner = np.repeat(np.arange(len(levels)), levels)
        self.column = np.full((max(1, int(cluster.inside.sum(axis=0).max())), self.cells), self.columns, np.intp)
        """The columns of a cell, one for each of the samples it belongs to; the last one is nobody's."""
        used = np.zeros(self.cells, np.intp)
        self.kept_columns = np.zeros(self.columns + 1, bool)
        for number, (sample, inside) in enumerate(zip(cluster.samples, cluster.inside, strict=True)):
            mine = np.flatnonzero(inside[atom] & (first < NOWHERE))
            level = np.searchsorted(reading.cuts[sample], first[mine], "right")
            self.column[used[mine], mine] = self.level_0[number] + level
            used[mine] += 1
            for low, high in reading.wanted[sample]:
                begin, end = np.searchsorted(reading.cuts[sample], (low, high + 1)) + 1 + self.level_0[number]
                self.kept_columns[begin:end] = True
        kept = self.kept_columns[self.column]
        self.many_kept = kept.sum(axis=0)
        """How many of the cell's columns are collected; `kept_from` and `kept_list` say which."""
        self.kept = (self.many_kept > 0).take(self.cell)
        """Whether any is, by atom and bucket."""
        self.kept_from = np.cumsum(self.many_kept) - self.many_kept
        self.kept_list = self.column.T[kept.T]
        whose = np.tile(np.arange(self.cells), len(self.column))
        ones = np.ones(self.column.size, np.int64)
        self.member = sparse.csr_array((ones, (self.column.ravel(), whose)), (self.columns + 1, self.cells))
        """[column, cell]: 1 where the cell belongs to the column."""


class Reading:
    """One pass that collects the rows in `wanted` ranges of buckets; with `series` it counts batches as well."""

    def __init__(self, samples: list[Sample], wanted: dict[Sample, list[tuple[int, int]]], *, series: bool) -> None:
        self._samples, self.wanted, self._series = samples, wanted, series
        self.number = {sample: number for number, sample in enumerate(samples)}
        self.cuts = {
            s: np.unique([cut for low, high in wanted[s] for cut in (low, high + 1)]).astype(np.intp) for s in samples
        }
        self.levels = np.array([len(self.cuts[s]) + 1 for s in samples], np.intp)
        self._most = int(self.levels.max(initial=0)) + 1
        self._batches = np.array([len(s) // s.batch + 1 if series else 0 for s in samples])
        self._first = np.concatenate([[0], np.cumsum(self._batches * self.levels)])
        self._counts = np.zeros(int(self._first[-1]), np.int32)
        self._place = np.zeros(len(samples), np.int64)
        self._size = np.array([s.batch for s in samples])
        self._tables: dict[Lens, list[_Table]] = {}
        self._rows: list[tuple[Array, ...]] = []

    def read(self, lens: Lens, kind: Array, bucket: Array, values: Array, fine: Array) -> None:
        """Take the next rows in due order; `fine` is the fine batch of each, from 0."""
        if lens not in self._tables:
            self._tables[lens] = [_Table(cluster, self) for cluster in lens.clusters]
        for cluster, table in zip(lens.clusters, self._tables[lens], strict=True):
            at = cluster.first.take(kind)
            at += bucket
            batch = self._count(table, table.cell.take(at), fine) if self._series else None
            rows = np.flatnonzero(table.kept.take(at))
            if not len(rows):
                continue
            cell = table.cell.take(at.take(rows))
            many = table.many_kept.take(cell)
            ends = np.cumsum(many)
            chosen = np.repeat(rows, many)
            column = table.kept_list.take(
                np.repeat(table.kept_from.take(cell) - (ends - many), many) + np.arange(ends[-1])
            )
            place = np.zeros(len(chosen), np.int16) if batch is None else batch[fine[chosen], table.owner.take(column)]
            self._keep(table, column, place, values.take(chosen))

    def _keep(self, table: _Table, column: Array, batch: Array, values: Array) -> None:
        weights = np.ones(len(values), np.int32)
        if len(values) > FEW and values.min() == values.max():  # as lateness in a closed loop: told once, with a number
            first, which = distinct([column, batch])
            weights = np.bincount(which).astype(np.int32)
            column, batch, values = column[first], batch[first], values[first]
        owner = table.owner.take(column)
        key = table.samples.take(owner) * self._most + column - table.level_0.take(owner)
        self._rows.append((key.astype(np.int32), batch.astype(np.int16), values, weights))

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
            by_column = np.asarray(table.member @ counted.reshape(many, table.cells).T).T[:, :-1]
        else:
            width = table.columns + 1
            sums = np.zeros(many * width, np.int64)
            for column in table.column:
                np.add.at(sums, fine * width + column.take(cell), 1)
            by_column = sums.reshape(many, width)[:, :-1]
        sizes = np.add.reduceat(by_column, table.level_0, axis=1)
        mine = table.samples
        before = self._place[mine] + np.cumsum(sizes, axis=0) - sizes
        batch: Array = before // self._size[mine]
        self._place[mine] += sizes.sum(axis=0)
        at = (self._first[mine] - table.level_0 + batch * self.levels[mine])[:, table.owner] + np.arange(table.columns)
        filled = by_column > 0
        np.add.at(self._counts, at[filled], by_column[filled].astype(np.int32))
        return batch

    def collected(self) -> Iterator[tuple[Sample, Collected]]:
        """Yield what was found, sample by sample."""
        kinds = (np.int32, np.int16, np.int64, np.int32)
        key, batch, values, weights = (
            np.concatenate([np.zeros(0, kind), *(rows[i] for rows in self._rows)]) for i, kind in enumerate(kinds)
        )
        self._rows.clear()
        order = np.argsort(key, kind="stable").astype(np.int32)
        key, batch, values, weights = key[order], batch[order], values[order], weights[order]
        for number, sample in enumerate(self._samples):
            cuts = self.cuts[sample]
            begin = number * self._most
            ranges = []
            for low, high in self.wanted[sample]:
                levels = begin + np.searchsorted(cuts, (low, high + 1)) + 1
                rows = slice(*np.searchsorted(key, levels))
                ranges.append((low, high, values[rows], batch[rows], weights[rows]))
            counts = self._counts[self._first[number] : self._first[number + 1]]
            used = -(-int(self._place[number]) // int(self._size[number]))
            by_batch = counts.reshape(self._batches[number], self.levels[number])[:used].copy()
            yield sample, Collected(ranges, by_batch, cuts)
