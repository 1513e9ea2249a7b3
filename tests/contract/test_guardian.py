"""The guardian: a real run of faults in a process of its own, on a Toxiproxy that is not its child; real signals."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from harness.faults.toxiproxy import Proxy, Toxiproxy, proxy_name
from harness.faults.toxiproxy_server import ToxiproxyServer
from harness.guardian import Guardian
from harness.heal import dirty
from harness.journal import Journal, journals
from harness.programs import TOXIPROXY

pytestmark = pytest.mark.real

RUN_ID = 0x6A4D
HEALED_S = 5.0
"""The promise: so soon after the harness is gone nothing of it is left."""

RUN = """
import pathlib, subprocess, sys, time
from harness.clock import now_ns
from harness.faults.conductor import Conductor
from harness.faults.network import Refuse, Blackhole
from harness.faults.proxies import Place, put_in_front, take_away
from harness.faults.timeline import occurrences
from harness.faults.toxiproxy import Toxiproxy
from harness.guardian import Guardian
from harness.journal import Journal
from harness.model.target import Upstream
from harness.recording.tables import EventLog

folder, api, run_id, port, kind, lasts, grace = sys.argv[1:]
folder, run_id = pathlib.Path(folder), int(run_id)
kind = {"refuse": Refuse, "blackhole": Blackhole}[kind]
kind.grace_s = float(grace)
journal = Journal(folder / "recording", run_id, folder)
with Guardian(journal.path, folder / "guardian.log") as guardian:
    print("guardian", guardian.pid, flush=True)
    upstreams = {"bedrock": Upstream(address="127.0.0.1:1")}
    places = {"bedrock": Place(f"127.0.0.1:{port}", "127.0.0.1:0")}
    proxied = put_in_front(Toxiproxy(api), run_id, upstreams, places, journal)
    fault = kind.model_validate({"kind": kind.model_fields["kind"].default, "upstream": "bedrock", "at": "0s",
                                 "for": lasts})
    conductor = Conductor(occurrences([("storm", fault)]), proxied, events=EventLog(folder / "events.jsonl"),
                          journal=journal, on_effective=lambda *_: print("on", flush=True))
    conductor.start(now_ns())
    while not conductor.done:
        for news in guardian.news():
            print(news.state, news.subject, guardian.pid, flush=True)
        time.sleep(0.02)
    left = [*conductor.stop(), *take_away(proxied, journal)]
    journal.close()
print("ended", left, flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToxiproxyServer]:
    started = ToxiproxyServer.start(TOXIPROXY.ensure(), tmp_path_factory.mktemp("logs") / "toxiproxy.log")
    yield started
    started.stop()


class Run:
    """A run under way, with the last thing it said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.guardian = int(self.says("guardian")[0])

    def says(self, word: str) -> list[str]:
        """Wait for the next line and return what follows `word` in it."""
        assert self.process.stdout is not None
        first, *rest = self.process.stdout.readline().split()
        assert first == word, (first, rest)
        return rest


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "www").mkdir()
    with closing(socket.create_server(("127.0.0.1", 0))) as held:
        port = held.getsockname()[1]
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with subprocess.Popen(command, cwd=tmp_path / "www", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as web:
        eventually(lambda: answers(port))
        yield port
        web.kill()


@pytest.fixture
def run(api: Toxiproxy, tmp_path: Path, upstream: int) -> Iterator[Callable[..., Run]]:
    with ExitStack() as stack:

        def start(kind: str = "blackhole", lasts: str = "100s", grace: str = "20") -> Run:
            command = [sys.executable, "-c", RUN, str(tmp_path), api.address, str(RUN_ID), str(upstream)]
            process = subprocess.Popen([*command, kind, lasts, grace], stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            return Run(process)

        yield start


def answers(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)) as connection:
        try:
            connection.request("GET", "/")
            with connection.getresponse() as response:
                return response.status == 200
        except (OSError, http.client.HTTPException):
            return False


def eventually(what: Callable[[], bool], within_s: float = HEALED_S) -> float:
    """Wait until `what` holds and return how long that took."""
    since = time.monotonic()
    while not what():
        assert time.monotonic() - since < within_s, f"not within {within_s} s"
        time.sleep(0.02)
    return time.monotonic() - since


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def proxy_of(api: Toxiproxy) -> Proxy:
    proxy = api.proxy(proxy_name(RUN_ID, "bedrock"))
    assert proxy is not None
    return proxy


@pytest.mark.parametrize("kind", ["blackhole", "refuse"])
def test_what_a_killed_run_broke_is_healed_without_anybody(
    api: Toxiproxy, tmp_path: Path, run: Callable[..., Run], kind: str
) -> None:
    running = run(kind)
    running.says("on")
    running.process.kill()
    eventually(lambda: api.names() == [] and journals(tmp_path) == [] and ended(running.guardian))
    assert dirty(tmp_path) == []
    assert "undone: proxy" in (tmp_path / "guardian.log").read_text()


@pytest.mark.parametrize("kind", ["blackhole", "refuse"])
def test_a_fault_that_outlives_its_time_is_taken_back_from_a_stopped_run(
    api: Toxiproxy, tmp_path: Path, run: Callable[..., Run], kind: str
) -> None:
    running = run(kind, lasts="1s", grace="0.5")
    running.says("on")
    running.process.send_signal(signal.SIGSTOP)  # as Ctrl-Z does
    port = int(proxy_of(api).listen.rpartition(":")[2])
    eventually(lambda: answers(port))
    assert proxy_of(api).toxics() == {}, "the proxy stays: the system still calls it"
    assert not ended(running.process.pid)
    running.process.send_signal(signal.SIGCONT)
    took_back = running.says("took_back")
    assert took_back[0].startswith(kind)
    assert running.says("ended") == ["[]"]
    eventually(lambda: ended(running.guardian) and journals(tmp_path) == [])


def test_a_killed_guardian_is_replaced_and_the_next_one_knows_as_much(
    api: Toxiproxy, tmp_path: Path, run: Callable[..., Run]
) -> None:
    running = run()
    running.says("on")
    os.kill(running.guardian, signal.SIGKILL)
    word, second = running.says("replaced")
    assert word == "died"
    assert int(second) != running.guardian
    running.process.kill()
    eventually(lambda: api.names() == [] and journals(tmp_path) == [])


def test_both_killed_leaves_it_to_heal(api: Toxiproxy, tmp_path: Path, run: Callable[..., Run]) -> None:
    running = run()
    running.says("on")
    running.process.send_signal(signal.SIGSTOP)
    os.kill(running.guardian, signal.SIGKILL)
    running.process.kill()
    running.process.wait()
    assert len(dirty(tmp_path)) == 1
    assert subprocess.run(
        [Path(sys.executable).with_name("agentstorm"), "heal"],
        env=os.environ | {"AGENTSTORM_STATE": str(tmp_path)},
        check=False,
    ).returncode == 0  # fmt: skip
    assert api.names() == []


def test_a_run_that_ends_well_takes_its_guardian_with_it(
    api: Toxiproxy, tmp_path: Path, run: Callable[..., Run]
) -> None:
    running = run(lasts="0.5s")
    running.says("on")
    assert running.says("ended") == ["[]"]
    eventually(lambda: ended(running.guardian))
    assert "runs" not in (tmp_path / "guardian.log").read_text(), "it had nothing to do"
    assert api.names() == []


def test_a_guardian_hears_no_signal_that_is_meant_for_the_harness(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "recording", RUN_ID, tmp_path)
    with Guardian(journal.path, tmp_path / "guardian.log") as guardian:
        eventually(lambda: bool(psutil.Process(guardian.pid).cmdline()))
        time.sleep(0.3)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(guardian.pid, number)
        time.sleep(0.2)
        assert guardian.news() == []
        pid = guardian.pid
        assert psutil.Process(pid).memory_info().rss < 40 << 20
        journal.close()
    assert ended(pid)


def test_what_cannot_be_healed_at_once_is_tried_again(api: Toxiproxy, server: ToxiproxyServer, tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from harness.journal import Journal; from harness.guardian import Guardian\n"
        "folder, api, name = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
        f"journal = Journal(folder / 'recording', {RUN_ID}, folder); journal.proxy(api, name)\n"
        "Guardian(journal.path, folder / 'guardian.log').__enter__()\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    name = proxy_name(RUN_ID, "bedrock")
    api.create(name, "127.0.0.1:9")
    os.kill(server.process.real_pid, signal.SIGSTOP)
    try:
        subprocess.run([sys.executable, "-c", code, str(tmp_path), api.address, name], check=False)
        eventually(lambda: "runs" in (tmp_path / "guardian.log").read_text())
        time.sleep(1)
    finally:
        os.kill(server.process.real_pid, signal.SIGCONT)
    eventually(lambda: api.names() == [] and journals(tmp_path) == [], within_s=15)


HUNG = """
import pathlib, subprocess, sys, time
from harness.clock import now_ns
from harness.guardian import Guardian
from harness.journal import Journal

folder, run_id = pathlib.Path(sys.argv[1]), int(sys.argv[2])
journal = Journal(folder / "recording", run_id, folder)
with Guardian(journal.path, folder / "guardian.log") as guardian:
    print("guardian", guardian.pid, flush=True)
    agents = subprocess.Popen(["sleep", "100"], start_new_session=True)
    journal.process(agents.pid, "agents")
    journal.expires(journal.fault("pause-agents-1", service="agents"), now_ns() + 500_000_000)
    print("on", agents.pid, flush=True)
    time.sleep(100)
"""


def test_a_run_that_holds_on_to_a_service_for_too_long_is_ended_and_undone(tmp_path: Path) -> None:
    """Only the run itself could take such a fault back; it goes with the service, and that with the run."""
    command = [sys.executable, "-c", HUNG, str(tmp_path), str(RUN_ID)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        running = Run(process)
        agents = int(running.says("on")[0])
        eventually(lambda: process.poll() == -signal.SIGTERM)
        eventually(lambda: ended(agents) and journals(tmp_path) == [] and ended(running.guardian))
    assert "holds on to pause-agents-1: it was ended" in (tmp_path / "guardian.log").read_text()
