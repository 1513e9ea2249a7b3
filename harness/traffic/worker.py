"""A worker on another host than its run: starts the process that makes the load, and tells what becomes of it."""

from __future__ import annotations

import queue
import socket
from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_MS
from harness.errors import TrafficFailed
from harness.hosts import split_port
from harness.interrupt import Interrupt
from harness.traffic.generator import Generator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "worker"
_LOOK_S = 0.25


def serve(master: str, log: Path, say: Callable[[str], Any]) -> None:
    """Join the run at `master` (host:port), make a share of its load, and return when it has ended.

    Ctrl-C asks the run to stop in order; a second one ends this worker at once. TrafficFailed: nobody is there, the run
    refuses this worker, or it fell silent.
    """
    try:
        host, port = split_port(master)
        socket.getaddrinfo(host.strip("[]"), port)
    except (ValueError, OSError) as error:
        raise TrafficFailed(f"--master {master}: {error}") from None
    say(f"joining {master} (waits up to 5 minutes for the run) ...")
    inbox: queue.SimpleQueue[tuple[str, dict[str, Any] | None]] = queue.SimpleQueue()
    with Interrupt() as interrupt:
        process = Generator(NAME, log, inbox)
        try:
            process.tell("join", master=[host, port], who={})
            _follow(process, inbox, interrupt, say)
        finally:
            process.kill()


def _follow(process: Generator, inbox: Any, interrupt: Interrupt, say: Callable[[str], Any]) -> None:
    joined = asked = False
    while True:
        if interrupt.wanted.is_set():
            interrupt.wanted.clear()
            if not joined or asked:
                raise TrafficFailed(f"ended by {interrupt.signal}; the run, if it has begun, is invalid")
            asked = True
            say("asking the run to stop; once more to end at once ...")
            process.terminate()
        try:
            _, said = inbox.get(timeout=_LOOK_S)
        except queue.Empty:
            continue
        if said is None:
            raise TrafficFailed(f"the load generator died {process.last_words()}")
        if said["say"] == "refused":
            raise TrafficFailed(f"{said['what']}\n  {said['hint']}")
        if said["say"] == "left":
            if said["why"]:
                raise TrafficFailed(said["why"])
            say("the load is over")
            return
        if said["say"] == "asked":  # by us, or by somebody else; the run is told of it
            continue
        joined = True
        say(f"joined as {said['worker']}; clock: {_clock(said['clock'])}")


def _clock(clock: dict[str, Any]) -> str:
    if clock["same"]:
        return "the run's own"
    offset_ms, uncertain_ms = clock["offset_ns"] / NS_PER_MS, clock["uncertainty_ns"] / NS_PER_MS
    return f"{offset_ms:+.3f} ms to the run's, give or take {uncertain_ms:.3f}"
