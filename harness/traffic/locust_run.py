"""One load, from the order to its last row. Only for the Locust subprocess."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from gevent.queue import Empty, Queue

from harness import seeds
from harness.clock import NS_PER_S, now_ns
from harness.model.target import Observe
from harness.observe import Observation
from harness.recording import layout
from harness.recording.buffers import go_on
from harness.recording.requests import RequestWriter
from harness.recording.tokens import TokenWriter
from harness.traffic import (
    locust_complaints,
    locust_hosts,
    locust_load,
    locust_phase,
    locust_session,
    locust_turn,
    locust_warm,
    locust_workload,
)
from harness.traffic.locust_alarm import take_a_breath
from harness.traffic.locust_levels import LevelsLoad
from harness.traffic.locust_measuring import Measuring
from harness.traffic.locust_pulse import PulseMaker
from harness.traffic.locust_record import Recorder
from harness.traffic.locust_stats import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from locust.env import Environment

    from harness.recording.spool import Sink

_FLUSH_NS = NS_PER_S
_HOPELESS = 20
"""A workload that raised so often and made no request never will."""
logger = logging.getLogger("agentstorm")


def load_workload(order: dict[str, Any], environment: Environment) -> None:
    """Import the workload and tell it so, as Locust does (`locust_workload.WorkloadError`)."""
    workload = Path(order["workload"])
    locust_turn.install(seeds.python_random(order["seed"], "workload"))
    locust_phase.install()
    locust_complaints.install()
    environment.user_classes = locust_workload.load(workload, weighted=order["load"]["open_loop"])
    environment.locustfile = workload.name
    environment.events.init.fire(environment=environment, runner=environment.runner, web_ui=None)


class Run:
    """The workload, imported and checked (`locust_workload.WorkloadError`); `run` makes the load.

    `out` tells where the rows of a table (`layout.REQUESTS`, `layout.TOKENS`) go.
    """

    def __init__(
        self,
        order: dict[str, Any],
        announce: Callable[..., None],
        environment: Environment,
        out: Callable[[str], Path | Sink],
    ) -> None:
        self._load_spec, self._announce, self._environment = order["load"], announce, environment
        self._worker = order["worker"]
        seed = order["seed"]
        observe = Observe.model_validate(order["observe"])
        observation = Observation(observe)
        locust_warm.rows()
        locust_warm.requests(observation)  # before there is a workload, which must hear nothing of them
        self._statistics = Statistics(environment)
        load_workload(order, environment)
        self._writer, self._tokens = RequestWriter(out(layout.REQUESTS), self._worker), TokenWriter(out(layout.TOKENS))
        self._full = Queue()
        self._writer.on_full, self._writer.on_exhausted = self._full.put_nowait, self._tokens.flush
        self._recorder = Recorder(
            self._writer,
            self._tokens,
            observation,
            stream_end=observe.stream_end or "",
            stream=order["stream"],
        )
        locust_hosts.allow(order["allow_hosts"])
        locust_session.install(self._environment, self._recorder, self._statistics, order["run_id"])
        part = locust_load.Part(self._environment, self._recorder, seed, *order["share"])
        self._load = locust_load.make(part, order["load"])
        self._over, self._cut = Event(), Event()
        self._stopped_ns: int | None = None

    @property
    def user_classes(self) -> list[str]:
        """Names of the workload's user classes."""
        return [user.__name__ for user in self._environment.user_classes]

    def stop(self, *, at_once: bool, at_ns: int | None = None) -> None:
        """Make no new requests; with `at_once`, do not wait for those in flight either.

        The schedule ends now, or at `at_ns`, a moment that all workers are told.
        """
        if at_once:
            self._cut.set()
        if at_ns is None:
            self._over.set()
        else:
            self._stopped_ns = at_ns
            gevent.spawn_later(max(0.0, (at_ns - now_ns()) / NS_PER_S), self._over.set)

    def change(self, number: int, at_ns: int, rate: float, seconds: float) -> None:
        """Take up level `number` of a search (`locust_levels`)."""
        assert isinstance(self._load, LevelsLoad)  # noqa: S101 - nobody else is told of levels
        self._load.change(number, at_ns, rate, seconds)

    def run(self, start_ns: int, url: str) -> None:
        """Make the load until its end or `stop`, drain, and write the last row."""
        environment = self._environment
        environment.host = url
        for user in environment.user_classes:
            user.host = url
        if not self._prepared():
            self._writer.close()
            self._announce("ended", worker=self._worker, batches=0, lost=0)
            return
        pulses = PulseMaker()
        flusher = gevent.spawn(self._flush_often, pulses)
        flusher.link_exception(lambda _: self.stop(at_once=True))  # no load without anybody who writes it down
        self._load.start(start_ns)
        end_ns = start_ns + int(self._load_spec["total_s"] * NS_PER_S)
        early = self._over.wait(timeout=max(0.0, (end_ns - now_ns()) / NS_PER_S))
        if not self._cut.is_set():
            self._load.complete(min(end_ns, self._stopped_ns or now_ns()) if early else end_ns)
        self._statistics.settle()
        environment.events.test_stopping.fire(environment=environment)
        Measuring.stopping = True
        self._load.stop()
        drained = gevent.spawn(self._load.join, self._load_spec["drain"])
        gevent.wait([drained, self._cut], count=1)
        lost = self._recorder.lose()
        self._load.kill()
        self._statistics.settle()
        environment.events.test_stop.fire(environment=environment)
        flusher.kill()
        if flusher.exception is None:
            self._flush(pulses, self._recorder.finish, go_on)
        for writer in (self._tokens, self._writer):
            try:
                writer.close()
            except OSError as error:  # a disk still full: the reader sees that the stream was never closed
                logger.error("%s", error)  # noqa: TRY400 - nobody needs to know where
        if flusher.exception is not None:
            raise flusher.exception
        self._announce("ended", worker=self._worker, batches=self._writer.batches, lost=lost)
        environment.events.quitting.fire(environment=environment)

    def _prepared(self) -> bool:
        """Fire test_start. Locust logs what a listener raises and goes on; a load without its data means nothing."""
        environment = self._environment
        for listener in list(environment.events.test_start._handlers):  # noqa: SLF001 - its `fire` swallows errors
            try:
                listener(environment=environment)
            except Exception as error:
                logger.exception("test_start")
                line = locust_workload.own_line(error)
                what = f"a test_start listener raised {type(error).__name__}: {error} ({line})"
                self._announce("broken", worker=self._worker, what=what)
                return False
        return True

    def _broken(self) -> str:
        """Return why it is no use going on, if it is not: the workload fails before it makes any load."""
        load = self._load
        if Measuring.stopping:  # it went on to its end
            return ""
        if load.extinct:
            return f"every user raised an exception and ended, the last one {load.last_error}"
        if not self._recorder.sent and load.errors >= _HOPELESS:
            return f"it raised {load.errors} times and made no request, the last time {load.last_error}"
        return ""

    def _write(self, until: int, give_way: Callable[[], None]) -> None:
        """Write rows that were set aside, after their tokens: none is ever there without."""
        self._tokens.write(self._tokens.set_aside(), give_way)
        self._writer.write(until, give_way)

    def _flush(self, pulses: PulseMaker, read: Callable[[], None], give_way: Callable[[], None]) -> None:
        """Write what is there and tell of it. All requests that were over when it began are in what was written."""
        # After a second of other work each of these takes a millisecond or two: the load goes on in between.
        told_ns = now_ns()
        read()
        give_way()
        self._write(self._writer.set_aside(), give_way)
        give_way()
        self._statistics.settle()
        give_way()
        pulse = {
            "worker": self._worker,
            "trouble": self._writer.trouble or self._tokens.trouble,
            "unrecorded": self._writer.unrecorded + self._tokens.unrecorded,
            **pulses.pulse(self._load, self._recorder, told_ns),
        }
        give_way()
        self._announce("flushed", worker=self._worker, batches=self._writer.batches, pulse=pulse)

    def _write_full(self, until_ns: int) -> None:
        """Until then, write what fills a buffer before its second is over."""
        while (left_ns := until_ns - now_ns()) > 0:
            with contextlib.suppress(Empty):
                self._write(self._full.get(timeout=left_ns / NS_PER_S), take_a_breath)

    def _flush_often(self, pulses: PulseMaker) -> None:
        while True:
            self._write_full(now_ns() + _FLUSH_NS)
            self._flush(pulses, self._recorder.settle, take_a_breath)
            if what := self._broken():
                self._announce("broken", worker=self._worker, what=what)
                self.stop(at_once=True)


def serve(run: Run, commands: Queue) -> None:
    """Do what `commands` say until the load is over."""
    load = None
    while load is None or not load.dead:
        command = commands.get()
        if command["do"] == "begin":
            load = gevent.spawn(run.run, command["start_ns"], command["url"])
            load.link(lambda _: commands.put({"do": "look"}))
        elif command["do"] == "change":
            run.change(command["number"], command["at_ns"], command["rate"], command["seconds"])
        elif command["do"] == "stop":
            logger.warning("stop: %s", command["reason"])
            if load is None:
                return
            run.stop(at_once=command["at_once"], at_ns=command.get("at_ns"))
    load.get()
