"""Open loop whose rate is given while it runs, level by level (`harness.searching`). Only for the Locust subprocess.

Every worker is told of a level before it begins, and works out the whole of it: so each makes exactly its share, and
together they are the schedule of one. What an arrival is (its class, its random stream) depends on the level's number
and its own number in the level, whatever was run before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
import numpy as np

from harness import seeds
from harness.traffic import pacer
from harness.traffic.locust_alarm import Alarm
from harness.traffic.locust_open import OpenLoad

if TYPE_CHECKING:
    from locust.env import Environment

    from harness.traffic.locust_record import Recorder
    from harness.traffic.pacer import Times


class LevelsLoad(OpenLoad):
    """Begins with the arrivals of `first`; then as `change` says. Of each level every `workers`-th arrival is ours."""

    def __init__(
        self,
        environment: Environment,
        recorder: Recorder,
        seed: int,
        first: Times,
        max_in_flight: int,
        share: tuple[int, int],
        arrivals: str,
    ) -> None:
        numbers = pacer.share(np.arange(len(first)), *share)
        super().__init__(environment, recorder, seed, first, max_in_flight, numbers)
        self._share, self._arrivals = share, arrivals

    def change(self, number: int, at_ns: int, rate: float, seconds: float) -> None:
        """Let the schedule end at `at_ns`, ns from the start of the load, and level `number` (from 1) begin there.

        Its `rate` is per second, and it ends after `seconds` by itself; at a rate of 0 nothing more is due.
        """
        due = at_ns + pacer.level(self._arrivals, rate, seconds, self._seed, number)
        mine = pacer.share(np.arange(len(due)), *self._share)
        weights = [c.weight for c in self._environment.user_classes]
        kinds = pacer.kinds(len(due), weights, seeds.generator(self._seed, f"user-classes/{number}"))
        still = slice(self._dispatched, max(self._dispatched, int(np.searchsorted(self._due, at_ns))))
        self._due = np.concatenate([self._due[still], due[mine]])
        self._kinds = np.concatenate([self._kinds[still], kinds[mine]])
        self._numbers = np.concatenate([self._numbers[still], pacer.FIRST_OF_LEVEL * number + mine])
        self._dispatched = 0
        self._call_off(self._start_ns + at_ns)
        if self._driver is not None and not (
            self._completed or self._stopped
        ):  # it sleeps until an arrival that may be none any more
            self._driver.kill()
            self._driver = gevent.spawn(self._drive_by, Alarm(), self._start_ns)
