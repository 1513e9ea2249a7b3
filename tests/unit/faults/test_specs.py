"""Fault specs: what they accept, what they put on a proxy, and by what face a probe knows them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pydantic import ValidationError

from harness.clock import now_ns
from harness.faults import KINDS
from harness.faults.answer import Answer
from harness.faults.fault import ProxyFault, Toxic
from harness.faults.http import HttpFault
from harness.faults.network import Blackhole, Refuse, Slow
from harness.faults.probe_socket import Outcome, Seen
from harness.faults.service import ServiceFault, ServiceSeen
from harness.faults.watch import answers_needed
from harness.model.instance import Instance, State

MS = 1_000_000
PROXY_KINDS = [name for name, kind in KINDS.items() if issubclass(kind, ProxyFault)]
BASE = {"at": "1s", "for": "2s"}
EXTRA: dict[str, dict[str, Any]] = {
    "slow": {"latency": "200ms", "jitter": "50ms"},
    "jitter": {"most": "200ms"},
    "bandwidth": {"rate": "10kB/s"},
    "sliced": {"size": "10B", "delay": "10ms"},
    "cut": {"after_bytes": "200B"},
    "slow_close": {"delay": "200ms"},
    "quota": {"requests": 10, "per": "1s"},
    "slow_first_token": {"latency": "200ms"},
    "flapping": {"fault": {"kind": "refuse"}, "period": "500ms"},
    "brownout": {"latency": "200ms", "errors": 0.3},
    "cpu": {"cpus": 0.1},
    "memory": {"limit": "64MiB"},
}


def make(kind: str, /, **settings: Any) -> Any:
    place = {"service": "agents"} if issubclass(KINDS[kind], ServiceFault) else {"upstream": "bedrock"}
    return KINDS[kind].model_validate({"kind": kind, **BASE, **place, **EXTRA.get(kind, {}), **settings})


def seen(outcome: Outcome, ms: float = 1.0, *, connected: bool = True, size: int = 0) -> Seen:
    return Seen(outcome, 0, int(ms * MS), connected, size=size)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_written_and_read_back(kind: str) -> None:
    spec = make(kind, repeat=2, every="5s")
    assert KINDS[kind].model_validate(spec.model_dump(mode="json", by_alias=True)) == spec
    assert spec.kind == kind


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    "wrong", [{"latncy": "1s"}, {"for": "0s"}, {"at": 5}, {"repeat": 0}, {"kind": "flood"}], ids=str
)
def test_what_no_kind_accepts(kind: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(kind, **wrong)


def test_jitter_that_would_hide_the_delay_is_refused() -> None:
    with pytest.raises(ValidationError, match="at most half"):
        make("slow", latency="100ms", jitter="51ms")


class Recorder:
    """What a fault asks of a proxy, in order."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def add(self, *toxics: Toxic) -> None:
        self.asked += [("add", t) for t in toxics]

    def remove(self, *names: str) -> None:
        self.asked += [("remove", n) for n in names]

    def enable(self, *, enabled: bool) -> None:
        self.asked.append(("enable", enabled))

    def misbehave(self, name: str, how: Any) -> None:
        self.asked.append(("misbehave", name, how))

    def behave(self, name: str) -> None:
        self.asked.append(("behave", name))


def test_a_blackhole_lets_no_question_through_while_it_comes_or_goes() -> None:
    proxy, fault = Recorder(), make("blackhole")
    fault.inject(proxy, "f-1")
    fault.clear(proxy, "f-1")
    assert proxy.asked == [
        ("add", Toxic("timeout", "upstream", {"timeout": 0}, "f-1.timeout.upstream")),
        ("add", Toxic("timeout", "downstream", {"timeout": 0}, "f-1.timeout.downstream")),
        ("remove", "f-1.timeout.downstream"),
        ("remove", "f-1.timeout.upstream"),
    ]


def test_slow_is_set_in_milliseconds() -> None:
    proxy = Recorder()
    make("slow").inject(proxy, "f-1")
    assert proxy.asked == [
        ("add", Toxic("latency", "downstream", {"latency": 200, "jitter": 50}, "f-1.latency.downstream"))
    ]


def test_each_kind_is_known_by_its_own_face() -> None:
    faces = {
        "refused": seen("refused", connected=False),
        "closed": seen("closed"),
        "reset": seen("reset"),
        "reset behind a forwarder": seen("refused"),
        "cut": seen("cut", size=150),
        "cut between two answers": seen("closed", size=200),
        "cut too late": seen("cut", size=201),
        "silent": seen("silent", 50),
        "backlog full": seen("silent", 50, connected=False),
        "quick": seen("answered", 3),
        "late": seen("answered", 200, size=150),
    }
    bites = {
        kind: {name for name, face in faces.items() if make(kind).bites(face, 2 * MS)}
        for kind in (*PROXY_KINDS, "flapping")
    }
    late = {kind: {"late"} for kind in ("slow", "jitter", "bandwidth", "sliced", "slow_close")}
    assert bites == {
        "refuse": {"refused", "reset behind a forwarder"},
        "reset": {"reset", "reset behind a forwarder"},
        "blackhole": {"silent"},
        "cut": {"cut", "cut between two answers"},
        "flapping": {"refused", "reset behind a forwarder"},  # as the fault within
        **late,
    }


MARKED = {"x-agentstorm-fault": "f-1", "content-type": "application/json"}


def told(status: int, body: bytes = b"{}", ms: float = 3.0, outcome: Outcome = "answered", **headers: str) -> Seen:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Seen(
        outcome, 0, int(ms * MS), True, answer=Answer(outcome == "answered", status, MARKED | named, body), size=150
    )


def test_each_kind_of_answer_is_known_by_its_own_face() -> None:
    faces = {
        "well": told(200),
        "429": told(429, retry_after="1"),
        "429 without more": told(429),
        "500": told(500),
        "503": told(503),
        "401": told(401),
        "403": told(403),
        "broken": told(200, b'{"a'),
        "empty": told(200, b""),
        "html": told(200, content_type="text/html"),
        "late": told(200, ms=170),
        "late 503": told(503, ms=170),
        "stalled": told(200, b"{", 50, "stalled"),
        "cut": told(200, b"{", 1, "cut"),
        "limited": told(200, x_ratelimit_limit_requests="10"),
        "another limit": told(200, x_ratelimit_limit_requests="60"),
    }
    bites = {
        kind: {name for name, face in faces.items() if make(kind).bites(face, 2 * MS)}
        for kind, class_ in KINDS.items()
        if issubclass(class_, HttpFault)
    }
    assert bites == {
        "rate_limited": {"429"},
        "quota": {"limited"},
        "http_error": {"503", "late 503"},
        "unauthorized": {"401", "403"},
        "garbage": {"broken"},
        "empty": {"empty"},
        "wrong_content_type": {"html"},
        "slow_first_token": {"late", "late 503"},  # whatever it is that comes late
        "stream_stall": {"stalled"},
        "stream_cut": {"cut"},
        "brownout": {"late 503"},
    }


def test_an_upstream_that_fails_by_itself_is_no_fault_of_ours() -> None:
    unmarked = Seen("answered", 0, MS, True, answer=Answer(True, 503, {}, b""))
    assert not make("http_error").bites(unmarked, MS)
    assert not make("http_error").bites(seen("answered"), MS)
    assert not make("brownout").lingers(unmarked, MS)


def test_a_brownout_is_gone_when_neither_face_of_it_is_left() -> None:
    brownout = make("brownout")
    assert not brownout.bites(told(200, ms=170), MS)
    assert brownout.lingers(told(200, ms=170), MS)
    assert brownout.lingers(told(503), MS)
    assert not brownout.lingers(told(200), MS)
    proxy = Recorder()
    brownout.inject(proxy, "f-1")
    brownout.clear(proxy, "f-1")
    effect = {"answer": {"what": "error", "status": 503}, "share": 0.3}
    latency = Toxic("latency", "downstream", {"latency": 200, "jitter": 0}, "f-1.latency.downstream")
    assert proxy.asked == [
        ("add", latency), ("misbehave", "f-1", effect), ("behave", "f-1"), ("remove", "f-1.latency.downstream"),
    ]  # fmt: skip


def test_flapping_turns_the_fault_within_off_and_on_and_tells() -> None:
    proxy = Recorder()
    flapping = make("flapping", period="200ms", duty=0.25, **{"for": "500ms"})
    began_ns = now_ns()
    flapping.inject(proxy, "f-1")
    states = [
        (state, (now_ns() - began_ns) / MS)
        for state in flapping.hold(proxy, "f-1", began_ns + 500 * MS, threading.Event())
    ]
    assert (now_ns() - began_ns) / MS >= 500
    assert [state for state, _ in states] == ["off", "on", "off", "on", "off"]
    for (_, at_ms), due_ms in zip(states, (50, 200, 250, 400, 450), strict=True):
        assert due_ms <= at_ms < due_ms + 45
    assert [enabled for _, enabled in proxy.asked] == [False, True, False, True, False, True]
    flapping.clear(proxy, "f-1")


def test_flapping_ends_when_it_shall() -> None:
    stop = threading.Event()
    stop.set()
    proxy = Recorder()
    assert list(make("flapping").hold(proxy, "f-1", now_ns() + 10**10, stop)) == []
    assert proxy.asked == []


def test_a_reset_that_comes_sooner_than_it_should_is_none_of_ours() -> None:
    assert not make("reset", delay="500ms").bites(seen("reset", 300), MS)
    assert make("reset", delay="500ms").bites(seen("reset", 501), MS)


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("sliced", {"size": "50B", "delay": "10ms"}, "would be only 10 ms late"),
        ("sliced", {"size": "100B", "delay": "10s"}, "would be only 0 ms late"),
        ("sliced", {"size": 10}, "write a number with a unit"),
        ("bandwidth", {"rate": "10kB"}, "write a size per second"),
        ("bandwidth", {"rate": "1MB/s"}, "less than or equal to 100000"),
        ("bandwidth", {"share": 0.5}, "share"),
        ("refuse", {"share": 0.5}, "share"),
        ("cut", {"after_bytes": "1MB"}, "less than or equal to 16384"),
        ("slow", {"share": 0.01}, "greater than or equal to 0.05"),
        ("slow", {"latency": "5ms", "jitter": "0s"}, "greater than or equal to 0.02"),
        ("slow", {"latency": "30ms", "jitter": "15ms"}, "would be only 15 ms late"),
        ("http_error", {"status": 418}, "500, 502, 503, 504 or 529"),
        ("quota", {"requests": 0}, "greater than or equal to 1"),
        ("quota", {"share": 0.5}, "share"),
        ("wrong_content_type", {"content_type": "a\r\nb"}, "match pattern"),
        ("stream_cut", {"after_bytes": "200"}, "write a number with a unit"),
        ("flapping", {"fault": {"kind": "kill"}}, "does not match any of the expected tags"),
        ("flapping", {"fault": {"kind": "flapping"}}, "does not match any of the expected tags"),
        ("flapping", {"fault": {"kind": "refuse", "at": "5s"}}, "'at' belongs to the flapping"),
        ("flapping", {"fault": {"kind": "slow"}}, "latency"),
        ("flapping", {"period": "2s"}, "would never come back"),
        ("flapping", {"duty": 1.0}, "less than or equal to 0.95"),
        ("brownout", {"errors": 0}, "greater than or equal to 0.05"),
        ("jitter", {"most": "1ms"}, "greater than or equal to 0.04"),
    ],
    ids=str,
)
def test_what_could_not_be_seen_is_refused(kind: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        make(kind, **settings)


@pytest.mark.parametrize("kind", ["reset", "blackhole", "slow", "jitter", "sliced", "cut", "slow_close"])
def test_a_share_is_of_connections_and_drawn_once_for_each(kind: str) -> None:
    proxy = Recorder()
    make(kind, share=0.3).inject(proxy, "f-1")
    assert [(what, toxic.toxicity) for what, toxic in proxy.asked] == [("add", 0.3)]
    assert make(kind, share=0.3).met_by() == (0.15 if kind == "jitter" else 0.3)


def test_a_fault_on_few_connections_is_gone_after_many_answers() -> None:
    assert [answers_needed(share) for share in (1.0, 0.5, 0.3, 0.05)] == [1, 10, 20, 135]
    for share in (0.5, 0.3, 0.05):
        assert (1 - share) ** answers_needed(share) <= 0.001 < (1 - share) ** (answers_needed(share) - 1)


def test_patience() -> None:
    assert make("blackhole").patience_ns(MS) == 50 * MS
    assert make("blackhole").patience_ns(40 * MS) == 200 * MS
    assert make("slow").patience_ns(MS) == 1300 * MS  # the latest answer, and some


def test_only_a_refusal_can_be_seen_without_a_question() -> None:
    assert [Refuse.needs_answer, Blackhole.needs_answer, Slow.needs_answer] == [False, True, True]


# --- faults on services


def looked(*copies: tuple[State, Outcome | None], **limits: Any) -> ServiceSeen:
    """Return a look at as many copies, each as it is and as it answers (None: cannot be asked)."""
    instances = tuple(Instance(f"agents-{n}", state, **limits) for n, (state, _) in enumerate(copies, 1))
    sockets = tuple(None if outcome is None else seen(outcome) for _, outcome in copies)
    return ServiceSeen("answered", 0, MS, True, "", instances, sockets)


WELL: tuple[State, Outcome | None] = ("running", "answered")


@pytest.mark.parametrize(
    ("kind", "copy", "bites"),
    [
        ("kill", ("stopped", None), True),
        ("kill", ("running", "refused"), False),  # not yet
        ("kill", WELL, False),
        ("stop", ("stopped", None), True),
        ("stop", ("running", "refused"), True),  # takes nothing new, finishes what it has
        ("stop", ("running", None), False),
        ("stop", ("running", "silent"), False),
        ("restart", ("running", "closed"), True),
        ("restart", WELL, False),
        ("pause", ("paused", "silent"), True),
        ("pause", ("paused", None), True),
        ("pause", ("running", "silent"), False),  # hung, but not by us
        ("pause", ("paused", "answered"), False),
        ("memory", ("stopped", None), True),  # of it
        ("memory", WELL, False),
    ],
)
def test_a_fault_on_a_service_is_known_by_its_face(kind: str, copy: Any, bites: bool) -> None:
    assert make(kind).bites(looked(copy), 0) is bites
    assert make(kind).bites(looked(copy, WELL), 0) is (bites and kind == "restart")
    assert make(kind, replicas=1).bites(looked(copy, WELL), 0) is bites


def test_a_cpu_limit_bites_once_it_holds_somebody_up() -> None:
    assert not make("cpu").bites(looked(WELL, cpus=0.1), 0)
    assert not make("cpu").bites(looked(WELL, cpus=1.0, throttled=9), 0)
    assert make("cpu").bites(looked(WELL, cpus=0.1, throttled=8), 0)


def test_a_memory_limit_is_read_back() -> None:
    assert make("memory").bites(looked(WELL, memory_mib=64.0), 0)
    assert not make("memory").bites(looked(WELL, memory_mib=512.0), 0)


def test_a_fault_names_an_upstream_or_a_service() -> None:
    assert (make("refuse").on, make("kill").on) == ("bedrock", "agents")
    with pytest.raises(ValidationError):
        make("kill", upstream="bedrock")
    with pytest.raises(ValidationError):
        make("refuse", service="agents")
