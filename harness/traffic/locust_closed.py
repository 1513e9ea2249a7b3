"""Closed loop: users that think. Only for the Locust subprocess.

Each user is a greenlet of its own that runs tasks and waits in between, as under Locust itself; only its start, its
phase (`locust_phase`) and its end are ours.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

import gevent
import numpy as np
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_STOPPING

from harness import seeds
from harness.traffic import pacer
from harness.traffic.locust_driver import ENDS, Load
from harness.traffic.locust_phase import Phase
from harness.traffic.locust_turn import Turn

if TYPE_CHECKING:
    from locust import User
    from locust.env import Environment

    from harness.traffic.locust_alarm import Alarm
    from harness.traffic.locust_record import Recorder
    from harness.traffic.pacer import Times


class Users(NamedTuple):
    """All users of a load, in the order they start: arrays as `pacer.lives` returns them."""

    start: Times
    stop: Times
    place: Times

    @classmethod
    def staying(cls, start: Times) -> Users:
        """Return users that start at `start` and stay to the end."""
        return cls(start, np.full(len(start), -1), np.arange(len(start)))


class ClosedLoad(Load):
    """The `users` whose `numbers` are ours (all, unless given)."""

    def __init__(
        self, environment: Environment, recorder: Recorder, seed: int, users: Users, numbers: Times | None = None
    ) -> None:
        super().__init__(environment, recorder, seed)
        classes = environment.user_classes
        places = int(users.place.max(initial=-1)) + 1
        self._kinds = pacer.deal(places, [c.weight for c in classes], [c.fixed_count for c in classes])
        shifts = seeds.generator(seed, "phases").random(len(classes)).tolist()
        self._phases = pacer.phases(self._kinds, shifts)
        self._planned = users
        self._numbers = (np.arange(len(users.start)) if numbers is None else numbers).tolist()
        self._lives: dict[int, tuple[User | None, Turn]] = {}
        self._begun = self._grieved = 0
        self._dismissed: set[int] = set()

    @property
    def users(self) -> int:
        """Users running."""
        return len(self._group)

    @property
    def in_flight(self) -> int:
        """Requests that are out and not over."""
        return self._recorder.in_flight

    @property
    def extinct(self) -> bool:
        """Whether all have started and each has ended by an exception, though it was to go on."""
        return self._begun == len(self._numbers) == self._grieved > 0

    def _drive(self, alarm: Alarm, start_ns: int) -> None:
        planned = self._planned
        begins = [(int(planned.start[n]), 1, n) for n in self._numbers]
        ends = sorted((int(planned.stop[n]), 0, n) for n in self._numbers if planned.stop[n] >= 0)
        for offset, begin, number in heapq.merge(begins, ends):
            alarm.sleep_until(start_ns + offset)
            if begin:
                self._begin(number, start_ns)
            else:
                self._retire(number)
        self._environment.events.spawning_complete.fire(user_count=len(self._numbers))

    def _begin(self, number: int, start_ns: int) -> None:
        place = int(self._planned.place[number])
        turn = Turn(self._live, number, self._kinds[place], stream=seeds.python_random(self._seed, f"user/{number}"))
        turn.phase = Phase(self._phases[place], start_ns)
        self._lives[number] = (None, turn)
        self._begun += 1
        self._group.start(turn)

    def _live(self, number: int, kind: int) -> None:
        try:
            user = self._environment.user_classes[kind](self._environment)
            # What Locust's User.start sets; it would make the greenlet itself.
            turn = gevent.getcurrent()
            user._greenlet, user._group = turn, self._group  # noqa: SLF001
            self._lives[number] = (user, turn)
            user.run()
        except ENDS:
            pass
        except Exception as error:  # noqa: BLE001 - a workload may raise anything, and the others go on
            self._grieved += number not in self._dismissed
            self._crashed(error)
        finally:
            self._lives.pop(number, None)

    def _retire(self, number: int) -> None:
        """Let a user go after the request it is in; what its on_stop sends is still sent."""
        self._dismissed.add(number)
        user, turn = self._lives.get(number, (None, None))
        if turn is not None:
            turn.leaving = user is not None and user._state == LOCUST_STATE_RUNNING  # noqa: SLF001
            self._end(user, turn)

    def stop(self) -> None:
        """Start no more users; those that think end now, those in a request after it."""
        super().stop()
        for user, turn in list(self._lives.values()):
            self._end(user, turn)

    @staticmethod
    def _end(user: User | None, turn: Turn) -> None:
        state = user._state if user else None  # noqa: SLF001 - Locust has no public word for it
        if user and state == LOCUST_STATE_RUNNING:
            user._state = LOCUST_STATE_STOPPING  # noqa: SLF001
        elif state != LOCUST_STATE_STOPPING:
            turn.kill(block=False)  # type: ignore[no-untyped-call]
