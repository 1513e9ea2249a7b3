"""What the built-in Toxiproxy's API answers, right and wrong requests alike, against the real one's answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from harness.faults.toxiproxy_server import ToxiproxyServer
from tests.contract.toxiproxy_twins import builtin_program, real_program

pytestmark = pytest.mark.real

LISTEN = "127.0.0.1:0"
TOXICS = "/proxies/a/toxics"
Call = tuple[str, str, str | None]
CALLS: list[Call] = [
    ("GET", "/proxies", None),
    *(
        ("POST", "/proxies", body)
        for body in (
            '{"name": "a", "upstream": "127.0.0.1:9", "listen": "127.0.0.1:0"}',
            '{"name": "a", "upstream": "127.0.0.1:9"}',
            "{}",
            "",
            '{"name":',
            "[1]",
            "null",
            "zork",
            '{"name": 1}',
            '{"name": "b", "upstream": "x:1", "enabled": "y"}',
            '{"name": "b", "upstream": ""}',
            '{"NAME": "b", "Upstream": "x", "unknown": [{}]} and more',
            '{"name": "c", "upstream": "x", "listen": "foo"}',
            '{"name": "c", "upstream": "x", "listen": "a:b:c"}',
            '{"name": "c", "upstream": "x", "listen": "1.2.3.4:0"}',
            '{"name": "c", "upstream": "x", "listen": "127.0.0.1:99999"}',
            '{"name": "c", "upstream": "x", "listen": "0.0.0.0:0"}',
            '{"name": "d", "upstream": "x", "listen": "localhost:0"}',
            '{"name": "e/\\u00e5 %", "upstream": "x", "enabled": false}',
        )
    ),
    ("GET", "/proxies/e%2F%C3%A5%20%25", None),
    ("POST", "/proxies", '{"name": "\\u00e5 %", "upstream": "x", "enabled": false}'),
    ("GET", "/proxies/%C3%A5%20%25", None),
    ("GET", "/proxies/nope", None),
    ("DELETE", "/proxies/nope", None),
    ("DELETE", "/proxies/d", None),
    ("POST", "/proxies/a", '{"listen": "foo"}'),
    ("PATCH", "/proxies/a", '{"enabled": false, "name": "zz"}'),
    ("POST", "/proxies/a", "null"),
    ("POST", "/proxies/a", ""),
    ("POST", "/proxies/a", '{"listen": "127.0.0.1:0", "enabled": true}'),
    ("POST", "/proxies/a", '{"listen": "1.2.3.4:0"}'),
    ("POST", "/proxies/a", '{"listen": "127.0.0.1:0", "enabled": true}'),
    ("PUT", "/proxies", None),
    ("HEAD", "/proxies", None),
    ("OPTIONS", "/version", None),
    ("GET", "/reset", None),
    ("GET", "/nope", None),
    ("GET", "/proxies/", None),
    ("GET", "/metrics", None),
    ("GET", "/proxies?x=1", None),
    *(
        ("POST", TOXICS, body)
        for body in (
            '{"type": "latency"}',
            '{"type": "latency", "attributes": {"latency": 1.5}}',
            '{"name": "l2", "type": "latency", "attributes": {"latency": 1.5}}',
            '{"name": "l2", "type": "latency", "attributes": {"latency": 1e3}}',
            '{"name": "l2", "type": "latency", "attributes": {"latency": true}}',
            '{"name": "l2", "type": "latency", "attributes": {"latency": 9223372036854775808}}',
            '{"name": "l3", "type": "latency", "attributes": {"latency": "x"}}',
            '{"name": "l3", "type": "latency", "attributes": []}',
            '{"name": "l3", "type": "latency", "attributes": null}',
            '{"name": "l4", "type": "latency", "stream": "UPSTREAM", "toxicity": 0.123456789}',
            '{"type": "zork"}',
            '{"type": "latency", "stream": "x"}',
            '{"type": "latency", "stream": ""}',
            "{}",
            "",
            '{"type": "noop"}',
            '{"type": "slicer", "attributes": {"average_size": 5, "other": "x"}}',
            '{"type": "reset_peer"}',
            '{"type": "slow_close", "attributes": {"delay": -5}}',
            '{"type": "limit_data"}',
            '{"type": "bandwidth", "toxicity": 1e-7}',
            '{"type": "timeout", "toxicity": "x"}',
            '{"type": "timeout", "toxicity": 1e300}',
            '{"type": "timeout", "Attributes": {"TIMEOUT": 5}, "toxicity": -1}',
            '{"type":}',
            '{"type" 1}',
            '{"a": 1 "b"}',
            "{a: 1}",
            '{"a": NaN}',
        )
    ),
    ("GET", TOXICS, None),
    ("GET", "/proxies/a", None),
    ("POST", f"{TOXICS}/latency_downstream", '{"attributes": {"latency": 7}, "toxicity": 0.5, "name": "zz"}'),
    ("POST", f"{TOXICS}/latency_downstream", '{"attributes": {"latency": "x"}}'),
    ("PATCH", f"{TOXICS}/latency_downstream", '{"attributes": {"jitter": 2}}'),
    ("GET", f"{TOXICS}/latency_downstream", None),
    ("GET", f"{TOXICS}/nope", None),
    ("DELETE", f"{TOXICS}/nope", None),
    ("DELETE", f"{TOXICS}/latency_downstream", None),
    ("POST", f"{TOXICS}/nope", "{}"),
    ("POST", "/proxies/zz/toxics", "{}"),
    ("GET", "/proxies/zz/toxics", None),
    *(
        ("POST", "/populate", body)
        for body in (
            "[]",
            "null",
            "",
            '[{"name": "a", "upstream": "127.0.0.1:9"}]',
            '[{"name": "x"}]',
            '[{"upstream": "x"}]',
            '[{"name": "n1", "upstream": "x", "listen": ":0"}, {"name": "n2", "upstream": "x", "listen": "foo"}]',
            '[{"name": "n3", "upstream": "x:1", "enabled": false}]',
            '[{"name": "n4", "upstream": "x:1", "enabled": "s"}]',
        )
    ),
    ("POST", "/reset", None),
    ("GET", "/proxies", None),
]


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    logs = tmp_path_factory.mktemp("logs")
    real = ToxiproxyServer.start(real_program(), logs / "real.log")
    builtin = ToxiproxyServer.start(builtin_program("asyncio", logs), logs / "builtin.log")
    yield real.address, builtin.address
    builtin.stop()
    real.stop()


def said(address: str, call: Call, session: requests.Session, **headers: str) -> dict[str, Any]:
    """Return an answer without what is chance: the ports."""
    method, path, body = call
    answer = session.request(method, f"http://{address}{path}", data=body, headers=headers, timeout=10)
    text = re.sub(r'("listen":\s*"[^"]*:)(?!0")\d+"', r'\1PORT"', answer.text)
    try:
        content: Any = json.loads(text)
    except ValueError:
        content = text
    return {"status": answer.status_code, "type": answer.headers.get("Content-Type"), "content": content}


def test_the_same_calls_have_the_same_answers(addresses: tuple[str, str]) -> None:
    """Statuses, bodies and error messages, in one long sequence on one kept connection."""
    with requests.Session() as one, requests.Session() as other:
        for call in CALLS:
            assert said(addresses[1], call, other) == said(addresses[0], call, one), call
            listed = ("GET", "/proxies", None)
            assert said(addresses[1], listed, other) == said(addresses[0], listed, one), f"after {call}"


def test_browsers_are_kept_out(addresses: tuple[str, str]) -> None:
    with requests.Session() as session:
        for path in ("/version", "/nope"):
            call = ("GET", path, None)
            real, builtin = (said(a, call, session, **{"User-Agent": "Mozilla/5.0"}) for a in addresses)
            assert builtin == real


def test_a_port_that_is_taken(addresses: tuple[str, str]) -> None:
    with requests.Session() as session:
        for address in addresses:
            url = f"http://{address}/proxies"
            made = session.post(url, json={"name": "first", "upstream": "x:1", "listen": LISTEN}, timeout=10).json()
            again = {"name": "second", "upstream": "x:1", "listen": made["listen"]}
            answer = session.post(url, json=again, timeout=10)
            error = f"listen tcp {made['listen']}: bind: address already in use"
            assert (answer.status_code, answer.json()) == (500, {"error": error, "status": 500})


def test_the_built_in_one_says_what_it_is(addresses: tuple[str, str]) -> None:
    said = requests.get(f"http://{addresses[1]}/version", timeout=10)
    assert said.json() == {"version": "2.12.0+builtin"}
    assert said.headers["Content-Type"] == "application/json;charset=utf-8"
