"""The two wires to a running k6: its `setup` asks us when and where to begin; we have its REST API stop the load.

k6 has no command for "no new requests, but finish those you have": told to stop, it cuts off every request. What all
its VUs can see at next to no cost is the number of VUs initialised, so one VU more is the sign that the load is over.
"""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

from harness.errors import TrafficFailed

_ANSWER_S = 5.0


def free_port() -> int:
    """Return a loopback port nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
        return port


class Control:
    """The harness's end. `about` is what k6 said of itself once every VU was there, None before."""

    def __init__(self) -> None:
        self.about: dict[str, Any] | None = None
        self._word: dict[str, Any] | None = None
        self._given = threading.Event()
        control = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                control.about = json.loads(self.rfile.read(int(self.headers["content-length"])))
                control._given.wait()
                body = json.dumps(control._word).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self.api = f"127.0.0.1:{free_port()}"
        """Where k6's REST API is to listen."""

    def begin(self, url: str, start_ms: float, end_ms: float) -> None:
        """Let `setup` go on; times are wall-clock ms."""
        self._word = {"url": url, "start_ms": start_ms, "end_ms": end_ms}
        self._given.set()

    def stop_load(self) -> None:
        """Have every VU see that the load is over; when this returns, they do. TrafficFailed if k6 does not answer."""
        body = {"data": {"type": "status", "id": "default", "attributes": {"vus": 1, "vus-max": 2}}}
        request = Request(
            f"http://{self.api}/v1/status",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
            method="PATCH",
        )
        try:
            with urlopen(request, timeout=_ANSWER_S) as answer:  # noqa: S310
                answer.read()
        except OSError as error:
            raise TrafficFailed(f"k6 at {self.api} cannot be told to stop the load: {error}") from error

    def close(self) -> None:
        """Let nobody wait any more."""
        self._server.shutdown()
        self._server.server_close()
