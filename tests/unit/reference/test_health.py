"""What `/health` says for every state of the breakers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reference.gateway.health import report
from reference.gateway.trace import trace_id_of

if TYPE_CHECKING:
    from reference.gateway.breaker import State


@pytest.mark.parametrize(
    ("mode", "providers", "cache", "http_status", "status"),
    [
        ("hybrid", {"bedrock": "closed", "openai": "closed"}, "closed", 200, "healthy"),
        ("hybrid", {"bedrock": "closed", "openai": "half_open"}, "closed", 200, "healthy"),
        ("hybrid", {"bedrock": "closed", "openai": "open"}, "closed", 200, "degraded"),
        ("hybrid", {"bedrock": "half_open", "openai": "closed"}, "closed", 200, "degraded"),
        ("hybrid", {"bedrock": "open", "openai": "open"}, "closed", 200, "degraded"),
        ("hybrid", {"bedrock": "closed", "openai": "closed"}, "open", 200, "degraded"),
        ("hybrid", {"bedrock": "closed", "openai": "closed", "google": "closed"}, "closed", 200, "healthy"),
        ("hybrid", {"bedrock": "closed", "openai": "closed", "google": "open"}, "closed", 200, "degraded"),
        ("aws_only", {"bedrock": "closed"}, "closed", 200, "healthy"),
        ("aws_only", {"bedrock": "half_open"}, "closed", 200, "degraded"),
        ("aws_only", {"bedrock": "open"}, "closed", 503, "unhealthy"),
        ("local_only", {}, "closed", 200, "degraded"),
    ],
)
def test_health_follows_from_the_breakers(
    mode: str, providers: dict[str, State], cache: State, http_status: int, status: str
) -> None:
    code, body = report(mode, providers, "memory", cache)
    assert (code, body["status"], body["mode"]) == (http_status, status, mode)
    for name, state in providers.items():
        assert body["providers"][name] == {"available": state == "closed", "breaker": state}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, "a" * 32),
        ({"traceparent": "nonsense", "x-mcp-trace-id": "c" * 32}, "c" * 32),
        ({"x-mcp-trace-id": "0AF76519-16cd-43dd-8448-eb211c80319c"}, "0af7651916cd43dd8448eb211c80319c"),
    ],
)
def test_a_usable_trace_id_is_taken_over(headers: dict[str, str], expected: str) -> None:
    assert trace_id_of(headers) == expected


def test_without_one_a_new_trace_id_is_made() -> None:
    made = {trace_id_of({}), trace_id_of({"x-mcp-trace-id": "call me"})}
    assert len(made) == 2
    assert all(len(trace_id) == 32 for trace_id in made)
