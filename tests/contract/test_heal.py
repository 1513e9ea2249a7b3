"""Healing after runs that died: real processes, a real Toxiproxy, real SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from harness.clock import NS_PER_S, now_ns, sleep
from harness.faults.http_proxy import HttpFaultProxy
from harness.faults.probe_socket import ProbeSocket
from harness.faults.toxiproxy import Toxiproxy, proxy_name
from harness.faults.toxiproxy_server import ToxiproxyServer
from harness.heal import dirty, heal
from harness.journal import Journal, is_same, journals, started_at
from harness.programs import TOXIPROXY
from tests.processes import another

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

RUN_ID = 0x4EA1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToxiproxyServer]:
    started = ToxiproxyServer.start(TOXIPROXY.ensure(), tmp_path_factory.mktemp("logs") / "toxiproxy.log")
    yield started
    started.stop()


@pytest.fixture
def program() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start Python code in a session of its own and wait for the line it prints."""
    with ExitStack() as stack:

        def start(code: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
            stack.callback(process.communicate)
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            return process

        yield start


def orphan(journal: Journal) -> None:
    """Make a journal look as if the run that wrote it had died: its owner's number belongs to somebody else now."""
    journal.close()
    owner, *rest = journal.path.read_text().splitlines(keepends=True)
    told = json.loads(owner)
    journal.path.write_text(json.dumps({**told, "create_time": another(told["create_time"])}) + "\n" + "".join(rest))


def test_an_http_fault_proxy_that_a_dead_run_left_is_ended(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from harness.faults.http_proxy import HttpFaultProxy\n"
        "from harness.journal import Journal\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "proxy = HttpFaultProxy.start({'openai': '127.0.0.1:1'}, folder / 'proxy.log')\n"
        "Journal(folder / 'recording', 7, folder).process(proxy.process.real_pid, 'HTTP fault proxy')\n"
        "proxy.routes['openai'].misbehave('f-1', {'answer': {'what': 'empty'}})\n"
        "print(proxy.process.pid, proxy.process.real_pid, proxy.routes['openai'].listen, flush=True)\n"
        "time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        holder, pid, listen = run.stdout.readline().split()
        os.kill(int(holder), signal.SIGSTOP)  # a leash that cannot react, as on a system without a way to hold it
        started = started_at(int(pid))
        run.kill()
        run.wait()
    try:
        assert started is not None
        assert is_same(int(pid), started)
        assert "HTTP fault proxy" in "\n".join(dirty(tmp_path))
        assert heal(tmp_path).healed
        assert not is_same(int(pid), started)
        assert ProbeSocket(listen.decode(), "tcp").ask(10**9).outcome == "refused"
        assert dirty(tmp_path) == []
    finally:
        os.kill(int(holder), signal.SIGKILL)


def free_address() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as held:
        return f"127.0.0.1:{held.getsockname()[1]}"


RUN = """
import pathlib, subprocess, sys, time
from harness.clock import now_ns
from harness.faults.conductor import Conductor
from harness.faults.network import Blackhole
from harness.faults.proxies import Place, put_in_front
from harness.faults.timeline import occurrences
from harness.faults.toxiproxy import Toxiproxy
from harness.journal import Journal
from harness.model.target import Upstream
from harness.programs import TOXIPROXY
from harness.recording.tables import EventLog

folder, api, run_id = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
journal = Journal(folder / "recording", run_id, folder)
serve = '''
import http.server
with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as s:
    print(s.server_port, flush=True)
    s.serve_forever()
'''
service = subprocess.Popen([sys.executable, "-c", serve], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                           cwd=folder, start_new_session=True)
journal.process(service.pid, "provider bedrock")
port = int(service.stdout.readline())
bedrock = {"bedrock": Upstream(address="127.0.0.1:1")}
proxied = put_in_front(Toxiproxy(api), run_id, bedrock, {"bedrock": Place(f"127.0.0.1:{port}", "127.0.0.1:0")}, journal)
fault = Blackhole.model_validate({"kind": "blackhole", "upstream": "bedrock", "at": "0s", "for": "100s"})
conductor = Conductor(occurrences([("storm", fault)]), proxied, events=EventLog(folder / "events.jsonl"),
                      journal=journal, on_effective=lambda *_: print("on", service.pid, flush=True))
conductor.start(now_ns())
time.sleep(100)
"""


def test_a_run_killed_in_the_middle_of_a_fault_is_undone(api: Toxiproxy, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, str(tmp_path), api.address, str(RUN_ID)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        try:
            assert run.stdout is not None
            word, pid_text = run.stdout.readline().split()
            assert word == b"on"
            service = int(pid_text)
            started = started_at(service)
            assert started is not None

            # A run that is alive is left alone.
            report = heal(tmp_path)
            assert report.healed
            assert len(report.living) == 1
            assert f"process {run.pid}" in report.living[0]
            assert dirty(tmp_path) == []
        finally:
            run.kill()
            run.wait()

    proxy = api.proxy(proxy_name(RUN_ID, "bedrock"))
    assert proxy is not None
    assert len(proxy.toxics()) == 2
    assert is_same(service, started)
    still_there = "\n".join(dirty(tmp_path))
    for words in ("provider bedrock", proxy.name, "broken by blackhole-bedrock-1", str(tmp_path / "recording")):
        assert words in still_there

    report = heal(tmp_path)

    assert report.healed
    assert len(report.undone) == 2
    assert api.names() == []
    assert not is_same(service, started)
    assert journals(tmp_path) == []
    assert dirty(tmp_path) == []
    assert heal(tmp_path).lines() == ["nothing to heal"]


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    {parent}
    print("ready", flush=True)
else:
    os.close(1)
time.sleep(100)
"""


@pytest.mark.parametrize("parent", ["pass", "signal.signal(signal.SIGTERM, signal.SIG_DFL)"], ids=["both", "child"])
def test_what_does_not_listen_is_killed(
    program: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parent: str
) -> None:
    monkeypatch.setattr("harness.heal._TERM_S", 0.3)
    process = program(STUBBORN.format(parent=parent))
    journal = Journal(tmp_path, RUN_ID, tmp_path)
    journal.process(process.pid, "gateway")
    orphan(journal)

    assert heal(tmp_path).healed

    process.wait(5)
    deadline_ns = now_ns() + 5 * NS_PER_S
    while _group_alive(process.pid) and now_ns() < deadline_ns:
        sleep(0.02)
    assert not _group_alive(process.pid)


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_only_has_the_same_number_is_not_touched(
    program: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    stranger = program("import time; print('ready', flush=True); time.sleep(100)")
    journal = Journal(tmp_path, RUN_ID, tmp_path)
    journal.process(stranger.pid, "gateway")
    orphan(journal)
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    lines[1]["create_time"] = another(lines[1]["create_time"])
    journal.path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert dirty(tmp_path) == []
    assert heal(tmp_path).lines() == ["nothing to heal"]
    assert stranger.poll() is None
    assert journals(tmp_path) == []


def test_a_proxy_that_does_not_carry_the_runs_name_is_not_touched(api: Toxiproxy, tmp_path: Path) -> None:
    journal = Journal(tmp_path, RUN_ID, tmp_path)
    for name in ("production", proxy_name(RUN_ID + 1, "bedrock")):
        api.create(name, "127.0.0.1:9")
        journal.proxy(api.address, name)
    orphan(journal)

    assert heal(tmp_path).lines() == ["nothing to heal"]
    assert len(api.names()) == 2


def test_a_toxiproxy_that_is_gone_took_its_faults_with_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, RUN_ID, tmp_path)
    address, name = free_address(), proxy_name(RUN_ID, "bedrock")
    journal.proxy(address, name)
    journal.fault("blackhole-bedrock-1", api=address, proxy=name, toxics=["x"])
    orphan(journal)

    assert dirty(tmp_path) == []
    assert heal(tmp_path).lines() == ["nothing to heal"]
    assert journals(tmp_path) == []


def test_what_cannot_be_looked_at_is_reported_and_its_journal_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.faults.toxiproxy.TIMEOUT_S", 0.2)
    journal = Journal(tmp_path / "recording", RUN_ID, tmp_path)
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:  # accepts, never answers
        journal.proxy(f"127.0.0.1:{mute.getsockname()[1]}", proxy_name(RUN_ID, "bedrock"))
        orphan(journal)

        report = heal(tmp_path)

        assert not report.healed
        told = "\n".join(report.lines())
        for words in ("cannot be looked at", "agentstorm heal", "curl -X DELETE", str(tmp_path / "recording")):
            assert words in told
        assert len(dirty(tmp_path)) == 1
        assert len(journals(tmp_path)) == 1
    assert heal(tmp_path).healed


def test_a_journal_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x.jsonl").write_text("not json\n")
    assert not heal(tmp_path).healed
    assert len(dirty(tmp_path)) == 1


def test_a_proxy_went_with_its_own_server_whoever_has_the_port_now(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    journal = Journal(tmp_path / "recording", RUN_ID, tmp_path)
    with closing(socket.create_server(("127.0.0.1", 0))) as stranger:
        api = f"127.0.0.1:{stranger.getsockname()[1]}"
        journal.process(gone.pid, f"toxiproxy at {api}")
        journal.proxy(api, proxy_name(RUN_ID, "bedrock"))
        gone.communicate()
        orphan(journal)

        assert dirty(tmp_path) == []
        assert heal(tmp_path).healed
        assert journals(tmp_path) == []


def test_a_fault_of_http_answers_that_outlived_its_time_is_taken_back(server: ToxiproxyServer, tmp_path: Path) -> None:
    """The run is alive and stays so: only its fault goes."""
    api, name = Toxiproxy(server.address), proxy_name(RUN_ID, "bedrock")
    http = HttpFaultProxy.start({"bedrock": "127.0.0.1:9"}, tmp_path / "http.log")
    try:
        api.create(name, http.routes["bedrock"].listen)
        with closing(Journal(tmp_path / "recording", RUN_ID, tmp_path)) as journal:
            on = {"admin": http.admin, "route": "bedrock"}
            entry = journal.fault("http_error-bedrock-1", api=api.address, proxy=name, toxics=[], http=on)
            journal.expires(entry, now_ns() - NS_PER_S)
            http.routes["bedrock"].misbehave("http_error-bedrock-1", {"answer": {"what": "error", "status": 503}})
            report = heal(tmp_path, expired=True)
            assert http.routes["bedrock"].faults() == {}
            assert report.undone == ["http_error-bedrock-1, which outlived its time"]
            assert report.left == []
            journal.healed(entry)
    finally:
        http.stop()
        api.delete(name)


TOLD = """
import pathlib, signal, sys, time
from harness.clock import now_ns
from harness.journal import Journal

folder, told = pathlib.Path(sys.argv[1]), []
signal.signal(signal.SIGTERM, lambda *_: told.append("to end"))
journal = Journal(folder / "recording", int(sys.argv[2]), folder)
entry = journal.fault("kill-agents-1", service="agents")
journal.expires(entry, now_ns())
print("ready", flush=True)
while not told:
    time.sleep(0.02)
time.sleep(0.8)  # it mends, and closes its recording
journal.healed(entry)
journal.close()
time.sleep(0.8)  # it judges
(folder / "report.html").touch()
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A run that holds on to a service for too long, and ends in order once it is told to."""
    monkeypatch.setattr("harness.heal._TERM_S", 0.2)
    command = [sys.executable, "-c", TOLD, str(tmp_path), str(RUN_ID)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0) as run:  # as a shell starts it
        try:
            assert run.stdout is not None
            assert run.stdout.readline() == b"ready\n"
            yield run
        finally:
            run.kill()


def test_a_living_run_that_must_end_may_end_in_order(tmp_path: Path, told: subprocess.Popen[bytes]) -> None:
    report = heal(tmp_path, expired=True)
    assert report.healed
    assert "holds on to kill-agents-1: it was ended" in report.undone[0]
    assert told.wait(10) == 0
    assert (tmp_path / "report.html").exists()
    assert journals(tmp_path) == []


def test_a_run_that_is_stopped_hears_nothing_and_is_not_waited_for(
    tmp_path: Path, told: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.heal._ORDERLY_S", 20.0)
    told.send_signal(signal.SIGSTOP)
    began_ns = now_ns()
    assert heal(tmp_path, expired=True).healed
    assert now_ns() - began_ns < 10 * NS_PER_S
    assert told.wait(10) == -signal.SIGKILL
    assert journals(tmp_path) == []


def test_what_a_run_is_piped_into_is_not_killed_with_it(tmp_path: Path, told: subprocess.Popen[bytes]) -> None:
    with subprocess.Popen(["sleep", "100"], process_group=told.pid) as tee:
        try:
            told.send_signal(signal.SIGSTOP)
            assert heal(tmp_path, expired=True).healed
            assert told.wait(10) == -signal.SIGKILL
            assert tee.poll() is None
        finally:
            tee.kill()
