"""A greenlet that knows whose turn it is: its own random stream, and when its request is due.

Only for the Locust subprocess. Workloads draw from Python's `random` module; with one stream for all users, what
user 7 asks would depend on how the answers to users 1 to 6 interleave. So the module's functions are bound to
`PerTurnRandom`, which draws from the stream of the greenlet that asks: a run repeats, user by user, arrival by arrival,
and so do the greenlets that a task spawns.
"""

from __future__ import annotations

import random
import weakref
from copy import copy
from typing import TYPE_CHECKING, Any

import gevent
from gevent import Greenlet
from locust.exception import StopUser

from harness.clock import now_ns
from harness.seeds import python_random
from harness.traffic.locust_alarm import take_a_breath

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.traffic.locust_open import Session
    from harness.traffic.locust_phase import Phase

_ABOVE, _OWING = "agentstorm: below whom", "agentstorm: whose request is due"
"""What gevent hands on to every greenlet that is spawned below a turn."""
_CALLED_OFF = -2


class Turn(Greenlet):
    """A user's greenlet, or that of one arrival."""

    def __init__(self, run: Any, *args: Any, stream: random.Random, due_ns: int = -1) -> None:
        super().__init__(run, *args)  # type: ignore[no-untyped-call]
        self.stream = stream
        self.due_ns = due_ns
        """When the next request of this turn is due (`owe`); negative once it was taken, or if no schedule says so."""
        self.on_ready: Callable[[], None] | None = None
        """Called once, as its request is ready to be sent."""
        self.prepared_ns = 0
        """How long its user took to get ready (on_start) after it was due: time of the workload's, not of ours."""
        self.session: Session | None = None
        """Of an arrival."""
        self.phase: Phase | None = None
        """Of a user that thinks."""
        self.preparing = False
        """Whether its user, new for an arrival, is getting ready (on_start): the arrival's request is yet to come."""
        self.leaving = False
        """Whether its user is to go instead of sending a further request."""
        self._below: weakref.WeakKeyDictionary[Greenlet, random.Random] | None = None
        self.spawn_tree_locals = {_ABOVE: weakref.ref(self)}

    def owe(self, due_ns: int) -> None:
        """Have the next request be the one due at `due_ns`: ours, or that of a greenlet spawned by us from now on.

        Not of one that was spawned before, in on_start: what that sends is on nobody's schedule.
        """
        self.due_ns = due_ns
        self.spawn_tree_locals = {**self.spawn_tree_locals, _OWING: weakref.ref(self)}

    def call_off(self) -> None:
        """Let the request that is due never be sent: its schedule ends before."""
        self.due_ns = _CALLED_OFF

    @property
    def called_off(self) -> bool:
        """Whether the request that was due is not to be sent."""
        return self.due_ns == _CALLED_OFF

    def wait_until_due(self) -> None:
        """Return once the request is due, if a schedule says so. StopUser: it was called off.

        Other greenlets run meanwhile, and the processor stays awake: who sleeps here is late by what waking up takes.
        """
        while self.due_ns >= 0 and now_ns() < self.due_ns:
            take_a_breath()
        if self.called_off:
            raise StopUser

    def stream_of(self, greenlet: Greenlet) -> random.Random:
        """Return the stream of a greenlet below this one: what several draw must not depend on whose answer is first.

        They are seeded in the order in which they first draw, which is the order they were spawned in if they do so
        before they wait for anything; what the turn itself draws is as if they did not.
        """
        if self._below is None:
            self._below, self._seeds = weakref.WeakKeyDictionary(), copy(self.stream)
        if greenlet not in self._below:
            self._below[greenlet] = python_random(self._seeds.getrandbits(63), "below")
        return self._below[greenlet]


def _handed_on(greenlet: Any, what: str) -> Turn | None:
    turn = (getattr(greenlet, "spawn_tree_locals", None) or {}).get(what)
    return turn() if turn is not None else None


def _owing() -> Turn | None:
    """Return the turn whose schedule the running greenlet's request would be on: itself, or the one above it."""
    greenlet = gevent.getcurrent()
    return greenlet if isinstance(greenlet, Turn) else _handed_on(greenlet, _OWING)


def is_due() -> bool:
    """Tell whether the running turn still owes its schedule a request."""
    turn = _owing()
    return turn is not None and (turn.due_ns >= 0 or turn.preparing)


def take_due(*, wait: bool = False) -> int:
    """Return when the running turn's request is due, once; -1 for any further request, or without a schedule.

    With `wait` not before then. StopUser: it was called off.
    """
    turn = _owing()
    if turn is None:
        return -1
    if wait:
        if turn.due_ns >= 0 and turn.on_ready is not None:
            turn.on_ready()
            turn.on_ready = None
        turn.wait_until_due()
    due_ns, turn.due_ns = turn.due_ns, -1
    return due_ns


def prepared_ns() -> int:
    """Return how long the running turn's user took to get ready."""
    turn = _owing()
    return turn.prepared_ns if turn is not None else 0


def take_leave() -> bool:
    """Tell, once, whether the running turn's user is to go; what it sends on its way out is sent."""
    turn = gevent.getcurrent()
    if not isinstance(turn, Turn) or not turn.leaving:
        return False
    turn.leaving = False
    return True


class PerTurnRandom(random.Random):
    """Draws from the running turn's stream; outside of any turn, from `shared`."""

    def __init__(self, shared: random.Random) -> None:
        self._shared = shared
        super().__init__()

    def _stream(self) -> random.Random:
        greenlet = gevent.getcurrent()
        if isinstance(greenlet, Turn):
            return greenlet.stream
        turn = _handed_on(greenlet, _ABOVE)
        return turn.stream_of(greenlet) if turn is not None else self._shared

    def random(self) -> float:
        """Return a number in [0, 1)."""
        return self._stream().random()

    def getrandbits(self, k: int, /) -> int:
        """Return `k` random bits."""
        return self._stream().getrandbits(k)

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        """Return a number of a normal distribution. Numbers are made two at a time, and a stream keeps its second."""
        return self._stream().gauss(mu, sigma)

    def seed(self, a: Any = None, version: int = 2) -> None:
        """Seed the running turn's stream only; with None, which would be chance (and is what `__init__` asks for), do
        nothing."""
        if a is not None:
            self._stream().seed(a, version)

    def getstate(self) -> Any:
        """Return the state of the running turn's stream."""
        return self._stream().getstate()

    def setstate(self, state: Any) -> None:
        """Set the state of the running turn's stream."""
        self._stream().setstate(state)


def install(shared: random.Random) -> None:
    """Make the `random` module draw by turns. To be called before the workload is imported."""
    generator = PerTurnRandom(shared)
    for name in random.__all__:
        if not name[0].isupper():
            setattr(random, name, getattr(generator, name))
