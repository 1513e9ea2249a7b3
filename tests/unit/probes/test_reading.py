"""What the health and metrics probes make of a page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from harness.probes import health
from harness.probes.health import judge
from harness.probes.metrics import read_samples
from harness.recording.reader import Recording
from harness.recording.tables import EventLog, SampleWriter

if TYPE_CHECKING:
    from pathlib import Path


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
        (200, b'{"status":"running"}', "ok"),
        (200, b'{"status":"SERVING"}', "ok"),
        (200, b'{"status":"NOT_SERVING"}', "unhealthy"),
        (200, b'{"status":"out of service"}', "unhealthy"),
        (200, b'{"status":false}', "unhealthy"),
        (200, b'{"status":"on fire"}', "ok"),
        (503, b'{"status":"healthy"}', "unhealthy"),
        (0, b"", "unhealthy"),
    ],
)
def test_health_claims(status: int, body: bytes, said: str) -> None:
    assert judge(status, body)[0] == said


def test_health_keeps_what_is_said_of_providers() -> None:
    body = b'{"status":"degraded","providers":{"bedrock":{"available":false}}}'
    assert judge(200, body)[:2] == ("degraded", {"bedrock": {"available": False}})
    assert judge(503, body)[:2] == ("unhealthy", {"bedrock": {"available": False}})


def test_a_word_that_is_not_known_notices_no_outage_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = iter([(200, "so lala"), (503, "so lala"), (200, "so lala"), (200, "ok"), (200, "Mm")])
    monkeypatch.setattr(health, "get", lambda *_: ((page := next(pages))[0], json.dumps({"status": page[1]}).encode()))
    events, samples = EventLog(tmp_path / "events.jsonl"), SampleWriter(tmp_path)
    probe = health.Health("http://127.0.0.1:1", "/health", samples, events)
    for _ in range(5):
        probe.look()
    events.close()
    samples.close()
    heard = Recording(tmp_path).events
    assert [e.data["status"] for e in heard if e.kind == "health"] == ["ok", "unhealthy", "ok"]
    assert [e.data for e in heard if e.kind == "probe"] == [{"word": "so lala"}, {"word": "Mm"}]


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
