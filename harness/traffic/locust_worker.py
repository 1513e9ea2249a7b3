"""One of several generators: joins a master through Locust's protocol, makes its share. Only for the Locust subprocess.

Its clock is the master's: on the same host they read the same one, on another host `clock.now_ns` becomes a reference
to the master's clock, kept right by an exchange every second. So everything that reads it must be imported after that.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import locust
import locust.runners
from gevent.event import Event
from gevent.queue import Empty, Queue
from locust.env import Environment
from locust.exception import RPCError

from harness import clock
from harness.clock import own_ns
from harness.recording.tables import clean
from harness.traffic import locust_process, messages, workload_files
from harness.traffic.clock_offset import ClockOffset, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from locust.rpc import Message
    from locust.runners import WorkerRunner

_ANSWER_S = 30.0
_FIRST_EXCHANGES = 20
_GAP_S = 0.02
_BEAT_S = 1.0
_SILENT_BEATS = 10
"""So many seconds without a word of the master: it is dead, or cannot be reached, and its load must not go on."""
_LEAVE_S = 5.0


class Outbox:
    """A sink of rows, from which what was written is taken to be sent (`spool.Sink`)."""

    closed = False
    error = ""

    def __init__(self) -> None:
        self.full = False
        """As the master says: the disk is its."""
        self._waiting = bytearray()
        self.taken = 0

    @property
    def written(self) -> int:
        """What was handed in: the master knows what it could write."""
        return self.taken

    def write(self, data: bytes) -> int:
        """Take the next bytes."""
        self._waiting += data
        self.taken += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: Arrow asks for it."""

    def drain(self) -> None:
        """Do nothing: what was written is sent with the next word to the master."""

    def close(self) -> None:
        """Do nothing: the end of the stream is still to be sent."""

    def take(self) -> tuple[int, bytes]:
        """Return what was written since the last call, and where in the stream it begins."""
        taken, self._waiting = bytes(self._waiting), bytearray()
        return self.taken - len(taken), taken


class Link:
    """The worker's end of the connection."""

    def __init__(self, runner: WorkerRunner, commands: Queue) -> None:
        self._runner, self._commands = runner, commands
        self._offset = ClockOffset()
        self._reference: clock.Reference | None = None
        self._silent = 0
        self.outboxes: defaultdict[str, Outbox] = defaultdict(Outbox)
        """Rows to be sent, by table."""
        self.lost = False
        """Whether the master fell silent."""
        self.answers: Queue = Queue()
        self.dismissed = Event()
        for kind, listener in {
            messages.ORDER: self.answers.put,
            messages.REFUSED: self.answers.put,
            messages.PONG: self._pong,
            messages.DO: self._do,
        }.items():
            runner.register_message(kind, self._heard(listener))

    def _heard(self, listener: Callable[[Message], Any]) -> Callable[..., None]:
        def hear(msg: Message, **_: Any) -> None:
            self._silent = 0
            listener(msg)

        return hear

    def _do(self, msg: Message) -> None:
        if msg.data["do"] == "leave":
            self.dismissed.set()
        if msg.data["do"] == "hold_back":
            for table, box in self.outboxes.items():
                box.full = table in msg.data["tables"]
            return
        self._commands.put(msg.data)

    def _ping(self) -> None:
        with contextlib.suppress(RPCError):  # silence is what counts
            self._runner.send_message(messages.PING, {"sent": own_ns()})

    def _pong(self, msg: Message) -> None:
        self._offset.add(Exchange(**msg.data, back=own_ns()))

    def follow_the_masters_clock(self) -> None:
        """Have `clock.now_ns` read the master's clock from now on."""
        for _ in range(_FIRST_EXCHANGES):
            self._ping()
            gevent.sleep(_GAP_S)
        for _ in range(100):
            if len(self._offset):
                break
            gevent.sleep(0.1)
        else:
            raise ConnectionError("the master answered no question about its clock")
        self._reference = clock.Reference(self._offset.estimate(own_ns()).offset_ns)
        clock.refer_to(self._reference)

    def clock(self) -> dict[str, Any]:
        """Return how this worker's clock relates to the master's: 0 and certain where it is the same one."""
        if self._reference is None:
            return {"same": True, "offset_ns": 0, "uncertainty_ns": 0}
        estimate, offset_ns = self._offset.estimate(own_ns()), self._reference.offset_ns
        uncertain = estimate.uncertainty_ns + abs(estimate.offset_ns - offset_ns)
        return {"same": False, "offset_ns": offset_ns, "uncertainty_ns": uncertain}

    def watch(self) -> None:
        """Ask every second, keep the clock right, and stop the load when the master has fallen silent. Never ends."""
        while not self.lost:
            self._ping()
            gevent.sleep(_BEAT_S)
            self._silent += 1
            if self._reference is not None:
                self._reference.steer(self._offset.estimate(own_ns()).offset_ns)
            if self._silent >= _SILENT_BEATS:
                self._give_up(f"not a word of the master for {_SILENT_BEATS * _BEAT_S:.0f} s")

    def _give_up(self, why: str) -> None:
        self.lost = True
        self._commands.put({"do": "stop", "reason": why, "at_once": True})

    def say(self, say: str, **data: Any) -> None:
        """Announce something to the harness, through the master."""
        if say == "flushed":
            data["pulse"]["clock_uncertainty_ms"] = self.clock()["uncertainty_ns"] / clock.NS_PER_MS
        if rows := {table: new for table, box in self.outboxes.items() if (new := box.take())[1]}:
            data["rows"] = rows
        if say == "ended":
            data["clock"] = self.clock()
        try:
            self._runner.send_message(messages.SAY, clean({"say": say, **data}))  # Locust's protocol is strict UTF-8
        except RPCError as error:  # a connection that takes nothing for many seconds is none
            self._give_up(f"the master cannot be reached: {error}")

    def leave(self) -> None:
        """Wait until the master has read our last word."""
        if not self.lost:
            self.dismissed.wait(_LEAVE_S)


def work(told: dict[str, Any], commands: Queue, announce: Callable[..., None]) -> int:
    """Join the master, take its order, make our share; return the exit code.

    `announce` tells whoever started us: joined, or refused and why; left, and whether in peace.
    """
    host, port = told["master"]
    # Locust measures the master's silence by the wall clock, and would end us when that is set; `Link.watch` counts.
    locust.runners.MASTER_HEARTBEAT_TIMEOUT = math.inf  # type: ignore[assignment] # a number of seconds
    environment = Environment(events=locust.events)
    try:
        runner = environment.create_worker_runner(host, port)
    except ConnectionError:
        announce("refused", what=f"no master answered at {host}:{port}", hint="is the run waiting for workers?")
        return 1
    link = Link(runner, commands)
    runner.send_message(messages.JOIN, {**messages.myself(), **told["who"]})
    try:
        answer = link.answers.get(timeout=_ANSWER_S)
    except Empty:
        announce("refused", what=f"what answers at {host}:{port} is no agentstorm run", hint="another Locust master?")
        return 1
    if answer.type == messages.REFUSED:
        announce("refused", **answer.data)
        return 1
    runner.worker_index = answer.data["order"]["share"][0]
    return _serve(answer.data, link, environment, commands, announce)


def _serve(
    answer: dict[str, Any], link: Link, environment: Environment, commands: Queue, announce: Callable[..., None]
) -> int:
    order = answer["order"]
    if not answer["own_clock"]:
        link.follow_the_masters_clock()
    announce("joined", worker=order["worker"], clock=link.clock())
    watch = gevent.spawn(link.watch)
    with contextlib.ExitStack() as until_then:
        if answer["files"] is not None:
            folder = Path(until_then.enter_context(tempfile.TemporaryDirectory(prefix="agentstorm-")))
            workload_files.unpack(answer["files"], folder)
            order["workload"] = str(folder / Path(order["workload"]).name)
        why = _generate(order, link, environment, _asked(commands, link))
    link.leave()
    watch.kill()
    announce("left", why="the master fell silent" if link.lost else why)
    return 1 if link.lost else 0


def _asked(commands: Queue, link: Link) -> Queue:
    """Return the queue of commands to obey. A stop that is not the master's is told to it: all are to stop."""
    obeyed: Queue = Queue()

    def pass_on() -> None:
        for command in commands:
            if command["do"] == "stop" and not command["at_once"] and not command.get("at_ns"):
                link.say("asked", reason=command["reason"])
            else:
                obeyed.put(command)

    gevent.spawn(pass_on)
    return obeyed


def _generate(order: dict[str, Any], link: Link, environment: Environment, commands: Queue) -> str:
    """Check the workload and make the load that is ordered; return why there was none."""
    from harness.traffic.locust_run import Run, serve  # noqa: PLC0415 - by now `now_ns` is the one to read
    from harness.traffic.locust_workload import WorkloadError  # noqa: PLC0415

    try:
        run = Run(order, link.say, environment, link.outboxes.__getitem__)
    except WorkloadError as error:
        link.say("refused", worker=order["worker"], where=error.where, what=error.what, hint=error.hint)
        return f"the workload cannot be used here: {error.what}"
    link.say(
        "ready",
        worker=order["worker"],
        user_classes=run.user_classes,
        clock=link.clock(),
        **locust_process.settle(alone=False),
    )
    serve(run, commands)
    return ""
