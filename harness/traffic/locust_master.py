"""The master of several workers: makes no load. Only for the Locust subprocess.

It lets workers join, gives each its share, writes the rows they send into ``requests/<worker>.arrows`` as they come (so
a worker that is killed leaves all that it had flushed), and tells the harness (`locust_main`):

    {"say": "listening", "port", "files", "bytes"}         what is sent to a worker on another host
    {"say": "joined", "worker", "host", "pid", ...}  |  {"say": "turned_away", "who", "why"}
    {"say": "ready" | "refused" | "flushed" | "broken" | "ended", "worker", ...}       as the worker said it
    {"say": "asked", "worker", "reason"}                   one was asked to stop, and so are all
    {"say": "died", "worker", "why"}                       one on another host; the harness holds those on this one

The workload is imported here too, and hears ``init``, ``test_start`` and ``test_stop``, as on Locust's own master.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import locust
from gevent.queue import Empty
from locust.env import Environment
from locust.exception import RPCError
from zmq.error import ZMQError

from harness.clock import NS_PER_MS, NS_PER_S, now_ns
from harness.recording import layout
from harness.recording.spool import Spool
from harness.traffic import messages, workload_files
from harness.traffic.locust_run import load_workload
from harness.traffic.locust_workload import WorkloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent.queue import Queue
    from locust.rpc import Message
    from locust.runners import MasterRunner

logger = logging.getLogger("agentstorm")
_BEAT_S = 0.5
_SILENT_S = 5.0
"""A worker on another host that says nothing for so long (it has something to say twice a second) is dead to us."""
_NOTICE_NS = 100 * NS_PER_MS
"""A stop is for this much later, so that it is the same moment for all."""


@dataclass
class _Worker:
    name: str
    number: int
    client: str
    """Its id in Locust's protocol."""
    host: str
    remote: bool
    silent: int = 0
    prepared: bool = False
    """It has imported the workload, which may hold up its loop."""
    over: bool = False
    """It has ended, or is dead."""
    broken_off: bool = False
    """Part of what it sent never came, so nothing after that can be written."""
    full: list[str] = field(default_factory=list, repr=False)
    """The tables it was told to send nothing more of."""
    spools: dict[str, Spool] = field(default_factory=dict, repr=False)
    """Where its rows go, by table."""
    sent: list[tuple[int, int]] = field(default_factory=list, repr=False)
    """(bytes of requests, batches in them) that came and were not announced yet."""


class Master:
    """Answers workers' messages as they come, and the harness's commands."""

    def __init__(self, told: dict[str, Any], runner: MasterRunner, announce: Callable[..., None]) -> None:
        self._told, self._order, self._announce = told, told["order"], announce
        self._runner, self._environment = runner, runner.environment
        self._files: dict[str, bytes] | None = None
        self._workers: dict[str, _Worker] = {}
        self._me = messages.myself()
        self._end_ns = 0
        self._begun = self._stopping = False
        self._failed: BaseException | None = None
        for kind, listener in {messages.JOIN: self._join, messages.PING: self._ping, messages.SAY: self._say}.items():
            self._runner.register_message(kind, self._heard(listener))

    def prepare(self) -> dict[str, int]:
        """Import the workload, and take with it what has to travel; return how much that is. WorkloadError."""
        if self._told["remote"]:  # first: a worker may join while the workload is being imported
            path = Path(self._order["workload"])
            try:
                self._files = workload_files.pack(path)
            except workload_files.TooMuch as error:
                raise WorkloadError(str(path), str(error), "give the workload a folder of its own") from None
        load_workload(self._order, self._environment)
        files = self._files or {}
        return {"files": len(files), "bytes": sum(map(len, files.values()))}

    def _heard(self, listener: Callable[[Message], None]) -> Callable[..., None]:
        def hear(msg: Message, **_: Any) -> None:
            try:
                if worker := self._workers.get(msg.node_id):
                    worker.silent = 0
                listener(msg)
            except Exception as error:  # Locust would log it and go on; a row that is not written must not be silence
                logger.exception("the master failed")
                self._failed = error

        return hear

    def _send(self, client: str, kind: str, data: dict[str, Any]) -> None:
        self._runner.send_message(kind, data, client)

    def _ping(self, msg: Message) -> None:
        received = now_ns()
        self._send(msg.node_id, messages.PONG, {**msg.data, "received": received, "answered": now_ns()})

    def _join(self, msg: Message) -> None:
        who = msg.data
        why, hint = self._objection(who)
        if why:
            self._announce("turned_away", who=f"{who.get('host', '?')} (process {who.get('pid', '?')})", why=why)
            self._send(msg.node_id, messages.REFUSED, {"what": f"the run refuses this worker: {why}", "hint": hint})
            return
        remote = "name" not in who
        number = self._places()[0] if remote else self._told["local"].index(who["name"])
        worker = _Worker(f"locust-{number}", number, msg.node_id, who["host"], remote)
        self._workers[msg.node_id] = worker
        self._announce(
            "joined", worker=worker.name, host=who["host"], pid=who["pid"], remote=remote,
            same_loopback=not remote or (who["loopback"] == self._me["loopback"] != ""),
        )  # fmt: skip
        order = {
            **self._order,
            "worker": worker.name,
            # The canary's request ids are stream 0.
            "stream": 1 + number,
            "share": [number, len(self._told["local"]) + self._told["remote"]],
        }
        own_clock = not remote or (who["clock"] == self._me["clock"] != "")
        files = self._files if remote else None
        self._send(msg.node_id, messages.ORDER, {"order": order, "own_clock": own_clock, "files": files})

    def _objection(self, who: dict[str, Any]) -> tuple[str, str]:
        """Return why somebody may not join, and what to do about it; two empty texts if they may."""
        if unlike := messages.difference(self._me["versions"], who.get("versions", {})):
            return f"it has {unlike}", "install the same versions on both hosts"
        if "name" in who:  # one of those the harness has started here
            known = who["name"] in self._told["local"] and who.get("password") == self._told["password"]
            return ("", "") if known else ("it is none of this run's own", "join with `agentstorm worker --master`")
        if not self._places():
            return (
                f"it has all {self._told['remote']} workers it waits for from other hosts",
                "raise --remote-workers of the run, or end the worker that has the place",
            )
        return "", ""

    def _places(self) -> list[int]:
        """Return the numbers of the workers on other hosts that have not joined."""
        first = len(self._told["local"])
        taken = {worker.number for worker in self._workers.values()}
        return [n for n in range(first, first + self._told["remote"]) if n not in taken]

    def _say(self, msg: Message) -> None:
        worker, said = self._workers.get(msg.node_id), dict(msg.data)
        if worker is None:
            return
        say = said.pop("say")
        worker.prepared = worker.prepared or say == "ready"
        if worker.broken_off or not all(
            self._append(worker, table, *piece) for table, piece in said.pop("rows", {}).items()
        ):
            self._break_off(worker, last=say in ("ended", "refused"))
            return
        self._drain(worker)
        if "batches" in said:
            said["batches"] = self._whole(worker, said["batches"])
        if "pulse" in said:
            said["pulse"]["trouble"] = next((s.error for s in worker.spools.values() if s.error), "")
        if say == "asked":
            self._announce("asked", worker=f"{worker.name} on {worker.host}", reason=said["reason"])
            self.stop(f"{worker.name} on {worker.host} was asked to stop: {said['reason']}", at_once=False)
            return
        if say == "broken":
            self.stop(f"the workload: {said['what']}", at_once=True)
        if say in ("ended", "refused"):
            self._over(worker)
            if say == "ended" and not self._stopping and now_ns() < self._end_ns:
                self._announce("died", worker=worker.name, why="(it ended before the load did)")
                return
        self._announce(say, **said)

    def _append(self, worker: _Worker, table: str, offset: int, rows: bytes) -> bool:
        """Write the next rows; False when they do not begin where those before them ended."""
        if table not in worker.spools:
            path = Path(self._order["recording"]) / table / f"{worker.name}.arrows"
            path.parent.mkdir(parents=True, exist_ok=True)
            worker.spools[table] = Spool(path)
        spool = worker.spools[table]
        if offset != spool.taken:
            return False
        spool.write(rows)
        return True

    def _break_off(self, worker: _Worker, *, last: bool) -> None:
        """Say, once, that a worker's rows have a hole: whoever read on behind it would read wrong words, or nothing."""
        if not worker.broken_off:
            worker.broken_off = worker.over = True
            self._announce("died", worker=worker.name, why="(part of what it sent was lost)")
        if last:
            self._over(worker)

    def _drain(self, worker: _Worker) -> None:
        """Write what waits; while a full disk makes that too much, have the worker give up further rows, and count."""
        for spool in worker.spools.values():
            spool.drain()
        full = [table for table, spool in worker.spools.items() if spool.full]
        if full != worker.full:
            worker.full = full
            self._send(worker.client, messages.DO, {"do": "hold_back", "tables": full})

    def _whole(self, worker: _Worker, batches: int) -> int:
        """Return how many of the batches that came lie whole in the file: all of them, unless the disk is full."""
        requests = worker.spools.get(layout.REQUESTS)
        if requests is None:
            return 0
        worker.sent.append((requests.taken, batches))
        while len(worker.sent) > 1 and worker.sent[1][0] <= requests.written:
            del worker.sent[0]
        size, whole = worker.sent[0]
        return whole if size <= requests.written else 0

    def _over(self, worker: _Worker) -> None:
        """Close the account of a worker that has said its last word, and let it go."""
        worker.over = True
        for spool in worker.spools.values():
            with contextlib.suppress(OSError):  # a disk still full: the reader sees that the stream was never closed
                spool.close()
        self._send(worker.client, messages.DO, {"do": "leave"})

    def watch(self) -> None:
        """Notice when a worker on another host has fallen silent. Beats are counted, so that a pause of ours is none of
        theirs. Never ends."""
        while True:
            gevent.sleep(_BEAT_S)
            for worker in list(self._workers.values()):
                worker.silent += 1
                seconds = _SILENT_S if worker.prepared else self._told["prepare_s"]
                if worker.remote and not worker.over and worker.silent >= seconds / _BEAT_S:
                    worker.over = True
                    when = "" if worker.prepared else ", while it imported the workload"
                    why = f"({worker.host} was not heard of for {seconds:.0f} s{when})"
                    self._announce("died", worker=worker.name, why=why)

    def check(self) -> None:
        """Raise what went wrong while a message was handled."""
        if self._failed is not None:
            raise self._failed

    def _tell_all(self, do: str, **data: Any) -> None:
        for worker in self._workers.values():
            self._send(worker.client, messages.DO, {"do": do, **data})

    def begin(self, start_ns: int, url: str) -> None:
        """Order the load."""
        self._begun = True
        self._end_ns = start_ns + int(self._order["load"]["total_s"] * NS_PER_S)
        self._tell_all("begin", start_ns=start_ns, url=url)
        self._environment.host = url
        for user in self._environment.user_classes:
            user.host = url
        gevent.spawn(self._environment.events.test_start.fire, environment=self._environment)

    def change(self, level: dict[str, Any]) -> None:
        """Order the next level of a search."""
        self._tell_all("change", **level)

    def stop(self, reason: str, *, at_once: bool) -> None:
        """Order the end, for one moment."""
        logger.warning("stop: %s", reason)
        self._stopping = True
        self._tell_all("stop", reason=reason, at_once=at_once, at_ns=None if at_once else now_ns() + _NOTICE_NS)

    def leave(self) -> None:
        """Tell the workload that it is over."""
        events = self._environment.events
        if self._begun:
            events.test_stopping.fire(environment=self._environment)
            events.test_stop.fire(environment=self._environment)
        events.quitting.fire(environment=self._environment)


def lead(told: dict[str, Any], commands: Queue, announce: Callable[..., None]) -> int:
    """Let workers join and lead them until the harness says `leave`; return the exit code."""
    environment, (host, port) = Environment(events=locust.events), told["bind"]
    try:
        runner = environment.create_master_runner(host, port)
    except (RPCError, ZMQError, SystemExit) as error:  # Locust exits when the port is taken
        why = "it is taken" if isinstance(error, SystemExit) else error
        hint = "give an address of this host and a port that is free, as in 127.0.0.1:5557"
        announce("refused", where="--bind", what=f"cannot listen at {host}:{port}: {why}", hint=hint)
        return 0
    master = Master(told, runner, announce)
    try:
        travels = master.prepare()
    except WorkloadError as error:
        announce("refused", where=error.where, what=error.what, hint=error.hint)
        return 0
    announce("listening", port=runner.server.port, pid=os.getpid(), **travels)
    gevent.spawn(master.watch)
    while True:
        master.check()
        try:
            command = commands.get(timeout=_BEAT_S)
        except Empty:
            continue
        if command["do"] == "begin":
            master.begin(command["start_ns"], command["url"])
        elif command["do"] == "change":
            master.change({key: value for key, value in command.items() if key != "do"})
        elif command["do"] == "stop":
            master.stop(command["reason"], at_once=command["at_once"])
        else:
            master.leave()
            return 0
