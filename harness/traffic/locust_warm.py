"""What a load will do over and over, done beforehand where nobody counts it. Only for the Locust subprocess.

The first request of a process would be 10 to 20 ms late on its way, for modules that nothing has imported, memory that
nothing has touched and code that no cache has; the first rows would hold up the loop as long.
"""

from __future__ import annotations

import json
import logging
import socket
from array import array
from typing import TYPE_CHECKING, Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from locust import FastHttpUser, HttpUser
from locust.env import Environment
from locust.event import Events

from harness.recording import layout
from harness.recording.requests import WORDS, RequestWriter
from harness.recording.spool import Nowhere
from harness.recording.tokens import TokenWriter
from harness.traffic import locust_session
from harness.traffic.locust_record import Recorder
from harness.traffic.locust_stats import Statistics

if TYPE_CHECKING:
    from harness.observe import Observation

_ROWS = 1000
_WORDS = [name for name in WORDS if name != "worker"]
_NUMBERS = [name for name in layout.REQUEST_SCHEMA.names if name not in WORDS]
_PATIENCE_S = 2.0
_EVENTS = 20
logger = logging.getLogger("agentstorm")


def rows() -> None:
    """Write rows nowhere."""
    requests, tokens = RequestWriter(Nowhere(), ""), TokenWriter(Nowhere())
    for batch in range(3):
        for number in range(_ROWS):
            requests.add(**dict.fromkeys(_NUMBERS, number), **dict.fromkeys(_WORDS, str(batch)))  # type: ignore[arg-type]
            tokens.add(number, array("q", (number,)))
        requests.flush()
        tokens.flush()


def requests(observation: Observation) -> None:
    """Send requests to ourselves, with each of Locust's clients; answers are read with a load's `observation`.

    To be called before there is a workload: neither it nor Locust nor a recording hears of them. If they fail, a load
    is none the worse but for its first requests.
    """
    environment = Environment(events=Events())
    recorder = Recorder(
        RequestWriter(Nowhere(), ""), TokenWriter(Nowhere()), observation, stream_end="data: [DONE]", stream=0
    )
    server = StreamServer(("127.0.0.1", 0), _serve, spawn=Pool())
    with locust_session.installed(environment, recorder, Statistics(environment)):
        asking = gevent.spawn(_ask, environment, server)
        asking.join(_PATIENCE_S)
        if not asking.dead:
            logger.warning("no request could be made before the load: no answer within %g s", _PATIENCE_S)
            asking.kill()
        recorder.finish()
    server.stop(timeout=0)


def _ask(environment: Environment, server: StreamServer) -> None:
    try:
        server.start()
        for client in (FastHttpUser, HttpUser):
            host = f"http://127.0.0.1:{server.server_port}"
            session: Any = type("Nobody", (client,), {"host": host, "abstract": True})(environment).client
            session.trust_env = False  # of `HttpUser`'s (requests): no proxy of the user's, no .netrc
            for _ in range(2):  # on a new connection, and on one that is kept
                session.get("/", name="nobody")
                session.post("/", json={"question": "?"}, headers={"x-nobody": "1"}, name="nobody")
                with session.get("/stream", stream=True, catch_response=True, name="nobody") as answer:
                    for _ in answer.iter_content(1024):
                        pass
                session.get("/stream", name="nobody")
    except Exception as error:  # noqa: BLE001 - nothing depends on it
        logger.warning("no request could be made before the load: %s", error)


def _serve(sock: Any, _: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or every stream takes 40 ms
    with sock, sock.makefile("rb") as asked:
        while path := asked.readline().split()[1:2]:
            length = 0
            while line := asked.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            asked.read(length)
            if path == [b"/stream"]:
                _stream(sock)
            else:
                sock.sendall(_head("application/json", "content-length: 17") + b'{"answer": "yes"}')


def _stream(sock: Any) -> None:
    sock.sendall(_head("text/event-stream", "transfer-encoding: chunked"))
    for number in range(_EVENTS):
        choices = [{"index": 0, "delta": {"content": f"word {number}"}, "finish_reason": None}]
        event = f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': choices})}\n\n".encode()
        sock.sendall(b"%x\r\n%b\r\n" % (len(event), event))
        gevent.sleep(0)
    sock.sendall(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


def _head(kind: str, more: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{more}\r\n\r\n".encode()
