"""Which Docker engine is meant, and what is made of odd settings. The engines here are small HTTP servers."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.docker_engine import address, connect
from harness.doctor import examine
from harness.errors import MissingComponent
from harness.heal import dirty, heal
from harness.journal import Journal, journals
from harness.system.compose_project import project_name
from tests.processes import another

RUN_ID = 0xE27


class Engine(ThreadingHTTPServer):
    """An engine that has some containers, of any project."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.address = f"tcp://127.0.0.1:{self.server_address[1]}"
        self.has: list[dict[str, Any]] = []
        self.asked: list[str] = []


class _Answers(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        whole: Any = {"ApiVersion": "1.41", "Volumes": []}
        if path.endswith(("/json", "/networks")):
            whole = self.server.has if path.endswith("containers/json") else []
        body = json.dumps(whole).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the ``docker`` command's settings; there are none, in the environment neither."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def context(folder: Path, name: str, text: str | None = None, host: str = "") -> None:
    """Write a context's file, as `docker context create` does."""
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    whole = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
    meta.write_text(json.dumps(whole) if text is None else text)


def test_the_engine_is_the_one_the_docker_command_would_use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert address() == "unix:///var/run/docker.sock"
    context(folder, "rootless", host="unix:///run/user/1000/docker.sock")
    context(folder, "desktop", host="unix:///home/me/docker.sock")
    (folder / "config.json").write_text('{"currentContext": "desktop"}')
    assert address() == "unix:///home/me/docker.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "rootless")
    assert address() == "unix:///run/user/1000/docker.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert address() == "unix:///var/run/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
    assert address() == "tcp://127.0.0.1:2375"


@pytest.mark.parametrize("meta", [None, "{", "{}", '{"Endpoints": []}'], ids=["none", "cut", "empty", "odd"])
@pytest.mark.parametrize("variable", [True, False])
def test_a_context_that_cannot_be_used_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, meta: str | None, variable: bool
) -> None:
    if meta is not None:
        context(folder, "gone", meta)
    if variable:
        monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    else:
        (folder / "config.json").write_text('{"currentContext": "gone"}')
    by = "DOCKER_CONTEXT" if variable else "docker context use"
    with pytest.raises(MissingComponent, match=rf"context 'gone', chosen by .?{by}.?, cannot be used"):
        connect()


@pytest.mark.parametrize("odd", ["tcp://localhost:abc", "tcp://localhost:99999", "tcp://[::1"])
def test_what_is_no_address_of_an_engine_is_named(monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", odd)
    with pytest.raises(MissingComponent, match=r"is no address of a Docker engine(?s:.)*DOCKER_HOST"):
        connect()


@pytest.mark.parametrize("local", [True, False])
def test_nobody_stands_between_us_and_an_engine_on_this_machine(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with closing(connect(local=local, at=engine.address)) as client:
        assert client.containers.list() == []
        assert client.api.api_version == "1.41"
    assert engine.asked == ["/version", "/v1.41/_ping", "/v1.41/containers/json"]


def test_doctor_refuses_the_engines_that_runs_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.example:2376")
    (docker,) = (finding for finding in examine() if finding.what == "docker")
    assert not docker.ok
    assert "on another machine" in docker.advice


# --- healing: the engine that has the containers is the one that is asked


def dead_run(state: Path, engine: str) -> None:
    """Write the journal of a run that died after it had made a project in an engine."""
    journal = Journal(state / "recording", RUN_ID, state)
    journal.containers(project_name(RUN_ID), engine)
    journal.close()
    owner, *rest = journal.path.read_text().splitlines(keepends=True)
    told = json.loads(owner)
    journal.path.write_text(json.dumps({**told, "create_time": another(told["create_time"])}) + "\n" + "".join(rest))


def test_what_is_in_an_engine_that_does_not_answer_is_left_whatever_another_one_has(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.address)
    dead_run(tmp_path, f"unix://{tmp_path}/rootless.sock")
    assert "rootless.sock" in "\n".join(dirty(tmp_path))
    report = heal(tmp_path)
    assert not report.healed
    assert "rootless.sock" in "\n".join(report.lines())
    assert len(journals(tmp_path)) == 1
    assert engine.asked == []


def test_the_engine_that_was_written_down_is_asked_whatever_this_shell_uses(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    dead_run(tmp_path, engine.address)
    engine.has = [{"Id": "c1", "Names": ["/agents-1"], "Labels": {}}]
    (left,) = dirty(tmp_path)
    assert "container agents-1" in left
    engine.has = []
    assert dirty(tmp_path) == []
    assert heal(tmp_path).healed
    assert journals(tmp_path) == []


def test_a_socket_that_an_earlier_version_wrote_down_is_the_one_of_this_shell(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.address)
    dead_run(tmp_path, "http+docker://localhost")
    assert dirty(tmp_path) == []
    assert heal(tmp_path).healed
