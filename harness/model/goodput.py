"""Goodput around an outage, and the loads from which a system comes back by itself."""

from __future__ import annotations

from harness.model.base import Frozen


class Flow(Frozen):
    """Requests per second of the load that were due in some stretch, and those of them that were answered well and in
    time (`analysis.windows.Felt.good`)."""

    offered_per_s: float
    good_per_s: float

    @property
    def good_share(self) -> float | None:
        """Good ones of those due; null when nothing was due."""
        return self.good_per_s / self.offered_per_s if self.offered_per_s else None


class Goodput(Frozen):
    """What a load got in the last window W before a fault, while it was on, and in the last W that it was watched."""

    before: Flow
    during: Flow
    after: Flow | None
    """null when that ended, or the load changed, less than W after the fault was over."""
    watched_s: float
    """From the end of the fault to the end of its observation, or to where the load changed."""


class LoadLevel(Frozen):
    """Outages of one kind that met about the same load."""

    offered_per_s: float
    """Median of what was due per second just before them."""
    outages: int
    came_back: int
    """How many were over, without anybody's help, while they were watched."""
    longest_s: float | None
    """From the end of the fault to recovery, the longest of those that came back; 0 where service was good before."""
    watched_s: float
    """How long the others were watched after the fault's end, at least; of all of them where all came back."""
    good_share: float | None
    """Good answers of the requests due in the last W that they were watched, together."""
    amplification: float | None
    """Provider calls per answer while the fault was on, by those in healthy times; null where ledgers do not tell."""


class Comeback(Frozen):
    """From which loads service came back once a fault was over.

    A system that stays down after its trigger is gone is in a metastable failure (Bronson et al., HotOS 2021; Huang et
    al., OSDI 2022); whether it gets there depends on the load that the trigger meets, and on how far its own retries
    amplify that.
    """

    levels: tuple[LoadLevel, ...]
    """By load, ascending."""
    back_up_to_per_s: float | None
    """The highest load below any from which it did not come back; null when it did not come back from the lowest."""
    not_from_per_s: float | None
    """The lowest load from which it did not come back; null when it came back from all: no such load was tried."""
