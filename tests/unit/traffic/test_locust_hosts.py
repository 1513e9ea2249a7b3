"""No request leaves the allowed hosts, whatever URL the workload asks for and wherever an answer points.

``127.0.0.2`` stands for a foreign host. In a process of its own: importing what is tested has gevent patch the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.model.request import Outcome
from harness.recording.reader import read_stream

CLIENT = """
import gevent.monkey; gevent.monkey.patch_all()
import sys
from pathlib import Path
from locust import events, FastHttpUser, HttpUser
from locust.env import Environment
from harness import hosts
from harness.model.target import Observe
from harness.observe import Observation
from harness.recording.requests import RequestWriter
from harness.recording.tokens import TokenWriter
from harness.traffic import locust_hosts, locust_session
from harness.traffic.locust_record import Recorder
from harness.traffic.locust_stats import Statistics

port, folder = sys.argv[1], Path(sys.argv[2])
local = hosts.is_local
hosts.is_local = lambda host: host != "127.0.0.2" and local(host)
environment = Environment(events=events)
environment.create_local_runner()
writers = RequestWriter(folder / "r", "w"), TokenWriter(folder / "t")
recorder = Recorder(*writers, Observation(Observe()), stream_end="", stream=0)
locust_session.install(environment, recorder, Statistics(environment), 7)
for allowed in ((), ("127.0.0.2",)):
    locust_hosts.allow(allowed)
    for base in (FastHttpUser, HttpUser):
        user = type("User", (base,), {"host": f"http://127.0.0.1:{port}", "abstract": True})(environment)
        for path in ("/", "/near", "/far", f"http://localhost:{port}/", f"http://127.0.0.2:{port}/"):
            user.client.get(path, name=f"{base.__name__} {path.replace(port, 'PORT')} {len(allowed)}")
            user.client.get(path, name="again") if not allowed else None
recorder.settle()
for writer in writers:
    writer.close()
"""
SAID = "not sent: 127.0.0.2 is neither this machine nor in the target's allow_hosts"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        host, _, port = self.headers["host"].partition(":")
        self.server.asked.append(host)  # type: ignore[attr-defined]
        to = {"/near": f"http://localhost:{port}/", "/far": f"http://127.0.0.2:{port}/"}.get(self.path)
        self.send_response(302 if to else 200)
        if to:
            self.send_header("location", to)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loopback has but one address")
def test_absolute_urls_and_redirects_stay_on_allowed_hosts(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("", 0), Handler) as server:
        server.daemon_threads, server.asked = True, []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        command = [sys.executable, "-c", textwrap.dedent(CLIENT), str(server.server_port), str(tmp_path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: (row["outcome"], row["error"]) for row in read_stream(tmp_path / "r")[0].to_pylist()}
    good = (Outcome.OK, "")
    assert {name: what for name, what in rows.items() if name != "again"} == {
        f"{user} {path} {allowed}": good if allowed or path not in {"/far", "http://127.0.0.2:PORT/"} else (
            Outcome.FAILED, SAID,
        )
        for allowed in (0, 1)
        for user in ("FastHttpUser", "HttpUser")
        for path in ("/", "/near", "/far", "http://localhost:PORT/", "http://127.0.0.2:PORT/")
    }, json.dumps(rows)  # fmt: skip
    assert server.asked.count("127.0.0.2") == 4, "only when it was allowed"  # type: ignore[attr-defined]
