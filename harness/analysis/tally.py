"""What is counted of the requests around a fault, block by block."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.cache import by_kind
from harness.analysis.windows import running
from harness.clock import NS_PER_S
from harness.model.request import BAD, SUCCEEDED, Outcome

if TYPE_CHECKING:
    from harness.analysis.frame import Array, Frame
    from harness.analysis.windows import Felt


class Tally:
    """Counts of one observation, t0 to `until` (ns); the fault may have been on up to `off`.

    It looks at all requests of the load, in due order (`orders.Look`). With `last`, nothing follows the observation,
    and requests that end later are its own too.
    """

    def __init__(self, felt: Felt, t0: int, off: int, until: int, *, last: bool) -> None:
        self._felt, self._t0, self._off, self._until, self._last = felt, t0, off, until, last
        self.failed = self.slow = self.in_flight = self.in_flight_failed = self.observed = 0
        self.met = np.zeros(len(felt.load.kinds), np.int64)
        """Requests of the load in flight while the fault was on, by kind."""
        self.first_due: int | None = None
        self.first_bad: int | None = None
        """When the first request that ended badly was sent into the fault."""
        self._any_bad, self._slowest = False, 0
        """Whether any request was not good; the slowest response time, as long as none was bad."""
        seconds = math.ceil((until - t0) / NS_PER_S)
        self._unanswered = felt.load.kinds.words("outcome").among([*BAD, Outcome.LOST])
        self._n, self._good = np.zeros(seconds, np.int64), np.zeros(seconds, np.int64)
        self._stall = _Stall(felt, t0, until)
        self._service(felt.probes(0, until))

    def look(self, frame: Frame) -> None:
        """Take the next requests of the load."""
        if not len(frame) or int(frame.due[0]) >= self._until:
            return
        if int(frame.due[-1]) >= self._until:
            frame = frame.take(slice(int(np.searchsorted(frame.due, self._until))))
        if int(frame.due[0]) < self._t0:
            frame = self._alive(frame)
            if not len(frame):
                return
        # Most requests of a long observation were due when the fault was over, and answered well and in time. Of those
        # nothing is told but how many they were.
        usual = self._felt.good(frame)
        usual[: int(np.searchsorted(frame.due, max(self._t0, self._off)))] = False
        usual &= frame.start >= self._off
        if not self._last and frame.last_end >= self._until:
            usual &= frame.end < self._until
        odd = np.flatnonzero(~usual)
        others = frame if len(odd) == len(frame) else frame.take(odd)
        if len(odd) < len(frame):
            self._usual(frame, usual, others)
        if len(odd):
            self._of_load(others)
            self._service(others)
        self._stall.add(frame)

    def _alive(self, frame: Frame) -> Frame:
        """Return some requests without those that were over before t0, or never sent before it."""
        early = int(np.searchsorted(frame.due, self._t0))
        if early == len(frame) and not frame.open and frame.last_end < self._t0:
            return frame.take(slice(0))
        end, start = frame.end[:early], frame.start[:early]
        alive = np.flatnonzero((end >= self._t0) | ((end < 0) & (start >= 0)))
        return frame if len(alive) == early else frame.take(np.concatenate([alive, np.arange(early, len(frame))]))

    def _usual(self, frame: Frame, usual: Array, others: Frame) -> None:
        """Count those of some requests that are usual: due behind `off`, and good. The `others` are not."""
        self.observed += len(frame) - len(others)
        self.first_due = min(int(frame.due[np.argmax(usual)]), self.first_due or int(frame.due[-1]))
        if not self._any_bad:
            self._slowest = max(self._slowest, int(frame.response[usual].max()))
        seconds, edges = self._seconds(frame)
        many = np.diff(np.searchsorted(frame.due, edges) - np.searchsorted(others.due, edges))
        self._n[seconds] += many
        self._good[seconds] += many

    def _seconds(self, frame: Frame) -> tuple[slice, Array]:
        """Return the seconds of the observation from the first that one of some requests was due in to the last, and
        what bounds them, ns."""
        first, last = ((max(int(frame.due[at]), self._t0) - self._t0) // NS_PER_S for at in (0, -1))
        return slice(first, last + 1), self._t0 + NS_PER_S * np.arange(first, last + 2)

    def harmed(self) -> bool:
        """Whether a user noticed anything: a request that was not good, or one slower than the limit on p95."""
        return self._any_bad or self._slowest > self._felt.limit_ns

    def meets(self, frame: Frame) -> Array:
        """Tell which requests were in flight while the fault was on."""
        in_flight: Array = ~frame.dropped & (frame.start < self._off) & ((frame.end >= self._t0) | (frame.end < 0))
        return in_flight

    def _of_load(self, frame: Frame) -> None:
        first = int(frame.start.min())
        if first < self._t0:
            early = frame.take(np.flatnonzero(frame.start < self._t0))
            waiting = (early.start >= 0) & ((early.end >= self._t0) | early.lost)
            self.in_flight += int(waiting.sum())
            self.in_flight_failed += int((waiting & self._unanswered.take(early.kind)).sum())
        if first < self._off:
            on = frame.take(np.flatnonzero(frame.start < self._off))
            self.met += by_kind(on, self.meets(on))
        failed = frame.take(np.flatnonzero(self._unanswered.take(frame.kind)))
        self.failed += int(self._into(failed).sum())
        late = frame.take(np.flatnonzero(frame.response > self._felt.late_ns))
        self.slow += int((self._into(late) & late.ended_as(SUCCEEDED)).sum())

    def _into(self, frame: Frame) -> Array:
        """Tell which requests were sent into the fault, or after it, and are its own."""
        into: Array = (frame.start >= self._t0) & self._ours(frame)
        return into

    def _ours(self, frame: Frame) -> Array:
        """Tell, by when they ended, which requests were not in flight when the next fault began: those are its own."""
        return np.ones(len(frame), bool) if self._last else frame.end < self._until

    def _service(self, frame: Frame) -> None:
        good, sent = self._felt.good(frame), ~frame.dropped
        bad = frame.start[~good & sent & (frame.start >= self._t0) & (frame.start < self._off)]
        if len(bad):
            self.first_bad = min(int(bad.min()), self.first_bad or int(bad.min()))
        due = np.flatnonzero(sent & (frame.due >= self._t0))
        if not len(due):
            return
        self.observed += len(due)
        self.first_due = min(int(frame.due[due[0]]), self.first_due or int(frame.due[due[0]]))
        self._any_bad = self._any_bad or not good[due].all()
        self._slowest = max(self._slowest, int(frame.response[due].max()))
        seconds, edges = self._seconds(frame)
        cuts = np.searchsorted(frame.due, edges)
        ours = sent & self._ours(frame)
        self._n[seconds] += np.diff(running(ours)[cuts])
        self._good[seconds] += np.diff(running(ours & good)[cuts])

    def unavailable_s(self) -> float:
        """Sum of the seconds after t0 in which fewer of the requests due were good than the SLO asks.

        A second in which nothing was due is as the one before it; those before the first request, as that one's: users
        who hang ask for nothing. 0 where nothing was due at all, which shows in that no recovery was seen.
        """
        told = np.flatnonzero(self._n)
        if not len(told):
            return 0.0
        seconds = np.arange(len(self._n))
        bad = (self._good < self._felt.good_share * self._n - 1e-9)[told]
        length = np.minimum(NS_PER_S, self._until - self._t0 - seconds * NS_PER_S)
        latest = np.maximum(0, np.searchsorted(told, seconds, "right") - 1)
        return int(length[bad[latest]].sum()) / NS_PER_S

    def worst_stall_s(self) -> float:
        """Longest gap between successes (of load and canary) that reaches into the observation."""
        return self._stall.worst() / NS_PER_S


class _Stall:
    """The longest gap between the ends of successes, which come in due order, not in that of their ends."""

    def __init__(self, felt: Felt, t0: int, until: int) -> None:
        self._t0, self._until = t0, until
        before = felt.last_success(t0)
        self._latest = t0 if before is None else before
        self._waiting = np.sort(self._ends(felt.canary))
        self._worst = 0

    def _ends(self, frame: Frame) -> Array:
        ends: Array = frame.end[frame.ended_as(SUCCEEDED) & (frame.end >= self._t0) & (frame.end < self._until)]
        return ends

    def add(self, frame: Frame) -> None:
        """Take the next requests of the load."""
        until = int(frame.due[-1])  # whoever is due later also ends later
        ready = int(np.searchsorted(self._waiting, until))
        ends = np.concatenate([self._waiting[:ready], self._ends(frame)])
        ends.sort()
        cut = int(np.searchsorted(ends, until))
        self._take(ends[:cut])
        later, rest = ends[cut:], self._waiting[ready:]
        self._waiting = np.insert(rest, np.searchsorted(rest, later), later) if len(later) else rest

    def _take(self, ends: Array) -> None:
        if len(ends):
            apart = int((ends[1:] - ends[:-1]).max(initial=0))
            self._worst = max(self._worst, int(ends[0]) - self._latest, apart)
            self._latest = int(ends[-1])

    def worst(self) -> int:
        self._take(self._waiting)
        self._waiting = self._waiting[:0]
        return max(self._worst, self._until - self._latest)
