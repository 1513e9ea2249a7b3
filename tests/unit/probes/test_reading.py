"""What the health and metrics probes make of a page."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from harness.probes.health import judge
from harness.probes.metrics import read_samples


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b'{"status":"healthy"}', "ok"),
        (200, b'{"status":"UP"}', "ok"),
        (200, b'{"status":true}', "ok"),
        (200, b"OK", "ok"),
        (204, b"", "ok"),
        (200, b"[1]", "ok"),
        (200, b'{"status":"degraded"}', "degraded"),
        (200, b'{"status":"unhealthy"}', "unhealthy"),
        (200, b'{"status":"on fire"}', "unhealthy"),
        (503, b'{"status":"healthy"}', "unhealthy"),
        (0, b"", "unhealthy"),
    ],
)
def test_health_claims(status: int, body: bytes, said: str) -> None:
    assert judge(status, body)[0] == said


def test_health_keeps_what_is_said_of_providers() -> None:
    body = b'{"status":"degraded","providers":{"bedrock":{"available":false}}}'
    assert judge(200, body) == ("degraded", {"bedrock": {"available": False}})
    assert judge(503, body) == ("unhealthy", {"bedrock": {"available": False}})


def test_only_named_metrics_are_read_with_their_labels() -> None:
    registry = CollectorRegistry()
    Gauge("state", "s", ["provider"], registry=registry).labels('od"d\\').set(2)
    Gauge("state_of_mind", "begins like the other", registry=registry).set(7)
    hits = Counter("hits", "h", ["agent"], registry=registry)
    hits.labels("a").inc(3)
    hits.labels("b").inc(4)
    found = list(read_samples(generate_latest(registry).decode(), ("state", "hits_total")))
    assert sorted((s.name, *s.labels.values(), s.value) for s in found) == [
        ("hits_total", "a", 3.0),
        ("hits_total", "b", 4.0),
        ("state", 'od"d\\', 2.0),
    ]


def test_a_page_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="provider"):
        list(read_samples("state{provider= 2\n", ("state",)))
