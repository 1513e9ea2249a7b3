"""A system of real containers: what it leaves in the recording, what goes wrong with it, and that nothing stays."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import heal
from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import MissingComponent, SystemFailed
from harness.faults import KINDS as KINDS_OF_FAULTS
from harness.faults.conductor import Conductor
from harness.faults.http_proxy import HttpRoute
from harness.faults.proxies import Place, put_in_front, take_away
from harness.faults.timeline import occurrences
from harness.faults.toxiproxy import Toxiproxy
from harness.journal import Journal, journals
from harness.model.experiment import Experiment
from harness.model.target import ComposeSystem, Target, Upstream
from harness.recording.tables import EventLog
from harness.system import KINDS, compose
from harness.system.compose import Compose
from harness.system.compose_command import VARIABLE
from harness.system.compose_project import left_of, project_name
from harness.web import get
from tests.contract.small_systems import Noted, born, plan_of, running, small_target
from tests.docker_engine import LABEL, engine, python_image

pytestmark = [pytest.mark.real, pytest.mark.docker, pytest.mark.slow]

RUN_ID = 0xC0305E
HEALTH = {"interval": "1s", "retries": 1, "timeout": "1s"}


@pytest.fixture(autouse=True)
def _an_engine() -> None:
    engine()


def system(folder: Path, spec: Target, *, run_id: int = RUN_ID, replicas: int = 1) -> Compose:
    made = KINDS["compose"](
        plan_of(spec, folder, replicas=replicas), run_id=run_id, logs=folder / "logs", journal=Noted()
    )
    assert isinstance(made, Compose)
    return made


def failure(folder: Path, spec: Target) -> str:
    """Bring `spec` up, which must fail and leave nothing; return the message."""
    made = system(folder, spec)
    made.reserve()
    try:
        with pytest.raises(SystemFailed) as caught:  # noqa: PT012 - whichever of the two fails
            made.carrier()
            made.up({})
    finally:
        made.down()
    assert left_of(engine(), project_name(RUN_ID)) == []
    return str(caught.value)


def test_copies_have_ports_and_logs_of_their_own(tmp_path: Path) -> None:
    with running(small_target("compose", tmp_path), tmp_path, RUN_ID, replicas=2) as made:
        assert set(made.containers()) == {"toxiproxy", "a-1", "a-2"}
        first, second = made.control("a").look()
        assert (first.name, second.name) == ("a-1", "a-2")
        assert born(first.address) != born(second.address)
        told = made.describe()
        assert set(told["containers"]) == {"toxiproxy", "a-1", "a-2"}
        assert all(image["id"].startswith("sha256:") for image in told["images"].values())
        assert told["replicas"] == 2
        control = made.control("a")
        control.kill(["a-1"])
        assert [copy.state for copy in control.look()] == ["stopped", "running"]
        control.restore(["a-1"])
    for name in ("a-1", "a-2"):
        said = (tmp_path / "logs" / f"{name}.log").read_text().split()
        assert said == ["serving"] * (2 if name == "a-1" else 1), "followed through its restart"


def test_limits_on_a_container_that_had_none_are_lifted(tmp_path: Path) -> None:
    unlimited: dict[str, Any] = {"cpus": 0, "mem_limit": 0}
    with running(small_target("compose", tmp_path, **unlimited), tmp_path, RUN_ID) as made:
        control = made.control("a")
        (before,) = control.look()
        assert (before.cpus, before.memory_mib) == (None, None)
        control.limit(["a-1"], cpus=0.5, memory_mib=48)
        (lowered,) = control.look()
        assert (lowered.cpus, lowered.memory_mib) == (0.5, 48)
        control.restore(["a-1"])
        (after,) = control.look()
        host = engine().info()
        assert (after.cpus, after.memory_mib) == (host["NCPU"], host["MemTotal"] / 2**20), "all there is"
        born(after.address)


def test_everything_is_published_on_loopback_only(tmp_path: Path) -> None:
    with running(small_target("compose", tmp_path), tmp_path, RUN_ID) as made:
        for id_ in made.containers().values():
            ports = engine().api.inspect_container(id_)["NetworkSettings"]["Ports"]
            assert {p["HostIp"] for published in ports.values() for p in published or []} <= {"127.0.0.1"}


def test_an_http_fault_proxy_stands_beside_toxiproxy_when_a_fault_needs_it(tmp_path: Path) -> None:
    spec = small_target("compose", tmp_path)
    system_spec = spec.system.model_copy(update={"http_faults": python_image()})
    upstream = {"a": Upstream(address="a:8080", listen="0.0.0.0:9401")}
    spec = spec.model_copy(update={"system": system_spec, "upstreams": upstream})
    fault = KINDS_OF_FAULTS["http_error"].model_validate(
        {"kind": "http_error", "upstream": "a", "at": "0s", "for": "60s"}
    )
    experiment = Experiment(experiment="e", faults=(fault,))
    plan = plan_of(spec, tmp_path).model_copy(update={"experiments": (experiment,)})
    made = KINDS["compose"](plan, run_id=RUN_ID, logs=tmp_path / "logs", journal=Noted())
    try:
        made.reserve()
        carrier = made.carrier()
        assert carrier is not None
        made.up({})
        assert set(made.containers()) == {"toxiproxy", "a-1", "agentstorm-http-faults"}
        route = HttpRoute(carrier.http_admin, "a", carrier.http_routes["a"])
        place = Place("a:8080", "0.0.0.0:9401", carrier.reached["a"], carrier.side_doors["a"], route)
        journal = Journal(tmp_path, RUN_ID, tmp_path / "state")
        events = EventLog(tmp_path / "events.jsonl")
        proxied = put_in_front(Toxiproxy(carrier.api), RUN_ID, upstream, {"a": place}, journal)
        conductor = Conductor(occurrences([("e", fault)]), proxied, events=events, journal=journal)
        conductor.start(now_ns())
        while not conductor.on and not conductor.done:
            sleep(0.01)
        assert conductor.on, conductor.failed
        assert get(f"http://{carrier.reached['a']}/", 5)[0] == 503
        assert get(f"http://{carrier.side_doors['a'][1]}/", 5)[0] == 200  # past all faults
        assert conductor.stop() == []
        assert get(f"http://{carrier.reached['a']}/", 5)[0] == 200
        assert take_away(proxied, journal) == []
        events.close()
        journal.close()
    finally:
        made.down()
    assert left_of(engine(), project_name(RUN_ID)) == []


def test_two_runs_share_a_host(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with (
        running(small_target("compose", folders[0]), folders[0], RUN_ID) as one,
        running(small_target("compose", folders[1]), folders[1], RUN_ID + 1) as two,
    ):
        assert set(one.containers().values()).isdisjoint(two.containers().values())
        assert born(one.control("a").look()[0].address) != born(two.control("a").look()[0].address)


def test_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small_target("compose", tmp_path)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(MissingComponent, match=r"no Docker engine answers at unix://.*(?s:.)*targets/local\.yaml"):
        system(tmp_path, spec).reserve()


def test_no_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small_target("compose", tmp_path)
    monkeypatch.setenv(VARIABLE, "no-such-compose")
    with pytest.raises(MissingComponent, match=r"no Docker Compose: no-such-compose cannot be run"):
        system(tmp_path, spec).reserve()


def test_no_image(tmp_path: Path) -> None:
    message = failure(tmp_path, small_target("compose", tmp_path, image="agentstorm-test.invalid/nothing:0"))
    assert "the images of a are not here" in message
    assert "reference/docker/offline.sh" in message


def test_no_compose_file(tmp_path: Path) -> None:
    spec = small_target("compose", tmp_path)
    (tmp_path / "compose.yml").write_text(json.dumps({"services": {"a": {"imagine": "x"}}}))
    assert "compose.yml is refused by" in failure(tmp_path, spec)


def test_an_unhealthy_container_is_told_with_its_last_lines(tmp_path: Path) -> None:
    sick: dict[str, Any] = {"healthcheck": {"test": ["CMD", "false"], **HEALTH}}
    message = failure(tmp_path, small_target("compose", tmp_path, **sick))
    assert "container a-1 is not healthy" in message
    assert "(unhealthy)" in message
    assert message.endswith("serving")


def test_a_container_that_ends_is_told_with_its_last_lines(tmp_path: Path) -> None:
    crash = {"command": ["python3", "-c", "print('line 1'); print('no database'); raise SystemExit(3)"]}
    message = failure(tmp_path, small_target("compose", tmp_path, **crash))
    assert "container a-1" in message
    assert "Exited (3)" in message
    assert message.endswith("no database")


def test_a_port_that_somebody_took_meanwhile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.system.ports.Held.release", lambda _: None)  # somebody: ourselves
    spec = small_target("compose", tmp_path)
    made = system(tmp_path, spec)
    made.reserve()
    try:
        with pytest.raises(SystemFailed, match=r"address already in use|port is already allocated"):
            made.carrier()
    finally:
        monkeypatch.undo()
        made.down()


def test_giving_up_while_it_comes_up_is_heard_at_once(tmp_path: Path) -> None:
    def asked_to_end() -> None:
        if now_ns() - begun > 3 * NS_PER_S:
            raise KeyboardInterrupt

    late: dict[str, Any] = {
        "healthcheck": {"test": ["CMD", "false"], "interval": "1s", "retries": 100, "timeout": "1s"}
    }
    made = system(tmp_path, small_target("compose", tmp_path, **late))
    made.reserve()
    try:
        begun = now_ns()
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - whichever of the two is waiting then
            made.carrier(asked_to_end)
            made.up({}, asked_to_end)
        assert now_ns() - begun < 10 * NS_PER_S
    finally:
        made.down()
    assert left_of(engine(), project_name(RUN_ID)) == []


@pytest.mark.parametrize("takes_s", [0, 3], ids=["at once", "after the others are up"])
def test_a_container_that_has_done_its_work_is_no_death(tmp_path: Path, takes_s: int) -> None:
    spec = small_target("compose", tmp_path)
    whole = json.loads((tmp_path / "compose.yml").read_text())
    work = ["python3", "-c", f"import time; time.sleep({takes_s}); print('migrated')"]
    whole["services"]["migration"] = whole["services"]["a"] | {"command": work}
    (tmp_path / "compose.yml").write_text(json.dumps(whole))
    with running(spec, tmp_path, RUN_ID) as made:
        assert "migration" in made.containers()
        sleep(takes_s + 2)  # longer than it takes, and than it takes to notice
        assert [copy.state for copy in made.control("migration").look()] == ["stopped"]
        assert made.watch() == []
    assert (tmp_path / "logs" / "migration.log").read_text() == "migrated\n"


def test_one_that_should_go_on_is_dead_when_it_ends_whatever_its_code(tmp_path: Path) -> None:
    spec = small_target("compose", tmp_path)
    whole = json.loads((tmp_path / "compose.yml").read_text())
    checked = {"test": ["CMD", "true"], **HEALTH}
    ends = ["python3", "-c", "import time; time.sleep(4)"]
    whole["services"]["worker"] = whole["services"]["a"] | {"command": ends, "healthcheck": checked}
    (tmp_path / "compose.yml").write_text(json.dumps(whole))
    with running(spec, tmp_path, RUN_ID) as made:
        deadline = now_ns() + 20 * NS_PER_S
        while not made.watch():
            assert now_ns() < deadline, "never told"
            sleep(0.1)
        assert [(died.service, died.code) for died in made.watch()] == [("worker", 0)]


def test_copies_that_the_compose_file_itself_asks_for_are_told_apart(tmp_path: Path) -> None:
    spec = small_target("compose", tmp_path)
    assert isinstance(spec.system, ComposeSystem)
    spec = spec.model_copy(update={"system": spec.system.model_copy(update={"replicated": None, "publish": {
        "toxiproxy": 8474}})})  # fmt: skip
    whole = json.loads((tmp_path / "compose.yml").read_text())
    whole["services"]["a"]["scale"] = 2
    (tmp_path / "compose.yml").write_text(json.dumps(whole))
    with running(spec, tmp_path, RUN_ID) as made:
        assert set(made.containers()) == {"toxiproxy", "a", "a-2"}
        assert [copy.name for copy in made.control("a").look()] == ["a", "a-2"]


def test_an_engine_of_another_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small_target("compose", tmp_path)
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.example:2376")
    with pytest.raises(MissingComponent, match=r"build\.example:2376 is on another machine"):
        system(tmp_path, spec).reserve()


class Line:
    """A way to the engine's socket that can be cut and mended."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self.cut = False
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if self.cut:
                    near.close()
                    continue
                far = socket.socket(socket.AF_UNIX)
                far.connect("/var/run/docker.sock")
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def hang_up(self) -> None:
        self.cut = True
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.hang_up()
        for end in (self._server, *self._open):
            end.close()


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    line = Line()
    monkeypatch.setenv("DOCKER_HOST", line.address)
    yield line
    line.close()


def test_an_engine_that_goes_away_while_it_comes_up_is_told(tmp_path: Path, line: Line) -> None:
    made = system(tmp_path, small_target("compose", tmp_path))
    made.reserve()
    line.hang_up()
    with pytest.raises(SystemFailed, match="Docker"):
        made.carrier()
    line.cut = False
    made.down()
    assert left_of(engine(), project_name(RUN_ID)) == []


def test_an_engine_that_goes_away_later_ends_the_run_and_what_it_holds_can_be_removed_once_it_is_back(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "_SILENT_NS", NS_PER_S)
    made = system(tmp_path, small_target("compose", tmp_path))
    made.reserve()
    try:
        made.up({})
        assert made.watch() == []
        line.hang_up()
        deadline = now_ns() + 20 * NS_PER_S
        while not made.watch():
            assert now_ns() < deadline, "never told"
            sleep(0.1)
        (died,) = made.watch()
        assert died.service == "docker"
        assert "does not answer" in died.message
    finally:
        line.cut = False
        made.down()
    assert left_of(engine(), project_name(RUN_ID)) == []


def test_a_system_without_upstreams_comes_up_and_goes(tmp_path: Path) -> None:
    made = system(tmp_path, small_target("compose", tmp_path))
    made.reserve()
    try:
        made.up({})
        assert set(made.containers()) == {"toxiproxy", "a-1"}
    finally:
        made.down()
    assert left_of(engine(), project_name(RUN_ID)) == []


def test_a_frozen_container_is_removed_too(tmp_path: Path) -> None:
    with running(small_target("compose", tmp_path), tmp_path, RUN_ID) as made:
        made.control("a").pause(["a-1"])
    assert left_of(engine(), project_name(RUN_ID)) == []


def test_an_image_that_is_named_after_the_project_goes_with_it(tmp_path: Path) -> None:
    spec = small_target("compose", tmp_path)
    whole = json.loads((tmp_path / "compose.yml").read_text())
    image = whole["services"]["a"].pop("image")
    whole["services"]["a"]["build"] = "."
    (tmp_path / "compose.yml").write_text(json.dumps(whole))
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nENV NAMED_AFTER=project\n")
    with running(spec, tmp_path, RUN_ID):
        (name,) = [left for left in left_of(engine(), project_name(RUN_ID)) if left.startswith("image ")]
        assert project_name(RUN_ID) in name
    assert left_of(engine(), project_name(RUN_ID)) == []
    engine().images.get(image)  # what it was built on is not ours


def dead_run(folder: Path, project: str, engine: str = "unix:///var/run/docker.sock") -> Path:
    """Write the journal of a run that was killed after it had made a project; return its path."""
    journal = Journal(folder, RUN_ID)
    journal.containers(project, engine)
    journal._file.close()  # as the kernel does
    journal.path.write_text(journal.path.read_text().replace(f'"pid": {os.getpid()},', '"pid": 1,'))
    return journal.path


def test_what_a_killed_harness_left_is_healed(tmp_path: Path) -> None:
    volume = {"volumes": ["/data"]}  # an anonymous one, which `down` without -v would leave
    spec = small_target("compose", tmp_path, **volume)
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from harness.journal import Journal
        from harness.model.target import Target
        from harness.system import KINDS, compose
        from tests.contract.small_systems import plan_of

        folder = Path({str(tmp_path)!r})
        spec = Target.model_validate({spec.model_dump(mode="json", by_alias=True)!r})
        made = KINDS["compose"](plan_of(spec, folder), run_id={RUN_ID}, logs=folder / "logs",
                                journal=Journal(folder, {RUN_ID}))
        made.reserve()
        made.carrier()
        made.up({{}})
        made.control("a").pause(["a-1"])
        print("up", flush=True)
        time.sleep(300)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        assert harness.stdout.readline() == "up\n"
        harness.kill()
    volumes = engine().api.volumes()["Volumes"] or []
    there = heal.dirty()
    assert len(there) == 1
    assert "container" in there[0]
    assert "network" in there[0]
    report = heal.heal()
    assert report.healed, report.lines()
    assert left_of(engine(), project_name(RUN_ID)) == []
    assert len(engine().api.volumes()["Volumes"] or []) < len(volumes)
    assert journals() == []
    assert heal.dirty() == []


def test_a_project_that_is_not_the_runs_own_is_left_alone(tmp_path: Path) -> None:
    labels = {"com.docker.compose.project": "somebody-elses", **LABEL}
    container = engine().containers.create(python_image(), labels=labels, command="true")
    try:
        dead_run(tmp_path, "somebody-elses")
        assert heal.heal().lines() == ["nothing to heal"]
        container.reload()
    finally:
        container.remove(force=True)


def test_heal_with_no_engine_says_what_to_do(tmp_path: Path) -> None:
    path = dead_run(tmp_path, project_name(RUN_ID), f"unix://{tmp_path}/docker.sock")
    report = heal.heal()
    assert not report.healed
    assert "cannot be looked for" in report.left[0]
    assert "docker ps --all --filter label=" in report.left[0]
    path.unlink()


def test_nothing_of_ours_waits_longer_than_it_was_told(tmp_path: Path) -> None:
    late: dict[str, Any] = {
        "healthcheck": {"test": ["CMD", "false"], "interval": "1s", "retries": 100, "timeout": "1s"}
    }
    spec = small_target("compose", tmp_path, **late)
    system_ = spec.system.model_copy(update={"up_within": 4.0})
    begun = now_ns()
    message = failure(tmp_path, spec.model_copy(update={"system": system_}))
    assert "within 4 s" in message
    assert now_ns() - begun < 40 * NS_PER_S
