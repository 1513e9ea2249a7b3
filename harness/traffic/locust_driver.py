"""What the two ways of making load share. Only for the Locust subprocess."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import gevent
from gevent.pool import Group
from locust.exception import StopTest, StopUser

from harness.recording.tables import clean
from harness.traffic.locust_alarm import Alarm
from harness.traffic.locust_complaints import line_of, told

if TYPE_CHECKING:
    from locust.env import Environment

    from harness.traffic.locust_record import Recorder

logger = logging.getLogger(__name__)
ENDS = (gevent.GreenletExit, StopUser, StopTest)
"""How a user's code is told, or says, that it is over."""


class Load:
    """A load under way: `start`, `stop` (no new requests), `join` (True when nothing is in flight any more)."""

    def __init__(self, environment: Environment, recorder: Recorder, seed: int) -> None:
        self._environment = environment
        self._recorder = recorder
        self._seed = seed
        self._group = Group()
        self._driver: gevent.Greenlet | None = None
        self._start_ns = 0
        self.errors = 0
        self.last_error = ""
        self._noted: BaseException | None = None
        environment.events.user_error.add_listener(lambda exception, **_: self._note(exception))

    def start(self, start_ns: int) -> None:
        """Begin at monotonic time `start_ns`."""
        self._start_ns = start_ns
        self._driver = gevent.spawn(self._drive_by, Alarm(), start_ns)

    def complete(self, until_ns: int) -> None:
        """Start what was due by `until_ns` and, because the loop was held up, has not started yet; then nothing more.

        To be called before `stop` by an end that is not in a hurry.
        """

    def stop(self) -> None:
        """Start nothing more."""
        if self._driver is not None:
            self._driver.kill()

    def join(self, timeout_s: float) -> bool:
        """Wait until every turn is over, or `timeout_s` has passed; return whether it is."""
        return bool(self._group.join(timeout=timeout_s)) or not len(self._group)

    def kill(self) -> None:
        """End what still runs."""
        self._group.kill(block=True, timeout=1)

    def _drive_by(self, alarm: Alarm, start_ns: int) -> None:
        try:
            self._drive(alarm, start_ns)
        finally:
            alarm.close()

    def _drive(self, alarm: Alarm, start_ns: int) -> None:
        raise NotImplementedError

    @property
    def extinct(self) -> bool:
        """Whether every user there will ever be has come to grief."""
        return False

    def _note(self, error: BaseException) -> None:
        self.errors, self._noted = self.errors + 1, error
        line = line_of(error)
        self.last_error = clean(f"{type(error).__name__}: {error}"[:300] + (f" ({line})" if line else ""))

    def _crashed(self, error: BaseException) -> None:
        if error is self._noted:  # Locust has reported and logged it, and let it go on
            return
        self._note(error)
        if text := told(error):
            logger.error("%s", text)
