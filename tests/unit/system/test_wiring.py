"""Who needs whom, and what is wrong with a target before anything starts."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harness.errors import PlanError
from harness.model.target import Target
from harness.system.wiring import check, dependencies, services_of

HERE = Path()


def target(services: dict[str, dict[str, Any]] | None = None, **more: Any) -> Target:
    """Return a target with these services; each has a command unless it says otherwise."""
    system: dict[str, Any] = {"kind": "external"}
    if services is not None:
        system = {"kind": "processes", "services": {n: {"command": ["x"], **s} for n, s in services.items()}}
    return Target.model_validate({"target": "t", "system": system, "url": "http://127.0.0.1:1", **more})


def test_an_external_system_has_no_services() -> None:
    assert services_of(target()) == {}
    assert dependencies(target()) == {}
    check(target(), HERE)


def test_needs_come_from_command_and_environment_and_through_upstreams() -> None:
    wired = target(
        {
            "agents": {"command": ["run", "--db=${services.db}"], "env": {"LLM": "http://${upstreams.llm}/v1"}},
            "db": {},
            "llm": {"command": ["llm", "${port}", "${python}", "${services.llm}"]},
            "alone": {},
        },
        upstreams={"llm": {"address": "${services.llm}"}, "other": {"address": "${services.alone}"}},
        url="http://${services.agents}",
    )
    check(wired, HERE)
    assert dependencies(wired) == {"agents": {"db", "llm"}, "db": set(), "llm": set(), "alone": set()}


def test_a_circle_is_told() -> None:
    circle = {"a": {"env": {"X": "${services.b}"}}, "b": {"env": {"X": "${services.a}"}}}
    with pytest.raises(PlanError, match=r"circle: (a -> b -> a|b -> a -> b)"):
        check(target(circle), HERE)


@pytest.mark.parametrize(
    ("services", "more", "where"),
    [
        ({"a": {"command": ["${prt}"]}}, {}, "system.services.a.command[0]"),
        ({"a": {"env": {"X": "${services.c}"}}}, {}, "system.services.a.env.X"),
        ({"a": {}}, {"url": "http://${services.b}"}, "url"),
        ({"a": {}}, {"url": "http://127.0.0.1:${port}"}, "url"),
        ({"a": {}}, {"url": "http://example.com"}, "url"),
        (None, {"upstreams": {"u": {"address": "10.1.2.3:80"}}}, "upstreams.u.address"),
        (None, {"upstreams": {"u": {"address": "127.0.0.1:80", "ledger": "http://x.example/l"}}}, "upstreams.u.ledger"),
        (None, {"metrics": {"url": "http://metrics.example/metrics"}}, "metrics.url"),
        ({"a": {"port": 5000}, "b": {"port": 5000}}, {}, "system.services.b.port"),
        ({"a": {"port": 70_000}}, {}, "system.services.a.port"),
        ({"a": {"ready": "healthz"}}, {}, "system.services.a.ready"),
        (None, {"health": "health"}, "health"),
        (None, {"metrics": {"url": "metrics"}}, "metrics.url"),
        (None, {"probe": {"path": "ask"}}, "probe.path"),
        (None, {"probe": {"path": "/a b"}}, "probe.path"),
        (None, {"probe": {"path": "/", "body": {"on": date(2024, 1, 1)}}}, "probe.body"),
        (None, {"url": "127.0.0.1:8000"}, "url"),
        (None, {"upstreams": {"u": {"address": "127.0.0.1"}}}, "upstreams.u.address"),
        (None, {"upstreams": {"u": {"address": "http://127.0.0.1:80"}}}, "upstreams.u.address"),
        (None, {"upstreams": {"u": {"address": "127.0.0.1:80", "listen": "127.0.0.1:65536"}}}, "upstreams.u.listen"),
        (None, {"upstreams": {"u": {"address": "127.0.0.1:80", "ledger": "127.0.0.1:80/l"}}}, "upstreams.u.ledger"),
    ],
)
def test_what_does_not_hold_together_is_told_with_its_place(
    services: dict[str, dict[str, Any]] | None, more: dict[str, Any], where: str
) -> None:
    with pytest.raises(PlanError) as caught:
        check(target(services, **more), HERE)
    assert caught.value.where == where


def test_hosts_that_are_allowed_pass() -> None:
    check(target(url="https://staging.example.com", allow_hosts=["staging.example.com"]), HERE)
