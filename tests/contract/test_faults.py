"""Every fault kind on a real Toxiproxy before a real HTTP server, seen by plain clients that know nothing of us."""

from __future__ import annotations

import http.client
import json
import math
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest

from harness.clock import NS_PER_MS, NS_PER_S, now_ns, sleep, wait_until
from harness.errors import FaultFailed
from harness.faults import KINDS
from harness.faults.conductor import Conductor
from harness.faults.fault import ProxyFault
from harness.faults.network import Refuse
from harness.faults.probe_socket import ProbeSocket
from harness.faults.proxies import Place, Proxied, put_in_front, take_away
from harness.faults.timeline import Occurrence, occurrences
from harness.faults.toxiproxy import Toxiproxy
from harness.faults.toxiproxy_server import ToxiproxyServer
from harness.journal import Journal, journals, read
from harness.model.target import Upstream
from harness.programs import TOXIPROXY
from harness.recording.tables import EventLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


pytestmark = pytest.mark.real

RUN_ID = 0xFA017
SLOW_S = 0.5
PATIENCE_S = {"blackhole": 0.5}
"""How long a plain client waits before it calls an upstream dead; long where that is not the point."""

PROXY_KINDS = {name: kind for name, kind in KINDS.items() if issubclass(kind, ProxyFault)}
SETTINGS: dict[str, dict[str, str]] = {
    "slow": {"latency": f"{2 * SLOW_S}s", "jitter": "30ms"},
    "jitter": {"most": f"{2 * SLOW_S}s"},
    "bandwidth": {"rate": "1kB/s"},
    "sliced": {"size": "10B", "delay": f"{SLOW_S / 10}s"},
    "cut": {"after_bytes": "60B"},
    "slow_close": {"delay": f"{2 * SLOW_S}s"},
}
EFFECT: dict[str, set[str]] = {
    "refuse": {"refused"},
    "reset": {"cut"},
    "blackhole": {"no answer"},
    "slow": {"late"},
    "jitter": {"ok", "late"},
    "bandwidth": {"late"},
    "sliced": {"late"},
    "cut": {"cut"},
    "slow_close": {"ok"},  # it asks to keep its connection, so it waits for no end
}
"""What a client with a new connection meets."""
EFFECT_ON_KEPT = {**EFFECT, "refuse": {"cut"}}
"""What a client meets that has used its connection before."""
LEAVES_WHOLE = {"slow", "jitter", "bandwidth", "sliced", "slow_close", "cut", "reset"}
"""What a connection that nobody used while it was on outlives."""


def fault(kind: str, upstream: str = "bedrock", *, at: str = "0s", for_: str = "1s", **settings: Any) -> ProxyFault:
    return PROXY_KINDS[kind].model_validate(
        {"kind": kind, "upstream": upstream, "at": at, "for": for_, **SETTINGS.get(kind, {}), **settings}
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Be quiet."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # Five, the default, overflow in a storm; Toxiproxy, which dials in its accept loop, would then hang for seconds.
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be quiet: clients are cut off here on purpose."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The address of a healthy HTTP server."""
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToxiproxyServer]:
    started = ToxiproxyServer.start(TOXIPROXY.ensure(), tmp_path_factory.mktemp("logs") / "toxiproxy.log", seed=1)
    yield started
    started.stop()


@dataclass
class Rig:
    """Two upstreams behind proxies of one run, with its journal and events."""

    folder: Path
    journal: Journal
    events: EventLog
    proxied: Mapping[str, Proxied]
    told: list[tuple[str, str, frozenset[str]]] = field(default_factory=list)

    @property
    def site(self) -> Proxied:
        return self.proxied["bedrock"]

    def conductor(self, *faults: ProxyFault, deadline_s: float = 5.0) -> Conductor:
        conductor = Conductor(
            occurrences([("storm", f) for f in faults]),
            self.proxied,
            events=self.events,
            journal=self.journal,
            on_effective=lambda o, _: self._tell("effective", o, conductor),
            on_cleared=lambda o, _: self._tell("cleared", o, conductor),
            deadline_s=deadline_s,
        )
        return conductor

    def _tell(self, what: str, occurrence: Occurrence, conductor: Conductor) -> None:
        self.told.append((what, occurrence.fault_id, conductor.on))

    def states(self, fault_id: str) -> list[str]:
        return [e["data"]["state"] for e in self.written() if e["subject"] == fault_id]

    def written(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()]

    def event(self, state: str, fault_id: str) -> dict[str, Any]:
        (found,) = [e for e in self.written() if e["subject"] == fault_id and e["data"]["state"] == state]
        return dict(found["data"])


def make_rig(stack: ExitStack, folder: Path, api: str, upstream: str) -> Rig:
    journal = stack.enter_context(closing(Journal(folder / "recording", RUN_ID, folder)))
    events = stack.enter_context(closing(EventLog(folder / "events.jsonl")))
    targets = {name: Upstream(address=upstream) for name in ("bedrock", "openai")}
    proxied = put_in_front(
        Toxiproxy(api), RUN_ID, targets, dict.fromkeys(targets, Place(upstream, "127.0.0.1:0")), journal
    )
    return Rig(folder, journal, events, proxied)


@pytest.fixture
def rig(server: ToxiproxyServer, upstream: str, tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        rig = make_rig(stack, tmp_path, server.address, upstream)
        yield rig
        assert take_away(rig.proxied, rig.journal) == []
        assert rig.journal.close()
    assert Toxiproxy(server.address).names() == []


def wait_for(conductor: Conductor, within_s: float = 30.0) -> None:
    deadline_ns = now_ns() + int(within_s * NS_PER_S)
    while not conductor.done and now_ns() < deadline_ns:
        sleep(0.01)
    assert conductor.done


def until(true: Any, within_s: float = 10.0) -> None:
    deadline_ns = now_ns() + int(within_s * NS_PER_S)
    while not true() and now_ns() < deadline_ns:
        sleep(0.005)
    assert true()


# The plain client: the standard library's, with no word of faults in it.

LONG = f"/plain?{'x' * 400}"
"""A question that takes its time on a thin line."""

Met = Literal["ok", "late", "no answer", "refused", "cut"]


@dataclass(frozen=True)
class Request:
    sent_ns: int
    end_ns: int
    met: Met


def connect(address: str, kind: str = "") -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address, timeout=PATIENCE_S.get(kind, 20))


def request(connection: http.client.HTTPConnection, path: str = LONG) -> Request:
    sent_ns = now_ns()
    met: Met
    try:
        connection.request("GET", path)
        whole = connection.getresponse().read() == b"ok"
    except TimeoutError:
        met = "no answer"
    except ConnectionRefusedError:
        met = "refused"
    except (OSError, http.client.HTTPException):
        met = "cut"
    else:
        met = "cut" if not whole else "late" if now_ns() - sent_ns > 0.5 * SLOW_S * NS_PER_S else "ok"
    return Request(sent_ns, now_ns(), met)


def ask_anew(address: str, kind: str = "") -> Request:
    with closing(connect(address, kind)) as connection:
        return request(connection)


@pytest.mark.parametrize("kind", sorted(PROXY_KINDS))
def test_clients_meet_it_on_new_and_on_kept_connections_until_it_is_cleared(rig: Rig, kind: str) -> None:
    proxy, address, spec = rig.site.proxy, rig.site.address, fault(kind)
    for _ in range(2):  # the second time shows that clearing left nothing behind
        with closing(connect(address, kind)) as kept, closing(connect(address, kind)) as idle:
            assert request(kept).met == request(idle).met == "ok"
            # http.client would quietly reconnect a closed connection; a pool that just took one out does not.
            kept.auto_open = idle.auto_open = 0

            for _ in range(2):  # injecting twice is injecting once
                spec.inject(proxy, "f-1")
            assert ask_anew(address, kind).met in EFFECT[kind]
            assert request(kept).met in EFFECT_ON_KEPT[kind]
            for _ in range(2):  # so is clearing
                spec.clear(proxy, "f-1")

            assert ask_anew(address).met == "ok"
            # Used by nobody while the fault was on: a removed time-out toxic closes it, latency leaves it whole.
            assert request(idle).met == ("ok" if kind in LEAVES_WHOLE else "cut")
    assert proxy.toxics() == {}
    assert proxy.enabled


@pytest.mark.parametrize("kind", ["blackhole", "refuse", "reset"])
def test_the_upstream_gets_nothing_while_it_is_on(rig: Rig, kind: str) -> None:
    spec = fault(kind)
    spec.inject(rig.site.proxy, "f-1")
    before = len(Handler.asked)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ask_anew(rig.site.address, kind), range(8)))
    spec.clear(rig.site.proxy, "f-1")
    assert Handler.asked[before:] == []


def test_a_blackhole_accepts_and_holds_connections(rig: Rig) -> None:
    spec = fault("blackhole")
    spec.inject(rig.site.proxy, "f-1")
    host, _, port = rig.site.address.rpartition(":")
    with closing(socket.create_connection((host, int(port)), 2)) as held:
        held.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        held.settimeout(0.3)
        with pytest.raises(TimeoutError):
            held.recv(1)
        spec.clear(rig.site.proxy, "f-1")
        held.settimeout(5)
        assert held.recv(1) == b""  # clearing closes what it held; it is not answered late


def storm_of_requests(address: str, kind: str, stop: threading.Event) -> list[Request]:
    """One request on a new connection every 10 ms, however long each takes, until `stop`."""
    with ThreadPoolExecutor(96) as pool:
        futures = []
        due_ns = now_ns()
        while wait_until(due_ns, stop):
            futures.append(pool.submit(ask_anew, address, kind))
            due_ns = max(due_ns + 10 * NS_PER_MS, now_ns())
        return [f.result() for f in futures]


@pytest.mark.parametrize("kind", sorted(PROXY_KINDS))
def test_the_intervals_contain_the_truth(rig: Rig, kind: str) -> None:
    """No client was harmed before `low`, and none was served after `high`; and the other way round for clearing."""
    stop = threading.Event()
    requests: list[Request] = []
    storm = threading.Thread(target=lambda: requests.extend(storm_of_requests(rig.site.address, kind, stop)))
    storm.start()
    steady = []
    try:
        steady += [ask_anew(rig.site.address, kind) for _ in range(5)]
        conductor = rig.conductor(fault(kind, for_="60s"))
        conductor.start(now_ns() + NS_PER_S)
        until(lambda: conductor.on, 30)
        steady += [ask_anew(rig.site.address, kind) for _ in range(5)]
        assert conductor.stop() == []
        steady += [ask_anew(rig.site.address, kind) for _ in range(5)]
    finally:
        stop.set()
        storm.join()
    requests += steady

    effective, cleared = (rig.event(state, f"{kind}-bedrock-1") for state in ("effective", "cleared"))
    before = [r for r in requests if r.end_ns <= effective["low_ns"]]
    # A connection in the queue of a listener that closes is cut instead of refused; none is after `high`.
    during = [r.met for r in requests if r.sent_ns >= effective["high_ns"] and r.end_ns <= cleared["low_ns"]]
    after = [r for r in requests if r.sent_ns >= cleared["high_ns"]]
    assert min(len(before), len(during), len(after)) >= 5
    assert set(during) <= EFFECT[kind]
    # A busy machine can make any answer late. It counts where late is the fault, if the fault can have done it.
    harmed_ns = (0.9 * 2 * SLOW_S if kind == "slow" else math.inf) * NS_PER_S
    for r in before + after:
        assert r.met in {"ok", "late"}
        assert r.end_ns - r.sent_ns < harmed_ns


@pytest.mark.parametrize("kind", ["reset", "blackhole"])
def test_a_share_of_connections_is_hit_and_all_are_seen_to_be_free_again(rig: Rig, kind: str) -> None:
    conductor = rig.conductor(fault(kind, for_="60s", share=0.3))
    conductor.start(now_ns())
    until(lambda: conductor.on)
    with ThreadPoolExecutor(16) as pool:
        met = list(pool.map(lambda _: ask_anew(rig.site.address, kind).met, range(200)))
    assert conductor.stop() == []
    assert 30 <= sum(m in EFFECT[kind] for m in met) <= 90  # of 200 at 0.3: five standard deviations either way
    effective, cleared = (rig.event(state, f"{kind}-bedrock-1") for state in ("effective", "cleared"))
    assert effective["low_ns"] <= effective["acknowledged_ns"]  # a served probe shows nothing
    assert cleared["evidence"].startswith("20 probes in a row")
    assert {ask_anew(rig.site.address).met for _ in range(50)} <= {"ok", "late"}


def test_repeats_are_told_in_order_and_leave_nothing(rig: Rig) -> None:
    conductor = rig.conductor(
        fault("blackhole", for_="100ms", repeat=3, every="400ms"),
        fault("refuse", "openai", for_="300ms"),  # at the same time, on the other upstream
    )
    conductor.start(now_ns())
    wait_for(conductor)
    assert conductor.failed == []
    assert conductor.stop() == []

    ids = ["blackhole-bedrock-1", "blackhole-bedrock-2", "blackhole-bedrock-3", "refuse-openai-1"]
    for fault_id in ids:
        assert rig.states(fault_id) == ["journalled", "injecting", "effective", "clearing", "cleared"]
    data = rig.event("effective", "refuse-openai-1")
    assert {k: data[k] for k in ("kind", "upstream", "experiment", "bit")} == {
        "kind": "refuse",
        "upstream": "openai",
        "experiment": "storm",
        "bit": True,
    }
    assert data["low_ns"] < data["acknowledged_ns"] < data["high_ns"]
    assert "refused" in data["evidence"]
    assert sorted(t[:2] for t in rig.told) == sorted((w, i) for i in ids for w in ("cleared", "effective"))
    assert all((fault_id in on) == (what == "effective") for what, fault_id, on in rig.told)
    assert [e.kind for e in rig.journal.still_open()] == ["proxy", "proxy"]


def test_a_fault_is_journalled_before_it_is_injected(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    inject = Refuse.inject

    def look_first(self: Refuse, proxy: Any, fault_id: str) -> None:
        seen.append([e.data["fault_id"] for e in read(rig.journal.path).still_open if e.kind == "fault"])
        inject(self, proxy, fault_id)

    monkeypatch.setattr(Refuse, "inject", look_first)
    conductor = rig.conductor(fault("refuse", for_="10ms"))
    conductor.start(now_ns())
    wait_for(conductor)
    assert seen == [["refuse-bedrock-1"]]


@pytest.mark.parametrize("kind", sorted(PROXY_KINDS))
def test_stopping_in_the_middle_heals_at_once(rig: Rig, kind: str) -> None:
    conductor = rig.conductor(fault(kind, for_="60s", repeat=2, every="100s"))
    conductor.start(now_ns())
    until(lambda: conductor.on)
    assert conductor.stop() == []
    assert conductor.stop() == []  # again: nothing happens
    assert ask_anew(rig.site.address).met == "ok"
    assert rig.states(f"{kind}-bedrock-1")[-1] == "cleared"
    assert rig.states(f"{kind}-bedrock-2") == []


def test_stopping_before_anything_is_due(rig: Rig) -> None:
    conductor = rig.conductor(fault("refuse", at="60s"))
    conductor.start(now_ns())
    assert conductor.stop() == []
    assert rig.written() == []


def test_a_port_that_somebody_took_meanwhile_is_taken_back_when_free(rig: Rig) -> None:
    host, _, port = rig.site.address.rpartition(":")
    conductor = rig.conductor(fault("refuse", for_="60s"))
    conductor.start(now_ns())
    until(lambda: conductor.on)
    with closing(socket.create_server((host, int(port)))) as squatter:
        threading.Timer(0.3, squatter.close).start()
        assert conductor.stop() == []
    assert ask_anew(rig.site.address).met == "ok"


class Dud(Refuse):
    """Acknowledges, and does nothing."""

    def inject(self, proxy: Any, fault_id: str) -> None:
        """Do nothing."""


def test_a_fault_that_does_not_bite_is_failed_and_cleared_all_the_same(rig: Rig) -> None:
    dud = Dud.model_validate({"kind": "refuse", "upstream": "bedrock", "at": "0s", "for": "60s"})
    conductor = rig.conductor(dud, deadline_s=0.3)
    conductor.start(now_ns())
    wait_for(conductor)
    assert conductor.stop() == []
    assert rig.states("refuse-bedrock-1") == ["journalled", "injecting", "failed", "clearing", "cleared"]
    assert rig.event("failed", "refuse-bedrock-1")["bit"] is False
    assert len(conductor.failed) == 1
    assert "no probe saw it bite" in conductor.failed[0]
    assert rig.told == []


def test_an_upstream_that_was_dead_before_cannot_be_broken(server: ToxiproxyServer, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as held:
        dead = f"127.0.0.1:{held.getsockname()[1]}"
    with ExitStack() as stack:
        rig = make_rig(stack, tmp_path, server.address, dead)
        conductor = rig.conductor(fault("refuse"))
        conductor.start(now_ns())
        wait_for(conductor)
        assert conductor.stop() == []
        assert "does not answer before anything is broken" in conductor.failed[0]
        assert rig.states("refuse-bedrock-1") == ["failed"]
        assert take_away(rig.proxied, rig.journal) == []


def test_an_upstream_that_did_not_survive_the_fault_is_not_taken_for_a_fault_that_is_still_on(
    server: ToxiproxyServer, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        mortal = stack.enter_context(Server(("127.0.0.1", 0), Handler))
        thread = threading.Thread(target=mortal.serve_forever, args=(0.01,))
        thread.start()
        rig = make_rig(stack, tmp_path, server.address, f"127.0.0.1:{mortal.server_port}")
        conductor = rig.conductor(fault("blackhole", for_="60s"), deadline_s=0.5)
        conductor.start(now_ns())
        until(lambda: conductor.on)
        mortal.shutdown()
        thread.join()
        mortal.server_close()

        assert conductor.stop() == []

        assert "nor does the upstream when asked without the proxy" in conductor.failed[0]
        assert rig.written()[-1]["data"]["healed"] is True
        assert [what for what, _, _ in rig.told] == ["effective", "cleared"]
        assert rig.site.proxy.toxics() == {}
        assert take_away(rig.proxied, rig.journal) == []
        assert rig.journal.close()


def test_late_repeats_do_not_pile_up(rig: Rig) -> None:
    conductor = rig.conductor(fault("refuse", for_="1ms", repeat=50, every="100ms"))
    conductor.start(now_ns() - 4 * NS_PER_S)  # as if the first had taken four seconds
    wait_for(conductor)
    assert conductor.stop() == []
    left_out = [f for f in conductor.failed if "left out" in f]
    assert len(left_out) == len(conductor.failed)
    assert 25 <= len(left_out) < 45
    assert len(left_out) + sum(what == "effective" for what, _, _ in rig.told) == 50


def test_an_error_in_a_callback_heals_and_invalidates(rig: Rig) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    conductor = Conductor(
        occurrences([("storm", fault("blackhole", for_="60s"))]),
        rig.proxied,
        events=rig.events,
        journal=rig.journal,
        on_effective=explode,
    )
    conductor.start(now_ns())
    wait_for(conductor)
    assert conductor.stop() == []
    assert "a bug" in conductor.failed[0]
    assert ask_anew(rig.site.address).met == "ok"


def test_a_full_disk_does_not_keep_a_fault_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    conductor = rig.conductor(fault("blackhole", for_="60s"))
    conductor.start(now_ns())
    until(lambda: conductor.on)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rig.events, "emit", full)
    assert conductor.stop() == []
    assert ask_anew(rig.site.address).met == "ok"
    assert any("No space left" in f for f in conductor.failed)


def test_a_toxiproxy_that_dies_with_a_fault_on_is_reported(upstream: str, tmp_path: Path) -> None:
    server = ToxiproxyServer.start(TOXIPROXY.ensure(), tmp_path / "toxiproxy.log")
    with ExitStack() as stack:
        stack.callback(server.stop)
        rig = make_rig(stack, tmp_path, server.address, upstream)
        conductor = rig.conductor(fault("blackhole", for_="60s"), deadline_s=0.5)
        conductor.start(now_ns())
        until(lambda: conductor.on)
        os.kill(server.process.real_pid, signal.SIGKILL)
        until(lambda: not server.alive)

        (left,) = conductor.stop()

        assert "blackhole-bedrock-1 could not be cleared" in left.problem
        assert "cannot be reached" in left.problem
        assert not left.on_service
        assert rig.written()[-1]["data"]["healed"] is False
        assert len(take_away(rig.proxied, rig.journal)) == 2
        assert not rig.journal.close()
        assert len(journals(tmp_path)) == 1


def test_proxies_are_taken_away_when_one_cannot_be_made(server: ToxiproxyServer, upstream: str, tmp_path: Path) -> None:
    with closing(Journal(tmp_path, RUN_ID, tmp_path)) as journal:
        targets = {"a": Upstream(address=upstream), "b": Upstream(address=upstream, listen=upstream)}
        places = {name: Place(upstream, target.listen) for name, target in targets.items()}
        with pytest.raises(FaultFailed, match="address already in use"):
            put_in_front(Toxiproxy(server.address), RUN_ID, targets, places, journal)
        assert Toxiproxy(server.address).names() == []


def test_a_redis_upstream_is_asked_ping() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(100) == b"PING\r\n"
                connection.sendall(b"+PONG\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        seen = ProbeSocket(f"127.0.0.1:{listener.getsockname()[1]}", "redis").ask(5 * NS_PER_S)
        thread.join()
    assert seen.outcome == "answered"


def test_a_tcp_upstream_is_only_connected_to(upstream: str) -> None:
    assert ProbeSocket(upstream, "tcp").ask(NS_PER_S).outcome == "answered"
