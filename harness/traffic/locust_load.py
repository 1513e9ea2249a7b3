"""Making the load: who does what when. Only for the Locust subprocess.

`ClosedLoad` (kinds `users`, `spike`): each user is a greenlet of its own that runs tasks and thinks in between, as
under Locust itself; only the start of each is ours. `OpenLoad` (kind `rate`): at every due time one task of one user
runs, whatever the answers do; users wait in a pool that grows as needed.

Both have `start`, `stop` (no new requests) and `join` (True when nothing is in flight any more).

Both are given the whole schedule and the `numbers` of it that are theirs. What a user or an arrival is (its class, its
random stream) depends on its number in the whole and nothing else, so it is the same however many workers there are.
"""

from __future__ import annotations

import inspect
import logging
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gevent
import numpy as np
from gevent.pool import Group
from locust.exception import InterruptTaskSet, RescheduleTask, StopTest, StopUser
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_STOPPING, DefaultTaskSet, TaskSet

from harness import seeds
from harness.clock import NS_PER_S, now_ns
from harness.traffic import pacer
from harness.traffic.locust_turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from locust import User
    from locust.env import Environment

    from harness.traffic.locust_record import Recorder
    from harness.traffic.pacer import Times

logger = logging.getLogger(__name__)
_STOPPED = "the load was stopped before it was sent"
_ENDS = (gevent.GreenletExit, StopUser, StopTest)


def _sleep_until(t_ns: int) -> None:
    while (left := t_ns - now_ns()) > 0:
        gevent.sleep(left / NS_PER_S)


class Load:
    """What both loads share."""

    def __init__(self, environment: Environment, recorder: Recorder, seed: int) -> None:
        self._environment = environment
        self._recorder = recorder
        self._seed = seed
        self._group = Group()
        self._driver: gevent.Greenlet | None = None
        self._start_ns = 0
        self.errors = 0
        self.last_error = ""
        environment.events.user_error.add_listener(lambda exception, **_: self._note(exception))

    def start(self, start_ns: int) -> None:
        """Begin at monotonic time `start_ns`."""
        self._start_ns = start_ns
        self._driver = gevent.spawn(self._drive, start_ns)

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

    def _drive(self, start_ns: int) -> None:
        raise NotImplementedError

    def _note(self, error: BaseException) -> None:
        self.errors += 1
        self.last_error = f"{type(error).__name__}: {error}"[:300]

    def _crashed(self, error: BaseException) -> None:
        self._note(error)
        logger.error("%s", "".join(traceback.format_exception(error)))


class ClosedLoad(Load):
    """Users with a think time of their own, started at `offsets` (ns after the start)."""

    def __init__(
        self, environment: Environment, recorder: Recorder, seed: int, offsets: Times, numbers: Times | None = None
    ) -> None:
        super().__init__(environment, recorder, seed)
        classes = environment.user_classes
        order = pacer.deal(len(offsets), [c.weight for c in classes], [c.fixed_count for c in classes])
        self._numbers = (np.arange(len(offsets)) if numbers is None else numbers).tolist()
        self._offsets = [int(offsets[n]) for n in self._numbers]
        self._kinds = [order[n] for n in self._numbers]
        self._users: list[tuple[User, Turn]] = []

    @property
    def users(self) -> int:
        """Users running."""
        return len(self._group)

    @property
    def in_flight(self) -> int:
        """Requests that are out and not over."""
        return len(self._recorder.open)

    def _drive(self, start_ns: int) -> None:
        for number, offset, kind in zip(self._numbers, self._offsets, self._kinds, strict=True):
            _sleep_until(start_ns + offset)
            turn = Turn(self._live, kind, stream=seeds.python_random(self._seed, f"user/{number}"))
            self._group.start(turn)
        self._environment.events.spawning_complete.fire(user_count=len(self._numbers))

    def _live(self, kind: int) -> None:
        try:
            user = self._environment.user_classes[kind](self._environment)
            # What Locust's User.start sets; it would make the greenlet itself.
            turn = gevent.getcurrent()
            user._greenlet, user._group = turn, self._group  # noqa: SLF001
            self._users.append((user, turn))
            user.run()
        except _ENDS:
            pass
        except Exception as error:  # noqa: BLE001 - a workload may raise anything, and the others go on
            self._crashed(error)

    def stop(self) -> None:
        """Start no more users; those that think end now, those in a request after it."""
        super().stop()
        for user, turn in self._users:
            if user._state == LOCUST_STATE_RUNNING:  # noqa: SLF001 - Locust has no public word for it
                user._state = LOCUST_STATE_STOPPING  # noqa: SLF001
            elif user._state != LOCUST_STATE_STOPPING:  # noqa: SLF001
                turn.kill(block=False)  # type: ignore[no-untyped-call]


class OpenLoad(Load):
    """One task at each of `due` (ns after the start), by users from a pool."""

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
        self._idle: dict[int, list[User]] = {k: [] for k in range(len(environment.user_classes))}
        self._tasksets: dict[tuple[int, type[TaskSet]], TaskSet] = {}
        self._dispatched = 0
        self._completed = False
        self.users = 0
        """Users made so far."""

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
        self._completed = True

    def stop(self) -> None:
        """Dispatch nothing more; what was due by now is written as dropped, unless the schedule was completed."""
        super().stop()
        if not self._completed:
            for due_ns in self._overdue(now_ns()):
                self._recorder.drop(due_ns, _STOPPED)

    def kill(self) -> None:
        """End what still runs, and write as dropped what has not yet sent its request."""
        for turn in self._group:
            if turn.due_ns >= 0:
                self._recorder.drop(turn.due_ns, _STOPPED)
                turn.due_ns = -1
        super().kill()

    def _drive(self, start_ns: int) -> None:
        for offset in self._due.tolist():
            _sleep_until(start_ns + offset)
            self._dispatch(start_ns + offset)

    def _dispatch(self, due_ns: int) -> None:
        number, kind = int(self._numbers[self._dispatched]), int(self._kinds[self._dispatched])
        self._dispatched += 1
        if len(self._group) >= self._max:
            self._recorder.drop(due_ns, f"{self._max} requests in flight")
            return
        stream = seeds.python_random(self._seed, f"arrival/{number}")
        self._group.start(Turn(self._arrive, kind, stream=stream, due_ns=due_ns))

    def _arrive(self, kind: int) -> None:
        turn = gevent.getcurrent()
        due_ns, turn.due_ns = turn.due_ns, -1  # on_start's requests are not the one that is due
        why, begun = "the task made no request", False
        user: User | None = None
        try:
            user = self._idle[kind].pop() if self._idle[kind] else self._new_user(kind)
            turn.due_ns, begun = due_ns, True
            self._run_task(user)
        except (InterruptTaskSet, RescheduleTask):
            pass
        except _ENDS:
            user, why = None, "its user was stopped before its request"
        except Exception as error:  # noqa: BLE001 - a workload may raise anything, and the schedule goes on
            self._crashed(error)
            why = f"the workload raised {type(error).__name__} before its request"
        if user is not None:
            self._idle[kind].append(user)
        if turn.due_ns >= 0 or not begun:
            self._recorder.drop(due_ns, why)

    def _new_user(self, kind: int) -> User:
        user = self._environment.user_classes[kind](self._environment)
        self.users += 1
        user._state = LOCUST_STATE_RUNNING  # noqa: SLF001
        user._taskset_instance = DefaultTaskSet(user)  # noqa: SLF001
        user.on_start()
        return user

    def _run_task(self, user: User) -> None:
        holder: Any = user._taskset_instance  # noqa: SLF001
        task = holder.get_next_task()
        while inspect.isclass(task) and issubclass(task, TaskSet):
            key = (id(user), task)
            if key not in self._tasksets:  # kept, so that a sequence goes on where this user left it
                nested = self._tasksets[key] = task(user if holder is user._taskset_instance else holder)  # noqa: SLF001
                nested.on_start()
            holder = self._tasksets[key]
            task = holder.get_next_task()
        holder.execute_task(task)


AnyLoad = ClosedLoad | OpenLoad


@dataclass(frozen=True)
class Part:
    """What a load is made for: the process it runs in, and which share of the schedule is its own."""

    environment: Environment
    recorder: Recorder
    seed: int
    worker: int = 0
    """Number of this worker, from 0, of `workers`."""
    workers: int = 1

    def closed(self, offsets: Times) -> ClosedLoad:
        """Return the load of users started at `offsets`, of which every `workers`-th is ours."""
        return ClosedLoad(self.environment, self.recorder, self.seed, offsets, self._numbers(offsets))

    def open(self, due: Times, max_in_flight: int) -> OpenLoad:
        """Return the load of arrivals at `due`, of which every `workers`-th is ours, as of the limit."""
        limit = len(range(self.worker, max_in_flight, self.workers))
        return OpenLoad(self.environment, self.recorder, self.seed, due, limit, self._numbers(due))

    def _numbers(self, times: Times) -> Times:
        return pacer.share(np.arange(len(times)), self.worker, self.workers)


def make(part: Part, load: dict[str, Any]) -> AnyLoad:
    """Return the load for a profile of `harness.model.load`, with durations in seconds and rates per second."""
    return LOADS[load["kind"]](part, load)


def _users(part: Part, load: dict[str, Any]) -> ClosedLoad:
    return part.closed(pacer.starts(load["users"], load["spawn"], seeds.generator(part.seed, "user-starts")))


def _spike(part: Part, load: dict[str, Any]) -> ClosedLoad:
    spawn = load["users"] / load["ramp"]
    offsets = pacer.starts(load["users"], spawn, seeds.generator(part.seed, "user-starts"))
    return part.closed(offsets + int(load["warmup"] * NS_PER_S))


def _rate(part: Part, load: dict[str, Any]) -> OpenLoad:
    seconds = load["warmup"] + load["hold"]
    return part.open(ARRIVALS[load["arrivals"]](load["rate"], seconds, part.seed), load["max_in_flight"])


ARRIVALS: Mapping[str, Callable[[float, float, int], Times]] = {
    "constant": lambda rate, seconds, _: pacer.constant(rate, seconds),
    "poisson": lambda rate, seconds, seed: pacer.poisson(rate, seconds, seeds.generator(seed, "arrivals")),
}
LOADS: Mapping[str, Callable[[Part, dict[str, Any]], AnyLoad]] = {
    "users": _users,
    "spike": _spike,
    "rate": _rate,
}
