"""Every probe against a real server (or process) whose truth is planted."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from harness import probes
from harness.clock import NS_PER_MS, NS_PER_S, now_ns, sleep
from harness.model.event import Event
from harness.model.request import first_request_id, trace_id
from harness.model.target import Metrics as MetricsSpec
from harness.model.target import Observe
from harness.model.target import Probe as ProbeSpec
from harness.observe import Observation
from harness.probes.canary import STREAM
from harness.recording.reader import Recording
from harness.recording.tables import EventLog, LedgerWriter, SampleWriter

pytestmark = pytest.mark.real

RUN_ID = 0x1234_5678
NOBODY = 2**22 + 1
"""No process has this id."""
Respond = Callable[["Call"], Awaitable[bytes]]


@dataclass
class Call:
    """One request as the server saw it."""

    number: int
    path: str
    headers: dict[str, str]
    body: bytes
    arrived_ns: int
    answered_ns: int = -1


@dataclass
class Server:
    """A small HTTP server in a thread of its own. `respond` returns the raw answer; b"" hangs up."""

    respond: Respond
    calls: list[Call] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            arrived_ns = now_ns()
            first, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            call = Call(len(self.calls), first.split(" ")[1], headers, body, arrived_ns)
            self.calls.append(call)
            answer = await self.respond(call)
            call.answered_ns = now_ns()
            writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run(self, up: threading.Event, down: asyncio.Event) -> None:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1000)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            up.set()
            await down.wait()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn of the loop


@pytest.fixture
def serving() -> Iterator[Callable[[Respond], Server]]:
    """Starts servers that end with the test."""
    ends: list[Callable[[], None]] = []

    def start(respond: Respond) -> Server:
        server, up = Server(respond), threading.Event()
        loop, down = asyncio.new_event_loop(), asyncio.Event()
        thread = threading.Thread(target=lambda: loop.run_until_complete(server.run(up, down)))
        thread.start()
        assert up.wait(10)

        def end() -> None:
            loop.call_soon_threadsafe(down.set)
            thread.join()
            loop.close()

        ends.append(end)
        return server

    yield start
    for end in ends:
        end()


@dataclass
class Kit:
    """A recording to write to and to read."""

    folder: Path
    events: EventLog
    samples: SampleWriter
    ledger: LedgerWriter

    open: bool = True

    def close(self) -> None:
        if self.open:
            self.open = False
            for writer in (self.events, self.samples, self.ledger):
                writer.close()

    def read(self) -> Recording:
        self.close()
        return Recording(self.folder)

    def heard(self, subject: str = "") -> list[Event]:
        lines = (self.folder / "events.jsonl").read_text().splitlines()
        found = [Event.model_validate_json(line) for line in lines]
        return [event for event in found if subject in ("", event.subject)]

    def wait_heard(self, subject: str, within_s: float = 10.0) -> Event:
        found: list[Event] = wait_for(lambda: self.heard(subject), within_s)
        return found[0]


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = Kit(tmp_path, EventLog(tmp_path / "events.jsonl"), SampleWriter(tmp_path), LedgerWriter(tmp_path))
    yield made
    made.close()


def wait_for(what: Callable[[], Any], within_s: float = 10.0) -> Any:
    deadline = now_ns() + int(within_s * 1e9)
    while not (found := what()):
        assert now_ns() < deadline, "never happened"
        sleep(0.01)
    return found


def http(body: bytes, status: int = 200, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def as_json(document: Any, status: int = 200, **headers: str) -> bytes:
    return http(json.dumps(document).encode(), status, content_type="application/json", **headers)


def samples_of(recording: Recording, source: str, metric: str) -> pd.DataFrame:
    table: pd.DataFrame = recording.samples.to_pandas()
    return table[(table.source == source) & (table.metric == metric)].reset_index(drop=True)


# ---- what all probes promise


MAKE: dict[str, Callable[[Kit, str], probes.Probe]] = {
    "canary": lambda kit, url: probes.Canary(
        ProbeSpec.model_validate({"path": "/ask", "rate": "50/s", "timeout": "1s"}),
        url,
        Observation(Observe()),
        kit.folder,
        RUN_ID,
        kit.events,
    ),
    "resources": lambda kit, _: probes.Resources(lambda: {"gone": NOBODY}, kit.samples, kit.events, every_s=0.05),
    "containers": lambda kit, _: probes.Containers(
        lambda: {"one": "1", "two": "2"}, kit.samples, kit.events, every_s=0.05
    ),
    "callers": lambda kit, _: probes.Callers(NOBODY, {"bedrock": 1}, kit.samples, kit.events, every_s=0.05),
    "metrics": lambda kit, url: probes.Metrics(
        lambda: {"": url}, MetricsSpec.model_validate({"every": "50ms"}), kit.samples, kit.events
    ),
    "health": lambda kit, url: probes.Health(url, "/health", kit.samples, kit.events, every_s=0.05),
    "ledger": lambda kit, url: probes.Ledger(
        {"bedrock": f"{url}/ledger"}, RUN_ID, kit.ledger, kit.events, every_s=0.05
    ),
}
"""A probe of each kind that looks at a URL, or at nothing."""


@pytest.mark.parametrize("kind", probes.KINDS)
def test_trouble_is_written_down_not_raised(kind: str, kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    probe = MAKE[kind](kit, "http://127.0.0.1:1")  # nobody listens there
    probe.stop()
    probe.start()
    sleep(0.3)
    probe.stop()
    probe.stop()
    recording = kit.read()
    if kind == "canary":
        assert set(recording.canary.to_pandas().error) == {"ConnectError: refused"}
    elif kind == "health":
        assert recording.events[0].data["error"] == "connection refused"
    else:
        (event,) = (event for event in recording.events if event.subject != "unread")
        assert (event.kind, event.source, event.subject) == ("probe", kind, "error")
    assert not any(thread.name == f"probe-{kind}" for thread in threading.enumerate())


def test_a_look_that_takes_long_leaves_looks_out(kit: Kit, serving: Callable[[Respond], Server]) -> None:
    async def slow_once(call: Call) -> bytes:
        await asyncio.sleep(0.5 if call.number == 2 else 0)
        return http(b"OK")

    server = serving(slow_once)
    probe = probes.Health(server.url, "/health", kit.samples, kit.events, every_s=0.1)
    probe.start()
    sleep(1.5)
    probe.stop()
    gaps = [b.arrived_ns - a.arrived_ns for a, b in itertools.pairwise(server.calls[:-1])]
    assert max(gaps) >= 0.5 * NS_PER_S
    after_the_stall = gaps[gaps.index(max(gaps)) + 1 :]
    assert min(after_the_stall) > 0.05 * NS_PER_S, "looks piled up"


# ---- canary

OBSERVE = Observe.model_validate(
    {
        "provider": "header:x-llm-provider",
        "degraded": "json:$.degraded",
        "error": "json:$.error",
        "tokens_out": "json:$.usage.output",
        "stream_end": "data: [DONE]",
    }
)


def fly(kit: Kit, url: str, seconds: float, *, max_in_flight: int | None = None, **spec: Any) -> pd.DataFrame:
    """Let a canary fly and return its rows by due time."""
    told = ProbeSpec.model_validate({"path": "/ask", "rate": "50/s", "timeout": "5s", "body": {"n": "${n}"}, **spec})
    canary = probes.Canary(told, url, Observation(OBSERVE), kit.folder, RUN_ID, kit.events, max_in_flight=max_in_flight)
    canary.start()
    sleep(seconds)
    canary.stop()
    rows: pd.DataFrame = kit.read().canary.to_pandas().sort_values("due_ns", ignore_index=True)
    return rows


def test_canary_agrees_with_a_server_that_logs_its_own_times(kit: Kit, serving: Callable[[Respond], Server]) -> None:
    stall = (0.8, 1.8)  # nothing is answered in this second
    begun: list[int] = []

    async def scripted(call: Call) -> bytes:
        begun.append(call.arrived_ns)
        at_s = (call.arrived_ns - begun[0]) / NS_PER_S
        wait_s = 0.02 + 0.01 * (call.number % 5)
        if stall[0] <= at_s < stall[1]:
            wait_s = stall[1] - at_s
        await asyncio.sleep(wait_s)
        return as_json({"answer": "yes", "usage": {"output": 7}}, x_llm_provider="bedrock")

    server = serving(scripted)
    rows = fly(kit, server.url, 3.0)
    by_id = {int(call.headers["traceparent"].split("-")[1][16:], 16): call for call in server.calls}

    # Nothing skipped, whatever the answers did: one probe for each due time, every one on the server.
    assert (rows.due_ns.diff().dropna() == 20 * NS_PER_MS).all()
    assert len(rows) >= 145
    assert list(rows.request_id) == [first_request_id(STREAM) + k for k in range(len(rows))]
    assert set(rows.request_id) == set(by_id)
    assert set(rows.outcome) == {"ok"}
    assert set(rows.provider) == {"bedrock"}
    assert set(rows.tokens_out) == {7}
    assert set(rows.worker) == {"canary"}

    took = rows.end_ns - rows.start_ns
    truth = pd.Series([by_id[i].answered_ns - by_id[i].arrived_ns for i in rows.request_id])
    bias_ms = (took - truth) / NS_PER_MS
    assert (bias_ms > 0).all()
    assert bias_ms.median() < 5
    assert bias_ms.quantile(0.9) < 20  # on a machine that does other things too
    stalled = took[took > 0.5 * NS_PER_S]
    assert 20 <= len(stalled) <= 30  # due in the first half of the stall
    assert (rows.start_ns >= rows.due_ns).all()
    assert ((rows.start_ns - rows.due_ns) / NS_PER_MS).median() < 5
    assert (rows.first_byte_ns <= rows.end_ns).all()
    assert (rows.first_byte_ns >= rows.start_ns).all()


def test_canary_asks_something_new_each_time(kit: Kit, serving: Callable[[Respond], Server]) -> None:
    async def ok(call: Call) -> bytes:
        return as_json({})

    server = serving(ok)
    rows = fly(kit, server.url + "/base", 0.3, headers={"X-Tenant": "meetmind"}, body={"in": {"deep": ["No. ${n}"]}})
    assert {call.path for call in server.calls} == {"/base/ask"}
    assert {call.headers["x-tenant"] for call in server.calls} == {"meetmind"}
    inputs = [json.loads(call.body)["in"]["deep"][0] for call in server.calls]
    assert len(set(inputs)) == len(inputs) >= 10
    assert all(text.removeprefix("No. ").isdigit() for text in inputs)
    assert set(rows.bytes_out) == {len(server.calls[0].body)}
    assert set(rows.bytes_in) == {2}


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("answer", "outcome", "status", "error"),
    [
        (as_json({"degraded": True}), "degraded", 200, ""),
        (as_json({"error": "broken"}), "failed", 200, "error in the answer: broken"),
        (as_json({}, 503), "failed", 503, "HTTP 503"),
        (b"", "failed", 0, "ReadError: closed without an answer"),
        (as_json({})[:-1], "failed", 200, "ReadError: cut in the middle of the answer"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", "ok", 200, ""),
        (b"NONSENSE\r\n\r\n", "failed", 0, "BadAnswer: begins with 'NONSENSE'"),
        (STREAM_HEAD + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n", "ok", 200, ""),
        (STREAM_HEAD + chunk(b"data: {}\n\n") + b"0\r\n\r\n", "failed", 200, "stream ended before its end marker"),
        (STREAM_HEAD + chunk(b"data: {}\n\n"), "failed", 200, "ReadError: cut in the middle of the answer"),
    ],
    ids=[
        "degraded", "error", "503", "hangs_up", "cut_body", "until_close", "no_http",
        "whole_stream", "endless_stream", "cut_stream",
    ],
)  # fmt: skip
def test_canary_judges_what_it_gets(
    kit: Kit, serving: Callable[[Respond], Server], answer: bytes, outcome: str, status: int, error: str
) -> None:
    async def respond(call: Call) -> bytes:
        return answer

    rows = fly(kit, serving(respond).url, 0.15)
    assert set(zip(rows.outcome, rows.status, rows.error, strict=True)) == {(outcome, status, error)}
    assert (rows.end_ns >= rows.start_ns).all()


def test_canary_times_out_and_leaves_nothing_open(kit: Kit, serving: Callable[[Respond], Server]) -> None:
    async def never(call: Call) -> bytes:
        await asyncio.sleep(3600)
        return b""

    rows = fly(kit, serving(never).url, 0.8, timeout="300ms")
    assert set(rows.outcome) == {"timeout"}
    assert set(rows.error) == {"no whole answer within 0.3 s"}
    assert ((rows.end_ns - rows.start_ns) / NS_PER_MS).between(299, 600).all()
    assert set(rows.first_byte_ns) == {-1}


def test_canary_drops_what_is_too_much_and_loses_what_is_never_answered(
    kit: Kit, serving: Callable[[Respond], Server]
) -> None:
    async def never(call: Call) -> bytes:
        await asyncio.sleep(3600)
        return b""

    rows = fly(kit, serving(never).url, 0.5, timeout="30s", max_in_flight=5)
    assert list(rows.outcome[:5]) == ["lost"] * 5
    assert set(rows.outcome[5:]) == {"dropped"}
    assert set(rows.error[5:]) == {"5 probes in flight"}
    assert set(rows.start_ns[5:]) == set(rows.end_ns) == {-1}


def test_canary_rows_survive_our_death(kit: Kit, serving: Callable[[Respond], Server]) -> None:
    async def ok(call: Call) -> bytes:
        return as_json({})

    canary = MAKE["canary"](kit, serving(ok).url)
    canary.start()
    sleep(1.6)
    assert len(Recording(kit.folder).canary) >= 40  # read while it flies, as after a SIGKILL
    canary.stop()


# ---- resources


def test_resources_sees_a_known_cpu_share_memory_and_children(kit: Kit) -> None:
    burn = """
import os, subprocess, sys, time
share, hold_mib = float(sys.argv[1]), int(sys.argv[2])
ballast = bytearray(os.urandom(1)) * (hold_mib << 20)
children = [subprocess.Popen([sys.executable, "-S", __file__, "0.15", "40"])] if len(sys.argv) > 3 else []
print("up", flush=True)
while True:
    cpu, wall = time.process_time(), time.monotonic()
    while time.process_time() - cpu < share * 0.1: pass
    time.sleep(max(0, 0.1 - (time.monotonic() - wall)))
"""
    script = kit.folder / "burn.py"
    script.write_text(burn)
    with subprocess.Popen(
        [sys.executable, "-S", str(script), "0.25", "80", "child"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (child,) = wait_for(lambda: psutil.Process(process.pid).children())
        pids = {"whole": process.pid}
        probe = probes.Resources(lambda: pids, kit.samples, kit.events, every_s=0.25)
        before_s, before_ns = cpu_of(process.pid, child.pid), now_ns()
        probe.start()
        sleep(3)
        probe.stop()
        truth = (cpu_of(process.pid, child.pid) - before_s) * NS_PER_S / (now_ns() - before_ns)
        alone = {"parent": process.pid, "child": child.pid}
        second = probes.Resources(lambda: alone, kit.samples, kit.events, every_s=0.25)
        second.start()
        sleep(2)
        second.stop()
        child.terminate()
        process.terminate()
    recording = kit.read()
    cpu = samples_of(recording, "process:whole", "cpu").value
    assert len(cpu) >= 8
    looks = samples_of(recording, "process:whole", "memory_mib").t_ns
    shown = np.average(cpu, weights=np.diff(looks))  # each is of the time since the look before, which varies
    assert shown == pytest.approx(truth, abs=0.1), "the child's 0.15 are in it"
    assert samples_of(recording, "process:whole", "memory_mib").value.median() > 120
    assert samples_of(recording, "process:whole", "threads").value.median() == 2
    assert samples_of(recording, "process:whole", "fds").value.median() >= 6
    assert samples_of(recording, "process:whole", "connections").value.median() == 0
    assert set(samples_of(recording, "process:whole", "processes").value) == {2}
    assert set(samples_of(recording, "process:parent", "processes").value) == {1}
    allowed = samples_of(recording, "process:whole", "fds_limit").value
    assert set(allowed) <= {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}
    # A descendant that has a name of its own counts there only.
    parent, kid = (samples_of(recording, f"process:{n}", "memory_mib").value.median() for n in ("parent", "child"))
    assert 80 < parent < 120
    assert 40 < kid < 80
    assert recording.events == []


def test_callers_counts_who_is_connected_to_each_proxy(kit: Kit) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = {"bedrock": one.getsockname()[1], "openai": other.getsockname()[1]}
        probe = probes.Callers(os.getpid(), ports, kit.samples, kit.events)
        probe.look()
        calls = [socket.create_connection(one.getsockname()) for _ in range(3)]
        taken = [one.accept()[0] for _ in calls]
        probe.look()
        for connection in (*calls[:2], *taken[:2]):
            connection.close()
        probe.look()
        for connection in (*calls[2:], *taken[2:]):
            connection.close()
    seen = samples_of(kit.read(), "proxies", "connections")
    by = {name: seen[seen.labels == json.dumps({"upstream": name})].value.tolist() for name in ports}
    assert by == {"bedrock": [0, 3, 1], "openai": [0, 0, 0]}


def cpu_of(*pids: int) -> float:
    return sum(t.user + t.system for t in (psutil.Process(pid).cpu_times() for pid in pids))


def test_resources_follows_a_restart_and_tells_of_one_that_is_gone(kit: Kit) -> None:
    def sleeper() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "300"])

    first, second = sleeper(), sleeper()
    pids = {"service": first.pid}
    probe = probes.Resources(lambda: pids, kit.samples, kit.events, every_s=0.05)
    probe.start()
    sleep(0.3)
    first.kill()
    first.wait()
    kit.wait_heard("error")
    pids["service"] = second.pid
    kit.wait_heard("recovered")
    probe.stop()
    second.kill()
    second.wait()
    recording = kit.read()
    cpu = samples_of(recording, "process:service", "cpu").value
    assert len(cpu) > 3
    assert list(samples_of(recording, "process:service", "restarts").value) == [1]
    assert (cpu < 0.5).all()


def test_resources_counts_the_connections_of_a_process(kit: Kit) -> None:
    here = socket.create_server(("127.0.0.1", 0))
    there = [socket.create_connection(here.getsockname()) for _ in range(5)]
    probe = probes.Resources(lambda: {"us": os.getpid()}, kit.samples, kit.events, every_s=0.05)
    probe.look()
    for one in (*there, here):
        one.close()
    assert samples_of(kit.read(), "process:us", "connections").value.iloc[0] >= 6


# ---- metrics


def test_metrics_brackets_a_planted_breaker_flip(kit: Kit, serving: Callable[[Respond], Server]) -> None:
    state = {"bedrock": 0, "openai": 0}

    async def page(call: Call) -> bytes:
        await asyncio.sleep(0.01)
        lines = [f'llm_circuit_state{{provider="{name}"}} {value}' for name, value in state.items()]
        noise = [f'http_request_seconds_bucket{{le="{k}"}} {k}' for k in range(500)]
        return http("\n".join([*noise, *lines, 'hits_total{agent="a"} 3', 'hits_total{agent="b"} 4', ""]).encode())

    server = serving(page)
    spec = MetricsSpec.model_validate(
        {"every": "100ms", "breaker": "llm_circuit_state{provider}", "cache_hits": "hits_total"}
    )
    probe = probes.Metrics(lambda: {"": server.url}, spec, kit.samples, kit.events)
    probe.start()
    truth = []
    for name, value in (("bedrock", 2), ("openai", 2), ("bedrock", 1), ("bedrock", 0)):
        sleep(0.35)
        state[name] = value
        truth.append((name, now_ns()))
    sleep(0.35)
    probe.stop()
    recording = kit.read()
    seen = [e for e in recording.events if e.kind == "breaker"]
    assert [(e.subject, e.data["was"], e.data["state"]) for e in seen] == [
        ("bedrock", "closed", "open"),
        ("openai", "closed", "open"),
        ("bedrock", "open", "half_open"),
        ("bedrock", "half_open", "closed"),
    ]
    for event, (_, flipped_ns) in zip(seen, truth, strict=True):
        assert event.data["low_ns"] < flipped_ns < event.data["high_ns"]
        assert event.data["high_ns"] - event.data["low_ns"] < 0.4 * NS_PER_S
    hits = samples_of(recording, "metrics", "hits_total")
    assert set(zip(hits.labels, hits.value, strict=True)) == {('{"agent": "a"}', 3.0), ('{"agent": "b"}', 4.0)}
    assert set(samples_of(recording, "metrics", "scrape_failed").value) == {0.0}
    assert samples_of(recording, "metrics", "scrape_ms").value.median() >= 10
    assert [e for e in recording.events if e.kind == "probe"] == []


def test_metrics_that_are_not_there_are_told_once(kit: Kit, serving: Callable[[Respond], Server]) -> None:
    async def page(call: Call) -> bytes:
        # The hits have no sample yet, as a counter with labels before its first; the misses do not exist at all.
        return http(b'# TYPE hits_total counter\nstate{name="a"} 1\nother_state{provider="a"} 9\n')

    spec = {"every": "50ms", "cache_hits": "hits_total", "cache_misses": "misses_total"}
    for gauge, subject, what in (
        ("state{provider}", "missing", "state{provider}"),
        ("other_state{provider}", "unknown_state", "a"),
        ("absent{provider}", "missing", "absent"),
    ):
        seen = len(kit.heard())
        told = MetricsSpec.model_validate({**spec, "breaker": gauge})
        url = serving(page).url
        probe = probes.Metrics(partial(dict[str, str], {"": url}), told, kit.samples, kit.events)
        probe.start()
        sleep(0.3)
        probe.stop()
        events = kit.heard()[seen:]
        assert sorted((e.subject, e.data["metric"]) for e in events) == sorted(
            [(subject, what), ("missing", "misses_total")]
        )


def test_what_alerts_are_made_of_is_recorded_as_sums(kit: Kit, serving: Callable[[Respond], Server]) -> None:
    page = """# TYPE took_seconds histogram
took_seconds_bucket{agent="a",le="0.5"} 2
took_seconds_bucket{agent="b",le="0.5"} 3
took_seconds_bucket{agent="a",le="+Inf"} 4
took_seconds_bucket{agent="b",le="+Inf"} 5
took_seconds_sum{agent="a"} 9
answers_total{code="200",path="/a"} 10
answers_total{code="200",path="/b"} 20
answers_total{code="500",path="/a"} 1
flying{agent="a"} 2
flying{agent="b"} 5
"""

    async def respond(call: Call) -> bytes:
        return http(page.encode())

    spec = MetricsSpec.model_validate(
        {"every": "50ms", "latency": "took_seconds", "requests": "answers_total{code}", "in_flight": "flying"}
    )
    url = serving(respond).url
    probe = probes.Metrics(lambda: {"one": url}, spec, kit.samples, kit.events)
    probe.start()
    sleep(0.2)
    probe.stop()
    recording = kit.read()
    seen = {
        (metric, labels): set(samples_of(recording, "metrics", metric).query("labels == @labels").value)
        for metric in ("took_seconds_bucket", "answers_total", "flying")
        for labels in samples_of(recording, "metrics", metric).labels
    }
    assert seen == {
        ("took_seconds_bucket", '{"instance": "one", "le": "0.5"}'): {5.0},
        ("took_seconds_bucket", '{"instance": "one", "le": "+Inf"}'): {9.0},
        ("answers_total", '{"code": "200", "instance": "one"}'): {30.0},
        ("answers_total", '{"code": "500", "instance": "one"}'): {1.0},
        ("flying", '{"instance": "one"}'): {7.0},
    }
    assert [e for e in recording.events if e.kind == "probe"] == []


def test_a_scrape_that_fails_is_a_sample_and_a_flip_across_it_is_still_bracketed(
    kit: Kit, serving: Callable[[Respond], Server]
) -> None:
    mode = {"status": 200, "value": 0}

    async def page(call: Call) -> bytes:
        return http(f'state{{provider="x"}} {mode["value"]}\n'.encode(), mode["status"])

    spec = MetricsSpec.model_validate({"every": "50ms", "breaker": "state{provider}"})
    url = serving(page).url
    probe = probes.Metrics(lambda: {"": url}, spec, kit.samples, kit.events)
    probe.start()
    sleep(0.3)
    mode["status"] = 500
    error = kit.wait_heard("error")
    mode["value"] = 2
    flipped_ns = now_ns()
    sleep(0.2)
    mode["status"] = 200
    event = kit.wait_heard("x")
    probe.stop()
    assert error.data["error"].endswith("HTTP 500")
    assert kit.heard("recovered")
    assert event.data["low_ns"] < flipped_ns < event.data["high_ns"]
    failed = samples_of(kit.read(), "metrics", "scrape_failed").value
    assert set(failed) == {0.0, 1.0}


# ---- health


def test_health_tells_changes_with_the_interval_they_lie_in(kit: Kit, serving: Callable[[Respond], Server]) -> None:
    page = {"status": 200, "body": {"status": "healthy"}}

    async def health(call: Call) -> bytes:
        return as_json(page["body"], int(str(page["status"])))

    probe = probes.Health(serving(health).url, "/health", kit.samples, kit.events, every_s=0.05)
    probe.start()
    truth = []
    for status, body in (
        (200, {"status": "degraded", "providers": {"bedrock": {"available": False}}}),
        (503, {"status": "unhealthy"}),
        (200, {"status": "healthy"}),
    ):
        sleep(0.25)
        page.update(status=status, body=body)
        truth.append(now_ns())
    sleep(0.25)
    probe.stop()
    recording = kit.read()
    first, *changes = recording.events
    assert (first.kind, first.subject, first.data["status"], first.data["was"]) == ("health", "/health", "ok", None)
    assert [e.data["status"] for e in changes] == ["degraded", "unhealthy", "ok"]
    assert [e.data["http_status"] for e in changes] == [200, 503, 200]
    assert changes[0].data["providers"] == {"bedrock": {"available": False}}
    for event, flipped_ns in zip(changes, truth, strict=True):
        assert event.data["low_ns"] < flipped_ns < event.data["high_ns"]
    assert set(samples_of(recording, "health", "status").value) == {0.0, 1.0, 2.0}
    assert (samples_of(recording, "health", "latency_ms").value > 0).all()


# ---- ledger


@dataclass
class Book:
    """A provider's ledger, as the reference simulator keeps it."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    in_flight: list[dict[str, Any]] = field(default_factory=list)
    first_seq: int = 1
    next_seq: int = 1
    ahead_ns: int = 0
    """How far its clock is ahead of ours."""

    def row(self, request_id: int | None, status: str = "ok") -> dict[str, Any]:
        return {
            "seq": None, "upstream": "simulator", "received_ns": self.now(), "answered_ns": self.now(),
            "trace_id": None if request_id is None else trace_id(RUN_ID, request_id), "tenant": "t", "agent": None,
            "model": "m", "tokens_in": 3, "tokens_out": 4, "stream": False, "status": status, "http_status": 200,
        }  # fmt: skip

    def now(self) -> int:
        return now_ns() + self.ahead_ns

    def add(self, request_id: int | None) -> None:
        self.rows.append({**self.row(request_id), "seq": self.next_seq})
        self.next_seq += 1

    def drop(self, count: int) -> None:
        del self.rows[:count]
        self.first_seq += count

    async def respond(self, call: Call) -> bytes:
        query = dict(pair.split("=") for pair in call.path.partition("?")[2].split("&"))
        rows = [row for row in self.rows if row["seq"] > int(query["after"])][: int(query["limit"])]
        head = {"upstream": "simulator", "clock_ns": self.now(), "first_seq": self.first_seq, "next_seq": self.next_seq}
        return as_json({**head, "rows": rows, "in_flight": self.in_flight})


@pytest.fixture
def book() -> Book:
    return Book()


def test_ledger_has_every_row_once_also_after_a_restart_of_the_reading(
    kit: Kit, serving: Callable[[Respond], Server], book: Book
) -> None:
    for old in range(3):
        book.add(900 + old)  # from before the run
    url = f"{serving(book.respond).url}/ledger"
    probe = probes.Ledger({"bedrock": url}, RUN_ID, kit.ledger, kit.events, every_s=0.05)
    ids = iter(range(1, 100_000))
    probe.start()
    for _ in range(10):
        for _ in range(20):
            book.add(next(ids))
        sleep(0.02)
    probe.stop()
    for _ in range(2500):  # more than one page
        book.add(next(ids))
    probe.start()
    book.add(None)
    book.in_flight.append({**book.row(77_777), "answered_ns": None, "status": "in_flight"})
    probe.stop()
    rows = kit.read().ledger.to_pandas()
    final = rows[rows.status == "ok"]
    assert list(final.request_id) == [*range(1, next(ids)), -1]
    assert set(rows.upstream) == {"bedrock"}
    (unanswered,) = rows[rows.status == "in_flight"].itertuples()
    assert (unanswered.request_id, unanswered.answered_ns) == (77_777, -1)
    assert (final.answered_ns >= final.t_ns).all()
    assert set(zip(final.tenant, final.agent, final.model, final.tokens_in, final.tokens_out, strict=True)) == {
        ("t", "", "m", 3, 4)
    }
    assert kit.heard() == []


@pytest.mark.parametrize("ahead_s", [0, 3600, -3600])
def test_a_ledger_kept_by_another_clock_is_written_in_ours(
    kit: Kit, serving: Callable[[Respond], Server], book: Book, ahead_s: int
) -> None:
    book.ahead_ns = ahead_s * NS_PER_S
    probe = probes.Ledger(
        {"bedrock": f"{serving(book.respond).url}/ledger"}, RUN_ID, kit.ledger, kit.events, every_s=0.05
    )
    probe.start()
    begun = now_ns()
    for request_id in range(1, 6):
        book.add(request_id)
        sleep(0.1)
    ended = now_ns()
    probe.stop()
    rows = kit.read().ledger.to_pandas()
    assert len(rows) == 5
    assert rows.t_ns.between(begun - 50 * NS_PER_MS, ended + 50 * NS_PER_MS).all()
    assert (rows.answered_ns >= rows.t_ns).all()


def test_ledger_tells_of_rows_nobody_can_read_any_more(
    kit: Kit, serving: Callable[[Respond], Server], book: Book
) -> None:
    probe = probes.Ledger(
        {"bedrock": f"{serving(book.respond).url}/ledger"}, RUN_ID, kit.ledger, kit.events, every_s=0.05
    )
    probe.start()
    book.add(1)
    sleep(0.3)
    probe.stop()
    for k in range(2, 12):
        book.add(k)
    book.drop(6)  # 1..6; 2..6 were never read
    probe.start()
    probe.stop()
    (gap,) = kit.heard("gap")
    assert gap.data == {"upstream": "bedrock", "rows": 5, "after": 1}
    assert list(kit.read().ledger.to_pandas().request_id) == [1, *range(7, 12)]


def test_ledger_begins_anew_with_a_provider_that_did(
    kit: Kit, serving: Callable[[Respond], Server], book: Book
) -> None:
    probe = probes.Ledger(
        {"bedrock": f"{serving(book.respond).url}/ledger"}, RUN_ID, kit.ledger, kit.events, every_s=0.05
    )
    probe.start()
    for k in range(1, 6):
        book.add(k)
    sleep(0.3)
    book.rows, book.next_seq = [], 1
    book.add(6)
    kit.wait_heard("restarted")
    probe.stop()
    assert list(kit.read().ledger.to_pandas().request_id) == [*range(1, 7)]


def test_one_ledger_that_is_gone_does_not_hide_the_others(
    kit: Kit, serving: Callable[[Respond], Server], book: Book
) -> None:
    urls = {"gone": "http://127.0.0.1:1/ledger", "bedrock": f"{serving(book.respond).url}/ledger"}
    probe = probes.Ledger(urls, RUN_ID, kit.ledger, kit.events, every_s=0.05)
    probe.start()
    book.add(1)
    error = kit.wait_heard("error")
    probe.stop()
    assert error.data["error"] == "OSError: gone: ConnectionRefusedError: connection refused"
    assert list(kit.read().ledger.to_pandas().request_id) == [1]
    assert [event.subject for event in kit.heard()] == ["error", "unread"]
