"""The same small system twice: as processes of this machine, and as containers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.model.plan import Plan, Scenario
from harness.model.target import Target
from harness.system import KINDS, System
from harness.web import get
from tests.docker_engine import LABEL, engine, python_image, toxiproxy_image

# Answers with when it was born; /slow takes a second; on SIGTERM it finishes what it has and ends.
SERVICE = """
import json, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
born = time.monotonic()
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(1)
        if self.path == "/burn":
            until = time.monotonic() + 0.3
            while time.monotonic() < until: pass
        body = json.dumps({"born": born}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(ThreadingHTTPServer):
    daemon_threads = False
    def handle_error(self, *_): pass
server = Server((sys.argv[1], int(sys.argv[2])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("serving", flush=True)
server.serve_forever(0.02)
server.server_close()
"""


@dataclass
class Noted:
    """A journal in memory: what is still to be undone, by entry."""

    open: dict[int, tuple[int, str]] = field(default_factory=dict)
    count: int = 0

    def process(self, pid: int, what: str) -> int:
        self.count += 1
        self.open[self.count] = (pid, what)
        return self.count

    def containers(self, project: str, engine: str) -> int:
        return self.process(0, f"{project} at {engine}")

    def healed(self, entry: int) -> None:
        del self.open[entry]


def plan_of(spec: Target, directory: Path, *, replicas: int = 1) -> Plan:
    """Return a plan for a target, whose load is of no interest here."""
    load = {"kind": "users", "users": 1, "hold": "1s"}
    scenario = Scenario.model_validate({"scenario": "s", "workload": "w.py", "load": load})
    return Plan(
        target=spec, scenario=scenario, seed=1, workload_path=directory / "w.py", target_dir=directory,
        replicas=replicas,
    )  # fmt: skip


def compose_file(services: dict[str, dict[str, Any]]) -> str:
    """Return a Compose file with a Toxiproxy and these services, each a Python unless it says otherwise."""
    base: dict[str, Any] = {"image": python_image(), "init": True, "labels": LABEL, "stop_grace_period": "2s"}
    proxy: dict[str, Any] = {"image": toxiproxy_image(), "command": ["-host=0.0.0.0"], "labels": LABEL}
    whole = {"services": {"toxiproxy": proxy, **{name: base | spec for name, spec in services.items()}}}
    return json.dumps(whole).replace("$", "$$")


def small_target(kind: str, folder: Path, **compose: Any) -> Target:
    """Write what the small system needs into `folder`; return its target, with one service `a`."""
    if kind == "processes":
        (folder / "serve.py").write_text(SERVICE)
        service = {"command": [sys.executable, "-S", "serve.py", "127.0.0.1", "${port}"], "stop_within": "3s"}
        return Target.model_validate(
            {"target": "t", "system": {"kind": kind, "services": {"a": service}}, "url": "http://${services.a}"}
        )
    engine()
    contained = {"command": ["python3", "-c", SERVICE, "0.0.0.0", "8080"], "cpus": 0.5, "mem_limit": "64m"}
    (folder / "compose.yml").write_text(compose_file({"a": contained | compose}))
    spec = {
        "kind": "compose", "file": "compose.yml", "publish": {"a": 8080, "toxiproxy": 8474}, "replicated": "a",
        "stop_within": "3s", "up_within": "60s",
    }  # fmt: skip
    return Target.model_validate({"target": "t", "system": spec, "url": "http://127.0.0.1:1"})


@contextmanager
def running(
    spec: Target, folder: Path, run_id: int, *, replicas: int = 1, journal: Noted | None = None
) -> Iterator[System]:
    """Yield a system that is up; whatever the test does, nothing of it stays."""
    noted = journal or Noted()
    made = KINDS[spec.system.kind](
        plan_of(spec, folder, replicas=replicas), run_id=run_id, logs=folder / "logs", journal=noted
    )
    try:
        made.reserve()
        made.carrier()
        made.up({})
        yield made
    finally:
        made.down()
    assert noted.open == {}


def born(address: str | None, path: str = "/") -> float:
    """Return when the process that answers was started."""
    answer: dict[str, float] = json.loads(get(f"http://{address}{path}", 5)[1])
    return answer["born"]
