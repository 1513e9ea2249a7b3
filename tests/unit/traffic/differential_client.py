"""Makes requests as a workload does and prints all that it sees, one JSON line each: under Locust, or measured.

Run as a script (``python differential_client.py URL [measured]``) by `test_locust_fast`: both must print the same.
"""

# ruff: noqa: E402, T201 - gevent patches first; what is printed is what this is for

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import contextlib
import gzip
import json
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from locust import events
from locust.contrib import fasthttp
from locust.env import Environment

BEGAN = time.time()
URL, MEASURED = sys.argv[1], sys.argv[2:] == ["measured"]


def fields(headers: Any) -> Any:
    return [list(pair) for pair in headers.items() if pair[0].lower() != "traceparent"] if headers is not None else None


def request_seen(request: Any) -> Any:
    body = repr(request.body[:300]) if isinstance(request.body, str | bytes) else type(request.body).__name__
    return [request.method, request.url, fields(request.headers), body, str(request.url_split)]


def seen(response: Any, *, streaming: bool = False) -> dict[str, Any]:
    facts: dict[str, Any] = {}

    def note(name: str, what: Any) -> None:
        try:
            facts[name] = what()
        except Exception as error:  # noqa: BLE001 - an attribute that raises must raise the same
            facts[name] = f"{type(error).__name__}: {error}"

    note("first read", lambda: repr(response.read(3)) if streaming else "")
    note("status", lambda: response.status_code)
    note("ok", lambda: response.ok)
    note("content", lambda: repr(response.content[:300]) + str(len(response.content)))
    note("text", lambda: response.text[:300])
    note("encoding", lambda: response.encoding)
    note("json", response.json)
    note("headers", lambda: fields(response.headers))
    note("info", lambda: fields(response.info()))
    note("one header", lambda: response.headers.get("X-Kind"))
    note("url", lambda: response.url)
    note("request", lambda: request_seen(response.request))
    note("length", lambda: len(response))
    note("read", lambda: repr(response.read()))
    note("iterated", lambda: list(response.iter_content()))
    note("closed", response.isclosed)
    note("history", lambda: [one.status_code for one in response.history])
    note("raised", response.raise_for_status)
    note(
        "parser", lambda: [response._response.get_code(), response._response.version, response._response.should_close()]
    )
    note("elapsed", lambda: timedelta(0) < response.elapsed < timedelta(seconds=20))
    return facts


class Tester(fasthttp.FastHttpUser):
    host = URL
    abstract = True
    network_timeout = 0.3
    connection_timeout = 0.3


class Named(Tester):
    default_headers = {  # noqa: RUF012 - as people do
        "X-Default": "d",
        "X-Both": "default",
    }


class Authorised(Tester):
    host = URL.replace("://", "://me:p%40ss@")


class Narrow(Tester):
    """Takes 404 for an answer and 201 for none."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.client.client.valid_response_codes = frozenset((200, 404))  # type: ignore[misc] # as people do


ANSWERS = sys.stdin.read().split()
ASKS: list[tuple[str, Any]] = [
    ("json", lambda c: c.post("/plain", json={"a": "ö", "b": [1, None]})),
    ("json again", lambda c: c.post("/plain", json={"a": "ö", "b": [1, None], "c": "longer"})),
    ("empty json", lambda c: c.post("/plain", json={})),
    ("data and json", lambda c: c.post("/plain", data="x", json={})),
    ("text", lambda c: c.post("/plain", data="häl")),
    ("bytes", lambda c: c.put("/plain", data=b"\x00\xff")),
    ("text with a type", lambda c: c.post("/plain", "a=1", headers={"Content-Type": "application/a"})),
    ("form", lambda c: c.post("/plain", data={"a": "1 2", "b": "ö"})),
    ("nothing", lambda c: c.post("/plain")),
    ("get", lambda c: c.get("/plain")),
    ("query", lambda c: c.get("/plain?a=b c&d=%20é#frag")),
    ("params", lambda c: c.get("/plain", params={"a": 1})),
    ("double slash", lambda c: c.get("//plain")),
    ("no slash", lambda c: c.get("plain")),
    ("spaces", lambda c: c.get("/plain/a b")),
    ("elsewhere", lambda c: c.get(f"{URL}/plain")),
    ("nowhere", lambda c: c.get("http://127.0.0.1:1/plain")),
    ("bad port", lambda c: c.get("http://127.0.0.1:x/plain")),
    ("patch", lambda c: c.patch("/plain", json=1)),
    ("delete", lambda c: c.delete("/plain")),
    ("delete with a body", lambda c: c.delete("/plain", data="x")),
    ("options", lambda c: c.options("/plain")),
    ("head", lambda c: c.head("/plain")),
    ("own method", lambda c: c.request("QUERY", "/plain", data="x")),
    ("lower method", lambda c: c.request("post", "/plain", json=1)),
    ("auth", lambda c: c.get("/plain", auth=("u", "ü"))),
    ("headers", lambda c: c.post("/plain", headers={"X-Both": "1", "accept": "a/b", "content-type": "c/d"}, json={})),
    ("number", lambda c: c.get("/plain", headers={"X": 1})),
    ("truth", lambda c: c.get("/plain", headers={"X": True})),
    ("a list", lambda c: c.get("/plain", headers={"X": ["1", "2"]})),
    ("pairs", lambda c: c.get("/plain", headers=[("X", "1")])),
    ("own length", lambda c: c.post("/plain", data="abc", headers={"Content-Length": "3"})),
    ("own host", lambda c: c.get("/plain", headers={"Host": "h"})),
    ("smuggled", lambda c: c.get("/plain", headers={"X": "a\r\nY: b"})),
    ("not latin", lambda c: c.get("/plain", headers={"X": "\u20ac"})),
    ("latin", lambda c: c.get("/plain", headers={"X": "\xe9"})),
    ("no json", lambda c: c.post("/plain", json={1, 2})),
    ("big", lambda c: c.post("/plain", data="x" * 1_000_000)),
    ("generator", lambda c: c.post("/plain", data=iter([b"a", b"b"]))),
    ("compressed", lambda c: c.post("/plain", data=gzip.compress(b"x", mtime=0), headers={"Content-Encoding": "gzip"})),
    ("expecting", lambda c: c.post("/continue", data="x", headers={"Expect": "100-continue"})),
    ("chunks", lambda c: c.post("/plain", data="x", headers={"Transfer-Encoding": "chunked"})),
    ("stays", lambda c: c.get("/302", allow_redirects=False)),
    ("named", lambda c: c.get("/plain", name="a name", context={"agent": "a"})),
    ("login", lambda c: [c.get("/cookie"), c.get("/plain")][1]),
    ("retries", lambda c: c.get("/closes", max_retries=2)),
]  # fmt: skip


def renamed(client: Any) -> Any:
    with client.rename_request("another"):
        return client.get("/plain")


ASKS.append(("renamed", renamed))
# Ever new values of the same fields: those that stand in a head as they are, and those that do not.
ASKS += [
    (f"{name} {number}", lambda c, n=name, v=value: c.post("/plain", json={}, headers={"X-Fixed": "f", n: v, "X-Z": v}))
    for name in ("X-Key", "Authorization", "Content-Type", "Host", "Connection", "traceparent", "X-Both")
    for number, value in enumerate(
        ("first", "second", "third", "a: b, c", "  padded ", "", "\xe9", "\u20ac", "a\r\nY: b", "f" * 3000, 5, "fourth",
         "agentstorm-value-0-hole", "f1f2f3f4f5f6f7f8", "4611686018427387904", "fifth", "close", "keep-alive")
    )
]  # fmt: skip


def streamed(client: Any, path: str) -> Any:
    response = client.get(path, stream=True)
    return seen(response, streaming=True)


def caught(client: Any, path: str, what: Any) -> Any:
    with client.get(path, catch_response=True, name="caught", context={"team": "t"}) as response:
        before = seen(response)
        what(response)
    for name in ("history", "elapsed"):
        before.pop(name)  # Locust itself has lost them by then
    return [before, isinstance(response, fasthttp.FastResponse), response.request_meta["name"]]


def rename(response: Any) -> None:
    response.request_meta["name"] = "by its answer"


def fails(response: Any) -> None:
    raise ValueError("own")


CATCHES: list[tuple[str, Any]] = [
    ("success", lambda r: r.success()),
    ("failure", lambda r: r.failure("no good")),
    ("nothing", lambda r: None),
    ("renamed", rename),
    ("raises", fails),
]


def rest(user: Any, path: str) -> Any:
    with user.rest("POST", path, json={"a": 1}) as response:
        assert response.js["answer"] == "yes", "not yes,"
    return response.js


def lines(client: Any) -> Any:
    return list(client.iter_lines("/lines"))


def told(**meta: Any) -> None:
    response, error = meta.pop("response"), meta.pop("exception")
    start, took = meta.pop("start_time"), meta.pop("response_time")
    facts = {"status": response.status_code, "start": 0 <= start - BEGAN < 100, "took": 0 < took < 20_000}
    print(json.dumps(["event", meta | facts, repr(error)]))


def show(name: str, what: Any, *args: Any) -> None:
    try:
        result = what(*args)
        facts = seen(result) if isinstance(result, fasthttp.FastResponse) else result
    except Exception as error:  # noqa: BLE001 - must be the same
        facts = f"{type(error).__name__}: {error}"
    print(json.dumps([name, facts], default=repr))


def main() -> None:
    environment = Environment(events=events)
    environment.create_local_runner()
    if MEASURED:
        from harness.model.target import Observe  # noqa: PLC0415
        from harness.observe import Observation  # noqa: PLC0415
        from harness.recording.requests import RequestWriter  # noqa: PLC0415
        from harness.recording.tokens import TokenWriter  # noqa: PLC0415
        from harness.traffic import locust_session  # noqa: PLC0415
        from harness.traffic.locust_record import Recorder  # noqa: PLC0415
        from harness.traffic.locust_stats import Statistics  # noqa: PLC0415

        folder = Path(tempfile.mkdtemp())
        statistics = Statistics(environment)
        writers = RequestWriter(folder / "r", "w"), TokenWriter(folder / "t")
        recorder = Recorder(*writers, Observation(Observe()), stream_end="", stream=0)
        locust_session.install(environment, recorder, statistics, 7)
    for listening in (False, True):
        if listening:
            events.request.add_listener(told)
        for name, ask in ASKS:
            for kind in (Tester, Named, Authorised) if name in ("json", "get", "headers") else (Tester,):
                show(f"{name} by {kind.__name__}", ask, kind(environment).client)
        kept = Tester(environment)
        for answer in ANSWERS:
            for how in ("get", "post"):
                user = Tester(environment)
                with contextlib.suppress(Exception):
                    user.client.get("/plain")  # so that there is a kept connection
                show(f"{how} {answer}", lambda c, p, h=how: getattr(c, h)(p), user.client, f"/{answer}")
            if not answer.endswith("later"):  # what the next request meets would be a matter of time
                show(f"kept {answer}", kept.client.get, f"/{answer}")
            show(f"narrow {answer}", Narrow(environment).client.get, f"/{answer}")
            show(f"stream {answer}", streamed, Tester(environment).client, f"/{answer}")
            show(f"rest {answer}", rest, Tester(environment), f"/{answer}")
            for name, what in CATCHES:
                show(f"catch {name} {answer}", caught, Tester(environment).client, f"/{answer}", what)
        show("lines", lines, kept.client)


main()
