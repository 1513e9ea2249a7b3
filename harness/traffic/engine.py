"""The Locust engine, harness side: no Locust in this process (gevent patches whatever imports it).

One worker is one process that we order directly. Several, or some on other hosts, are led by a master process
(`locust_master`), through which everything passes; those on this host are started, and held, here.

Whoever writes a worker's stream announces how many batches it has flushed; exactly so many are read from it, so the
reader never meets a half-written one and the live view is the recording.
"""

from __future__ import annotations

import contextlib
import queue
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import BaseModel

from harness.clock import NS_PER_S, now_ns
from harness.errors import PlanError, TrafficFailed, WorkloadFailed
from harness.hosts import host_of, is_local, split_port
from harness.recording import layout
from harness.seeds import fresh_password
from harness.traffic import arrivals
from harness.traffic.base import Progress, Pulse
from harness.traffic.generator import Generator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.generator_process import GeneratorProcess
    from harness.model.plan import Plan

MASTER = "locust-master"
_PREPARE_S = 30.0
_GATHER_S = 300.0
"""How long workers on other hosts may take to join."""
_LOOK_S = 0.25


def _numbers(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {key: _numbers(own) for key, own in value}
    return [_numbers(one) for one in value] if isinstance(value, tuple) else value


class _Stream:
    """The requests of one worker: how many batches were flushed, and those not read yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: pa.RecordBatchReader | None = None
        self._read = self.flushed = 0

    def new(self) -> list[pa.RecordBatch]:
        batches = []
        while self._read < self.flushed:
            if self._reader is None:  # the stream has its header from the first batch on
                self._reader = pa.ipc.open_stream(pa.OSFile(str(self._path), "rb"))
            batches.append(self._reader.read_next_batch())
            self._read += 1
        return batches


class LocustEngine:
    """Locust in one or several subprocesses (`base.Engine`)."""

    def __init__(self, plan: Plan, recording: Path, run_id: int) -> None:
        self._plan, self._run_id = plan, run_id
        self._recording, self._requests = recording, recording / layout.REQUESTS
        self._log = recording / layout.LOGS / "locust.log"
        self._inbox: queue.SimpleQueue[tuple[str, dict[str, Any] | None]] = queue.SimpleQueue()
        local = [f"locust-{n}" for n in range(plan.workers)]
        self._names = [f"locust-{n}" for n in range(plan.workers + plan.remote_workers)]
        self._local, self._alone = local, len(self._names) == 1 and plan.workers == 1
        self._password = fresh_password()
        self._processes: dict[str, Generator] = {}
        self._streams = {name: _Stream(self._requests / f"{name}.arrows") for name in self._names}
        self._pulses: list[Pulse] = []
        self._in_flight: dict[str, int] = {}
        self._workers: dict[str, dict[str, Any]] = {name: {} for name in self._names}
        """What is known of each: host, pid, nice, scheduler, clock, user classes."""
        self._master: dict[str, Any] = {}
        self._ready: set[str] = set()
        self._ended: set[str] = set()
        self._broken = self.asked = ""
        """What makes the workload useless."""
        self._dead: dict[str, str] = {}
        """Who has died, and how."""
        self._unsaid: list[str] = []
        self._say: Callable[[str], None] = self._unsaid.append
        self._hears: Mapping[str, Callable[..., None]] = {
            "listening": self._listening,
            "joined": self._joined,
            "turned_away": self._turned_away,
            "ready": self._is_ready,
            "refused": self._refused,
            "flushed": self._flushed,
            "ended": self._is_over,
            "died": self._has_died,
            "broken": self._is_broken,
            "asked": self._was_asked,
            "left": lambda **_: None,
        }

    def _order(self) -> dict[str, Any]:
        plan, load = self._plan, self._plan.scenario.load
        return {
            "workload": str(plan.workload_path),
            "recording": str(self._recording),
            "seed": plan.seed,
            "run_id": self._run_id,
            "allow_hosts": plan.target.allow_hosts,
            "observe": plan.target.observe.model_dump(mode="json", by_alias=True, exclude_none=True),
            # As numbers: how durations and rates are written in files is not the generator's business.
            "load": {**_numbers(load), "total_s": load.total_s, "open_loop": load.open_loop, **self._replayed()},
        }

    def _replayed(self) -> dict[str, Any]:
        replayed, load = self._plan.replayed, self._plan.scenario.load
        if replayed is None or load.kind != "replay":
            return {}
        if arrivals.digest(replayed.path) != replayed.sha256:
            raise PlanError("has changed since the plan was made", where=str(replayed.path), hint="start again")
        return {"due_ns": arrivals.read(replayed.path, load.column)[: replayed.arrivals].tolist()}

    def prepare(self, early: GeneratorProcess | None = None) -> None:
        """Start the processes of this host and have them check the workload. PlanError names the line; no request.

        `early` is one that was started already.
        """
        self._requests.mkdir(parents=True, exist_ok=True)
        order = self._order()
        if self._alone:
            (name,) = self._names
            # The canary's request ids are stream 0.
            self._start(name, early).tell("prepare", **order, worker=name, stream=1, share=[0, 1])
        else:
            master = self._start(MASTER, early)
            master.tell(
                "lead",
                bind=split_port(self._plan.bind) if self._plan.remote_workers else ("127.0.0.1", 0),
                order=order,
                local=self._local,
                remote=self._plan.remote_workers,
                password=self._password,
                prepare_s=_PREPARE_S,
            )
            for name in self._local:
                self._start(name)
        done = (lambda: self._ready.issuperset(self._local)) if self._local else (lambda: bool(self._master))
        if not self._wait(done, _PREPARE_S):
            self.kill()
            raise PlanError(
                f"importing it took more than {_PREPARE_S:.0f} s",
                where=str(self._plan.workload_path),
                hint="move work out of the file's top level, into on_start or a test_start listener",
            )

    def gather(self, say: Callable[[str], None], check: Callable[[], None]) -> None:
        """Wait for the workers on other hosts. `check` may raise to give up.

        PlanError: the workload does not run there, or the target cannot be reached from there.
        TrafficFailed: they did not come in time, or one went away again.
        """
        address, travels = self._plan.bind, self._master
        say(f"waiting up to {_GATHER_S / 60:.0f} minutes for {self._plan.remote_workers} workers; on each host type")
        say(f"  agentstorm worker --master {address}")
        say(f"each gets {travels['files']} files ({travels['bytes'] / 1024:.0f} KiB): the workload's folder")
        for text in self._unsaid:  # they may come before they are waited for
            say(text)
        self._say = say
        if not self._wait(lambda: self._ready.issuperset(self._names), _GATHER_S, check):
            missing = len(self._names) - len(self._ready)
            self.kill()
            raise TrafficFailed(
                f"{missing} of {self._plan.remote_workers} workers from other hosts did not join at {address} within "
                f"{_GATHER_S:.0f} s; on each of them type `agentstorm worker --master {address}`, and let them reach it"
            )

    def _start(self, name: str, early: GeneratorProcess | None = None) -> Generator:
        self._processes[name] = Generator(name, self._log, self._inbox, shared_log=not self._alone, early=early)
        return self._processes[name]

    def _wait(self, done: Callable[[], bool], within_s: float, check: Callable[[], None] = lambda: None) -> bool:
        deadline = now_ns() + int(within_s * NS_PER_S)
        while not done():
            check()
            if now_ns() > deadline:
                return False
            with contextlib.suppress(queue.Empty):
                self._hear(*self._inbox.get(timeout=_LOOK_S))
            if self._dead:
                failure = self._failure()
                self.kill()
                raise failure
        return True

    def _hear(self, source: str, said: dict[str, Any] | None) -> None:
        if said is None:
            self._has_gone(source)
        else:
            self._hears[said.pop("say")](**{"worker": source, **said})

    def _listening(self, *, port: int, worker: str, **data: Any) -> None:
        self._master = {"name": worker, "port": port, **data}
        bound = split_port(self._plan.bind)[0] if self._plan.remote_workers else "127.0.0.1"
        host = "127.0.0.1" if bound in ("0.0.0.0", "*") else "[::1]" if bound == "[::]" else bound  # noqa: S104
        for name in self._local:
            who = {"name": name, "password": self._password}
            self._processes[name].tell("join", master=[host, port], who=who)

    def _joined(self, *, worker: str, **about: Any) -> None:
        if "remote" not in about:  # the worker itself, about its clock: the master tells the rest
            return
        self._workers[worker] |= about
        if not about["remote"]:
            return
        self._say(f"{worker} is {about['host']} (process {about['pid']})")
        if not about["same_loopback"] and is_local(host_of(self._plan.target.url)):
            self.kill()
            raise PlanError(
                f"the target's address {self._plan.target.url} is this host's own loopback, and {about['host']} cannot "
                "reach it",
                where="--remote-workers",
                hint="load a target at an address that all workers reach, named in its allow_hosts",
            )

    def _turned_away(self, *, who: str, why: str, **_: Any) -> None:
        self._say(f"turned away a worker on {who}: {why}")

    def _is_ready(self, *, worker: str, **about: Any) -> None:
        self._workers[worker] |= about
        self._ready.add(worker)

    def _refused(self, *, what: str, hint: str, where: str = "", worker: str = "", **_: Any) -> None:
        self.kill()
        there = self._workers.get(worker, {})
        on = f" on {there['host']}" if there.get("remote") else ""
        raise PlanError(what + on, where=where, hint=hint)

    def _flushed(self, *, worker: str, batches: int, pulse: dict[str, Any]) -> None:
        self._streams[worker].flushed = batches
        self._pulses.append(Pulse(**pulse))
        self._in_flight[worker] = pulse["in_flight"]

    def _is_over(self, *, worker: str, batches: int, clock: dict[str, Any] | None = None, **_: Any) -> None:
        self._streams[worker].flushed = batches
        self._ended.add(worker)
        if clock is not None:
            self._workers[worker]["clock"] = clock
        if self._all_ended and not self._alone:
            self._processes[MASTER].tell("leave")

    def _is_broken(self, *, what: str, **_: Any) -> None:
        self._broken = self._broken or what

    def _was_asked(self, *, worker: str, reason: str, **_: Any) -> None:
        self.asked = self.asked or f"{worker} was asked to stop ({reason})"

    def _has_died(self, *, worker: str, why: str) -> None:
        """Take note of a death, and end the rest: nobody needs hours of a run that is invalid."""
        self._dead[worker] = why
        self.stop(f"{worker} died: {why}", at_once=True)

    def _has_gone(self, name: str) -> None:
        if name == MASTER:
            if not self._over:
                self._dead[name] = self._processes[name].last_words()
                self.kill()  # no load without anybody who writes it down
        elif name not in self._ended and (self._alone or self._processes[name].code() != 0):
            self._has_died(worker=name, why=self._processes[name].last_words())

    def begin(self, start_ns: int, url: str) -> None:
        """Start the load at monotonic time `start_ns` against the base URL `url`."""
        self._tell("begin", start_ns=start_ns, url=url.rstrip("/"))

    def change(self, number: int, at_ns: int, rate: float, seconds: float) -> None:
        """Take up level `number` (from 1) of a search `at_ns` after the load's start: `rate` for at most `seconds`."""
        self._tell("change", number=number, at_ns=at_ns, rate=rate, seconds=seconds)

    def _tell(self, do: str, **data: Any) -> None:
        if boss := self._processes.get(self._names[0] if self._alone else MASTER):
            boss.tell(do, **data)

    @property
    def _over(self) -> bool:
        """Whether no worker makes load any more."""
        return MASTER in self._dead or not (set(self._names) - self._ended - set(self._dead))

    def batches(self) -> Progress:
        """Return what was flushed since the last call.

        TrafficFailed once a process has died and all have ended; WorkloadFailed when the workload makes no load.
        """
        with contextlib.suppress(queue.Empty):
            while True:
                self._hear(*self._inbox.get_nowait())
        pulses, self._pulses = self._pulses, []
        progress = Progress([batch for stream in self._streams.values() for batch in stream.new()], pulses)
        if self._over and not progress.batches and not pulses:  # first what they managed to say
            if self._broken:
                raise WorkloadFailed(f"{self._plan.workload_path}: {self._broken}; the traceback is in {self._log}")
            if self._dead:
                raise self._failure()
        return progress

    @property
    def finished(self) -> bool:
        """Whether the load is over and every row has been handed out by `batches`."""
        return self._all_ended and not self._broken  # `batches` has that to say

    @property
    def _all_ended(self) -> bool:
        return len(self._ended) == len(self._names)

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """Make no new requests; wait for those in flight up to the load's `drain`, or not at all."""
        self._tell("stop", reason=reason, at_once=at_once)

    def kill(self) -> None:
        """End the processes now. What they had flushed stays readable."""
        for process in reversed(self._processes.values()):  # the workers first: they leave in peace through the master
            process.kill(leaving=self._all_ended)

    def describe(self) -> dict[str, Any]:
        """Return what belongs in the manifest: versions, and of each process its id, host, priority and clock."""
        mine = ("pid", "nice", "scheduler", "host", "remote", "clock")
        workers = [{"name": n, **{k: known[k] for k in mine if k in known}} for n, known in self._workers.items()]
        told: dict[str, Any] = {
            "kind": "locust",
            "versions": {name: version(name) for name in ("locust", "gevent", "geventhttpclient")},
            "workers": workers,
            "user_classes": self._workers[self._names[0]].get("user_classes", []),
            "workload": str(self._plan.workload_path),
        }
        return told if self._alone else {**told, "master": self._master}

    def _failure(self) -> TrafficFailed:
        died = "; ".join(f"{name} died {how}" for name, how in self._dead.items())
        gone = self._names if MASTER in self._dead else list(self._dead)
        lost = sum(self._in_flight.get(name, 0) for name in gone)
        rest = "" if self._alone else "; the others were ended"
        return TrafficFailed(
            f"{died}{rest}\n  what it had flushed is kept, all but its last second; {lost} requests were in flight at "
            f"its last word, and what became of them is not known; see {self._log}"
        )
