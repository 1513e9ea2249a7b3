"""How rows are told apart by bucket for many overlapping samples at once, a few nanoseconds a row.

A request belongs to many samples: all, its phase, its agent, its provider ... Kinds that belong to the same samples
are one **atom**; samples are looked at in clusters that need few atoms, so that a row is looked up once a cluster,
not once a sample.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.analysis.frame import Array
    from harness.analysis.sample import Sample

ATOMS = 512
"""Most atoms of a cluster: with more its tables would not stay in the processor's cache."""
AT_ONCE = 1 << 22
"""Samples times kinds for which these are compared at once: as a rule one cluster is enough."""
_ONE = np.int32(1)
"""Of the counts' own type: numpy's `ufunc.at` takes 3 ns a row where nothing has to be cast, and 70 to 160 where a
plain 1 meets an array of int32."""


class Cluster:
    """Samples of a lens that need few atoms."""

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
        owners, self.atoms_of = np.nonzero(self.inside)
        """The atoms of every sample, one sample after the other: how many each has, and where they begin."""
        self.many_atoms = np.bincount(owners, minlength=len(samples))
        self.atoms_from = self.many_atoms.cumsum() - self.many_atoms


class Lens:
    """The samples of one metric that are looked at together in a stretch."""

    def __init__(self, metric: str, samples: list[Sample], buckets: int) -> None:
        self.metric, self.samples, self._buckets = metric, samples, buckets
        self.clusters = [Cluster(mine, atom, buckets) for mine, atom in _clusters(samples)]
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

    def hand_out(self, counts: list[list[Array]]) -> None:
        """Add what was counted, by several threads, to the samples."""
        for cluster, *by_thread in zip(self.clusters, *counts, strict=True):
            found = sum(by_thread[1:], by_thread[0])
            by_sample = sparse.csr_array(cluster.inside, dtype=np.int32) @ found.reshape(cluster.atoms, self._buckets)
            for sample, mine in zip(cluster.samples, by_sample, strict=True):
                sample.counts += mine


def _clusters(samples: list[Sample]) -> Iterator[tuple[list[Sample], Array]]:
    """Yield samples that need few atoms together, and the atom of each kind."""
    if len(samples) * len(samples[0].kinds) <= AT_ONCE:
        alike = np.ascontiguousarray(np.packbits([sample.kinds for sample in samples], axis=0).T)
        atoms, atom = np.unique(alike.view(f"V{alike.shape[1]}").ravel(), return_inverse=True)
        if len(atoms) <= ATOMS:
            yield samples, atom
            return
    mine: list[Sample] = []
    for sample in samples:
        finer = _numbered(2 * atom + sample.kinds) if mine else _numbered(sample.kinds.astype(np.int64))
        if mine and finer.max() >= ATOMS:
            yield mine, atom
            mine, finer = [], _numbered(sample.kinds.astype(np.int64))
        mine, atom = [*mine, sample], finer
    yield mine, atom


def _numbered(codes: Array) -> Array:
    """Return small codes numbered anew without gaps, in their order."""
    there = np.zeros(int(codes.max(initial=0)) + 1, bool)
    there[codes] = True
    return (np.cumsum(there) - 1)[codes]
