"""Open loop: one task of one user at every due time, whatever the answers do. Only for the Locust subprocess.

Users wait in a pool that grows as needed. Each is a `Session`: it has logged in, keeps its cookies, and goes on in its
task sets where its last arrival left it.

An arrival is begun a little ahead of its due time and its request waits, ready to be sent, until it is due
(`Turn.wait_until_due`): a processor that slept for the 60 ms between 1000 requests/min takes 0.3 ms to wake up,
and with its caches cold another 0.6 ms for what otherwise takes 0.1. How much ahead, the arrivals before tell: on some
virtual machines what was not used for 60 ms takes 6 to 8.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import gevent
import numpy as np
from locust import FastHttpUser, HttpUser
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately
from locust.user.task import (
    LOCUST_STATE_RUNNING,
    LOCUST_STATE_STOPPING,
    LOCUST_STATE_WAITING,
    DefaultTaskSet,
    TaskSet,
)

from harness import seeds
from harness.clock import now_ns
from harness.traffic import pacer
from harness.traffic.locust_driver import ENDS, Load
from harness.traffic.locust_turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from locust import User
    from locust.env import Environment

    from harness.traffic.locust_alarm import Alarm
    from harness.traffic.locust_record import Recorder
    from harness.traffic.pacer import Times

_STOPPED = "the load was stopped before it was sent"
_USUALLY_NS = 2_000_000
_AHEAD = 1 / 10
"""Of the time until an arrival is due it is begun so much ahead, at most. Being awake then costs 1 % of a core at
1000/min, 4 % at 100/s, and less again where there is always something to do; up to a tenth where all are begun so early
and some are ready at once."""
_LONGEST_NS = 12_000_000
"""Who takes longer than this to get ready waits for something of the workload's: beginning earlier would not help."""
_FORGET = 16
"""Arrivals after which two thirds of what one took longer than they did are forgotten."""
_HAND_OVERS = 100
"""Task sets that hand an arrival on to each other this often without a request never make one."""


class Session:
    """A user, and the task sets it is in, outermost first; it stays in one until that interrupts, as under Locust."""

    def __init__(self, user: User) -> None:
        self.user = user
        self._sets: list[TaskSet] = [DefaultTaskSet(user)]
        user._state, user._taskset_instance = LOCUST_STATE_RUNNING, self._sets[0]  # noqa: SLF001

    def run_task(self, owes: Callable[[], bool]) -> None:
        """Run the next task, and further ones while they hand over and the arrival still `owes` a request."""
        for _ in range(_HAND_OVERS):
            try:
                return self._next()
            except InterruptTaskSet:
                if len(self._sets) > 1:
                    self._sets.pop().on_stop()
            except (RescheduleTask, RescheduleTaskImmediately):
                pass
            if not owes():
                break
        return None

    def _next(self) -> None:
        holder = self._sets[-1]
        if not holder._task_queue:  # noqa: SLF001
            holder.schedule_task(holder.get_next_task())
        task: Any = holder._task_queue.popleft()  # noqa: SLF001
        while inspect.isclass(task) and issubclass(task, TaskSet):
            parent: Any = self.user if len(self._sets) == 1 else holder
            nested = task(parent)
            nested.on_start()  # one that interrupts here was never entered
            self._sets.append(nested)
            holder, task = nested, nested.get_next_task()
        holder.execute_task(task)

    def leave(self) -> Iterator[Callable[[], None]]:
        """Return what there is to call as the user goes, innermost first."""
        for each in reversed(self._sets):
            yield each.on_stop
        yield self.user.on_stop


class OpenLoad(Load):
    """One task at each of `due` (ns after the start) whose `numbers` are ours (all, unless given)."""

    def __init__(
        self,
        environment: Environment,
        recorder: Recorder,
        seed: int,
        due: Times,
        max_in_flight: int,
        numbers: Times | None = None,
    ) -> None:
        super().__init__(environment, recorder, seed)
        weights = [c.weight for c in environment.user_classes]
        kinds = pacer.kinds(len(due), weights, seeds.generator(seed, "user-classes"))
        self._numbers = np.arange(len(due)) if numbers is None else numbers
        self._due, self._kinds, self._max = due[self._numbers], kinds[self._numbers], max_in_flight
        self._idle: dict[int, list[Session]] = {k: [] for k in range(len(weights))}
        self._dispatched = 0
        self._completed = self._stopped = False
        self.users = 0
        """Users made so far."""
        self._takes_ns = [0] * len(weights)
        """How long an arrival takes to have its request ready, by user class."""

    @property
    def in_flight(self) -> int:
        """Tasks that run."""
        return len(self._group)

    def _overdue(self, until_ns: int) -> list[int]:
        due = self._due[self._dispatched :] + self._start_ns
        return due[due < until_ns].tolist()  # type: ignore[no-any-return] # ints, in numpy's stubs as in life

    def complete(self, until_ns: int) -> None:
        """Dispatch every arrival due by `until_ns`; the schedule ends there."""
        super().stop()
        for due_ns in self._overdue(until_ns):
            self._dispatch(due_ns)
        self._call_off(until_ns)
        self._completed = True

    def stop(self) -> None:
        """Dispatch nothing more; what was due by now is written as dropped, unless the schedule was completed.

        Idle users leave; so do those that wait in the middle of a task, and the others once their task is over.
        """
        super().stop()
        if not self._completed:
            now = now_ns()
            for due_ns in self._overdue(now):
                self._recorder.drop(due_ns, _STOPPED)
            self._call_off(now)
        self._stopped = True
        for turn in list(self._group):
            if turn.session is not None and turn.due_ns < 0:
                user = turn.session.user
                if user._state == LOCUST_STATE_WAITING:  # noqa: SLF001
                    turn.kill(block=False)
                elif user._state == LOCUST_STATE_RUNNING:  # noqa: SLF001
                    user._state = LOCUST_STATE_STOPPING  # noqa: SLF001
        stream = seeds.python_random(self._seed, "leaving")
        for sessions in self._idle.values():
            for session in sessions:
                self._group.start(Turn(self._leave, session, stream=stream))
            sessions.clear()

    def _call_off(self, from_ns: int) -> None:
        """Let what was begun ahead, and is due at `from_ns` or later, not be sent."""
        for turn in self._group:
            if turn.due_ns >= from_ns:
                turn.call_off()

    def kill(self) -> None:
        """End what still runs, and write as dropped what has not yet sent its request."""
        for turn in self._group:
            if turn.due_ns >= 0:
                self._recorder.drop(turn.due_ns, _STOPPED)
                turn.due_ns = -1
        super().kill()

    def _drive(self, alarm: Alarm, start_ns: int) -> None:
        for offset in self._due.tolist():
            due_ns = start_ns + offset
            most_ns = max(0, int((due_ns - now_ns()) * _AHEAD))
            takes_ns = self._takes_ns[self._kinds[self._dispatched]]
            ahead_ns = min(most_ns, max(_USUALLY_NS, takes_ns * 5 // 4))
            alarm.sleep_until(due_ns - ahead_ns)
            if len(self._group) >= self._max:  # there may be room by then
                alarm.sleep_until(due_ns)
                ahead_ns = 0
            self._dispatch(due_ns, due_ns - ahead_ns)

    def _dispatch(self, due_ns: int, begun_ns: int = -1) -> None:
        number, kind = int(self._numbers[self._dispatched]), int(self._kinds[self._dispatched])
        self._dispatched += 1
        if len(self._group) >= self._max:
            self._recorder.drop(due_ns, f"{self._max} requests in flight")
            return
        stream = seeds.python_random(self._seed, f"arrival/{number}")
        turn = Turn(self._arrive, kind, stream=stream, due_ns=due_ns)
        if begun_ns >= 0:
            turn.on_ready = lambda: self._learn(kind, now_ns() - begun_ns)
        self._group.start(turn)

    def _arrive(self, kind: int) -> None:
        turn, idle = gevent.getcurrent(), self._idle[kind]
        try:
            # A new user's on_start is part of its arrival, and another client knows of no due time.
            if not idle or not isinstance(idle[-1].user, HttpUser | FastHttpUser):
                turn.on_ready = None
                turn.wait_until_due()
        except ENDS:
            return  # called off, or dropped by whoever ended it
        due_ns, turn.due_ns = turn.due_ns, -1  # on_start's requests are not the one that is due
        why, begun, stays = "the task made no request", False, True
        try:
            turn.session = idle.pop() if idle else self._new_session(kind)
            turn.owe(due_ns)
            begun = True
            turn.session.run_task(lambda: turn.due_ns >= 0)
        except ENDS:
            why, stays = "its user was stopped before its request", False
        except Exception as error:  # noqa: BLE001 - a workload may raise anything, and the schedule goes on
            self._crashed(error)
            why = f"the workload raised {type(error).__name__} before its request"
        if turn.due_ns >= 0 or not begun:
            self._recorder.drop(due_ns, why)
            turn.due_ns = -1
        if turn.called_off:  # the user was no part of that
            turn.due_ns, stays = -1, True
        session, turn.session = turn.session, None
        if session is not None and stays and not self._stopped:
            idle.append(session)
        elif session is not None:
            self._leave(session)

    def _learn(self, kind: int, took_ns: int) -> None:
        """Note how long an arrival took from when it should have begun until its request could be sent: the longest of
        the last ones."""
        took_ns = took_ns if took_ns < _LONGEST_NS else 0
        self._takes_ns[kind] = max(took_ns, self._takes_ns[kind] - (self._takes_ns[kind] - took_ns) // _FORGET)

    def _new_session(self, kind: int) -> Session:
        user = self._environment.user_classes[kind](self._environment)
        self.users += 1
        session = Session(user)
        turn, began_ns = gevent.getcurrent(), now_ns()
        turn.preparing = True
        try:
            user.on_start()
        finally:
            turn.preparing = False
        turn.prepared_ns = now_ns() - began_ns
        return session

    def _leave(self, session: Session) -> None:
        for farewell in session.leave():
            try:
                farewell()
            except ENDS:  # it wanted to send something, and the load is over
                pass
            except Exception as error:  # noqa: BLE001 - a workload may raise anything, and the others go on
                self._crashed(error)
