"""To see a fault bite, or gone, takes as many probes as it takes, however long each is, and then an end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection
from typing import Any

import pytest

from harness.clock import NS_PER_MS, NS_PER_S, now_ns, sleep
from harness.errors import FaultFailed
from harness.faults import watch
from harness.faults.fault import PLAIN, Question
from harness.faults.network import Blackhole, Refuse, Reset
from harness.faults.probe_socket import ProbeSocket, Seen

BASE = {"upstream": "bedrock", "at": "0s", "for": "60s"}


def reset(share: float) -> Reset:
    return Reset.model_validate({**BASE, "kind": "reset", "share": share})


class Probe:
    """Is answered a millisecond later, or reset where `hit` says so of the number of the question; who could tell is
    `busy` now and then."""

    def __init__(self, hit: Callable[[int], bool] = lambda _: False, busy: Collection[int] = ()) -> None:
        self.hit, self.busy, self.asked = hit, busy, 0

    def ask(self, patience_ns: int, stop: threading.Event | None = None, question: Question = PLAIN) -> Seen:
        self.asked += 1
        if self.asked in self.busy:
            raise FaultFailed("the engine is busy")
        sent_ns = now_ns()
        sleep(0.001)
        return Seen("reset" if self.hit(self.asked) else "answered", sent_ns, now_ns(), connected=True)

    def healthy_ns(self, question: Question = PLAIN) -> int:
        return NS_PER_MS


def cleared(spec: Any, probe: Probe, healthy_ms: int) -> watch.Moment:
    """As seen by who has no time beside what it takes."""
    now = now_ns()
    return watch.cleared(spec, probe, since_ns=now, healthy_ns=healthy_ms * NS_PER_MS, deadline_ns=now)


def test_one_on_a_small_share_is_seen_gone_however_long_that_takes() -> None:
    probe = Probe(hit=lambda number: number == 3)
    assert cleared(reset(0.05), probe, healthy_ms=20).evidence.startswith("135 probes in a row")
    assert probe.asked == 3 + 135


def test_one_that_stays_on_is_not_looked_at_for_ever() -> None:
    with pytest.raises(FaultFailed, match="does not answer as before"):
        cleared(reset(0.3), Probe(hit=lambda number: number % 10 == 0), healthy_ms=2)


def test_how_long_it_may_take_grows_with_what_an_answer_takes_and_with_how_few_meet_it() -> None:
    assert watch.takes_ns(reset(0.05), 100 * NS_PER_MS) == 2 * 135 * 102 * NS_PER_MS
    assert watch.takes_ns(reset(1.0), 100 * NS_PER_MS) == 2 * 102 * NS_PER_MS


def test_who_runs_a_service_may_be_busy_when_it_is_asked() -> None:
    refuse = Refuse.model_validate({**BASE, "kind": "refuse"})
    now = now_ns()
    moment = watch.cleared(
        refuse, Probe(busy=(1, 2)), since_ns=now, healthy_ns=NS_PER_MS, deadline_ns=now + 5 * NS_PER_S
    )
    assert moment.low_ns == now
    moment = watch.effective(
        reset(1.0),
        Probe(hit=lambda number: number > 3, busy=(2,)),
        since_ns=now,
        healthy_ns=NS_PER_MS,
        deadline_ns=now_ns() + 5 * NS_PER_S,
        stop=threading.Event(),
    )
    assert moment.low_ns > now, "the last that was served"
    assert "reset" in moment.evidence


def test_who_never_says_anything_is_quoted() -> None:
    with pytest.raises(FaultFailed, match="the engine is busy"):
        cleared(reset(1.0), Probe(busy=range(10**6)), healthy_ms=5)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_probe_that_was_told_not_to_wait_has_seen_nothing(stopped: bool) -> None:
    spec, stop, now = Blackhole.model_validate({**BASE, "kind": "blackhole"}), threading.Event(), now_ns()

    def look(probe: ProbeSocket) -> watch.Moment:
        return watch.effective(
            spec, probe, since_ns=now, healthy_ns=60 * NS_PER_MS, deadline_ns=now + NS_PER_S, stop=stop
        )

    with socket.create_server(("127.0.0.1", 0)) as mute:  # for the 300 ms that a probe of this fault waits
        probe = ProbeSocket(f"127.0.0.1:{mute.getsockname()[1]}", "http")
        if stopped:
            threading.Timer(0.05, stop.set).start()
            with pytest.raises(FaultFailed, match="no probe saw it bite; the last probe saw: silent"):
                look(probe)
        else:
            assert "silent after 3" in look(probe).evidence
