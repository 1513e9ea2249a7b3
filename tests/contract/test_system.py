"""What every kind of system promises, and what goes wrong with real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.clock import NS_PER_S, now_ns, sleep
from harness.document import read
from harness.errors import SystemFailed
from harness.model.target import ComposeSystem, Target
from harness.planfile import load_target
from harness.system import KINDS, System, wiring
from harness.system.template import addresses, fill
from harness.web import get
from tests.contract.small_systems import Noted, plan_of, small_target
from tests.docker_engine import engine

pytestmark = pytest.mark.real

RUN_ID = 0x5157E3
ROOT = Path(__file__).resolve().parents[2]

# Serves its environment; /slow is ready only after a second; ends itself when asked.
SERVICE = """
import json, os, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
born = time.monotonic()
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            print("asked to die", flush=True)
            os._exit(9)
        status = 503 if self.path == "/never" or (self.path == "/slow" and time.monotonic() < born + 0.7) else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps({"env": dict(os.environ), "cwd": os.getcwd(), "born": born}).encode())
    def log_message(self, *_): pass
if "--stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("serving", flush=True)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def service(*options: str, **spec: Any) -> dict[str, Any]:
    return {"command": ["${python}", "-S", "serve.py", "${port}", *options], **spec}


def target(services: dict[str, Any] | None, **more: Any) -> Target:
    system = {"kind": "external"} if services is None else {"kind": "processes", "services": services}
    return Target.model_validate({"target": "t", "system": system, "url": "http://127.0.0.1:1", **more})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "serve.py").write_text(SERVICE)
    return tmp_path


@contextmanager
def system(folder: Path, spec: Target) -> Iterator[tuple[System, Noted]]:
    """Yield a system that is not up yet; whatever the test does, nothing of it stays."""
    journal = Noted()
    made = KINDS[spec.system.kind](plan_of(spec, folder), run_id=RUN_ID, logs=folder / "logs", journal=journal)
    try:
        yield made, journal
    finally:
        made.down()
    assert journal.open == {}
    assert made.processes() == {}


def told(address: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(get(f"http://{address}/", 5)[1])
    return answer


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(what: Any, within_s: float = 10.0) -> None:
    deadline = now_ns() + int(within_s * 1e9)
    while not what():
        assert now_ns() < deadline, "never happened"
        sleep(0.02)


@pytest.fixture
def somebody_elses() -> Iterator[str]:
    """A server that is not ours to start or stop: its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


# ---- what all kinds promise


CONTAINERS = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(
    params=[
        "processes", "external", "reference",
        pytest.param("containers", marks=CONTAINERS), pytest.param("reference in containers", marks=CONTAINERS),
    ]
)  # fmt: skip
def any_target(request: pytest.FixtureRequest, folder: Path, somebody_elses: str) -> tuple[Path, Target]:
    """Each kind of system, and the reference system as it is shipped."""
    if request.param == "processes":
        return folder, target({"a": service(), "b": service(env={"A": "${services.a}"})}, url="http://${services.b}")
    if request.param == "external":
        return folder, target(None, url=f"http://{somebody_elses}")
    if request.param == "containers":
        spec = small_target("compose", folder)
        assert isinstance(spec.system, ComposeSystem)
        system = spec.system.model_copy(update={"replicated": None})
        return folder, spec.model_copy(update={"system": system, "url": "http://${services.a}"})
    if request.param == "reference in containers":
        engine()
        return ROOT, load_target(read(ROOT / "targets" / "compose.yaml"))
    return ROOT, load_target(read(ROOT / "targets" / "local.yaml"))


def test_up_and_down(any_target: tuple[Path, Target], tmp_path: Path) -> None:
    directory, spec = any_target
    wiring.check(spec, directory)
    ours = spec.system.kind != "external"
    journal = Noted()
    made = KINDS[spec.system.kind](plan_of(spec, directory), run_id=RUN_ID, logs=tmp_path / "logs", journal=journal)
    services = made.reserve()
    assert len(set(services.values())) == len(services)
    assert bool(services) == ours
    carrier = made.carrier()
    assert (carrier is not None) == (spec.system.kind == "compose")
    upstreams = {} if carrier else {n: fill(u.address, addresses(services)) for n, u in spec.upstreams.items()}
    url = fill(spec.url, addresses(services, upstreams))
    try:
        made.up(upstreams)
        assert get(url, 5)[0] > 0
        assert made.watch() == []
        running = made.processes()
        assert bool(journal.open) == bool(running or made.containers()) == ours
        assert {pid for pid, _ in journal.open.values()} - {0} == set(running.values())
        assert all(alive(pid) for pid in running.values())
        assert json.loads(json.dumps(made.describe()))["kind"] == spec.system.kind
        for name in wiring.names(spec, directory):
            assert [copy.state for copy in made.control(name).look()] == ["running"]
    finally:
        made.down()
    assert not any(alive(pid) for pid in running.values())
    assert journal.open == {}
    assert (made.processes(), made.containers()) == ({}, {})
    assert made.watch() == []
    if ours:
        with pytest.raises(ConnectionError):
            get(url, 5)
    made.down()


def test_down_before_up_does_nothing(any_target: tuple[Path, Target], tmp_path: Path) -> None:
    directory, spec = any_target
    made = KINDS[spec.system.kind](plan_of(spec, directory), run_id=RUN_ID, logs=tmp_path / "logs", journal=Noted())
    made.down()
    made.reserve()
    made.down()
    assert made.processes() == {}


# ---- processes


def test_a_service_gets_what_its_places_name(folder: Path) -> None:
    spec = target(
        {
            "db": service(),
            "agents": service(env={"DB": "${services.db}", "LLM": "http://${upstreams.llm}/v1", "P": "${port}"}),
        },
        upstreams={"llm": {"address": "127.0.0.1:9"}},
    )
    with system(folder, spec) as (made, _):
        at = made.reserve()
        made.up({"llm": "127.0.0.1:7"})
        answer = told(at["agents"])
        assert answer["env"]["DB"] == at["db"]
        assert answer["env"]["LLM"] == "http://127.0.0.1:7/v1"
        assert answer["env"]["P"] == at["agents"].partition(":")[2]
        assert answer["cwd"] == str(folder)
        assert answer["env"]["PYTHONPATH"].split(os.pathsep)[0] == str(folder)
        assert "127.0.0.1" in answer["env"]["NO_PROXY"].split(",")


def test_a_service_starts_when_those_it_names_are_ready_others_start_side_by_side(folder: Path) -> None:
    spec = target({"late": service(env={"X": "${services.slow}"}), "slow": service(ready="/slow"), "free": service()})
    with system(folder, spec) as (made, _):
        at = made.reserve()
        made.up({})
        born = {name: told(address)["born"] for name, address in at.items()}
    assert born["late"] >= born["slow"] + 0.7
    assert born["free"] < born["slow"] + 0.7


def test_a_log_for_each_service_in_the_recording(folder: Path) -> None:
    with system(folder, target({"a": service()})) as (made, _):
        made.reserve()
        made.up({})
        assert (folder / "logs" / "a.log").read_text() == "serving\n"
        assert made.describe()["services"]["a"]["log"] == str(folder / "logs" / "a.log")


def test_a_service_that_dies_is_told_with_its_last_words(folder: Path) -> None:
    with system(folder, target({"a": service(), "b": service()})) as (made, _):
        at = made.reserve()
        made.up({})
        with pytest.raises(OSError, match="connection reset"):
            get(f"http://{at['a']}/die", 5)
        wait_for(made.watch)
        (died,) = made.watch()
        assert (died.service, died.code) == ("a", 9)
        assert "service 'a' ended with code 9 while it was needed" in died.message
        assert "asked to die" in died.message
        assert str(folder / "logs" / "a.log") in died.message
        assert set(made.processes()) == {"b"}


def test_a_service_that_is_killed_is_told(folder: Path) -> None:
    with system(folder, target({"a": service()})) as (made, _):
        made.reserve()
        made.up({})
        os.kill(made.processes()["a"], signal.SIGKILL)
        wait_for(made.watch)
        assert "was killed by signal 9" in made.watch()[0].message


def failure(folder: Path, spec: Target) -> str:
    """Bring `spec` up, which must fail and leave nothing; return the message."""
    with system(folder, spec) as (made, journal):
        made.reserve()
        with pytest.raises(SystemFailed) as caught:
            made.up({})
        assert journal.open == {}
        assert made.processes() == {}
        return str(caught.value)


def test_never_ready(folder: Path) -> None:
    message = failure(folder, target({"good": service(), "a": service(ready="/never", ready_within="1s")}))
    assert "service 'a' was not ready within 1 s" in message
    assert "it last answered 503" in message
    assert "serving" in message


def test_never_answering(folder: Path) -> None:
    quiet = {"command": ["sh", "-c", "echo thinking; sleep 300"], "ready_within": "500ms"}
    message = failure(folder, target({"a": quiet}))
    assert "was not ready within 0.5 s" in message
    assert "connection refused" in message
    assert "thinking" in message


def test_ends_too_early_and_only_the_last_lines_of_its_log_are_shown(folder: Path) -> None:
    crash = {"command": ["sh", "-c", "for i in $(seq 40); do echo line $i; done; exit 3"]}
    message = failure(folder, target({"a": crash, "b": service(env={"A": "${services.a}"})}))
    assert "service 'a' ended with code 3 before it was ready" in message
    assert [line.strip() for line in message.splitlines()[-15:]] == [f"line {i}" for i in range(26, 41)]


def test_giving_up_while_it_comes_up_is_heard_at_once(folder: Path) -> None:
    def asked_to_end() -> None:
        if now_ns() - begun > NS_PER_S // 5:
            raise KeyboardInterrupt

    with system(folder, target({"good": service(), "a": service(ready="/never", ready_within="60s")})) as (made, _):
        made.reserve()
        begun = now_ns()
        with pytest.raises(KeyboardInterrupt):
            made.up({}, asked_to_end)
        assert now_ns() - begun < 5 * NS_PER_S
        assert made.processes() == {}


def test_no_such_command(folder: Path) -> None:
    message = failure(folder, target({"a": service(), "b": {"command": ["no-such-server", "--fast"]}}))
    assert "service 'b'" in message
    assert "no-such-server: No such file or directory" in message
    assert str(folder) in message


def test_a_taken_port_names_who_has_it(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with system(folder, target({"free": service(), "a": service(port=port)})) as (made, _):
            with pytest.raises(SystemFailed) as caught:
                made.reserve()
            assert f"port {port} cannot be had" in str(caught.value)
            assert "port: auto" in str(caught.value)


def test_a_port_taken_by_somebody_who_answers_is_no_success(folder: Path, somebody_elses: str) -> None:
    # It is taken after it was reserved, by somebody who answers 2xx elsewhere: our service cannot listen and ends.
    with system(folder, target({"a": service()})) as (made, _):
        port = int(made.reserve()["a"].partition(":")[2])
        made._release()  # type: ignore[attr-defined] # what happens just before the service starts
        with socket.create_server(("127.0.0.1", port)), pytest.raises(SystemFailed, match="ended with code 1 before"):
            made.up({})


def test_a_stubborn_service_is_killed_after_its_time(folder: Path) -> None:
    with system(folder, target({"a": service("--stubborn", stop_within="300ms")})) as (made, _):
        made.reserve()
        made.up({})
        pid = made.processes()["a"]
        made.down()
        assert not alive(pid)


def test_sigkill_of_the_harness_leaves_no_service(folder: Path) -> None:
    plan = target({"a": service(), "b": service("--stubborn")}).model_dump(mode="json", by_alias=True)
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from harness.model.target import Target
        from harness.system import KINDS
        from tests.contract.small_systems import Noted, plan_of

        spec = Target.model_validate({plan!r})
        folder = Path({str(folder)!r})
        made = KINDS["processes"](plan_of(spec, folder), run_id=1, logs=folder / "logs", journal=Noted())
        made.reserve()
        made.up({{}})
        print(*made.processes().values(), flush=True)
        time.sleep(300)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        pids = [int(word) for word in harness.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        harness.kill()
    wait_for(lambda: not any(alive(pid) for pid in pids))


# ---- external


def test_an_external_system_that_is_not_there_is_told(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with system(folder, target(None, url=f"http://127.0.0.1:{port}", health="/health")) as (made, _):
        made.reserve()
        with pytest.raises(
            SystemFailed, match=rf"http://127\.0\.0\.1:{port}/health does not answer: connection refused"
        ):
            made.up({})


def test_an_external_system_may_be_unwell(folder: Path, somebody_elses: str) -> None:
    with system(folder, target(None, url=f"http://{somebody_elses}")) as (made, _):
        made.up({})
        assert made.describe()["status"] == 503
